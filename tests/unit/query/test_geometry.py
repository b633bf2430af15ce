from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from broker.query.geometry import bounds, box_around, distance, haversine, position_of, shape_of

SUNDSVALL, GOTHENBURG = (17.3063, 62.3908), (11.9746, 57.7089)


def point(longitude: float, latitude: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [longitude, latitude]}


def line(*positions: tuple[float, float]) -> dict[str, Any]:
    return {"type": "LineString", "coordinates": [list(position) for position in positions]}


def shape(geometry: dict[str, Any]) -> BaseGeometry:
    made = shape_of(geometry)
    assert made is not None
    return made


def test_distances_are_those_of_the_map() -> None:
    assert haversine(SUNDSVALL, GOTHENBURG) == pytest.approx(597_500, rel=0.01)
    assert haversine((0, 0), (0, 1)) == pytest.approx(111_195, rel=0.001)
    assert haversine((0, 0), (180, 0)) == pytest.approx(20_015_114, rel=0.001)


def test_a_point_beside_a_street_is_as_far_as_the_nearest_point_of_the_street() -> None:
    street = shape(line((17.30, 62.39), (17.32, 62.39)))
    assert distance(street, shape(point(17.31, 62.391))) == pytest.approx(111.2, rel=0.01)
    assert distance(street, shape(point(17.33, 62.39))) == pytest.approx(haversine((17.32, 62.39), (17.33, 62.39)))
    assert distance(street, shape(point(17.31, 62.39))) == 0.0


def test_distances_cross_the_antimeridian() -> None:
    one, other = line((179.9, 10), (179.95, 10)), line((-179.95, 10), (-179.9, 10))
    assert distance(shape(one), shape(other)) == pytest.approx(haversine((179.95, 10), (-179.95, 10)))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "POINT (1 2)",
        [1, 2],
        {},
        {"type": "Point"},
        {"type": "Point", "coordinates": []},
        {"type": "Point", "coordinates": [True, 1]},
        {"type": "Point", "coordinates": ["1", 2]},
        {"type": "Point", "coordinates": [377, 62]},
        {"type": "LineString", "coordinates": [[0, 0], [0, 91]]},
        {"type": "LineString", "coordinates": [[0, 0]]},
        {"type": "Circle", "coordinates": [0, 0]},
        {"type": ["Point"], "coordinates": [0, 0]},
    ],
)
def test_what_is_no_geometry_has_no_shape(value: Any) -> None:
    assert shape_of(value) is None
    assert bounds(value) is None
    assert box_around(value, 10) is None


def test_a_ring_that_crosses_itself_is_what_its_edges_enclose() -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    shape = shape_of(bow_tie)
    assert shape is not None and shape.area == 0.5


def test_a_box_is_not_offered_where_it_could_be_wrong() -> None:
    assert box_around(point(17, 89), 10) is None
    assert box_around(point(179.9999, 10), 1000) is None
    assert box_around(point(17, 62), 10_000_000) is None


POSITIONS = st.tuples(st.floats(-179, 179), st.floats(-80, 80))


@given(POSITIONS, POSITIONS, st.floats(1, 500_000))
def test_what_is_within_the_distance_is_in_the_box(
    centre: tuple[float, float], other: tuple[float, float], metres: float
) -> None:
    box = box_around(point(*centre), metres)
    if box is not None and haversine(centre, other) <= metres:
        west, south, east, north = box
        assert west <= other[0] <= east
        assert south <= other[1] <= north


@given(POSITIONS, POSITIONS, st.floats(0, 5), st.floats(0, 5), st.floats(1, 100_000))
def test_a_line_within_the_distance_of_another_is_in_its_box(
    one: tuple[float, float], other: tuple[float, float], wide: float, high: float, metres: float
) -> None:
    here = line(one, (one[0] + wide / 10 + 0.001, one[1] + high / 10))
    box = box_around(here, metres)
    there = line(other, (other[0] + 0.1, other[1] + 0.1))
    if box is not None and distance(shape(here), shape(there)) <= metres:
        found = bounds(there)
        assert found is not None
        assert found[0] <= box[2] and found[2] >= box[0] and found[1] <= box[3] and found[3] >= box[1]


def test_a_position_is_read_only_from_a_point() -> None:
    assert position_of(point(1, 2)) == (1, 2)
    assert position_of(line((1, 2), (3, 4))) is None
