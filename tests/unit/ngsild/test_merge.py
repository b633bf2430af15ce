from __future__ import annotations

import copy
from typing import Any

import pytest

from broker.errors import BadRequestData, ResourceNotFound
from broker.ngsild.merge import (
    Outcome,
    append,
    create,
    delete_attribute,
    merge,
    partial_update,
    replace,
    replace_attribute,
    update,
)
from broker.ngsild.model import Entity
from broker.ngsild.names import SCOPE
from broker.ngsild.parse import Nulls, parse_attribute, parse_entity, parse_fragment
from broker.ngsild.render import Form, render_entity
from tests.unit.jsonld.contexts import CORE

T0, T1 = "2026-11-21T00:00:00.000Z", "2026-11-21T01:00:00.000Z"
V = "https://uri.etsi.org/ngsi-ld/default-context/"
A, B, C = V + "a", V + "b", V + "c"
NULL = "urn:ngsi-ld:null"
SYS = Form(sys_attrs=True)


def entity(**members: Any) -> Entity:
    return create(parse_entity({"id": "urn:x:1", "type": "T", **members}, CORE), T0).entity


def fragment(nulls: Nulls = "whole", *, simplified: bool = False, **members: Any) -> Any:
    return parse_fragment(members, CORE, nulls=nulls, simplified=simplified)


def shown(outcome: Outcome) -> dict[str, Any]:
    """What a user sees, without id and type."""
    return {k: v for k, v in render_entity(outcome.entity, CORE).items() if k not in ("id", "type")}


def prop(value: Any, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, **members}


def test_a_created_entity_and_all_its_attributes_are_stamped() -> None:
    made = create(parse_entity({"id": "urn:x:1", "type": "T", "a": prop(1, b=prop(2))}, CORE), T0)
    assert render_entity(made.entity, CORE, SYS) == {
        "id": "urn:x:1",
        "type": "T",
        "createdAt": T0,
        "modifiedAt": T0,
        "a": prop(1, createdAt=T0, modifiedAt=T0, b=prop(2, createdAt=T0, modifiedAt=T0)),
    }
    assert made.attributes == {A: "attributeCreated"}
    assert [(name, dataset) for name, dataset, _ in made.touched] == [(A, "")]
    assert made.whole


def test_update_replaces_whole_attributes_and_keeps_their_creation() -> None:
    before = entity(a=prop(25, unitCode="CEL", observedAt=T0), b=prop(1))
    done = update(before, fragment(a=prop(100), c=prop(3)), T1)
    assert shown(done) == {"a": prop(100), "b": prop(1), "c": prop(3)}
    assert done.attributes == {A: "attributeUpdated", C: "attributeCreated"}
    assert done.entity["attrs"][A][0]["createdAt"] == T0
    assert done.entity["attrs"][A][0]["modifiedAt"] == T1
    assert done.entity["modifiedAt"] == T1
    assert done.entity["createdAt"] == T0
    # What did not change is shared, what was there is untouched.
    assert done.entity["attrs"][B] is before["attrs"][B]
    assert before["attrs"][A][0]["value"] == 25
    assert not done.whole


def test_update_with_null_deletes() -> None:
    before = entity(a=[prop(1), prop(2, datasetId="urn:d:1")], b=prop(1))
    done = update(before, fragment(b=NULL, a={"type": "Property", "value": NULL, "datasetId": "urn:d:1"}), T1)
    assert shown(done) == {"a": prop(1)}
    assert done.attributes == {A: "attributeUpdated", B: "attributeDeleted"}
    assert {(name, dataset, instance is None) for name, dataset, instance in done.touched} == {
        (B, "", True),
        (A, "urn:d:1", True),
    }


def test_deleting_what_is_not_there_changes_nothing() -> None:
    before = entity(a=prop(1))
    for done in (update(before, fragment(b=NULL), T1), merge(before, fragment("deep", b=NULL), T1)):
        assert done.entity is before
        assert not done.changed


def test_update_reaches_the_instance_of_the_dataset_only() -> None:
    before = entity(a=[prop(1), prop(2, datasetId="urn:d:1")])
    done = update(before, fragment(a=[prop(3, datasetId="urn:d:1"), prop(4, datasetId="urn:d:2")]), T1)
    assert shown(done)["a"] == [prop(1), prop(3, datasetId="urn:d:1"), prop(4, datasetId="urn:d:2")]
    assert [(dataset, instance and instance["value"]) for _, dataset, instance in done.touched] == [
        ("urn:d:1", 3),
        ("urn:d:2", 4),
    ]


def test_types_are_added_never_taken() -> None:
    done = update(entity(), fragment(type=["U", "T"]), T1)
    assert done.entity["type"] == [V + "T", V + "U"]
    assert done.whole
    assert not update(entity(), fragment(type="T"), T1).changed


def test_the_scope_is_replaced_by_update_only_where_there_is_one() -> None:
    assert shown(update(entity(scope="/A"), fragment(scope="/B"), T1)) == {"scope": "/B"}
    assert not update(entity(), fragment(scope="/B"), T1).changed
    assert shown(update(entity(scope="/A"), fragment(scope=NULL), T1)) == {}


def test_append_overwrites_or_leaves_untouched() -> None:
    before = entity(a=prop(1), scope="/A")
    given = fragment("refused", a=prop(2), b=prop(3), scope=["/B", "/A"])
    over = append(before, given, True, T1)
    assert shown(over) == {"a": prop(2), "b": prop(3), "scope": ["/B", "/A"]}
    kept = append(before, given, False, T1)
    assert shown(kept) == {"a": prop(1), "b": prop(3), "scope": ["/A", "/B"]}
    assert kept.attributes == {B: "attributeCreated"}
    ((name, reason),) = kept.not_updated
    assert name == A
    assert "exists already" in reason


def test_partial_update_changes_the_members_given() -> None:
    before = entity(a=prop(25, unitCode="CEL", observedAt=T0, b=prop(1), c=prop(2)))
    given = parse_attribute("a", {"value": 100, "observedAt": T1, "b": prop(7), "c": NULL}, CORE)
    done = partial_update(before, A, given, T1)
    assert shown(done)["a"] == prop(100, unitCode="CEL", observedAt=T1, b=prop(7))
    assert done.attributes == {A: "attributeUpdated"}
    assert done.entity["attrs"][A][0]["createdAt"] == T0
    assert shown(partial_update(before, A, parse_attribute("a", {"unitCode": NULL}, CORE), T1))["a"] == prop(
        25, observedAt=T0, b=prop(1), c=prop(2)
    )


def test_partial_update_cannot_change_a_type_or_invent() -> None:
    before = entity(a=prop(25))
    with pytest.raises(BadRequestData, match="is a Property and cannot become a Relationship"):
        partial_update(before, A, parse_attribute("a", {"object": "urn:x:1"}, CORE), T1)
    with pytest.raises(ResourceNotFound, match="has no attribute"):
        partial_update(before, B, parse_attribute("b", {"value": 1}, CORE), T1)
    with pytest.raises(ResourceNotFound, match="has no instance 'urn:d:1'"):
        partial_update(before, A, parse_attribute("a", {"value": 1, "datasetId": "urn:d:1"}, CORE), T1)
    with pytest.raises(BadRequestData, match="'scope'"):
        partial_update(before, SCOPE, parse_attribute("scope", {"value": 1}, CORE), T1)


def test_partial_update_with_null_deletes_the_instance() -> None:
    before = entity(a=[prop(1), prop(2, datasetId="urn:d:1")])
    assert shown(partial_update(before, A, parse_attribute("a", prop(NULL), CORE), T1)) == {
        "a": prop(2, datasetId="urn:d:1")
    }
    gone = partial_update(before, A, parse_attribute("a", prop(NULL, datasetId="urn:d:1"), CORE), T1)
    assert shown(gone) == {"a": prop(1)}


def test_merge_goes_into_values_and_attributes_of_attributes() -> None:
    before = entity(
        a=prop({"street": "Straße des 17. Juni", "city": "Berlin", "country": "Germany"}, unitCode="X", b=prop(1)),
        c={"type": "LanguageProperty", "languageMap": {"sv": "hej", "en": "hi"}},
    )
    done = merge(
        before,
        fragment(
            "deep",
            a={"value": {"street": "Pariser Platz", "country": NULL}, "b": {"value": 1, "unitCode": "C62"}},
            c={"languageMap": {"en": NULL, "fr": "salut"}},
        ),
        T1,
    )
    assert shown(done) == {
        "a": prop({"street": "Pariser Platz", "city": "Berlin"}, unitCode="X", b=prop(1, unitCode="C62")),
        "c": {"type": "LanguageProperty", "languageMap": {"sv": "hej", "fr": "salut"}},
    }
    assert before["attrs"][A][0]["value"]["country"] == "Germany"


def test_merge_deletes_and_adds() -> None:
    done = merge(entity(a=prop(1), b=prop(2)), fragment("deep", a=NULL, c=prop({"x": NULL, "y": 1})), T1)
    assert shown(done) == {"b": prop(2), "c": prop({"y": 1})}
    assert done.attributes == {A: "attributeDeleted", C: "attributeCreated"}


def test_a_value_alone_keeps_the_type_that_is_there() -> None:
    before = entity(
        a={"object": "urn:x:2"},
        b={"languageMap": {"sv": "hej"}},
        c={"valueList": [1]},
        d={"objectList": ["urn:x:2"]},
        e={"json": {"k": 1}},
    )
    given = fragment("deep", simplified=True, a="urn:x:3", b="hi", c=[2], d=["urn:x:3"], e={"json": {"l": 2}})
    assert shown(merge(before, given, T1, lang="en")) == {
        "a": {"type": "Relationship", "object": "urn:x:3"},
        "b": {"type": "LanguageProperty", "languageMap": {"sv": "hej", "en": "hi"}},
        "c": {"type": "ListProperty", "valueList": [2]},
        "d": {"type": "ListRelationship", "objectList": [{"object": "urn:x:3"}]},
        "e": {"type": "JsonProperty", "json": {"k": 1, "l": 2}},
    }


def test_a_type_given_by_name_changes_the_type() -> None:
    done = merge(entity(a=prop(1, unitCode="X")), fragment("deep", a={"type": "Relationship", "object": "urn:x:3"}), T1)
    assert shown(done) == {"a": {"type": "Relationship", "object": "urn:x:3"}}


def test_a_common_time_of_observation_reaches_attributes_that_had_one() -> None:
    before = entity(a=prop(1, observedAt=T0), b=prop(1), c=prop(1, observedAt=T0))
    given = fragment("deep", a=2, b=2, c={"value": 2, "observedAt": "2026-11-21T00:30:00Z"})
    assert shown(merge(before, given, T1, observed_at=T1)) == {
        "a": prop(2, observedAt=T1),
        "b": prop(2),
        "c": prop(2, observedAt="2026-11-21T00:30:00Z"),
    }


def test_replace_leaves_nothing_but_the_creation() -> None:
    before = entity(a=prop(1), b=[prop(1), prop(2, datasetId="urn:d:1")], scope="/A")
    done = replace(before, parse_entity({"id": "urn:x:1", "type": "U", "b": prop(9), "c": prop(3)}, CORE), T1)
    assert render_entity(done.entity, CORE, SYS) == {
        "id": "urn:x:1",
        "type": "U",
        "createdAt": T0,
        "modifiedAt": T1,
        "b": prop(9, createdAt=T0, modifiedAt=T1),
        "c": prop(3, createdAt=T1, modifiedAt=T1),
    }
    assert done.attributes == {B: "attributeUpdated", C: "attributeCreated", A: "attributeDeleted"}
    assert {(name, dataset): instance and instance["value"] for name, dataset, instance in done.touched} == {
        (B, ""): 9,
        (C, ""): 3,
        (A, ""): None,
        (B, "urn:d:1"): None,
    }


def test_replacing_an_attribute_may_change_its_type() -> None:
    before = entity(a=prop(1, unitCode="CEL"))
    done = replace_attribute(before, A, parse_attribute("a", {"object": "urn:x:2"}, CORE, whole=True), T1)
    assert shown(done) == {"a": {"type": "Relationship", "object": "urn:x:2"}}
    assert done.entity["attrs"][A][0]["createdAt"] == T0
    with pytest.raises(ResourceNotFound):
        replace_attribute(before, B, parse_attribute("b", 1, CORE, whole=True), T1)


def test_delete_takes_the_default_instance_a_dataset_or_all() -> None:
    before = entity(a=[prop(1), prop(2, datasetId="urn:d:1")], scope="/A")
    assert shown(delete_attribute(before, A, T1))["a"] == prop(2, datasetId="urn:d:1")
    assert shown(delete_attribute(before, A, T1, dataset_id="@none"))["a"] == prop(2, datasetId="urn:d:1")
    assert shown(delete_attribute(before, A, T1, dataset_id="urn:d:1"))["a"] == prop(1)
    gone = delete_attribute(before, A, T1, delete_all=True)
    assert "a" not in shown(gone)
    assert gone.attributes == {A: "attributeDeleted"}
    assert len(gone.touched) == 2
    assert "scope" not in shown(delete_attribute(before, SCOPE, T1))


def test_deleting_an_attribute_that_is_not_there_is_an_error() -> None:
    before = entity(a=prop(2, datasetId="urn:d:1"))
    with pytest.raises(ResourceNotFound):
        delete_attribute(before, A, T1)
    with pytest.raises(ResourceNotFound):
        delete_attribute(before, B, T1, delete_all=True)
    with pytest.raises(ResourceNotFound):
        delete_attribute(before, SCOPE, T1)


def test_no_operation_changes_what_it_is_given() -> None:
    before = entity(a=[prop({"x": 1}, b=prop(1)), prop(2, datasetId="urn:d:1")], b=prop(1), scope="/A")
    given = fragment("deep", a=prop({"x": NULL, "y": 2}, b=NULL), b=NULL, c=prop(1), scope="/B", type="U")
    whole = parse_entity({"id": "urn:x:1", "type": "U", "a": prop(9)}, CORE)
    saved, kept, saved_whole = copy.deepcopy(before), copy.deepcopy(given), copy.deepcopy(whole)
    merge(before, given, T1, observed_at=T1)
    update(before, given, T1)
    append(before, fragment("refused", a=prop(3), c=prop(1)), True, T1)
    replace(before, whole, T1)
    partial_update(before, A, parse_attribute("a", {"value": 3, "b": NULL}, CORE), T1)
    delete_attribute(before, A, T1, delete_all=True)
    assert before == saved
    assert given == kept
    assert whole == saved_whole
