"""A notification, from the change to the message (ETSI GS CIM 009 v1.9.1, 5.3.1, 5.8.6, 6.3.8).

What is owed is kept as a snapshot of the entity as the change left it; how it looks (format, attributes, @context) is
decided when it is sent, by the subscription as it then is.

    {"entity": {…}, "attributes": {"https://…/temperature": "attributeUpdated"}, "trigger": "entityUpdated", "at": …}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from broker.clock import Micros
from broker.jsonio import dumps, loads
from broker.ngsild.change import AttributeTrigger, EntityChange, EntityTrigger
from broker.ngsild.model import Entity, Iri
from broker.stores.base import OutboxRow


@dataclass(frozen=True, slots=True)
class Owed:
    """What an outbox row says: an entity as a change left it (as it last was, if deleted), and what changed."""

    row: OutboxRow
    entity: Entity
    attributes: dict[Iri, AttributeTrigger]
    trigger: EntityTrigger
    at: Micros


class _Latest:
    """The last snapshot made. A change that several subscriptions want is written out once."""

    change: EntityChange | None = None
    body: bytes = b""


_latest = _Latest()


def owed(change: EntityChange, subscription_id: str, version: int, now: Micros, serial: int) -> OutboxRow:
    """The outbox row for one subscription that `change` triggers.

    `version` is the change's, `now` its time (microseconds), `serial` counts the rows of one version. The id sorts by
    both, and is unique among processes: two of them never write the same version of the same entity.
    """
    if _latest.change is not change:
        _latest.body = dumps(
            {"entity": change.entity, "attributes": change.attributes, "trigger": change.trigger, "at": now}
        )
        _latest.change = change
    who = blake2b(f"{change.entity_id}\0{subscription_id}".encode(), digest_size=6).hexdigest()
    return OutboxRow(
        id=f"{version:016x}-{serial:04x}-{who}",
        subscription_id=subscription_id,
        entity_id=change.entity_id,
        created_at=now,
        body=_latest.body,
    )


def read_owed(row: OutboxRow) -> Owed:
    """What `owed` wrote."""
    body: dict[str, Any] = loads(row.body)
    return Owed(row, body["entity"], body["attributes"], body["trigger"], body["at"])


def coalesce(rows: Sequence[Owed]) -> list[Owed]:
    """The last state of each entity, with all that changed of it since, in the order of those last states.

    A throttled subscription is sent this at the end of its window (5.2.12).
    """
    latest: dict[str, Owed] = {}
    for one in rows:
        earlier = latest.pop(one.row.entity_id, None)
        if earlier is not None and one.trigger == "entityUpdated":
            one = Owed(one.row, one.entity, {**earlier.attributes, **one.attributes}, earlier.trigger, one.at)
        latest[one.row.entity_id] = one
    return list(latest.values())
