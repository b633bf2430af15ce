"""What a notification looks like (ETSI GS CIM 009 v1.9.1, 5.3.1, 5.8.6, 6.3.8)."""

from __future__ import annotations

from typing import Any

import pytest

from broker.clock import iso
from broker.config import Limits
from broker.jsonld.core import CORE_URL
from broker.ngsild.change import EntityChange
from broker.subscriptions.model import UNLIMITED, parse_subscription
from broker.subscriptions.notify import render_notification
from broker.subscriptions.owed import coalesce, owed, read_owed
from broker.subscriptions.subscription import Subscription, compile_subscription
from tests.unit.subscriptions.support import (
    CONTEXTS,
    CORE,
    ENDPOINT,
    NOW,
    STAMP,
    changed,
    created,
    deleted,
    document,
    entity,
    iri,
    parsed,
    updated,
)

ROOM = entity(temperature=21, co2=400)


def subscription(**notification: Any) -> Subscription:
    return compile_subscription(parsed(notification={**ENDPOINT, **notification}), UNLIMITED)


def notified(change: EntityChange, **notification: Any) -> dict[str, Any]:
    row = owed(change, "urn:x:new", 7, NOW, 0, previous=notification.get("showChanges", False))
    payload, _ = render_notification(subscription(**notification), [read_owed(row)], CORE)
    assert payload is not None
    (one,) = payload["data"]
    assert isinstance(one, dict)
    return one


@pytest.mark.parametrize(
    ("notation", "temperature"),
    [
        (None, {"type": "Property", "value": 21}),
        ("normalized", {"type": "Property", "value": 21}),
        ("concise", 21),
        ("simplified", 21),
        ("keyValues", 21),
    ],
)
def test_entities_come_in_the_format_that_was_asked_for(notation: str | None, temperature: Any) -> None:
    shown = notified(created(ROOM), **({"format": notation} if notation else {}))
    assert shown["id"] == "urn:x:Room:1"
    assert shown["type"] == "Room"
    assert shown["temperature"] == temperature


def test_only_the_attributes_that_were_asked_for() -> None:
    shown = notified(created(ROOM), attributes=["co2"], format="simplified")
    assert shown == {"id": "urn:x:Room:1", "type": "Room", "co2": 400}


def test_system_attributes_when_they_were_asked_for() -> None:
    shown = notified(created(ROOM), sysAttrs=True)
    assert shown["createdAt"] == shown["temperature"]["modifiedAt"] == STAMP.text


def test_a_deleted_attribute_is_shown_as_null() -> None:
    change = changed(ROOM, entity(co2=400))
    assert notified(change)["temperature"] == {"type": "Property", "value": "urn:ngsi-ld:null"}
    assert notified(change, format="concise")["temperature"] == "urn:ngsi-ld:null"
    assert notified(change, format="simplified")["temperature"] == "urn:ngsi-ld:null"
    assert "temperature" not in notified(change, attributes=["co2"])
    assert notified(change, sysAttrs=True)["temperature"] == {
        "type": "Property",
        "value": "urn:ngsi-ld:null",
        "createdAt": STAMP.text,
        "modifiedAt": STAMP.text,
        "deletedAt": iso(NOW),
    }


def test_of_an_attribute_that_lost_one_instance_the_others_are_shown_too() -> None:
    before = entity(name="Eiffel Tower")
    french: Any = {**before["attrs"][iri("name")][0], "value": "Tour Eiffel", "datasetId": "urn:x:french"}
    before["attrs"][iri("name")].append(french)
    change = changed(before, entity(name="Eiffel Tower"))
    assert notified(change)["name"] == [
        {"type": "Property", "value": "Eiffel Tower"},
        {"type": "Property", "value": "urn:ngsi-ld:null", "datasetId": "urn:x:french"},
    ]
    assert notified(change, format="simplified")["name"] == {
        "dataset": {"@none": "Eiffel Tower", "urn:x:french": "urn:ngsi-ld:null"}
    }


def test_of_a_deleted_entity_only_when_it_was_deleted() -> None:
    assert notified(deleted(ROOM)) == {"id": "urn:x:Room:1", "type": "Room", "deletedAt": iso(NOW)}
    assert notified(deleted(ROOM), sysAttrs=True)["createdAt"] == STAMP.text


def test_who_is_told_of_deleted_attributes_is_told_when_they_go_with_their_entity() -> None:
    body = parsed(notificationTrigger=["attributeDeleted"], watchedAttributes=["co2"])
    entry = read_owed(owed(deleted(ROOM), "urn:x:new", 7, NOW, 0))
    payload, _ = render_notification(compile_subscription(body, UNLIMITED), [entry], CORE)
    assert payload is not None and payload["data"] == [
        {
            "id": "urn:x:Room:1",
            "type": "Room",
            "deletedAt": iso(NOW),
            "co2": {"type": "Property", "value": "urn:ngsi-ld:null"},
        }
    ]


def test_what_was_there_before_is_shown_of_what_changed() -> None:
    after = entity(temperature=22, co2=400, humidity=50)
    shown = notified(changed(ROOM, after), showChanges=True)
    assert shown["temperature"] == {"type": "Property", "value": 22, "previousValue": 21}
    assert shown["co2"] == {"type": "Property", "value": 400}
    assert shown["humidity"] == {"type": "Property", "value": 50}
    concise = notified(changed(ROOM, entity(temperature=22)), showChanges=True, format="concise")
    assert concise["temperature"] == {"value": 22, "previousValue": 21}
    assert concise["co2"] == {"value": "urn:ngsi-ld:null", "previousValue": 400}
    assert "previousValue" not in str(notified(created(ROOM), showChanges=True))
    assert notified(deleted(ROOM), showChanges=True)["co2"] == {
        "type": "Property",
        "value": "urn:ngsi-ld:null",
        "previousValue": 400,
    }


@pytest.mark.parametrize(
    ("before", "shown"),
    [
        (
            {"type": "Relationship", "object": "urn:x:1"},
            {"type": "Relationship", "object": "urn:ngsi-ld:null", "previousObject": "urn:x:1"},
        ),
        (
            {"type": "ListRelationship", "objectList": ["urn:x:1"]},
            {
                "type": "ListRelationship",
                "objectList": ["urn:ngsi-ld:null"],
                "previousObjectList": [{"object": "urn:x:1"}],
            },
        ),
        (
            {"type": "LanguageProperty", "languageMap": {"sv": "hej"}},
            {
                "type": "LanguageProperty",
                "languageMap": {"@none": "urn:ngsi-ld:null"},
                "previousLanguageMap": {"sv": "hej"},
            },
        ),
        (
            {"type": "VocabProperty", "vocab": iri("School")},
            {"type": "VocabProperty", "vocab": "urn:ngsi-ld:null", "previousVocab": "School"},
        ),
        (
            {"type": "JsonProperty", "json": {"a": None}},
            {"type": "JsonProperty", "json": "urn:ngsi-ld:null", "previousJson": {"a": None}},
        ),
        (
            {"type": "ListProperty", "valueList": [1, 2]},
            {"type": "ListProperty", "valueList": ["urn:ngsi-ld:null"], "previousValueList": [1, 2]},
        ),
    ],
)
def test_each_attribute_type_has_its_own_word_for_what_was_before(before: Any, shown: dict[str, Any]) -> None:
    held = entity(co2=1)
    attributes: dict[str, Any] = held["attrs"]
    attributes[iri("thing")] = [{**before, "createdAt": STAMP.text, "modifiedAt": STAMP.text}]
    assert notified(changed(held, entity(co2=1)), showChanges=True)["thing"] == shown


def test_a_change_is_written_out_once_for_all_who_want_the_same_of_it() -> None:
    change = changed(ROOM, entity(temperature=22, co2=400))
    plain = [owed(change, f"urn:s:{n}", 7, NOW, n) for n in range(2)]
    before = [owed(change, f"urn:s:{n}", 7, NOW, n, previous=True) for n in range(2, 4)]
    assert plain[0].body is plain[1].body
    assert before[0].body is before[1].body
    assert b"previous" not in plain[0].body and b"previous" in before[0].body


def test_only_what_is_picked_and_not_what_is_left_out() -> None:
    assert notified(created(ROOM), pick=["id", "co2"], format="simplified") == {"id": "urn:x:Room:1", "co2": 400}
    assert notified(created(ROOM), omit=["type", "co2"], format="simplified") == {
        "id": "urn:x:Room:1",
        "temperature": 21,
    }


def test_where_nothing_of_what_is_picked_is_there_no_notification_is_made() -> None:
    entry = read_owed(owed(created(ROOM), "urn:x:new", 7, NOW, 0))
    assert render_notification(subscription(pick=["other"]), [entry], CORE)[0] is None


def test_geojson_comes_as_a_collection_of_features() -> None:
    place = {"type": "Point", "coordinates": [17.3, 62.4]}
    room = entity(co2=400)
    room["attrs"]["https://uri.etsi.org/ngsi-ld/location"] = [
        {"type": "GeoProperty", "value": place, "createdAt": STAMP.text, "modifiedAt": STAMP.text}
    ]
    entry = read_owed(owed(created(room), "urn:x:new", 7, NOW, 0))
    endpoint: dict[str, Any] = {"uri": "http://x/y", "accept": "application/geo+json"}
    payload, headers = render_notification(subscription(endpoint=endpoint, format="simplified"), [entry], CORE)
    assert payload is not None and headers == {"Content-Type": "application/geo+json"}
    assert payload["data"]["type"] == "FeatureCollection"
    assert payload["data"]["@context"] == CORE.value
    (feature,) = payload["data"]["features"]
    assert feature["geometry"] == place and feature["properties"]["co2"] == 400
    plain = {**endpoint, "receiverInfo": [{"key": "Prefer", "value": "body=json"}]}
    payload, headers = render_notification(subscription(endpoint=plain), [entry], CORE)
    assert payload is not None and "@context" not in payload["data"] and "Link" in headers


def test_languages_datasets_and_versions_are_as_the_subscription_says() -> None:
    room = entity(co2=400)
    room["attrs"][iri("name")] = [
        {"type": "LanguageProperty", "languageMap": {"sv": "Sal", "en": "Room"}},
        {"type": "LanguageProperty", "languageMap": {"sv": "Rum"}, "datasetId": "urn:x:short"},
    ]
    entry = read_owed(owed(created(room), "urn:x:new", 7, NOW, 0))

    def shown(**members: Any) -> Any:
        payload, _ = render_notification(compile_subscription(parsed(**members), UNLIMITED), [entry], CORE)
        assert payload is not None
        return payload["data"][0].get("name")

    assert shown(lang="sv", datasetId=["@none"]) == {"type": "Property", "value": "Sal", "lang": "sv"}
    assert shown(datasetId=["urn:x:short"])["datasetId"] == "urn:x:short"
    assert shown(datasetId=["urn:x:none"]) is None
    assert shown(ngsildConformance="1.2") == {"type": "Property", "value": {"sv": "Sal", "en": "Room"}}


async def test_the_context_is_named_in_a_link_or_stands_in_the_body() -> None:
    inline = await CONTEXTS.resolve({"degrees": "https://uri.etsi.org/ngsi-ld/default-context/temperature"})
    entry = read_owed(owed(created(ROOM), "urn:x:new", 7, NOW, 0))
    payload, headers = render_notification(subscription(), [entry], CORE)
    assert headers["Content-Type"] == "application/json"
    assert headers["Link"].startswith(f"<{CORE_URL}>; rel=")
    assert payload is not None and "@context" not in payload
    payload, headers = render_notification(
        subscription(endpoint={"uri": "http://x/y", "accept": "application/ld+json"}), [entry], inline
    )
    assert headers == {"Content-Type": "application/ld+json"}
    assert payload is not None and payload["@context"] == payload["data"][0]["@context"] == inline.value
    assert "degrees" in payload["data"][0]


def test_the_context_to_notify_with_is_the_one_named_else_that_of_the_subscription() -> None:
    def context_of(**members: Any) -> Any:
        body = parse_subscription(document(**members), CORE, "https://a.example.org/c", Limits(), STAMP, "urn:x:new")
        return compile_subscription(body, UNLIMITED).context

    assert context_of() == "https://a.example.org/c"
    assert context_of(jsonldContext="https://b.example.org/c") == "https://b.example.org/c"


def test_rows_sort_in_the_order_of_the_changes_and_have_names_of_their_own() -> None:
    rows = [
        owed(created(entity(entity_id=f"urn:x:{n}")), f"urn:s:{s}", version, NOW, s)
        for version in (5, 0xFFFF_FFFF, 1 << 50)
        for n in range(2)
        for s in range(2)
    ]
    versions = [row.id.split("-")[0] for row in rows]
    assert versions == sorted(versions)
    assert len({row.id for row in rows}) == len(rows)


def test_coalescing_keeps_the_last_state_of_each_entity_and_all_that_changed() -> None:
    other = entity(entity_id="urn:x:Room:2", co2=1)
    changes = [
        created(ROOM),
        updated(other, co2="attributeUpdated"),
        changed(ROOM, entity(temperature=22)),
        updated(entity(temperature=23), temperature="attributeUpdated"),
    ]
    entries = coalesce([read_owed(owed(one, "urn:x:new", n, NOW, 0)) for n, one in enumerate(changes)])
    payload, _ = render_notification(subscription(format="simplified"), entries, CORE)
    assert payload is not None and payload["data"] == [
        {"id": "urn:x:Room:2", "type": "Room", "co2": 1},
        {"id": "urn:x:Room:1", "type": "Room", "temperature": 23, "co2": "urn:ngsi-ld:null"},
    ]
    assert payload["id"].endswith(entries[-1].row.id)


def test_an_entity_that_came_and_went_in_between_is_shown_as_deleted() -> None:
    changes = [created(ROOM), deleted(ROOM)]
    (entry,) = coalesce([read_owed(owed(one, "urn:x:new", n, NOW, 0)) for n, one in enumerate(changes)])
    assert entry.trigger == "entityDeleted"
