"""The parser of geo queries (ETSI GS CIM 009 v1.9.1, 4.10).

    georel = "near" ";" ("maxDistance" / "minDistance") "==" PositiveNumber          ; metres
           / "within" / "contains" / "overlaps" / "intersects" / "equals" / "disjoint"

The reference geometry is any of GeoJSON's (RFC 7946) but GeometryCollection.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, cast, get_args

import orjson
import shapely

from broker.config import Limits
from broker.errors import BadRequestData, TooComplexQuery
from broker.ngsild.model import LOCATION
from broker.query.ast import GeoQuery, GeoRelation

_RELATIONS: Final = get_args(GeoRelation)
_LEVELS: Final = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
"""Arrays around the positions, by geometry type."""
_DISTANCE = re.compile(r"(maxDistance|minDistance)==((?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)", re.ASCII)


def parse_geo(
    georel: str,
    geometry: str,
    coordinates: str | list[Any],
    geoproperty: str | None,
    expand: Callable[[str], str],
    limits: Limits,
) -> GeoQuery:
    """The geo query; `coordinates` as JSON text or parsed. Raises BadRequestData, TooComplexQuery."""
    relation, distances = _parse_georel(georel)
    reference = {"type": geometry, "coordinates": _parse_coordinates(coordinates)}
    check_geometry(reference, limits)
    return GeoQuery(
        relation,
        reference,
        LOCATION if geoproperty is None else expand(geoproperty),
        max_distance=distances.get("maxDistance"),
        min_distance=distances.get("minDistance"),
    )


def parse_reference(geometry: str, coordinates: str | list[Any], limits: Limits) -> dict[str, Any]:
    """The geometry that an order by distance measures from (4.23). Raises BadRequestData, TooComplexQuery."""
    try:
        reference = {"type": geometry, "coordinates": _parse_coordinates(coordinates)}
        check_geometry(reference, limits)
    except BadRequestData as error:
        detail = error.detail.replace("'coordinates'", "'orderFrom'").replace("'geometry'", "'orderGeometry'")
        raise BadRequestData(detail) from None
    return reference


def _parse_georel(georel: str) -> tuple[GeoRelation, dict[str, float]]:
    relation, *modifiers = georel.split(";")
    if relation not in _RELATIONS:
        raise BadRequestData(f"'georel' must be one of {', '.join(_RELATIONS)}, got '{relation}'.")
    distances: dict[str, float] = {}
    if len(modifiers) > 1:
        raise BadRequestData(f"'georel' near takes one distance, maxDistance or minDistance, got '{georel[:100]}'.")
    for modifier in modifiers:
        found = _DISTANCE.fullmatch(modifier)
        metres = float(found[2]) if found else 0.0
        if relation != "near" or found is None or found[1] in distances or not 0 < metres < float("inf"):
            raise BadRequestData(
                "'georel' takes near;maxDistance==METRES or near;minDistance==METRES with a number above 0, "
                f"got '{georel}'."
            )
        distances[found[1]] = metres
    if relation == "near" and not distances:
        raise BadRequestData(f"'georel' near must have ;maxDistance==METRES or ;minDistance==METRES, got '{georel}'.")
    return cast("GeoRelation", relation), distances


def _parse_coordinates(coordinates: str | list[Any]) -> Any:
    if not isinstance(coordinates, str):
        return coordinates
    try:
        return orjson.loads(coordinates)
    except orjson.JSONDecodeError:
        raise BadRequestData(f"'coordinates' must be a JSON array, got '{coordinates[:60]}'.") from None


def check_geometry(geometry: dict[str, Any], limits: Limits) -> None:
    """Raises BadRequestData when it is not a valid GeoJSON geometry, TooComplexQuery when it has too many vertices."""
    kind = geometry["type"]
    if kind not in _LEVELS:
        raise BadRequestData(f"'geometry' must be one of {', '.join(_LEVELS)}, got '{kind}'.")
    vertices = _count(geometry["coordinates"], _LEVELS[kind], kind)
    if vertices > limits.geometry_vertices:
        raise TooComplexQuery(
            f"'coordinates' has {vertices} positions; "
            f"the limit (limits.geometry_vertices) is {limits.geometry_vertices}."
        )
    try:
        shape = shapely.from_geojson(orjson.dumps(geometry))
    except shapely.errors.ShapelyError:
        shape = None
    if shape is None or shape.is_empty:
        raise BadRequestData(
            f"'coordinates' are not those of a {kind}: a line has at least two positions, a ring at least four, "
            "of which the last is the first."
        )


def _count(coordinates: Any, levels: int, kind: str) -> int:
    """The number of positions; raises BadRequestData where the arrays are not those of the geometry."""
    layer = [coordinates]
    for _ in range(levels):
        if not all(isinstance(part, list) and part for part in layer):
            raise BadRequestData(f"'coordinates' of a {kind} must have {levels} arrays around its positions.")
        layer = [inner for part in layer for inner in part]
    for position in layer:
        if not _is_position(position):
            raise BadRequestData(
                f"'coordinates' of a {kind} must be [longitude, latitude] pairs in degrees, "
                f"got {orjson.dumps(position).decode()[:60]}."
            )
    return len(layer)


def _is_position(position: Any) -> bool:
    return (
        isinstance(position, list)
        and len(position) in (2, 3)
        and all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in position)
        and -180 <= position[0] <= 180
        and -90 <= position[1] <= 90
    )
