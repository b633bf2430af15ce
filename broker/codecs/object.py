"""What is named already: a network server's decoded `object`, and SenML's named values.

A device model's mapping (`quantities[].source`) says where each quantity is: in an object a dotted path ('em.temp',
'probes.0.value'), in named values the SenML name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement, Value
from broker.codecs.quantities import UnitError, convert, quantity, unit_of_senml
from broker.codecs.reading import Findings

_MAX_TEXT = 1024
"""Characters of one text value."""
_ABSENT = object()


class Mapped(Protocol):
    """One row of a device model's mapping: `broker.devices.model.Quantity`."""

    @property
    def quantity(self) -> str:
        """Its name in the table of quantities."""

    @property
    def unit(self) -> str:
        """UN/CEFACT code of the values; '' for the quantity's own."""

    @property
    def channel(self) -> str:
        """Channel of the measurement."""

    @property
    def source(self) -> str:
        """Dotted path or SenML name."""


class Named(Protocol):
    """One named value: `broker.pipeline.intake.SensedValue`."""

    @property
    def name(self) -> str:
        """Resolved SenML name."""

    @property
    def value(self) -> Value:
        """Number, boolean or text."""

    @property
    def unit(self) -> str:
        """SenML unit, or ''."""

    @property
    def at(self) -> Micros | None:
        """When it was observed; None: when it was received."""


class MappedObject:
    """The codec 'object' for one device model."""

    def __init__(self, rows: Sequence[Mapped]) -> None:
        self._rows = [row for row in rows if row.source]

    def decode_object(self, decoded: dict[str, Any] | list[Any], at: Micros) -> list[Measurement]:
        """All that the mapping names and the object holds; an absent or null member gives nothing.

        Raises CodecError when a value has the wrong type.
        """
        found = Findings(at)
        for row in self._rows:
            value = _at_path(decoded, row.source)
            if value is _ABSENT or value is None:
                continue
            found.add(row.quantity, _checked(row, value), _unit(row), channel=row.channel)
        return found.found


def decode_named(rows: Sequence[Mapped], values: Sequence[Named], at: Micros) -> list[Measurement]:
    """The measurements of named values. A value's own unit, where it says one, is converted to the mapping's.

    A mapping's name may leave out the base name: 'temp' takes 'urn:dev:ow:10e2073a01080063:temp'. Values that no row
    names give nothing. Raises CodecError for a wrong type or a unit that does not convert.
    """
    found = Findings(at)
    mapped = [row for row in rows if row.source]
    for named in values:
        for row in mapped:
            if is_named_by(row.source, named.name):
                value = _in_unit(row, _checked(row, named.value), named.unit)
                found.add(row.quantity, value, _unit(row), channel=row.channel, at=named.at)
    return found.found


def is_named_by(source: str, name: str) -> bool:
    """Whether a mapping's `source` names the value called `name`: all of it, or what follows its base name."""
    if name == source:
        return True
    return name.endswith(source) and name[-len(source) - 1] in ":/"


def _at_path(value: Any, path: str) -> Any:
    rest = path
    while True:
        if isinstance(value, dict) and rest in value:
            return value[rest]
        step, _, rest = rest.partition(".")
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif (
            isinstance(value, list) and step.isascii() and step.isdecimal() and len(step) < 6 and int(step) < len(value)
        ):
            value = value[int(step)]
        else:
            return _ABSENT
        if not rest:
            return value


def _unit(row: Mapped) -> str:
    return row.unit or quantity(row.quantity).unit


def _checked(row: Mapped, value: Any) -> Value:
    """`value` as the quantity's kind. A boolean may come as 0 or 1, a number not as a boolean or a text."""
    kind = quantity(row.quantity).kind
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        if isinstance(value, (int, float)) and value in (0, 1):
            return value == 1
    elif kind == "number":
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if isinstance(value, int):
                if not -(1 << 63) <= value < 1 << 63:
                    raise CodecError(f"'{row.source}': {row.quantity} must fit in 64 bits.")
            elif not math.isfinite(value):
                raise CodecError(f"'{row.source}': {row.quantity} must be a finite number, got {value}.")
            return value
    elif isinstance(value, str) and len(value) <= _MAX_TEXT:
        return value
    raise CodecError(f"'{row.source}': {row.quantity} must be a {kind}, got {_shown(value)}.")


def _in_unit(row: Mapped, value: Value, senml_unit: str) -> Value:
    if not senml_unit or isinstance(value, (bool, str)):
        return value
    code, wanted = unit_of_senml(senml_unit), _unit(row)
    if not wanted or code == wanted:
        return value
    if code is None:
        raise CodecError(f"'{row.source}': unit '{senml_unit[:40]}' is not a SenML unit that is known.")
    try:
        return convert(value, code, wanted)
    except UnitError as error:
        raise CodecError(f"'{row.source}': {error}") from None


def _shown(value: Any) -> str:
    return repr(value)[:60] if isinstance(value, (bool, int, float, str)) else f"a {type(value).__name__}"
