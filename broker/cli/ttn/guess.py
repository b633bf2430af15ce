"""Which quantities a decoded object holds, guessed from its names by `schemas/decoded-names.json`. Pure; for review."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from typing import Any, Final

import msgspec
from msgspec import Struct

from broker.codecs.quantities import accepted_units, quantity
from broker.devices.model import Quantity

MOST: Final = 60
"""Quantities of one model, count."""
_LIST: Final = 8
"""Items of a list that are looked at, count."""
_UNITS: Final = {
    "°c": "CEL", "c": "CEL", "celsius": "CEL", "°f": "FAH", "%": "P1", "%rh": "P1", "v": "VLT", "mv": "2Z", "a": "AMP",
    "ma": "4K", "m": "MTR", "mm": "MMT", "cm": "CMT", "hpa": "A97", "pa": "PAL", "kpa": "KPA", "mbar": "MBR", "bar": "BAR",
    "ppm": "59", "ppb": "61", "µg/m3": "GQ", "µg/m³": "GQ", "ug/m3": "GQ", "lux": "LUX", "lx": "LUX", "db": "2N",
    "m/s": "MTS", "km/h": "KMH", "°": "DD", "us/cm": "G42", "µs/cm": "G42", "ms/cm": "H61", "l": "LTR", "m3": "MTQ", "m³": "MTQ",
    "w": "WTT", "kw": "KWT", "kwh": "KWH", "wh": "WHR", "kg": "KGM", "g": "GRM",
}  # fmt: skip
"""How objects write their units beside a value."""


class _Named(Struct, frozen=True, forbid_unknown_fields=True):
    quantity: str
    unit: str
    names: tuple[str, ...]


@cache
def _table() -> dict[str, list[_Named]]:
    rows = msgspec.json.decode((resources.files("schemas") / "decoded-names.json").read_bytes(), type=list[_Named])
    found: dict[str, list[_Named]] = {}
    for row in rows:
        for name in row.names:
            found.setdefault(name, []).append(row)
    return found


def guess(objects: Iterable[Any]) -> list[Quantity]:
    """The quantities that these decoded objects (a codec's answers to its examples) seem to hold.

    A path is left out when a value at it has not the quantity's type, or is not possible in the unit that the name or the
    object says: an uplink is refused whole for one such value.
    """
    values: dict[str, list[Any]] = {}
    units: dict[str, str] = {}
    for each in objects:
        for path, value, unit in _leaves(each, "", ""):
            values.setdefault(path, []).append(value)
            if unit:
                units[path] = unit
    rows = [row for path, seen in values.items() if (row := _row(path, seen, units.get(path, ""))) is not None]
    return _told_apart(rows[:MOST])


def _leaves(value: Any, path: str, unit: str) -> Iterator[tuple[str, Any, str]]:
    if isinstance(value, dict):
        said = value.get("unit") if "value" in value else None
        for key, each in value.items():
            if "." not in key and key:
                yield from _leaves(
                    each, f"{path}.{key}" if path else key, said if isinstance(said, str) and key == "value" else ""
                )
    elif isinstance(value, list):
        for index, each in enumerate(value[:_LIST]):
            yield from _leaves(each, f"{path}.{index}" if path else str(index), "")
    elif path and value is not None:
        yield path, value, unit


def _row(path: str, seen: list[Any], said: str) -> Quantity | None:
    steps = path.split(".")
    name = steps[-2] if steps[-1] == "value" and len(steps) > 1 else steps[-1]
    plain, number = _plain(name)
    for named in [*_table().get(plain + number, ()), *_table().get(plain, ())]:
        exact = named.names.count(plain + number) > 0
        unit = _UNITS.get(said.strip().lower(), named.unit if not said else "")
        if quantity(named.quantity).unit and (not unit or unit not in accepted_units(named.quantity)):
            continue
        unit = _possible(named.quantity, unit, seen)
        if unit is None:
            continue
        channel = "" if exact else number
        return Quantity(quantity=named.quantity, unit=unit, source=path, channel=channel)
    return None


def _plain(name: str) -> tuple[str, str]:
    """'Temp_C2' -> ('tempc', '2')."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    found = re.fullmatch(r"(.*?)([0-9]*)", plain)
    assert found is not None
    return found[1], found[2]


def _possible(name: str, unit: str, seen: list[Any]) -> str | None:
    """The unit in which all these values can be the quantity; None when there is none."""
    info = quantity(name)
    if info.kind == "boolean":
        return "" if all(isinstance(one, bool) for one in seen) else None
    if not all(type(one) in (int, float) for one in seen):
        return None
    if name == "motion" and not any(seen):
        return unit
    if name == "batteryVoltage" and unit == "VLT" and min(seen) >= 1000:
        unit = "2Z"
    if name == "pressure" and unit == "A97":
        # What the air's can be tells hectopascals from pascals; of other pressures the unit cannot be seen.
        unit = (
            "A97"
            if min(seen) >= 300 and max(seen) <= 1200
            else "PAL"
            if min(seen) >= 30_000 and max(seen) <= 120_000
            else ""
        )
        return unit or None
    low, high = _range(name, unit)
    return unit if all(low <= one <= high for one in seen) else None


def _range(name: str, unit: str) -> tuple[float, float]:
    if name == "batteryVoltage":
        return (0.5, 60) if unit == "VLT" else (500, 60_000)
    if name == "temperature":
        return (-60, 150) if unit == "CEL" else (-80, 300)
    info = quantity(name)
    if unit != info.unit:
        return float("-inf"), float("inf")
    return (
        info.minimum if info.minimum is not None else float("-inf"),
        info.maximum if info.maximum is not None else float("inf"),
    )


def _told_apart(rows: list[Quantity]) -> list[Quantity]:
    """Each quantity and channel once: the first keeps its channel, the others are named by their path."""
    taken: set[tuple[str, str]] = set()
    told: list[Quantity] = []
    for row in rows:
        channel = row.channel
        if (row.quantity, channel) in taken:
            channel = re.sub(r"[^A-Za-z0-9.-]+", "-", row.source.removesuffix(".value"))[:60]
        if (row.quantity, channel) in taken:
            continue
        taken.add((row.quantity, channel))
        told.append(Quantity(quantity=row.quantity, unit=row.unit, source=row.source, channel=channel))
    return told
