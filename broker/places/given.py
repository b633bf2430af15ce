"""What an import says of places, row by row, before it meets what is there; and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from msgspec import Struct

from broker.errors import BadRequestData
from broker.places.sweref import EASTINGS, NORTHINGS, to_degrees

Crs = Literal["EPSG:3006", "EPSG:4326"]
WGS84: Final[Crs] = "EPSG:4326"
SWEREF99TM: Final[Crs] = "EPSG:3006"


class Problem(Struct, frozen=True, rename="camel"):
    """Something that is wrong with a row, or, as a warning, that may be."""

    row: int
    """CSV: the line of the table, headings are 1. GeoJSON: the feature, from 1."""
    id: str | None
    member: str | None
    """The column or property."""
    problem: str


@dataclass(frozen=True, slots=True)
class Options:
    """How an import is to be read."""

    type: str | None = None
    """Of rows that do not say theirs."""
    crs: Crs | None = None
    """What coordinates are; None: as the file says, else WGS 84."""
    relationship: str | None = None
    """From a place to its parent; None: by type."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Column or property -> what it is meant to be: 'id', 'type', 'parent', or an attribute."""
    most: int = 20_000
    """Rows, count (places.import_rows)."""

    def meant(self, name: str) -> str:
        """What a column or property is called here."""
        return self.rename.get(name, name)


@dataclass(slots=True)
class Given:
    """One row."""

    row: int
    id: str = ""
    """As the file has it; '' when it has none."""
    type: str = ""
    parent: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    """As in an NGSI-LD entity: values alone, or attributes with a type."""
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, member: str | None, problem: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(self.row, self.id or None, member, problem))


def parse_crs(text: str) -> Crs:
    """The parameter `crs`."""
    if text == SWEREF99TM:
        return SWEREF99TM
    if text == WGS84:
        return WGS84
    raise BadRequestData(
        f"'crs' must be {WGS84} (longitude, latitude) or {SWEREF99TM} (SWEREF 99 TM), got '{text[:60]}'."
    )


def parse_rename(text: str) -> dict[str, str]:
    """The parameter `rename`: 'OBJEKT_ID:id,NAMN:name,YTA:floorArea:number:MTK'. The first ':' of each divides."""
    renamed: dict[str, str] = {}
    for part in text.split(","):
        name, _, meant = part.partition(":")
        if not name.strip() or not meant.strip():
            raise BadRequestData(f"'rename' must be like OBJEKT_ID:id,NAMN:name, got '{part[:60]}'.")
        renamed[name.strip()] = meant.strip()
    return renamed


def in_degrees(easting: float, northing: float) -> tuple[float, float]:
    """A position in SWEREF 99 TM as longitude and latitude. BadRequestData when it is none."""
    if not (EASTINGS[0] <= easting <= EASTINGS[1] and NORTHINGS[0] <= northing <= NORTHINGS[1]):
        turned = EASTINGS[0] <= northing <= EASTINGS[1] and NORTHINGS[0] <= easting <= NORTHINGS[1]
        hint = "; easting and northing have changed places" if turned else ""
        raise BadRequestData(f"Easting {easting:g}, northing {northing:g} is not in SWEREF 99 TM{hint}.")
    return to_degrees(easting, northing)


def check_degrees(longitude: float, latitude: float) -> tuple[float, float]:
    """A position in WGS 84. BadRequestData when it is none."""
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        metres = abs(longitude) > 1_000 and abs(latitude) > 1_000
        hint = "; it may be in SWEREF 99 TM, which 'crs=EPSG:3006' says" if metres else ""
        raise BadRequestData(f"Longitude {longitude:g}, latitude {latitude:g} is not in degrees{hint}.")
    return longitude, latitude


READ: Final[Mapping[Crs, Callable[[float, float], tuple[float, float]]]] = {
    SWEREF99TM: in_degrees,
    WGS84: check_degrees,
}
"""From two coordinates, east first, to degrees."""
