"""GeoJSON geometries: are they valid, and within the vertex limit. No copies are made.

Source: RFC 7946, 3.1; ETSI GS CIM 009 v1.9.1, 4.7.1 (all geometries but GeometryCollection).
"""

from __future__ import annotations

from typing import Any, Final

from broker.errors import BadRequestData

# Nesting of arrays between "coordinates" and a position.
GEOMETRIES: Final[dict[str, int]] = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}


def looks_like_geometry(value: Any) -> bool:
    """Whether `value` says that it is a geometry, valid or not."""
    if type(value) is not dict or "coordinates" not in value:
        return False
    kind = value.get("type")
    return type(kind) is str and kind in GEOMETRIES


def check_geometry(value: Any, where: str, vertices: int) -> None:
    """Raise BadRequestData unless `value` is a valid geometry of at most `vertices` positions."""
    if type(value) is not dict:
        raise BadRequestData(f"{where} must be a GeoJSON geometry object, got {_shown(value)}.")
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in GEOMETRIES:
        raise BadRequestData(
            f"{where} must be a GeoJSON geometry of type {', '.join(GEOMETRIES)}, got type {_shown(kind)}."
        )
    if "coordinates" not in value:
        raise BadRequestData(f"{where} must have 'coordinates'.")
    layer = [value["coordinates"]]
    for _ in range(GEOMETRIES[kind]):
        if not all(type(inner) is list for inner in layer):
            raise BadRequestData(f"{where}: the 'coordinates' of a {kind} are not nested as RFC 7946 says.")
        if kind.endswith("LineString"):
            lines = layer
        elif kind.endswith("Polygon"):
            rings = layer
        layer = [inner for outer in layer for inner in outer]
        if len(layer) > vertices:
            raise BadRequestData(f"{where} has more than {vertices} vertices, which is the limit.")
    if not layer:
        raise BadRequestData(f"{where}: the 'coordinates' of a {kind} must not be empty.")
    for position in layer:
        _check_position(position, where)
    if kind.endswith("LineString"):
        if any(len(line) < 2 for line in lines):
            raise BadRequestData(f"{where}: a line must have at least 2 positions.")
    elif kind.endswith("Polygon") and any(len(ring) < 4 or ring[0] != ring[-1] for ring in rings):
        raise BadRequestData(f"{where}: a ring of a polygon must have at least 4 positions and end where it begins.")


def _check_position(position: Any, where: str) -> None:
    if type(position) is not list or not 2 <= len(position) <= 3:
        raise BadRequestData(
            f"{where}: a position is [longitude, latitude] or [longitude, latitude, altitude], got {_shown(position)}."
        )
    for number in position:
        if type(number) is not float and type(number) is not int:
            raise BadRequestData(f"{where}: a position must be numbers, got {_shown(number)}.")
    if not (-180 <= position[0] <= 180 and -90 <= position[1] <= 90):
        raise BadRequestData(
            f"{where}: longitude must be in -180..180 and latitude in -90..90 (in this order), got {_shown(position)}."
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
