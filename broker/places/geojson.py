"""Places as GeoJSON: a FeatureCollection, or one Feature (RFC 7946). Pure.

    geometry             -> location
    id, or property id   -> id         property type   -> type         property parent -> what it is within
    any other property   -> attribute: a value alone, or an NGSI-LD attribute, so that what NGSI-LD gives as GeoJSON
                            (clause 4.5.16) can be imported again

Coordinates are longitude and latitude, as GeoJSON has them, or SWEREF 99 TM, east first, where the member 'crs' of older
GeoJSON or the request says so.
"""

from __future__ import annotations

from typing import Any, Final

from broker.errors import BadRequestData
from broker.places.given import READ, SWEREF99TM, WGS84, Crs, Given, Options

_CRS_NAMES: Final[dict[str, Crs]] = {
    "urn:ogc:def:crs:EPSG::3006": SWEREF99TM,
    "EPSG:3006": SWEREF99TM,
    "urn:ogc:def:crs:OGC:1.3:CRS84": WGS84,
    "urn:ogc:def:crs:EPSG::4326": WGS84,
    "EPSG:4326": WGS84,
}


def read_geojson(document: Any, options: Options) -> list[Given]:
    """The rows of a document. BadRequestData when it is no GeoJSON, or too long."""
    kind = document.get("type") if isinstance(document, dict) else None
    features = document.get("features") if kind == "FeatureCollection" else [document]
    if kind not in ("FeatureCollection", "Feature") or not isinstance(features, list):
        raise BadRequestData("The body must be a GeoJSON FeatureCollection, or a Feature.")
    if len(features) > options.most:
        raise BadRequestData(
            f"The file has {len(features)} places; the limit (places.import_rows) is {options.most}: send it in parts."
        )
    crs = _crs(document, options.crs)
    return [_feature(feature, row, crs, options) for row, feature in enumerate(features, start=1)]


def _crs(document: dict[str, Any], wanted: Crs | None) -> Crs:
    if document.get("crs") is None:
        return wanted or WGS84
    properties = document["crs"].get("properties") if isinstance(document["crs"], dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    said = _CRS_NAMES.get(name) if isinstance(name, str) else None
    if said is None:
        raise BadRequestData(f"The file's 'crs' must be {WGS84} or {SWEREF99TM}, got '{str(name)[:60]}'.")
    if wanted not in (None, said):
        raise BadRequestData(f"The file's 'crs' is {said}, the request says {wanted}.")
    return said


def _feature(feature: Any, row: int, crs: Crs, options: Options) -> Given:
    given = Given(row)
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        given.wrong(None, "This is not a GeoJSON Feature.")
        return given
    properties = feature.get("properties")
    properties = {} if properties is None else properties
    if not isinstance(properties, dict):
        given.wrong("properties", "'properties' must be a JSON object.")
        return given
    meant: dict[str, Any] = {}
    for name, value in properties.items():
        member = options.meant(name)
        if member in meant and meant[member] is not None:
            given.wrong(name, f"'{member}' is given twice.")
        elif member not in meant or value is not None:
            meant[member] = value
    given.id = _key(given, "id", meant.pop("id", None) or feature.get("id"))
    given.type = _text(given, "type", meant.pop("type", None))
    given.parent = _key(given, "parent", meant.pop("parent", None))
    given.attributes = {name: value for name, value in meant.items() if value is not None}
    geometry = feature.get("geometry")
    if geometry is not None:
        try:
            given.attributes["location"] = {"type": "GeoProperty", "value": _degrees(geometry, crs)}
        except BadRequestData as error:
            given.wrong("geometry", error.detail)
    return given


def _key(given: Given, member: str, value: Any) -> str:
    """An id as the file has it: a text, or a whole number."""
    if value is None or (isinstance(value, str) and value.strip()):
        return value.strip() if value is not None else ""
    if type(value) is int:
        return str(value)
    if member == "parent" and isinstance(value, dict) and isinstance(value.get("object"), str):
        return str(value["object"])
    given.wrong(member, f"'{member}' must be a text or a whole number.")
    return ""


def _text(given: Given, member: str, value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, str):
        return (value or "").strip()
    given.wrong(member, f"'{member}' must be a text.")
    return ""


def _degrees(geometry: Any, crs: Crs) -> Any:
    """The geometry, in degrees. What is no geometry is given back as it is, to be refused where geometries are checked."""
    if crs == WGS84 or not isinstance(geometry, dict) or "coordinates" not in geometry:
        return geometry
    return {**geometry, "coordinates": _turned(geometry["coordinates"], crs)}


def _turned(coordinates: Any, crs: Crs) -> Any:
    if not isinstance(coordinates, list):
        return coordinates
    numbers = [type(each) in (int, float) for each in coordinates[:2]]
    if len(numbers) == 2 and all(numbers):
        return [*READ[crs](*coordinates[:2]), *coordinates[2:]]
    return [_turned(each, crs) for each in coordinates]
