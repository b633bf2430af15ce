from __future__ import annotations

from typing import Any

import pytest

from broker.jsonio import dumps
from broker.ngsild.fragment import deleted_instance
from broker.ngsild.language import parse_languages
from broker.ngsild.merge import create
from broker.ngsild.model import LOCATION, NGSI_LD_NULL, Entity
from broker.ngsild.parse import parse_entity
from broker.ngsild.render import Form, render_entity, render_feature, render_features, render_instance
from tests.unit.jsonld.contexts import CORE, context

NULL = NGSI_LD_NULL
T0 = "2026-11-21T00:00:00.000Z"
POINT = {"type": "Point", "coordinates": [17.3, 62.4]}
NORMALIZED: dict[str, Any] = {
    "id": "urn:ngsi-ld:Room:214",
    "type": ["Room", "Place"],
    "scope": ["/A", "/B"],
    "temperature": {
        "type": "Property",
        "value": 21.5,
        "unitCode": "CEL",
        "observedAt": T0,
        "observedBy": {"type": "Relationship", "object": "urn:x:1", "objectType": "Device"},
    },
    "plain": {"type": "Property", "value": {"a": 1}},
    "typed": {"type": "Property", "value": 1, "valueType": "Integer"},
    "location": {"type": "GeoProperty", "value": POINT},
    "inBuilding": {"type": "Relationship", "object": ["urn:x:1", "urn:x:2"]},
    "name": {"type": "LanguageProperty", "languageMap": {"sv": "sal", "en": "hall"}},
    "use": {"type": "VocabProperty", "vocab": ["office", "school"]},
    "raw": {"type": "JsonProperty", "json": {"id": 5}},
    "steps": {"type": "ListProperty", "valueList": [1, [2]]},
    "route": {"type": "ListRelationship", "objectList": [{"object": "urn:x:1"}, {"object": "urn:x:2"}]},
    "speed": [{"type": "Property", "value": 5}, {"type": "Property", "value": 6, "datasetId": "urn:d:1"}],
}
CONCISE: dict[str, Any] = {
    "id": "urn:ngsi-ld:Room:214",
    "type": ["Room", "Place"],
    "scope": ["/A", "/B"],
    "temperature": {
        "value": 21.5,
        "unitCode": "CEL",
        "observedAt": T0,
        "observedBy": {"object": "urn:x:1", "objectType": "Device"},
    },
    "plain": {"a": 1},
    "typed": {"value": 1, "valueType": "Integer"},
    "location": POINT,
    "inBuilding": {"object": ["urn:x:1", "urn:x:2"]},
    "name": {"languageMap": {"sv": "sal", "en": "hall"}},
    "use": {"vocab": ["office", "school"]},
    "raw": {"json": {"id": 5}},
    "steps": {"valueList": [1, [2]]},
    "route": {"objectList": ["urn:x:1", "urn:x:2"]},
    "speed": [{"value": 5}, {"value": 6, "datasetId": "urn:d:1"}],
}
SIMPLIFIED: dict[str, Any] = {
    "id": "urn:ngsi-ld:Room:214",
    "type": ["Room", "Place"],
    "scope": ["/A", "/B"],
    "temperature": 21.5,
    "plain": {"a": 1},
    "typed": 1,
    "location": POINT,
    "inBuilding": ["urn:x:1", "urn:x:2"],
    "name": {"languageMap": {"sv": "sal", "en": "hall"}},
    "use": {"vocab": ["office", "school"]},
    "raw": {"json": {"id": 5}},
    "steps": [1, [2]],
    "route": ["urn:x:1", "urn:x:2"],
    "speed": {"dataset": {"@none": 5, "urn:d:1": 6}},
}


def stored(document: dict[str, Any]) -> Entity:
    return create(parse_entity(document, CORE), T0).entity


EXPIRY = "2027-01-01T00:00:00Z"
ROOM = stored({**NORMALIZED, "expiresAt": EXPIRY})


def test_when_it_expires_is_shown_with_the_system_attributes_alone() -> None:
    transient = stored({**NORMALIZED, "expiresAt": EXPIRY, "plain": {"value": 1, "expiresAt": EXPIRY}})
    for representation in ("normalized", "concise"):
        shown = render_entity(transient, CORE, Form(representation, sys_attrs=True))
        assert shown["expiresAt"] == shown["plain"]["expiresAt"] == EXPIRY
        assert b"expiresAt" not in dumps(render_entity(transient, CORE, Form(representation)))


def only(*attributes: str) -> frozenset[str]:
    return frozenset(CORE.expand(name) for name in attributes)


def test_normalized_gives_back_what_was_sent() -> None:
    assert render_entity(ROOM, CORE) == NORMALIZED


def test_concise_leaves_out_what_can_be_inferred_and_reads_as_the_same() -> None:
    assert render_entity(ROOM, CORE, Form("concise")) == CONCISE
    assert stored({**CONCISE, "expiresAt": EXPIRY}) == ROOM


def test_simplified_gives_values_alone() -> None:
    assert render_entity(ROOM, CORE, Form("simplified")) == SIMPLIFIED


def test_names_are_those_of_the_readers_context() -> None:
    mine = context({"temp": CORE.expand("temperature"), "Rum": CORE.expand("Room"), "dev": CORE.expand("Device")})
    shown = render_entity(ROOM, mine)
    assert shown["type"] == ["Rum", "Place"]
    assert shown["temp"]["observedBy"]["objectType"] == "dev"


def test_system_times_are_shown_when_asked_for() -> None:
    shown = render_entity(ROOM, CORE, Form(sys_attrs=True))
    assert shown["createdAt"] == shown["modifiedAt"] == T0
    assert shown["temperature"]["modifiedAt"] == T0
    assert shown["temperature"]["observedBy"]["createdAt"] == T0
    assert render_entity(ROOM, CORE, Form("concise", sys_attrs=True))["plain"] == {
        "value": {"a": 1},
        "createdAt": T0,
        "modifiedAt": T0,
    }


def test_attributes_are_projected() -> None:
    assert set(render_entity(ROOM, CORE, Form(attrs=only("speed")))) == {"id", "type", "scope", "speed"}
    picked = Form("simplified", pick=only("temperature") | {"id"})
    assert render_entity(ROOM, CORE, picked) == {
        "id": ROOM["id"],
        "temperature": 21.5,
    }
    omitted = Form(omit=only("speed", "plain") | {"scope"})
    assert set(NORMALIZED) - set(render_entity(ROOM, CORE, omitted)) == {"speed", "plain", "scope"}


def test_instances_are_chosen_by_dataset() -> None:
    chosen = Form(datasets=frozenset({"urn:d:1"}), attrs=only("speed", "plain"))
    assert render_entity(ROOM, CORE, chosen)["speed"] == {"type": "Property", "value": 6, "datasetId": "urn:d:1"}
    assert "plain" not in render_entity(ROOM, CORE, chosen)
    default = Form("simplified", datasets=frozenset({"@none"}))
    assert render_entity(ROOM, CORE, default)["speed"] == 5


def test_texts_are_given_in_the_language_asked_for() -> None:
    english = parse_languages("en")
    assert render_entity(ROOM, CORE, Form(languages=english))["name"] == {
        "type": "Property",
        "value": "hall",
        "lang": "en",
    }
    assert render_entity(ROOM, CORE, Form("concise", languages=english))["name"] == {"value": "hall", "lang": "en"}
    assert render_entity(ROOM, CORE, Form("simplified", languages=english))["name"] == "hall"


def test_an_entity_is_a_geojson_feature() -> None:
    feature = render_feature(ROOM, CORE)
    assert feature["type"] == "Feature"
    assert feature["id"] == ROOM["id"]
    assert feature["geometry"] == POINT
    assert feature["properties"] == {member: value for member, value in NORMALIZED.items() if member != "id"}
    simplified = render_feature(ROOM, CORE, Form("simplified"))
    assert simplified["properties"]["temperature"] == 21.5
    assert render_features([feature]) == {"type": "FeatureCollection", "features": [feature]}


def test_a_feature_without_the_geometry_asked_for_has_none() -> None:
    assert render_feature(ROOM, CORE, geometry=CORE.expand("temperature"))["geometry"] is None
    assert render_feature(ROOM, CORE, geometry=LOCATION, dataset_id="urn:d:1")["geometry"] is None
    assert render_feature(ROOM, CORE, geometry=LOCATION, dataset_id="@none")["geometry"] == POINT


def test_an_instance_is_rendered_alone() -> None:
    (instance,) = ROOM["attrs"][CORE.expand("temperature")]
    assert render_instance(instance, CORE) == NORMALIZED["temperature"]
    assert render_instance(instance, CORE, Form("simplified")) == 21.5


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("temperature", {"type": "Property", "value": NULL}),
        ("inBuilding", {"type": "Relationship", "object": NULL}),
        ("location", {"type": "GeoProperty", "value": NULL}),
        ("name", {"type": "LanguageProperty", "languageMap": {"@none": NULL}}),
        ("use", {"type": "VocabProperty", "vocab": NULL}),
        ("raw", {"type": "JsonProperty", "json": NULL}),
        ("steps", {"type": "ListProperty", "valueList": [NULL]}),
        ("route", {"type": "ListRelationship", "objectList": [NULL]}),
    ],
)
def test_a_deleted_instance_is_shown_as_null_of_its_type(name: str, shown: dict[str, Any]) -> None:
    (instance,) = ROOM["attrs"][CORE.expand(name)]
    gone = deleted_instance(instance, T0)
    assert render_instance(gone, CORE) == shown
    assert render_instance(gone, CORE, Form(sys_attrs=True)) == {**shown, "deletedAt": T0}


def test_values_come_out_as_the_very_objects() -> None:
    (instance,) = ROOM["attrs"][CORE.expand("plain")]
    assert render_entity(ROOM, CORE)["plain"]["value"] is instance["value"]
