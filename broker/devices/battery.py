"""What is left of a battery whose device tells its voltage alone: by the curve of the device's model. Pure.

A curve is the vendor's, or by chemistry (`schemas/battery-curves.json`): typical figures at room temperature and little
load, good enough to tell a battery that is near its end from one that is not, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Final

import msgspec
from msgspec import Struct

from broker.errors import BadRequestData

MOST_ROWS: Final = 50
MOST_CELLS: Final = 20
MOST_VOLTS: Final = 1000
"""Of a battery; a car's has 12, a bus's 800."""

Curve = Sequence[tuple[float, float]]
"""[volts, percent], volts rising."""


class Battery(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The battery of a make of device. One of `curve` and `chemistry`; with both, the curve holds."""

    chemistry: str = ""
    """A name of `schemas/battery-curves.json`: lithium-thionyl-chloride, alkaline, …: an approximate curve."""
    cells: int = 1
    """How many are in series, for the chemistry's curve."""
    curve: tuple[tuple[float, float], ...] = ()
    """[volts, percent], volts rising: between two rows on the straight line, beyond the ends as at the ends."""
    source: str = ""
    """Where the curve, or what battery it is, is documented."""


class _Typical(Struct, frozen=True, forbid_unknown_fields=True):
    description: str
    cell: tuple[tuple[float, float], ...]


@cache
def chemistries() -> Mapping[str, _Typical]:
    """The chemistries that are known, by name."""
    data = (resources.files("schemas") / "battery-curves.json").read_bytes()
    return msgspec.json.decode(data, type=dict[str, _Typical])


def check_battery(battery: Battery) -> None:
    """Raises BadRequestData for the first rule that does not hold."""
    for refused in refusals(battery):
        raise BadRequestData(refused)


def refusals(battery: Battery) -> Iterator[str]:
    """What is wrong with a model's battery, for people."""
    if not battery.curve and not battery.chemistry:
        yield "'battery' must have 'curve' or 'chemistry'."
    if battery.chemistry and battery.chemistry not in chemistries():
        known = ", ".join(chemistries())
        yield f"'battery.chemistry' must be one of {known}; got '{battery.chemistry[:60]}'."
    if not 1 <= battery.cells <= MOST_CELLS:
        yield f"'battery.cells' must be from 1 to {MOST_CELLS}, got {battery.cells}."
    if battery.curve:
        yield from curve_refusals(battery.curve, "battery.curve")


def curve_refusals(curve: Curve, where: str) -> Iterator[str]:
    """What is wrong with a curve, for people."""
    if not 2 <= len(curve) <= MOST_ROWS:
        yield f"'{where}' must have 2 to {MOST_ROWS} rows of volts and percent, got {len(curve)}."
    for volts, percent in curve:
        if not 0 < volts <= MOST_VOLTS:
            yield f"'{where}': volts must be above 0 and at most {MOST_VOLTS}, got {volts:g}."
        if not 0 <= percent <= 100:
            yield f"'{where}': percent must be from 0 to 100, got {percent:g}."
    for before, row in pairwise(curve):
        if row[0] <= before[0]:
            yield f"'{where}' must rise in volts, but {row[0]:g} follows {before[0]:g}."
        if row[1] < before[1]:
            yield f"'{where}' must not fall in percent, but {row[1]:g} follows {before[1]:g}."


def curve_of(battery: Battery) -> Curve:
    """The curve of the whole battery; empty when its chemistry is not known any more."""
    if battery.curve:
        return battery.curve
    typical = chemistries().get(battery.chemistry)
    return [(volts * battery.cells, percent) for volts, percent in typical.cell] if typical is not None else ()


def percent_left(battery: Battery, volts: float) -> float | None:
    """What is left at a voltage, percent with one decimal; None when there is no curve."""
    curve = curve_of(battery)
    if not curve:
        return None
    if volts <= curve[0][0]:
        return curve[0][1]
    for (low, under), (high, over) in pairwise(curve):
        if volts <= high:
            return round(under + (over - under) * (volts - low) / (high - low), 1)
    return curve[-1][1]
