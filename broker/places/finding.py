"""Finding places by type, name, address and position; and virtual sensors that are at none. Names find, they decide nothing."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from math import isfinite
from typing import Any, Final, Literal

from broker.config import Limits
from broker.devices.model import VirtualSensor
from broker.errors import BadRequestData
from broker.ngsild.model import Entity
from broker.ngsild.names import Names
from broker.places.containment import Vocabulary
from broker.query.ast import AnyType, Comparison, EntityQuery, GeoQuery, HasType, Or, Path, TypeSelection
from broker.query.types import parse_types

LONGEST_SEARCH: Final = 100
"""Characters of a search."""

Unplaced = Literal["no place", "place not there"]


def place_query(given: Mapping[str, str], words: Vocabulary, names: Names, limits: Limits) -> EntityQuery:
    """What the parameters `type`, `search`, `near`, `within` and `after` select. Raises BadRequestData, TooComplexQuery."""
    search = given.get("search", "").strip()
    if len(search) > LONGEST_SEARCH:
        raise BadRequestData(f"'search' must have at most {LONGEST_SEARCH} characters, got {len(search)}.")
    pattern = ("(?i)" + re.escape(search),)
    searched = Or(
        (
            Comparison(Path(names.expand("name")), "~=", pattern),
            Comparison(Path(names.expand("address"), members=("streetAddress",)), "~=", pattern),
        )
    )
    return EntityQuery(
        types=_types(given.get("type"), words, names, limits),
        q=searched if search else None,
        geo=_geo(given),
        after=given.get("after"),
    )


def _types(text: str | None, words: Vocabulary, names: Names, limits: Limits) -> TypeSelection | None:
    if text is None:
        return AnyType(tuple(map(HasType, sorted(words.types))))
    return None if text == "*" else parse_types(text, names.expand, limits)


def _geo(given: Mapping[str, str]) -> GeoQuery | None:
    if "near" in given and "within" in given:
        raise BadRequestData("'near' and 'within' cannot be asked together.")
    if "near" in given:
        longitude, latitude, metres = _numbers(given["near"], "near", "longitude,latitude,metres", 3)
        if metres < 0:
            raise BadRequestData(f"'near': the distance must be 0 or more, metres, got {metres}.")
        point = {"type": "Point", "coordinates": [_in(longitude, 180, "near"), _in(latitude, 90, "near")]}
        return GeoQuery("near", point, max_distance=metres)
    if "within" in given:
        west, south, east, north = _numbers(given["within"], "within", "west,south,east,north", 4)
        for longitude, latitude in ((west, south), (east, north)):
            _in(longitude, 180, "within")
            _in(latitude, 90, "within")
        if west >= east or south >= north:
            raise BadRequestData("'within' must be west,south,east,north with west < east and south < north.")
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        return GeoQuery("within", {"type": "Polygon", "coordinates": [ring]})
    return None


def _numbers(text: str, name: str, form: str, count: int) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != count or not all(map(isfinite, found)):
        raise BadRequestData(f"'{name}' must be {form}, such as 18.07,64.62,…, got '{text[:60]}'.")
    return found


def _in(degrees: float, most: float, name: str) -> float:
    if abs(degrees) > most:
        raise BadRequestData(f"'{name}': {degrees} is not between -{most} and {most} degrees.")
    return degrees


def shown_place(entity: Entity, words: Vocabulary, names: Names) -> dict[str, Any]:
    """What a list has of a place beside id, type and name: address, position, and what it is within."""
    shown: dict[str, Any] = {}
    for term in ("address", "location"):
        instances = entity["attrs"].get(names.expand(term))
        shown[term] = instances[0].get("value") if instances else None
    return {**shown, "within": next((to for _, to in words.parents(entity)), None)}


def place_wanted(sensor: VirtualSensor, entity: Entity | None, words: Vocabulary) -> str | None:
    """Where a virtual sensor is: as it says, else as its entity does, which may be the place itself. None: nowhere."""
    if sensor.place is not None:
        return sensor.place
    if entity is None:
        return None
    parents = words.parents(entity)
    if parents:
        return parents[0][1]
    return entity["id"] if words.is_place(entity) else None


def why_unplaced(place: str | None, there: Container[str]) -> Unplaced | None:
    """Why a virtual sensor is at no place; None when it is at one."""
    if place is None:
        return "no place"
    return None if place in there else "place not there"
