"""The one table of quantities and units: `schemas/quantities.json`. It ties a quantity's name to its unit (UN/CEFACT and
SenML), its LwM2M resource, the attribute it becomes (Smart Data Models) and what is physically possible.

A unit is its UN/CEFACT common code (Recommendation 20, as NGSI-LD's unitCode); '' for what has none. Each unit says
how its dimension's own unit is got from it: value * factor + offset, in exact fractions.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from importlib import resources
from typing import Literal

import msgspec
from msgspec import Struct


class UnitError(ValueError):
    """A quantity or unit that the table does not know, or a conversion that does not exist."""


class Unit(Struct, frozen=True, forbid_unknown_fields=True):
    """One unit of a dimension. Its value times `factor` plus `offset` is the value in the dimension's own unit."""

    name: str
    """As Recommendation 20 has it for the code: 'degree Celsius'."""
    dimension: str
    factor: str
    """A fraction: '5/9'."""
    offset: str
    symbol: str
    """As people write it: '°C'."""
    senml: tuple[str, ...] = ()
    """The names that SenML has for it (RFC 8428, 12.1, and RFC 8798)."""
    also: dict[str, str] = {}
    """Other dimensions it is a unit of, and its factor there: 1 is 100 % as well as a count. Without an offset."""

    @property
    def dimensions(self) -> set[str]:
        """All that it is a unit of."""
        return {self.dimension, *self.also}


class QuantityInfo(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a quantity is, the unit it is kept in and what is physically possible in that unit."""

    description: str
    kind: Literal["number", "boolean", "text"]
    unit: str = ""
    senml: str = ""
    """The SenML unit of `unit`; '' when SenML has none."""
    lwm2m: str = ""
    """LwM2M object and resource that carry it (OMA's registry): '3303/5700'; '' when there is none."""
    attribute: str | None = None
    """The attribute it becomes by default (Smart Data Models); None: of its own name; '': none, it is about the device."""
    controls: str = ""
    """What a device that measures it is said to control (the Smart Data Models' Device, controlledProperty)."""
    minimum: float | None = None
    maximum: float | None = None
    without: str = ""
    """Why there is no LwM2M resource, or no SenML unit."""


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    units: dict[str, Unit]
    quantities: dict[str, QuantityInfo]


@cache
def _table() -> _Table:
    return msgspec.json.decode((resources.files("schemas") / "quantities.json").read_bytes(), type=_Table)


@cache
def _senml_units() -> dict[str, str]:
    return {name: code for code, unit in _table().units.items() for name in unit.senml}


def quantity(name: str) -> QuantityInfo:
    """The quantity of that name. Raises UnitError when the table has none."""
    found = _table().quantities.get(name)
    if found is None:
        raise UnitError(f"Quantity '{name}' is not in the table of quantities.")
    return found


def quantity_names() -> list[str]:
    """All names of the table."""
    return list(_table().quantities)


def unit(code: str) -> Unit:
    """The unit of that UN/CEFACT code. Raises UnitError when the table has none."""
    found = _table().units.get(code)
    if found is None:
        raise UnitError(f"Unit '{code}' is not in the table of units (UN/CEFACT common codes).")
    return found


def unit_codes() -> list[str]:
    """All codes of the table."""
    return list(_table().units)


def accepted_units(name: str) -> list[str]:
    """The units that values of this quantity can be given in: its own first, then those that convert to it."""
    own = quantity(name).unit
    if not own:
        return [""]
    dimension = unit(own).dimension
    return [own, *(code for code, other in _table().units.items() if dimension in other.dimensions and code != own)]


def unit_of_senml(name: str) -> str | None:
    """The UN/CEFACT code of a SenML unit, or None when the table has none."""
    return _senml_units().get(name)


@cache
def _rule(from_unit: str, to_unit: str) -> tuple[Fraction, Fraction]:
    # Cached only for units of the table: an unknown code raises, and a raised call is not kept.
    source, target = unit(from_unit), unit(to_unit)
    if target.dimension in source.dimensions:
        dimension = target.dimension
    elif source.dimension in target.dimensions:
        dimension = source.dimension
    else:
        raise UnitError(
            f"Unit '{from_unit}' ({source.dimension}) cannot be converted to '{to_unit}' ({target.dimension})."
        )
    (factor, offset), (to_factor, to_offset) = _scale(source, dimension), _scale(target, dimension)
    return factor / to_factor, (offset - to_offset) / to_factor


def _scale(unit: Unit, dimension: str) -> tuple[Fraction, Fraction]:
    if unit.dimension == dimension:
        return Fraction(unit.factor), Fraction(unit.offset)
    return Fraction(unit.also[dimension]), Fraction(0)


def convert(value: float, from_unit: str, to_unit: str) -> float:
    """`value` in `to_unit`: the double nearest to the exact result, `value` being read as the decimal it is written as.

    Raises UnitError for an unknown unit, two units of different dimensions, or a number that is not finite.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise UnitError(f"A value to convert must be a finite number, got {value}.")
    factor, offset = _rule(from_unit, to_unit)
    try:
        if from_unit == to_unit:
            return float(value)
        return float(Fraction(repr(value)) * factor + offset)
    except OverflowError:
        raise UnitError(f"The value {value} is too large in '{to_unit}'.") from None
