"""Entities for those who know an earlier version (ETSI GS CIM 009 v1.9.1, 4.3.6.8)."""

from typing import Any

import pytest

from broker.ngsild.fallback import NATIVE, Version, conform
from broker.ngsild.model import DEFAULT_VOCAB, Entity

T = "2026-01-01T00:00:00.000Z"


class Plain:
    """Names without a @context."""

    def expand(self, term: str) -> str:
        return DEFAULT_VOCAB + term

    expand_value = expand

    def compact(self, iri: str) -> str:
        return iri.removeprefix(DEFAULT_VOCAB)


def entity(**attrs: Any) -> Entity:
    return {"id": "urn:x:1", "type": ["Room", "Hall"], "createdAt": T, "modifiedAt": T, "attrs": attrs}


def conformed(version: Version, *instances: Any) -> Any:
    return conform(entity(a=list(instances)), version, Plain())["attrs"]["a"]


def test_what_is_native_or_later_is_left_alone() -> None:
    whole = entity(a=[{"type": "VocabProperty", "vocab": "x", "expiresAt": T}])
    assert conform(whole, NATIVE, Plain()) is whole
    assert conform(whole, (2, 0), Plain()) is whole


@pytest.mark.parametrize(
    ("instance", "since", "before"),
    [
        ({"type": "LanguageProperty", "languageMap": {"sv": "hej"}}, 4, {"type": "Property", "value": {"sv": "hej"}}),
        ({"type": "JsonProperty", "json": {"a": [1]}}, 8, {"type": "Property", "value": {"a": [1]}}),
        ({"type": "VocabProperty", "vocab": [DEFAULT_VOCAB + "b"]}, 8, {"type": "Property", "value": ["b"]}),
        ({"type": "VocabProperty", "vocab": DEFAULT_VOCAB + "b"}, 8, {"type": "Property", "value": "b"}),
        ({"type": "ListProperty", "valueList": [1, 2]}, 8, {"type": "Property", "value": [1, 2]}),
        ({"type": "ListRelationship", "objectList": ["urn:y"]}, 8, {"type": "Relationship", "object": ["urn:y"]}),
        ({"type": "Property", "value": 1, "unitCode": "CEL"}, 3, {"type": "Property", "value": 1}),
        ({"type": "Property", "value": 1, "observedAt": T}, 3, {"type": "Property", "value": 1}),
        ({"type": "Property", "value": 1, "expiresAt": T}, 9, {"type": "Property", "value": 1}),
        ({"type": "Property", "value": 1, "valueType": "x"}, 9, {"type": "Property", "value": 1}),
        ({"type": "Relationship", "object": "u:y", "objectType": "x"}, 8, {"type": "Relationship", "object": "u:y"}),
    ],
)
def test_what_a_version_brought_is_there_from_it_on(instance: Any, since: int, before: Any) -> None:
    assert conformed((1, since), instance) == [instance]
    assert conformed((1, since - 1), instance) == [before]
    assert conformed((1, since - 1), {"type": "Property", "value": 0, "attrs": {"b": [instance]}}) == [
        {"type": "Property", "value": 0, "attrs": {"b": [before]}}
    ]


def test_scopes_and_expiry_came_late_and_many_types_and_instances_early() -> None:
    whole = entity(a=[{"type": "Property", "value": 1, "datasetId": "urn:d"}, {"type": "Property", "value": 2}])
    whole["scope"], whole["expiresAt"] = ["/a"], T
    shown = {version: conform(whole, (1, version), Plain()) for version in (0, 3, 4)}
    assert [set(one) - set(entity()) for one in shown.values()] == [set(), set(), {"scope"}]
    assert [one["type"] for one in shown.values()] == [["Room"], ["Room", "Hall"], ["Room", "Hall"]]
    assert shown[0]["attrs"] == {"a": [{"type": "Property", "value": 2}]}
    assert shown[3]["attrs"] == whole["attrs"]


def test_without_a_default_instance_the_first_is_shown_to_those_who_know_only_one() -> None:
    instances = [{"type": "Property", "value": n, "datasetId": f"urn:d:{n}"} for n in (1, 2)]
    assert conformed((1, 0), *instances) == [{"type": "Property", "value": 1}]
