from __future__ import annotations

from typing import Any

import pytest

from broker.errors import BadRequestData, InvalidRequest
from broker.ngsild.fragment import is_null
from broker.ngsild.model import LOCATION, Instance
from broker.ngsild.parse import Nulls, Rules, parse_attribute, parse_entity, parse_fragment
from tests.unit.jsonld.contexts import CORE

V = "https://uri.etsi.org/ngsi-ld/default-context/"
NULL = "urn:ngsi-ld:null"
POINT = {"type": "Point", "coordinates": [17.3, 62.4]}


def entity(**attributes: Any) -> dict[str, Any]:
    return {"id": "urn:ngsi-ld:Room:214", "type": "Room", **attributes}


def instances(value: Any, name: str = "a") -> list[Instance]:
    attrs = parse_entity(entity(**{name: value}), CORE).attrs
    assert len(attrs) == 1
    return next(iter(attrs.values()))


def refused(value: Any, name: str = "a", nulls: Nulls = "refused") -> str:
    with pytest.raises(BadRequestData) as caught:
        parse_fragment({name: value}, CORE, nulls=nulls)
    return caught.value.detail


def test_an_entity_is_parsed() -> None:
    fragment = parse_entity(
        {
            "@context": "ignored here",
            "id": "urn:ngsi-ld:Room:214",
            "type": ["Room", "Place", "Room"],
            "scope": "/Sundsvall/Skönsberg",
            "expiresAt": "2027-01-01T00:00:00Z",
            "createdAt": "whatever",
            "temperature": {
                "type": "Property",
                "value": 21.5,
                "unitCode": "CEL",
                "observedAt": "2026-11-21T00:00:00.000Z",
                "modifiedAt": "ignored",
                "instanceId": "urn:x:1",
                "accuracy": {"type": "Property", "value": 0.5},
                "observedBy": {"type": "Relationship", "object": "urn:ngsi-ld:Device:1"},
            },
        },
        CORE,
    )
    assert fragment.id == "urn:ngsi-ld:Room:214"
    assert fragment.types == [V + "Room", V + "Place"]
    assert fragment.scope == ["/Sundsvall/Skönsberg"]
    assert fragment.expires_at == "2027-01-01T00:00:00Z"
    assert fragment.attrs == {
        V + "temperature": [
            {
                "type": "Property",
                "value": 21.5,
                "unitCode": "CEL",
                "observedAt": "2026-11-21T00:00:00.000Z",
                "attrs": {
                    V + "accuracy": [{"type": "Property", "value": 0.5}],
                    V + "observedBy": [{"type": "Relationship", "object": "urn:ngsi-ld:Device:1"}],
                },
            }
        ]
    }


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"type": "Property", "value": [1, None]}, {"type": "Property", "value": [1, None]}),
        ({"value": ""}, {"type": "Property", "value": ""}),
        ("text", {"type": "Property", "value": "text"}),
        (False, {"type": "Property", "value": False}),
        ([], {"type": "Property", "value": []}),
        ([1, "a"], {"type": "Property", "value": [1, "a"]}),
        ({"street": "Storgatan"}, {"type": "Property", "value": {"street": "Storgatan"}}),
        ({"object": "urn:x:1"}, {"type": "Relationship", "object": "urn:x:1"}),
        ({"object": ["urn:x:1", "urn:x:2"]}, {"type": "Relationship", "object": ["urn:x:1", "urn:x:2"]}),
        (
            {"object": "urn:x:1", "objectType": "Device"},
            {"type": "Relationship", "object": "urn:x:1", "objectType": V + "Device"},
        ),
        (POINT, {"type": "GeoProperty", "value": POINT}),
        ({"value": POINT}, {"type": "GeoProperty", "value": POINT}),
        ({"type": "Property", "value": POINT}, {"type": "Property", "value": POINT}),
        (
            {"languageMap": {"sv": "hej", "en": ["hi", "hello"]}},
            {"type": "LanguageProperty", "languageMap": {"sv": "hej", "en": ["hi", "hello"]}},
        ),
        ({"vocab": "busy"}, {"type": "VocabProperty", "vocab": V + "busy"}),
        (
            {"vocab": ["busy", "https://x.example/y"]},
            {"type": "VocabProperty", "vocab": [V + "busy", "https://x.example/y"]},
        ),
        ({"json": {"id": "no URI", "@x": None}}, {"type": "JsonProperty", "json": {"id": "no URI", "@x": None}}),
        ({"valueList": [1, [2]]}, {"type": "ListProperty", "valueList": [1, [2]]}),
        ({"objectList": ["urn:x:1"]}, {"type": "ListRelationship", "objectList": ["urn:x:1"]}),
        (
            {"type": "ListRelationship", "objectList": [{"object": "urn:x:1"}, {"object": "urn:x:2"}]},
            {"type": "ListRelationship", "objectList": ["urn:x:1", "urn:x:2"]},
        ),
        ({"value": 1, "valueType": "Integer"}, {"type": "Property", "value": 1, "valueType": V + "Integer"}),
        ({"@type": "Property", "value": 1}, {"type": "Property", "value": 1}),
        (
            {"@type": "DateTime", "@value": "2026-11-21T00:00:00Z"},
            {"type": "Property", "value": {"@type": "DateTime", "@value": "2026-11-21T00:00:00Z"}},
        ),
        ({"dataset": {"x": 1}}, {"type": "Property", "value": {"dataset": {"x": 1}}}),
        ({"value": 1, "datasetId": "@none"}, {"type": "Property", "value": 1}),
    ],
)
def test_every_attribute_type_is_read_in_normalized_and_concise_form(given: Any, kept: Any) -> None:
    assert instances(given) == [kept]


def test_values_are_kept_as_the_very_objects() -> None:
    value = {"a.b": [1, {"$c": True}]}
    assert instances({"type": "Property", "value": value})[0]["value"] is value
    assert instances(value)[0]["value"] is value


def test_several_instances_are_told_apart_by_dataset() -> None:
    two = instances([{"type": "Property", "value": 1}, {"value": 2, "datasetId": "urn:d:1"}])
    assert two == [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:1"}]


def test_a_list_of_objects_that_are_no_instances_is_a_value() -> None:
    assert instances([{"a": 1}, {"b": 2}]) == [{"type": "Property", "value": [{"a": 1}, {"b": 2}]}]


def test_simplified_values_are_values_whatever_they_look_like() -> None:
    fragment = parse_entity(
        entity(
            a={"type": "Odd", "value": 1},
            b={"vocab": "x"},
            c=POINT,
            d=[{"value": 1}],
            e={"dataset": {"@none": 1, "urn:d:1": 2}},
        ),
        CORE,
        simplified=True,
    )
    assert fragment.attrs == {
        V + "a": [{"type": "Property", "value": {"type": "Odd", "value": 1}}],
        V + "b": [{"type": "VocabProperty", "vocab": V + "x"}],
        V + "c": [{"type": "GeoProperty", "value": POINT}],
        V + "d": [{"type": "Property", "value": [{"value": 1}]}],
        V + "e": [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:1"}],
    }


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (
            {"type": "Property", "value": 1, "observedAt": "2026-13-01"},
            "Attribute 'a': 'observedAt' must be an ISO 8601 date-time with 'Z', got '2026-13-01'.",
        ),
        ({"type": "Property", "value": 1, "observedAt": 5}, "'observedAt' must be an ISO 8601 date-time"),
        ({"type": "Property"}, "a Property must have 'value'"),
        ({"type": "Relationship", "value": 1}, "a Relationship must not have 'value'"),
        ({"type": "Relationship", "object": "no uri"}, "'object' must be a URI"),
        ({"type": "Relationship", "object": []}, "'object' must be a URI"),
        ({"type": "Relationship", "object": "urn:x:1", "unitCode": "CEL"}, "'unitCode' must not be given"),
        ({"type": "Property", "value": 1, "unitCode": 5}, "'unitCode' must be"),
        ({"type": "Property", "value": 1, "object": "urn:x:1"}, "a Property must not have 'object'"),
        ({"type": "Property", "value": 1, "previousValue": 1}, "must not have 'previousValue'"),
        ({"type": "Property", "value": 1, "datasetId": "x y"}, "'datasetId' must be a URI"),
        ({"type": "Property", "value": None}, "'value' must not be null"),
        (None, "'value' must not be null"),
        ({"type": "Thing", "value": 1}, "'type' must be one of Property"),
        ({"type": 5, "value": 1}, "'type' must be one of Property"),
        ({"type": "Property", "value": 1, "@context": {}}, "'@context' is allowed at the top"),
        ({"type": "Property", "value": 1, "a b": 1}, "'a b' is not valid"),
        ({"type": "GeoProperty", "value": "here"}, "must be a GeoJSON geometry"),
        ({"type": "LanguageProperty", "languageMap": {"sv": 5}}, "a text or a list of texts for 'sv'"),
        ({"type": "LanguageProperty", "languageMap": {"not a tag": "x"}}, "is not a language tag"),
        ({"type": "LanguageProperty", "languageMap": {}}, "'languageMap' must be an object"),
        ({"type": "VocabProperty", "vocab": 5}, "'vocab' must be a term"),
        ({"type": "ListProperty", "valueList": 5}, "'valueList' must be a list"),
        ({"type": "ListRelationship", "objectList": [{"object": "x"}]}, "'objectList' must be a list of URIs"),
        ({"type": "Property", "value": 1, "objectType": "X"}, "only a Relationship has 'objectType'"),
        ({"type": "Relationship", "object": "urn:x:1", "valueType": "X"}, "must not have 'valueType'"),
        ([{"value": 1}, {"value": 2}], "only one instance can be without 'datasetId'"),
        ([{"value": 1, "datasetId": "urn:d:1"}, {"value": 2, "datasetId": "urn:d:1"}], "got 'urn:d:1' twice"),
        ({"value": 1, "b": {"type": "Property"}}, "Attribute 'a.b': a Property must have 'value'"),
    ],
)
def test_what_breaks_a_rule_is_refused_and_named(value: Any, says: str) -> None:
    assert says in refused(value)


@pytest.mark.parametrize("name", ["datasetId", "instanceId", "value", "object", "observedAt", "unitCode", "entity"])
def test_members_of_attributes_cannot_name_attributes(name: str) -> None:
    assert f"cannot be named '{name}'" in refused({"type": "Property", "value": 1}, name)


def test_one_attribute_under_two_names_is_refused() -> None:
    with pytest.raises(BadRequestData, match="given twice"):
        parse_entity({**entity(temperature=1), V + "temperature": 2}, CORE)


def test_the_location_must_be_a_geometry() -> None:
    assert "must be a GeoProperty" in refused({"type": "Property", "value": "Sundsvall"}, "location")
    assert instances(POINT, "location") == [{"type": "GeoProperty", "value": POINT}]
    assert parse_fragment({"location": NULL}, CORE, nulls="whole").attrs[LOCATION]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"type": "Room"}, "must have an 'id'"),
        ({"id": "urn:x:1"}, "must have a 'type'"),
        ({"id": "room 214", "type": "Room"}, "'id' must be a URI, got 'room 214'"),
        ({"id": 5, "type": "Room"}, "'id' must be a URI"),
        ({"id": "urn:x:1", "type": []}, "'type' must be one or more type names"),
        ({"id": "urn:x:1", "type": [5]}, "'type' must be one or more type names"),
        ({"id": "urn:x:1", "type": "a b"}, "'a b' is not valid"),
        ({"id": "urn:x:1", "type": "type"}, "JSON-LD uses itself"),
        ({"id": "urn:x:1", "type": "Room", "scope": "/a b"}, "'scope' must be like"),
        ({"id": "urn:x:1", "type": "Room", "scope": []}, "'scope' must be one or more"),
        ({"id": "urn:x:1", "type": "Room", "expiresAt": "soon"}, "'expiresAt' must be"),
    ],
)
def test_an_entity_that_is_none_is_refused(document: Any, says: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        parse_entity(document, CORE)
    assert says in caught.value.detail


@pytest.mark.parametrize("document", [[], "Room", 5, None])
def test_what_is_no_object_is_no_entity(document: Any) -> None:
    with pytest.raises(InvalidRequest, match="must be a JSON object"):
        parse_entity(document, CORE)


def test_attributes_of_attributes_have_a_depth_limit() -> None:
    value: dict[str, Any] = {"value": 1}
    for _ in range(3):
        value = {"value": 1, "sub": value}
    parse_fragment({"a": value}, CORE, Rules(attribute_depth=4))
    with pytest.raises(BadRequestData, match="deeper than the limit of 3 levels"):
        parse_fragment({"a": value}, CORE, Rules(attribute_depth=3))


@pytest.mark.parametrize(
    "null",
    [
        NULL,
        {"type": "Property", "value": NULL},
        {"value": NULL},
        {"object": NULL},
        {"type": "ListProperty", "valueList": [NULL]},
        {"objectList": [NULL]},
        {"languageMap": {"@none": NULL}},
        {"vocab": NULL},
        {"json": NULL},
        {"type": "GeoProperty", "value": NULL},
    ],
)
def test_ngsi_ld_null_asks_for_deletion_in_updates_only(null: Any) -> None:
    assert "asks for a deletion" in refused(null)
    (instance,) = parse_fragment({"a": null}, CORE, nulls="whole").attrs[V + "a"]
    assert is_null(instance)


def test_ngsi_ld_null_inside_a_value_is_for_merge_only() -> None:
    inner = {"value": {"street": {"number": NULL}}}
    assert "asks for a deletion" in refused(inner)
    assert "asks for a deletion" in refused(inner, nulls="whole")
    assert parse_fragment({"a": inner}, CORE, nulls="deep").attrs[V + "a"][0]["value"] == inner["value"]


def test_the_dataset_of_an_instance_cannot_be_null() -> None:
    assert "'datasetId' cannot be NGSI-LD Null" in refused({"value": 1, "datasetId": NULL}, nulls="whole")


def test_a_fragment_says_what_is_to_be_removed() -> None:
    fragment = parse_fragment(
        {"scope": NULL, "expiresAt": NULL, "a": {"value": 1, "unitCode": NULL}}, CORE, nulls="whole"
    )
    assert fragment.scope == []
    assert fragment.expires_at == NULL
    assert fragment.attrs[V + "a"][0]["unitCode"] == NULL


def test_a_fragment_of_one_attribute_may_leave_out_type_and_value() -> None:
    assert parse_attribute("a", {"unitCode": "CEL"}, CORE) == {"type": "", "unitCode": "CEL"}
    assert parse_attribute("a", {"value": 5}, CORE) == {"type": "Property", "value": 5}
    assert parse_attribute("a", {"value": 5, "@context": "https://x.example"}, CORE)["value"] == 5
    assert parse_attribute("a", 5, CORE) == {"type": "Property", "value": 5}
    with pytest.raises(BadRequestData, match="must have 'value'"):
        parse_attribute("a", {"type": "Property", "unitCode": "CEL"}, CORE, whole=True)
    with pytest.raises(BadRequestData, match="one instance"):
        parse_attribute("a", [{"value": 5}], CORE)
    with pytest.raises(BadRequestData, match=r"'a\.b': a Property must have"):
        parse_attribute("a", {"b": {"type": "Property"}}, CORE)
