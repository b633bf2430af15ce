"""Subscriptions and changes to try things with."""

from __future__ import annotations

from typing import Any

from broker.clock import Clock, Stamp, iso
from broker.config import Limits
from broker.jsonld.resolver import ContextResolver
from broker.ngsild.change import AttributeTrigger, EntityChange
from broker.ngsild.model import DEFAULT_VOCAB, Entity
from broker.outbound import Fetched
from broker.stores.base import Record
from broker.subscriptions.model import parse_subscription

NOW = 1_790_000_000_000_000
STAMP = Stamp(NOW, iso(NOW), NOW)
ENDPOINT = {"endpoint": {"uri": "http://app.example.org/notify"}}


async def no_network(url: str) -> Fetched:
    raise AssertionError(f"{url} was fetched")


CONTEXTS = ContextResolver(no_network, Clock(), Limits())
CORE = CONTEXTS.core


def iri(name: str) -> str:
    return DEFAULT_VOCAB + name


def document(**members: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "Subscription", "entities": [{"type": "Room"}], "notification": ENDPOINT}
    made.update(members)
    return {name: value for name, value in made.items() if value is not None}


def parsed(**members: Any) -> dict[str, Any]:
    return parse_subscription(document(**members), CORE, None, Limits(), STAMP, "urn:x:new")


def record(name: str, **members: Any) -> Record:
    return Record("subscription", name, parsed(id=name, **members), 1)


def entity(kind: str | list[str] = "Room", entity_id: str = "urn:x:Room:1", **values: Any) -> Entity:
    kinds = [kind] if isinstance(kind, str) else kind
    return {
        "id": entity_id,
        "type": [iri(one) for one in kinds],
        "createdAt": STAMP.text,
        "modifiedAt": STAMP.text,
        "attrs": {
            iri(name): [{"type": "Property", "value": value, "createdAt": STAMP.text, "modifiedAt": STAMP.text}]
            for name, value in values.items()
        },
    }


def updated(after: Entity, **triggers: AttributeTrigger) -> EntityChange:
    return EntityChange(after["id"], after, after, {iri(name): trigger for name, trigger in triggers.items()})


def changed(before: Entity, after: Entity) -> EntityChange:
    """What makes one of the other: the attributes that differ."""
    triggers: dict[str, AttributeTrigger] = {}
    for name in {**before["attrs"], **after["attrs"]}:
        if name not in before["attrs"]:
            triggers[name] = "attributeCreated"
        elif name not in after["attrs"]:
            triggers[name] = "attributeDeleted"
        elif before["attrs"][name] != after["attrs"][name]:
            triggers[name] = "attributeUpdated"
    return EntityChange(after["id"], before, after, triggers)


def created(after: Entity) -> EntityChange:
    return EntityChange(after["id"], None, after, dict.fromkeys(after["attrs"], "attributeCreated"))


def deleted(before: Entity) -> EntityChange:
    return EntityChange(before["id"], before, None, {})
