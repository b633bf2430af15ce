"""Temporal evolutions, sent and shown (ETSI GS CIM 009 v1.9.1, 4.5.6-4.5.9, 5.2.20)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.clock import Stamp, parse_iso
from broker.entities.evolution import UpsertEvolution
from broker.errors import BadRequestData, InvalidRequest
from broker.ngsild.names import SCOPE
from broker.ngsild.render import Form, Representation
from broker.ngsild.temporal import Evolution, Moment, conform_evolution, parse_evolution, render_evolution
from broker.stores.base import HistoryRow, Snapshot
from broker.stores.command import View
from tests.property.test_representations import MINE, exactly, names, single

NOW = "2026-11-21T08:00:00.000Z"
T1, T2 = "2026-11-21T06:00:00Z", "2026-11-21T07:00:00Z"
NULL = "urn:ngsi-ld:null"


def room(**attributes: Any) -> dict[str, Any]:
    return {"id": "urn:ngsi-ld:Room:1", "type": "Room", **attributes}


def added(document: Any) -> list[HistoryRow]:
    at = parse_iso(NOW)
    assert at is not None
    view = View(Snapshot(), new_id=lambda: "1")
    return UpsertEvolution(parse_evolution(document, MINE)).apply(view, Stamp(at, NOW, 1)).history


def shown(document: Any, representation: Representation = "normalized", **form: Any) -> dict[str, Any]:
    """What is posted, as it is shown."""
    evolution = Evolution("urn:ngsi-ld:Room:1", ["https://uri.etsi.org/ngsi-ld/default-context/Room"])
    for row in added(document):
        assert row.instance is not None
        text = row.instance.get("observedAt", NOW)
        evolution.attributes.setdefault(row.attribute, []).append(Moment(row.observed_at, text, row.instance))
    return render_evolution(evolution, MINE, Form(representation, **form))


evolutions = st.dictionaries(names, st.lists(single, min_size=1, max_size=4), max_size=3)


@settings(deadline=None)
@given(evolutions)
def test_what_is_posted_comes_back(attributes: Any) -> None:
    assert exactly(shown(room(**attributes)), room(**attributes))


@settings(deadline=None)
@given(evolutions)
def test_what_is_shown_concisely_means_the_same_when_it_is_posted(attributes: Any) -> None:
    assert exactly(shown(shown(room(**attributes), "concise")), room(**attributes))


def test_one_instance_may_stand_alone_and_is_shown_in_a_list() -> None:
    instance = {"type": "Property", "value": 21, "observedAt": T1}
    assert shown(room(temperature=instance)) == room(temperature=[instance])


def test_instances_of_one_dataset_stand_beside_each_other() -> None:
    instances = [{"type": "Property", "value": n, "datasetId": "urn:d:1", "observedAt": T1} for n in range(3)]
    rows = added(room(temperature=instances))
    assert [(row.dataset_id, row.observed_at) for row in rows] == [("urn:d:1", parse_iso(T1))] * 3


def test_an_instance_that_was_not_observed_is_recorded_now() -> None:
    (row,) = added(room(temperature={"value": 21}))
    assert row.observed_at == row.recorded_at == parse_iso(NOW)
    assert row.instance == {"type": "Property", "value": 21, "createdAt": NOW, "modifiedAt": NOW}


@pytest.mark.parametrize(
    ("instance", "value"),
    [
        ({"type": "Property", "value": NULL}, {"value": NULL}),
        ({"type": "Relationship", "object": NULL}, {"object": NULL}),
        ({"type": "LanguageProperty", "languageMap": {"@none": NULL}}, {"languageMap": {"@none": NULL}}),
        ({"type": "ListProperty", "valueList": [NULL]}, {"valueList": [NULL]}),
    ],
)
def test_a_deletion_has_null_and_its_time(instance: dict[str, Any], value: dict[str, Any]) -> None:
    (made,) = shown(room(a={**instance, "observedAt": T1}))["a"]
    assert made == {"type": instance["type"], **value, "observedAt": T1, "deletedAt": T1}
    (made,) = shown(room(a={**instance, "deletedAt": T2, "createdAt": T1}), sys_attrs=True)["a"]
    assert made == {"type": instance["type"], **value, "deletedAt": T2, "createdAt": NOW, "modifiedAt": NOW}
    (row,) = added(room(a={**instance, "deletedAt": T2}))
    assert row.observed_at == parse_iso(T2)


def test_simplified_is_pairs_of_value_and_time() -> None:
    document = room(
        temperature=[{"type": "Property", "value": n, "observedAt": at} for n, at in ((1, T1), (2, T2))],
        location={"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1, 2]}, "observedAt": T1},
        isIn={"type": "Relationship", "object": "urn:x:1", "observedAt": T1},
        says={"type": "LanguageProperty", "languageMap": {"en": "yes", "sv": "ja"}, "observedAt": T1},
        gender={"type": "VocabProperty", "vocab": "Male", "observedAt": T1},
        ticket={"type": "JsonProperty", "json": {"id": 1}, "observedAt": T1},
        period={"type": "ListProperty", "valueList": ["1st", "2nd"], "observedAt": T1},
        present={"type": "ListRelationship", "objectList": ["urn:x:1", "urn:x:2"], "observedAt": T1},
    )
    assert shown(document, "simplified") == room(
        temperature={"type": "Property", "values": [[1, T1], [2, T2]]},
        location={"type": "GeoProperty", "values": [[{"type": "Point", "coordinates": [1, 2]}, T1]]},
        isIn={"type": "Relationship", "objects": [["urn:x:1", T1]]},
        says={"type": "LanguageProperty", "languageMaps": [[{"languageMap": {"en": "yes", "sv": "ja"}}, T1]]},
        gender={"type": "VocabProperty", "vocabs": [[{"vocab": "Male"}, T1]]},
        ticket={"type": "JsonProperty", "jsons": [[{"json": {"id": 1}}, T1]]},
        period={"type": "ListProperty", "valueLists": [[["1st", "2nd"], T1]]},
        present={"type": "ListRelationship", "objectLists": [[["urn:x:1", "urn:x:2"], T1]]},
    )
    assert shown(document, "simplified", languages=("sv",))["says"] == {"type": "Property", "values": [["ja", T1]]}
    changed = room(a=[{"type": "Property", "value": 1}, {"type": "Relationship", "object": "urn:x:1"}])
    assert shown(changed, "simplified")["a"] == [
        {"type": "Property", "values": [[1, NOW]]},
        {"type": "Relationship", "objects": [["urn:x:1", NOW]]},
    ]
    several = room(a=[{"value": 1, "datasetId": "urn:d:1"}, {"value": 2}, {"value": 3, "datasetId": "urn:d:1"}])
    assert shown(several, "simplified")["a"] == [
        {"type": "Property", "values": [[2, NOW]]},
        {"type": "Property", "values": [[1, NOW], [3, NOW]], "datasetId": "urn:d:1"},
    ]


def test_the_scope_is_a_property_of_an_evolution() -> None:
    scopes = [
        {"type": "Property", "value": "/A", "observedAt": T1},
        {"type": "Property", "value": ["/A", "/B"], "observedAt": T2},
        {"type": "Property", "value": NULL, "deletedAt": NOW},
    ]
    assert shown(room(scope=scopes)) == room(scope=scopes)
    assert {row.attribute for row in added(room(scope=scopes))} == {SCOPE}
    assert shown(room(scope=["/A", "/B"])) == room(scope=[{"type": "Property", "value": ["/A", "/B"]}])
    assert "scope" not in shown(room(scope="/A"), omit=frozenset({"scope"}))


def test_pick_and_omit_leave_members_out() -> None:
    document = room(a={"value": 1}, b={"value": 2})
    name = MINE.expand("a")
    assert shown(document, pick=frozenset({"id", name})).keys() == {"id", "a"}
    assert shown(document, omit=frozenset({"id", name})).keys() == {"type", "b"}
    assert shown(document, attrs=frozenset({name})).keys() == {"id", "type", "a"}


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        ({"type": "Room"}, "must have an 'id'"),
        (room(a=5), "'a': each instance must be an object"),
        (room(a=[1, 2]), "'a': each instance must be an object"),
        (room(a=[{"value": 1}, 2]), "'a': each instance must be an object"),
        (room(a={"type": "Point", "coordinates": [1, 2]}), "'a': each instance must be an object"),
        (room(a=[]), "'a': at least one instance"),
        (room(a=NULL), "'a': each instance must be an object"),
        (room(expiresAt=NULL), "'expiresAt' must be an ISO 8601 date-time"),
        (room(a={"value": NULL, "unitCode": "CEL"}), "must not have 'unitCode'"),
        (room(a={"value": NULL, "b": {"value": 1}}), "must not have 'attrs'"),
        (room(a={"value": NULL, "observedAt": NULL}), "'observedAt' must be an ISO 8601 date-time"),
        (room(a={"value": 1, "observedAt": "today"}), "'observedAt' must be an ISO 8601 date-time"),
        (room(a={"value": {"b": NULL}}), "asks for a deletion"),
        (room(value={"value": 1}), "cannot be named 'value'"),
        (room(**{"ex:mine": {"value": 1}, "mine": {"value": 1}}), "given twice"),
        (room(scope={"type": "Property", "value": "/A", "unitCode": "CEL"}), "'scope' must be a Property"),
        (room(scope={"type": "Relationship", "object": "urn:x:1"}), "'scope' must be a Property"),
        (room(scope=[5]), "'scope' must be"),
    ],
)
def test_what_is_no_evolution_is_refused(document: Any, detail: str) -> None:
    with pytest.raises(BadRequestData) as refused:
        parse_evolution(document, MINE)
    assert detail in refused.value.detail


def test_what_is_no_object_is_no_evolution() -> None:
    with pytest.raises(InvalidRequest):
        parse_evolution([room()], MINE)


def test_an_evolution_is_shown_as_an_earlier_version_had_it() -> None:
    evolution = Evolution("urn:x:1", ["ex:A", "ex:B"], expires_at=NOW)
    default: Any = {"type": "VocabProperty", "vocab": "ex:a", "observedAt": T1}
    other: Any = {**default, "datasetId": "urn:d:1"}
    evolution.attributes["ex:a"] = [Moment(1, T1, default), Moment(2, T2, other)]
    evolution.attributes[SCOPE] = [Moment(1, T1, {"type": "Property", "value": "/A"})]
    seven = conform_evolution(evolution, (1, 7), MINE)
    assert [moment.instance["type"] for moment in seven.attributes["ex:a"]] == ["Property", "Property"]
    assert seven.expires_at is None and SCOPE in seven.attributes
    two = conform_evolution(evolution, (1, 2), MINE)
    assert two.types == ["ex:A"] and SCOPE not in two.attributes
    assert [moment.at for moment in two.attributes["ex:a"]] == [1]
    assert conform_evolution(evolution, (1, 9), MINE) is evolution
