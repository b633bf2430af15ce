"""A Query in a body is the query that a URL would say (ETSI GS CIM 009 v1.9.1, 5.2.23)."""

from __future__ import annotations

from typing import Any

import pytest

from broker.config import Limits
from broker.errors import BadRequestData
from broker.query.ast import EntitySelector, HasType
from broker.query.body import read_query
from tests.support.stores import VOCAB, iri


def read(**members: Any) -> tuple[dict[str, str], tuple[EntitySelector, ...]]:
    return read_query({"type": "Query", **members}, iri, Limits())


def test_members_become_parameters() -> None:
    given, selectors = read(
        q="a>1",
        attrs=["a", "b"],
        geoQ={"georel": "near;maxDistance==10", "geometry": "Point", "coordinates": [1, 2]},
        ordering={"orderBy": ["a;desc", "b"], "collation": "sv", "coordinates": [8, 40], "geometry": "Point"},
        joinLevel=2,
        join="flat",
        entityMap=True,
    )
    assert given == {
        "q": "a>1",
        "attrs": "a,b",
        "georel": "near;maxDistance==10",
        "geometry": "Point",
        "coordinates": "[1,2]",
        "orderBy": "a;desc,b",
        "collation": "sv",
        "orderFrom": "[8,40]",
        "orderGeometry": "Point",
        "joinLevel": "2",
        "join": "flat",
        "entityMap": "true",
    }
    assert selectors == ()


def test_selectors_stand_beside_each_other() -> None:
    _, selectors = read(
        entities=[{"type": "T", "id": ["urn:x:1"], "idPattern": "never"}, {"type": "*", "idPattern": "^urn:y"}]
    )
    assert selectors == (
        EntitySelector(("urn:x:1",), None, HasType(VOCAB + "T")),
        EntitySelector((), "^urn:y", None),
    )


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "must be a JSON object"),
        ({}, "'type' Query"),
        ({"type": "Query", "limit": 5}, "no member 'limit'"),
        ({"type": "Query", "entities": []}, "'entities'"),
        ({"type": "Query", "entities": [{"id": "urn:x:1"}]}, "must have a 'type'"),
        ({"type": "Query", "entities": [{"type": "T", "id": "no uri"}]}, "'entities.id'"),
        ({"type": "Query", "entities": [{"type": "T", "id": []}]}, "'entities.id'"),
        ({"type": "Query", "q": 5}, "'q'"),
        ({"type": "Query", "attrs": []}, "'attrs'"),
        ({"type": "Query", "joinLevel": 0}, "'joinLevel'"),
        ({"type": "Query", "entityMap": "yes"}, "'entityMap'"),
        ({"type": "Query", "geoQ": "near"}, "'geoQ'"),
        ({"type": "Query", "ordering": {}}, "'orderBy'"),
        ({"type": "Query", "temporalQ": {}}, "temporal evolution"),
    ],
)
def test_what_is_no_query_is_refused_by_its_member(document: Any, says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        read_query(document, iri, Limits())
    assert says in caught.value.detail
