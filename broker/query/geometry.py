"""GeoJSON geometries (RFC 7946) as shapely's, distances along the earth's surface, and boxes to narrow with.

Coordinates are longitude, latitude in degrees (WGS 84); distances are metres on a sphere of the earth's mean radius,
which is within 0.6 % of the ellipsoid.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import asin, cos, degrees, radians, sin, sqrt
from typing import Any

import orjson
import shapely
from shapely.geometry.base import BaseGeometry

EARTH_RADIUS = 6_371_008.8
"""Mean radius of the earth, metres (IUGG)."""

CACHED_GEOMETRIES = 8192
"""Geometries kept as shapely objects, count: a city's fixed places fit."""

Position = tuple[float, float]
Box = tuple[float, float, float, float]
"""West, south, east, north in degrees; west <= east."""


def position_of(geometry: Any) -> Position | None:
    """The position of a GeoJSON Point on the earth, or None when it is something else."""
    if isinstance(geometry, dict) and geometry.get("type") == "Point":
        coordinates = geometry.get("coordinates")
        if isinstance(coordinates, list) and len(coordinates) in (2, 3) and all(map(_is_number, coordinates)):
            longitude, latitude = coordinates[:2]
            if -180 <= longitude <= 180 and -90 <= latitude <= 90:
                return longitude, latitude
    return None


def shape_of(geometry: Any) -> BaseGeometry | None:
    """The shapely geometry of a GeoJSON geometry, cached by its text; None when it is not a valid one on the earth."""
    if not isinstance(geometry, dict):
        return None
    return _shape(orjson.dumps(geometry, option=orjson.OPT_SORT_KEYS))


@lru_cache(maxsize=CACHED_GEOMETRIES)
def _shape(text: bytes) -> BaseGeometry | None:
    geometry = orjson.loads(text)
    if not isinstance(geometry.get("type"), str) or not all(map(_is_number, _leaves(geometry.get("coordinates")))):
        return None
    try:
        shape = shapely.from_geojson(text)
    except shapely.errors.ShapelyError:
        return None
    if shape is None or shape.is_empty:
        return None
    if not shape.is_valid:
        # RFC 7946 does not forbid rings that cross themselves; they mean what their edges enclose.
        shape = shapely.make_valid(shape)
        if shape.is_empty:
            return None
    west, south, east, north = shape.bounds
    return shape if west >= -180 and south >= -90 and east <= 180 and north <= 90 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _leaves(value: Any) -> Iterator[Any]:
    layer = [value]
    while layer:
        inner = layer.pop()
        if isinstance(inner, list):
            layer.extend(inner)
        else:
            yield inner


def haversine(one: Position, other: Position) -> float:
    """Metres between two positions along the great circle."""
    latitude, longitude = radians(one[1]), radians(other[1])
    half_latitude = sin((longitude - latitude) / 2)
    half_longitude = sin(radians(other[0] - one[0]) / 2)
    chord = half_latitude * half_latitude + cos(latitude) * cos(longitude) * half_longitude * half_longitude
    return 2 * EARTH_RADIUS * asin(min(1.0, sqrt(chord)))


def distance(one: BaseGeometry, other: BaseGeometry) -> float:
    """Metres between the nearest points of two geometries; 0 when they touch.

    Exact for points. For others the nearest points are sought in a plane that shows both to scale at their middle
    latitude, across the antimeridian too, and measured on the sphere: sound for what a city or a country spans.
    """
    if one.geom_type == "Point" and other.geom_type == "Point":
        return haversine((one.x, one.y), (other.x, other.y))
    south = min(one.bounds[1], other.bounds[1])
    north = max(one.bounds[3], other.bounds[3])
    scale = max(cos(radians((south + north) / 2)), 0.01)
    here = _scaled(one, scale, 0.0)
    nearest = float("inf")
    across = max(one.bounds[2], other.bounds[2]) - min(one.bounds[0], other.bounds[0]) > 180
    for turn in (0.0, 360.0, -360.0) if across else (0.0,):
        ends = shapely.shortest_line(here, _scaled(other, scale, turn)).coords
        (x1, y1), (x2, y2) = ends[0][:2], ends[1][:2]
        nearest = min(nearest, haversine((x1 / scale, y1), (x2 / scale, y2)))
    return nearest


def _scaled(shape: BaseGeometry, scale: float, turn: float) -> BaseGeometry:
    def place(positions: Any) -> Any:
        positions[:, 0] = (positions[:, 0] + turn) * scale
        return positions

    return shapely.transform(shape, place)


def bounds(geometry: Any) -> Box | None:
    """The box around a GeoJSON geometry, or None when it is not a valid one."""
    position = position_of(geometry)
    if position is not None:
        return position[0], position[1], position[0], position[1]
    shape = shape_of(geometry)
    return None if shape is None else tuple(shape.bounds)


def box_around(geometry: Any, metres: float) -> Box | None:
    """A box that surely holds every point within `metres` of the geometry.

    None where a box would not narrow safely: near a pole, across the antimeridian, or without a valid geometry.
    """
    box = bounds(geometry)
    if box is None:
        return None
    # A hundredth more than needed: the plane in `distance` is not exact for wide shapes.
    west, south, east, north = box
    latitude_margin = degrees(metres * 1.01 / EARTH_RADIUS) + 1e-9
    south, north = south - latitude_margin, north + latitude_margin
    if south <= -85 or north >= 85:
        return None
    longitude_margin = latitude_margin / cos(radians(max(abs(south), abs(north))))
    west, east = west - longitude_margin, east + longitude_margin
    if west < -180 or east > 180:
        return None
    return west, south, east, north
