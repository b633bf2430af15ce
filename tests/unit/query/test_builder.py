from __future__ import annotations

import pytest

from broker.config import Limits
from broker.errors import BadRequestData, BrokerError, TooManyResults
from broker.ngsild.model import LOCATION
from broker.query.ast import AnyType, Comparison, EntityQuery, GeoQuery, HasType, Path, ScopeIs
from broker.query.builder import entity_query
from tests.unit.query.printing import VOCAB, expand

LIMITS = Limits()


def build(**parameters: str) -> EntityQuery:
    return entity_query(parameters, expand, LIMITS)


def test_all_parameters_of_a_request_make_one_query() -> None:
    assert build(
        id="urn:a:1,urn:a:2",
        idPattern="^urn:a",
        type="A,B",
        attrs="t,u",
        q="t>5",
        georel="near;maxDistance==100",
        geometry="Point",
        coordinates="[17.3,62.4]",
        scopeQ="/a/#",
        datasetId="urn:d:1,@none",
        limit="5",
        offset="10",
        count="true",
        options="keyValues",
    ) == EntityQuery(
        ids=("urn:a:1", "urn:a:2"),
        id_pattern="^urn:a",
        types=AnyType((HasType(VOCAB + "A"), HasType(VOCAB + "B"))),
        attributes=(VOCAB + "t", VOCAB + "u"),
        q=Comparison(Path(VOCAB + "t"), ">", (5,)),
        geo=GeoQuery("near", {"type": "Point", "coordinates": [17.3, 62.4]}, LOCATION, 100.0),
        scope=ScopeIs(("a", "#")),
        datasets=("urn:d:1", "@none"),
        limit=5,
        offset=10,
        count=True,
    )


def test_what_is_not_given_is_no_condition() -> None:
    assert build(type="A") == EntityQuery(types=HasType(VOCAB + "A"))
    assert build(type="*") == EntityQuery()
    assert build(local="true") == EntityQuery()
    assert entity_query({}, expand, LIMITS, narrowed=False) == EntityQuery()


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"id": "urn:a:1"},
        {"idPattern": "x"},
        {"scopeQ": "/a"},
        {"attrs": "modifiedAt"},
        {"q": "modifiedAt>2026-01-01T00:00:00Z"},
        {"local": "false"},
    ],
)
def test_a_query_without_type_attribute_or_area_is_too_wide(parameters: dict[str, str]) -> None:
    with pytest.raises(BadRequestData, match="too wide"):
        entity_query(parameters, expand, LIMITS)


def test_expand_values_and_json_keys_say_how_values_are_read() -> None:
    query = build(q="gender==Male", expandValues="gender")
    assert query.q == Comparison(Path(VOCAB + "gender"), "==", (VOCAB + "Male",))
    with pytest.raises(BadRequestData):
        build(q="gender==Male", expandValues="gender", jsonKeys="gender")


def test_a_count_alone_asks_for_no_entity() -> None:
    assert build(type="A", limit="0", count="true").limit == 0


@pytest.mark.parametrize(
    ("parameters", "error", "complaint"),
    [
        ({"limit": "0"}, BadRequestData, "'limit' must be at least 1"),
        ({"limit": "-1"}, BadRequestData, "'limit' must be a whole number from 0, got '-1'"),
        ({"limit": "ten"}, BadRequestData, "'limit'"),
        ({"limit": "1001"}, TooManyResults, "'limit' must be at most 1000"),
        ({"offset": "-1"}, BadRequestData, "'offset'"),
        ({"offset": "9" * 5000}, BadRequestData, "'offset'"),
        ({"offset": "٣"}, BadRequestData, "'offset'"),
        ({"count": "yes"}, BadRequestData, "'count' must be true or false, got 'yes'"),
        ({"id": "urn:a:1,room"}, BadRequestData, "'id' must be a list of URIs, got 'room'"),
        ({"id": ""}, BadRequestData, "'id' must be a list"),
        ({"attrs": "a,,b"}, BadRequestData, "'attrs' must be a list"),
        ({"idPattern": "("}, BadRequestData, "'idPattern' is not valid"),
        ({"datasetId": "none"}, BadRequestData, "'datasetId' must be a list of URIs or '@none'"),
        ({"georel": "within"}, BadRequestData, "'geometry' is missing"),
        ({"geometry": "Point", "coordinates": "[1,2]"}, BadRequestData, "'georel' is missing"),
        ({"q": ""}, BadRequestData, "'q' must have an attribute name"),
        ({"scopeQ": ""}, BadRequestData, "'scopeQ' must have a scope"),
    ],
)
def test_an_error_names_the_parameter(parameters: dict[str, str], error: type[BrokerError], complaint: str) -> None:
    with pytest.raises(error, match=complaint.replace("(", r"\(")):
        build(**({"type": "A"} | parameters))
