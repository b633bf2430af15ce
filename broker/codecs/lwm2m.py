"""What LwM2M's objects measure: named values '/object/instance/resource' -> measurements, by `schemas/lwm2m.json`.

A device says the unit of an instance in its resource 5701, as a SenML unit; else the table's holds, which is what the
registry of objects (OMA) or common use gives. A model's own mapping (`quantities[].source`, e.g. '3303/0/5700') goes before
the table. Instance 0 has channel '', another its number; of a resource with instances, '1.2' is the second's third.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

import msgspec
from msgspec import Struct

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement, Value
from broker.codecs.object import Mapped, Named, decode_named, is_named_by
from broker.codecs.quantities import convert, quantity, unit_of_senml
from broker.codecs.reading import Findings

UNITS = "5701"
"""The resource that says an instance's unit (OMA: 'Sensor Units')."""
_PATH = re.compile(r".*?/?([0-9]{1,5})/([0-9]{1,5})/([0-9]{1,5})(?:/([0-9]{1,5}))?", re.ASCII | re.DOTALL)
# What devices call units beside SenML's names.
_SPOKEN = {
    "celsius": "Cel", "degrees celsius": "Cel", "celsius degrees": "Cel", "°c": "Cel", "c": "Cel", "percent": "%",
    "lux": "lx", "volt": "V", "volts": "V", "watt": "W", "pascal": "Pa", "meter": "m", "metre": "m", "g": "g-force",
}  # fmt: skip


class Measured(Struct, frozen=True, forbid_unknown_fields=True):
    """What one resource measures."""

    quantity: str
    unit: str = ""
    """UN/CEFACT code; '' for the quantity's own."""


class Object(Struct, frozen=True, forbid_unknown_fields=True):
    """One object of LwM2M."""

    name: str
    values: dict[str, Measured] = {}
    """By resource; the others are not measurements."""
    types: dict[str, str] = {}
    """Of its own resources: number, integer, boolean, string, time, opaque, link, none."""


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """`schemas/lwm2m.json`."""

    objects: dict[str, Object]
    reusable: dict[str, str]
    """Types of the resources that several objects share."""


@cache
def table() -> Table:
    """The objects that are known."""
    return msgspec.json.decode((resources.files("schemas") / "lwm2m.json").read_bytes(), type=Table)


def decode_lwm2m(rows: Sequence[Mapped], values: Sequence[Named], at: Micros) -> list[Measurement]:
    """The measurements of named values: by the model's mapping where that names one, else by the table.

    Values that neither names give nothing. Raises CodecError for a wrong type or a unit that does not convert.
    """
    mapped = [row for row in rows if row.source]
    found = Findings(at)
    found.found += decode_named(mapped, values, at)
    units = {match.group(1, 2): str(value.value) for value, match in _paths(values) if match[3] == UNITS}
    for value, match in _paths(values):
        known = table().objects.get(match[1])
        measured = known.values.get(match[3]) if known is not None else None
        if measured is None or any(is_named_by(row.source, value.name) for row in mapped):
            continue
        channel = _channel(match[2], match[4])
        unit = value.unit or units.get(match.group(1, 2), "")
        found.add(measured.quantity, _value(value, measured, unit), _unit(measured), channel=channel, at=value.at)
    return found.found


def _paths(values: Sequence[Named]) -> list[tuple[Named, re.Match[str]]]:
    return [(value, match) for value in values if (match := _PATH.fullmatch(value.name)) is not None]


def _channel(instance: str, of_resource: str | None) -> str:
    if of_resource in (None, "0"):
        return "" if instance == "0" else instance
    return f"{instance}.{of_resource}"


def _unit(measured: Measured) -> str:
    return quantity(measured.quantity).unit


def _value(named: Named, measured: Measured, senml_unit: str) -> Value:
    """The value as the quantity's kind, in the quantity's unit."""
    kind, value = quantity(measured.quantity).kind, named.value
    if kind == "boolean" and (isinstance(value, bool) or (isinstance(value, (int, float)) and value in (0, 1))):
        return bool(value)
    if kind == "text" and isinstance(value, str):
        return value[:1024]
    if kind == "number" and isinstance(value, bool):
        return int(value)
    if kind == "number" and isinstance(value, (int, float)):
        own = _unit(measured)
        given = _given(named.name, measured, senml_unit)
        return value if not own or given == own else convert(value, given, own)
    if kind == "number" and isinstance(value, str) and measured.quantity in ("latitude", "longitude"):
        try:
            return float(value)
        except ValueError:
            pass
    raise CodecError(f"'{named.name[:60]}': {measured.quantity} must be a {kind}, got {repr(value)[:60]}.")


def _given(name: str, measured: Measured, senml_unit: str) -> str:
    """The UN/CEFACT code of what the device calls its unit. Raises CodecError for one that is not known."""
    if not senml_unit:
        return measured.unit or _unit(measured)
    spoken = _SPOKEN.get(senml_unit.strip().lower(), senml_unit.strip())
    code = "K40" if spoken == "g-force" and measured.unit == "K40" else unit_of_senml(spoken)
    if code is None:
        raise CodecError(
            f"'{name[:60]}': its unit '{senml_unit[:40]}' is not known; the device's model can say it by a mapping."
        )
    return code
