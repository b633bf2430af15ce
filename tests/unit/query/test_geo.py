from __future__ import annotations

import pytest

from broker.config import Limits
from broker.errors import BadRequestData, TooComplexQuery
from broker.ngsild.model import LOCATION
from broker.query.ast import GeoQuery
from broker.query.geo import parse_geo
from tests.unit.query.printing import VOCAB, expand

LIMITS = Limits()
SQUARE = "[[[17,62],[18,62],[18,63],[17,63],[17,62]]]"


def parse(georel: str, geometry: str, coordinates: str, geoproperty: str | None = None) -> GeoQuery:
    return parse_geo(georel, geometry, coordinates, geoproperty, expand, LIMITS)


def test_near_takes_a_largest_or_a_smallest_distance() -> None:
    point = {"type": "Point", "coordinates": [8, 40]}
    assert parse("near;maxDistance==2000", "Point", "[8,40]") == GeoQuery("near", point, LOCATION, 2000.0, None)
    assert parse("near;minDistance==1.5e3", "Point", "[8,40]", "observationSpace") == GeoQuery(
        "near", point, VOCAB + "observationSpace", None, 1500.0
    )
    with pytest.raises(BadRequestData, match="one distance"):
        parse("near;maxDistance==9;minDistance==1", "Point", "[8,40]")


@pytest.mark.parametrize("georel", ["within", "contains", "overlaps", "intersects", "equals", "disjoint"])
@pytest.mark.parametrize(
    ("geometry", "coordinates"),
    [
        ("Point", "[17.3,62.4]"),
        ("MultiPoint", "[[17,62],[18,63,12.5]]"),
        ("LineString", "[[17,62],[18,63]]"),
        ("MultiLineString", "[[[17,62],[18,63]],[[17,61],[18,60]]]"),
        ("Polygon", SQUARE),
        ("MultiPolygon", f"[{SQUARE}]"),
    ],
)
def test_every_relation_goes_with_every_geometry(georel: str, geometry: str, coordinates: str) -> None:
    read = parse(georel, geometry, coordinates)
    assert (read.relation, read.geometry["type"]) == (georel, geometry)


@pytest.mark.parametrize(
    "georel",
    [
        "near",
        "near;",
        "near;maxDistance==0",
        "near;maxDistance==-1",
        "near;maxDistance=5",
        "near;maxDistance==1e999",
        "near;maxDistance==1;maxDistance==2",
        "within;maxDistance==5",
        "touches",
        "",
    ],
)
def test_a_broken_georel_is_refused(georel: str) -> None:
    with pytest.raises(BadRequestData, match="'georel'"):
        parse(georel, "Point", "[8,40]")


@pytest.mark.parametrize(
    ("geometry", "coordinates", "complaint"),
    [
        ("GeometryCollection", "[]", "'geometry' must be one of Point"),
        ("point", "[8,40]", "'geometry' must be one of Point"),
        ("Point", "8,40", "'coordinates' must be a JSON array"),
        ("Point", "[" * 5000, "'coordinates' must be a JSON array"),
        ("Point", "[8]", "pairs in degrees, got \\[8\\]"),
        ("Point", "[181,40]", "pairs in degrees"),
        ("Point", "[8,90.1]", "pairs in degrees"),
        ("Point", "[true,40]", "pairs in degrees"),
        ("Point", '["8",40]', "pairs in degrees"),
        ("Point", "null", "pairs in degrees"),
        ("Point", "{}", "pairs in degrees"),
        ("Polygon", "[8,40]", "must have 2 arrays around"),
        ("Polygon", "[]", "must have 2 arrays around"),
        ("LineString", "[[8,40]]", "a line has at least two positions"),
        ("Polygon", "[[[17,62],[18,62],[18,63],[17,63]]]", "of which the last is the first"),
    ],
)
def test_a_broken_geometry_is_refused(geometry: str, coordinates: str, complaint: str) -> None:
    with pytest.raises(BadRequestData, match=complaint):
        parse("within", geometry, coordinates)


def test_too_many_positions_are_too_complex() -> None:
    with pytest.raises(TooComplexQuery, match="geometry_vertices"):
        parse("within", "MultiPoint", "[" + ",".join(["[1,1]"] * 10_001) + "]")
