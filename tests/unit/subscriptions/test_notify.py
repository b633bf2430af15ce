"""What a notification looks like (ETSI GS CIM 009 v1.9.1, 5.3.1, 5.8.6, 6.3.8)."""

from __future__ import annotations

from typing import Any

import pytest

from broker.clock import iso
from broker.config import Limits
from broker.jsonld.core import CORE_URL
from broker.ngsild.change import EntityChange
from broker.subscriptions.model import UNLIMITED, parse_subscription
from broker.subscriptions.notify import coalesce, owed, read_owed, render_notification
from broker.subscriptions.subscription import Subscription, compile_subscription
from tests.unit.subscriptions.support import (
    CONTEXTS,
    CORE,
    ENDPOINT,
    NOW,
    STAMP,
    created,
    deleted,
    document,
    entity,
    parsed,
    updated,
)

ROOM = entity(temperature=21, co2=400)


def subscription(**notification: Any) -> Subscription:
    return compile_subscription(parsed(notification={**ENDPOINT, **notification}), UNLIMITED)


def notified(change: EntityChange, **notification: Any) -> dict[str, Any]:
    row = owed(change, "urn:x:new", 7, NOW, 0)
    payload, _ = render_notification(subscription(**notification), [read_owed(row)], CORE)
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
    change = updated(entity(co2=400), temperature="attributeDeleted")
    assert notified(change)["temperature"] == "urn:ngsi-ld:null"
    assert "temperature" not in notified(change, attributes=["co2"])
    assert notified(change, sysAttrs=True)["temperature"] == {
        "type": "Property",
        "value": "urn:ngsi-ld:null",
        "deletedAt": iso(NOW),
    }


def test_of_a_deleted_entity_only_when_it_was_deleted() -> None:
    assert notified(deleted(ROOM)) == {"id": "urn:x:Room:1", "type": "Room", "deletedAt": iso(NOW)}
    assert notified(deleted(ROOM), sysAttrs=True)["createdAt"] == STAMP.text


async def test_the_context_is_named_in_a_link_or_stands_in_the_body() -> None:
    inline = await CONTEXTS.resolve({"degrees": "https://uri.etsi.org/ngsi-ld/default-context/temperature"})
    entry = read_owed(owed(created(ROOM), "urn:x:new", 7, NOW, 0))
    payload, headers = render_notification(subscription(), [entry], CORE)
    assert headers["Content-Type"] == "application/json"
    assert headers["Link"].startswith(f"<{CORE_URL}>; rel=")
    assert "@context" not in payload
    payload, headers = render_notification(
        subscription(endpoint={"uri": "http://x/y", "accept": "application/ld+json"}), [entry], inline
    )
    assert headers == {"Content-Type": "application/ld+json"}
    assert payload["@context"] == inline.value
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
        updated(entity(temperature=22), co2="attributeDeleted"),
        updated(entity(temperature=23), temperature="attributeUpdated"),
    ]
    entries = coalesce([read_owed(owed(one, "urn:x:new", n, NOW, 0)) for n, one in enumerate(changes)])
    payload, _ = render_notification(subscription(format="simplified"), entries, CORE)
    assert payload["data"] == [
        {"id": "urn:x:Room:2", "type": "Room", "co2": 1},
        {"id": "urn:x:Room:1", "type": "Room", "temperature": 23, "co2": "urn:ngsi-ld:null"},
    ]
    assert payload["id"].endswith(entries[-1].row.id)


def test_an_entity_that_came_and_went_in_between_is_shown_as_deleted() -> None:
    changes = [created(ROOM), deleted(ROOM)]
    (entry,) = coalesce([read_owed(owed(one, "urn:x:new", n, NOW, 0)) for n, one in enumerate(changes)])
    assert entry.trigger == "entityDeleted"
