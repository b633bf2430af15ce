"""Queries as MongoDB filters: what they ask for, and when they promise to be exact. Answers: tests/property."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ngsild.model import LOCATION, Entity, Instance
from broker.query import cells
from broker.query.ast import (
    AllTypes,
    And,
    AnyType,
    Comparison,
    EntityQuery,
    Exists,
    GeoQuery,
    HasType,
    Or,
    Path,
    Range,
    ScopeIs,
)
from broker.query.geometry import Box
from broker.query.mongo import Filter, compile_query
from broker.query.mongo_fields import STRING_CHARACTERS, index_fields, value_key

A = "https://example.org/a"
NOTHING: Filter = {"_id": {"$in": []}}


def made(*instances: Instance, scope: list[str] | None = None) -> Entity:
    entity: Entity = {"id": "urn:e:1", "type": ["T"], "attrs": {A: list(instances)}, "createdAt": "", "modifiedAt": ""}
    if scope is not None:
        entity["scope"] = scope
    return entity


def prop(value: Any) -> Instance:
    return {"type": "Property", "value": value}


def filter_of(**conditions: Any) -> Filter:
    return compile_query(EntityQuery(**conditions)).filter


def q(operator: str, *values: Any) -> Comparison:
    return Comparison(Path(A), operator, values)  # type: ignore[arg-type]


def test_no_condition_is_the_empty_filter() -> None:
    assert compile_query(EntityQuery()) == ({}, True)


@pytest.mark.parametrize(
    "conditions",
    [
        {"ids": ("urn:e:1",)},
        {"types": AllTypes((HasType("T"), AnyType((HasType("U"), HasType("V")))))},
        {"attributes": (A,)},
        {"scope": ScopeIs(("a", "#"))},
        {"q": Exists(Path(A))},
        {"q": And((q("==", 1, "x"), Or((q(">", 2), q("<=", "2026-01-01T00:00:00Z")))))},
        {"q": q("==", Range(1, 2))},
        {"datasets": ("urn:d:1",)},
    ],
    ids=str,
)
def test_what_the_indexes_hold_whole_is_answered_exactly(conditions: dict[str, Any]) -> None:
    assert compile_query(EntityQuery(**conditions)).exact


@pytest.mark.parametrize(
    ("conditions", "narrowed"),
    [
        ({"q": q("!=", 1)}, {"names": A}),
        ({"q": q("~=", ".*(a+)+$")}, {"names": A}),
        ({"q": Exists(Path(A, ("b",)))}, {"names": A}),
        ({"q": Comparison(Path(A, members=("b",)), "==", (1,))}, {"names": A}),
        ({"q": Comparison(Path("modifiedAt"), ">", ("2026-01-01T00:00:00Z",))}, {}),
        ({"q": Or((q("!=", 1), Exists(Path("expiresAt"))))}, {}),
        ({"scope": ScopeIs(("a", "+", "c"))}, {"scopes": "/a/#"}),
        ({"scope": ScopeIs(("+", "c"))}, {"scopes": "/#"}),
        ({"id_pattern": "^urn:e:[0-9]"}, {"_id": {"$gte": "urn:e:", "$lt": "urn:e:\U0010ffff"}}),
        ({"id_pattern": "^urn:ee*"}, {"_id": {"$gte": "urn:e", "$lt": "urn:e\U0010ffff"}}),
        ({"id_pattern": "^urn:e|x"}, {}),
        ({"id_pattern": "(a+)+$"}, {}),
        ({"geo": GeoQuery("disjoint", {"type": "Point", "coordinates": [1, 2]})}, {"cells": {"$in": [f"{LOCATION} "]}}),
    ],
    ids=str,
)
def test_what_they_do_not_hold_is_narrowed_and_left_to_the_matcher(
    conditions: dict[str, Any], narrowed: Filter
) -> None:
    assert compile_query(EntityQuery(**conditions)) == (narrowed, False)


def test_a_value_is_asked_for_with_its_attribute_in_one_element() -> None:
    assert filter_of(q=q(">", 20)) == {"values": {"$elemMatch": {"n": A, "v": {"$gt": 20}}}}
    assert filter_of(q=q("==", True)) == {"values": {"$elemMatch": {"n": {"$in": [A, f">{A}"]}, "v": True}}}


def test_a_moment_is_asked_for_as_microseconds_whatever_its_text() -> None:
    assert filter_of(q=q("<", "1970-01-01T00:00:01Z")) == filter_of(q=q("<", "1970-01-01T00:00:01.000Z"))
    assert filter_of(q=q("<", "1970-01-01T00:00:01Z")) == {
        "values": {"$elemMatch": {"n": f"@{A}", "v": {"$lt": 1_000_000}}}
    }


@pytest.mark.parametrize(
    "term", [q(">", True), q("==", Range(1, "a")), q("==", Range(False, True)), q("<", Range(1, 2))]
)
def test_what_can_never_hold_selects_nothing(term: Comparison) -> None:
    assert compile_query(EntityQuery(q=term)) == (NOTHING, True)


@pytest.mark.parametrize("hostile", ["$where", "a.b", "$gt", "\0", ""])
def test_what_users_write_is_never_an_operator_or_a_field(hostile: str) -> None:
    query = EntityQuery(
        ids=(hostile,),
        types=HasType(hostile),
        attributes=(hostile,),
        q=Or((Comparison(Path(hostile), "==", (hostile,)), Exists(Path(hostile)))),
        scope=ScopeIs((hostile,)),
    )

    def fields(part: Any) -> set[str]:
        if isinstance(part, dict):
            return set(part).union(*map(fields, part.values()))
        return set().union(*map(fields, part)) if isinstance(part, list) else set()

    ours = {"$and", "$or", "$in", "$elemMatch", "_id", "types", "names", "values", "n", "v", "scopes"}
    assert fields(compile_query(query).filter) == ours
    assert bson.encode(compile_query(query).filter)


def test_long_strings_and_great_numbers_are_cut_and_the_filter_says_so() -> None:
    long = "x" * STRING_CHARACTERS
    assert compile_query(EntityQuery(q=q(">", long + "y"))) == (
        {"values": {"$elemMatch": {"n": A, "v": {"$gte": long}}}},
        False,
    )
    assert not compile_query(EntityQuery(q=q("==", 2**63))).exact
    assert compile_query(EntityQuery(q=q("==", 2**63 - 1))).exact
    assert bson.encode(filter_of(q=q("<", 10**400)))


@given(st.integers() | st.floats(allow_nan=False), st.integers() | st.floats(allow_nan=False))
def test_cutting_numbers_keeps_their_order(one: float, other: float) -> None:
    (low, low_whole), (high, high_whole) = (value_key(("number", number)) for number in sorted((one, other)))
    assert low <= high
    if low_whole or high_whole:
        assert (low == high) == (one == other)


@given(st.text("ab", max_size=8), st.text("ab", max_size=8), st.sampled_from([0, 506, 510]))
def test_cutting_strings_keeps_their_order(one: str, other: str, shared: int) -> None:
    one, other = sorted(("x" * shared + one, "x" * shared + other))
    (low, low_whole), (high, high_whole) = (value_key(("string", text)) for text in (one, other))
    assert low <= high
    if low_whole or high_whole:
        assert (low == high) == (one == other)


def test_an_entity_is_indexed_by_types_names_values_and_scopes() -> None:
    related: Instance = {"type": "Relationship", "object": ["urn:x:1", "urn:x:2"]}
    fields = index_fields(made(prop([1, True, "a", None, [5]]), prop("1970-01-01T00:00:00Z"), related, scope=["/x/y"]))
    assert fields["types"] == ["T"] and fields["names"] == [A]
    assert [(entry["n"], entry["v"]) for entry in fields["values"]] == [
        (A, 1),
        (A, True),
        (A, "a"),
        (f"@{A}", 0),
        (f">{A}", "urn:x:1"),
        (f">{A}", "urn:x:2"),
    ]
    assert fields["scopes"] == ["/#", "/x/#", "/x/y", "/x/y/#"]
    assert "cells" not in fields


def boxes(most: float) -> st.SearchStrategy[Box]:
    sides = st.floats(0, most)
    corners = st.tuples(st.floats(-200, 200), st.floats(-100, 100)) | st.tuples(st.floats(16, 18), st.floats(61, 63))
    return st.builds(lambda at, wide, high: (at[0], at[1], at[0] + wide, at[1] + high), corners, sides, sides)


@given(boxes(3) | boxes(0) | boxes(300), boxes(3) | boxes(0) | boxes(0.01))
def test_boxes_that_touch_have_a_square_in_common(stored: Box, asked: Box) -> None:
    touch = stored[0] <= asked[2] and asked[0] <= stored[2] and stored[1] <= asked[3] and asked[1] <= stored[3]
    if touch:
        assert cells.stored(stored) & set(cells.asked(asked))


def test_a_place_far_away_has_none_in_common_and_few_entries() -> None:
    umea, gothenburg = (20.26, 63.82, 20.26, 63.82), (11.97, 57.70, 11.97, 57.70)
    assert not cells.stored(umea) & set(cells.asked(gothenburg))
    assert len(cells.stored(umea)) == cells.LEVELS + 2
