from __future__ import annotations

from typing import Any

import pytest

from broker.errors import BadRequestData
from broker.ngsild.geometry import check_geometry

RING = [[0, 0], [1, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("kind", "coordinates"),
    [
        ("Point", [17.3, 62.4]),
        ("Point", [-180, -90, 12.5]),
        ("MultiPoint", [[0, 0], [1, 1]]),
        ("LineString", [[0, 0], [1, 1]]),
        ("MultiLineString", [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]),
        ("Polygon", [RING]),
        ("Polygon", [RING, RING]),
        ("MultiPolygon", [[RING], [RING, RING]]),
    ],
)
def test_every_geometry_is_accepted(kind: str, coordinates: Any) -> None:
    check_geometry({"type": kind, "coordinates": coordinates}, "It", 100)


@pytest.mark.parametrize(
    ("geometry", "says"),
    [
        (None, "must be a GeoJSON geometry object"),
        ({"coordinates": [0, 0]}, "of type Point"),
        ({"type": ["Point"], "coordinates": [0, 0]}, "of type Point"),
        ({"type": "GeometryCollection", "geometries": []}, "of type Point"),
        ({"type": "Point"}, "must have 'coordinates'"),
        ({"type": "Point", "coordinates": []}, "a position is"),
        ({"type": "Point", "coordinates": [1]}, "a position is"),
        ({"type": "Point", "coordinates": [1, 2, 3, 4]}, "a position is"),
        ({"type": "Point", "coordinates": ["1", "2"]}, "must be numbers"),
        ({"type": "Point", "coordinates": [True, False]}, "must be numbers"),
        ({"type": "Point", "coordinates": [62.4, 117.3]}, "longitude must be in"),
        ({"type": "Point", "coordinates": [float("nan"), 0]}, "longitude must be in"),
        ({"type": "Point", "coordinates": 5}, "a position is"),
        ({"type": "LineString", "coordinates": [[0, 0]]}, "at least 2 positions"),
        ({"type": "LineString", "coordinates": [0, 0]}, "a position is"),
        ({"type": "MultiPoint", "coordinates": 5}, "not nested"),
        ({"type": "Polygon", "coordinates": RING}, "a position is"),
        ({"type": "Polygon", "coordinates": [RING[:3]]}, "at least 4 positions"),
        ({"type": "Polygon", "coordinates": [[*RING[:3], [5, 5]]]}, "end where it begins"),
        ({"type": "MultiPolygon", "coordinates": []}, "must not be empty"),
        ({"type": "Polygon", "coordinates": {}}, "not nested"),
        ({"type": "MultiPoint", "coordinates": [[0, 0]] * 101}, "more than 100 vertices"),
    ],
)
def test_what_is_no_geometry_is_refused(geometry: Any, says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        check_geometry(geometry, "It", 100)
    assert says in caught.value.detail
