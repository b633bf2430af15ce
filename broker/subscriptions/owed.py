"""What is owed: an outbox row's body, a snapshot of the entity as a change left it (ETSI GS CIM 009 v1.9.1, 5.8.6).

How it looks (format, members, @context) is decided when it is sent, by the subscription as it then is (`notify.py`).

    {"entity": {…}, "attributes": {"https://…/temperature": "attributeUpdated"}, "trigger": "entityUpdated", "at": …,
     "trace": "…",
     "gone": {"https://…/name": [{"type": "Property", "datasetId"?: …, "createdAt": …, "modifiedAt": …}]}?,
     "previous": {"https://…/temperature": {"": {"type": "Property", "value": 20}}}?}

`gone` are the instances of attributes that the change deleted, without their values. `previous` is there only for those
who asked for it: of each instance that changed, by datasetId, what it was; null where it was not there. A periodic
notification is owed as one row an entity, {"entity": …, "trigger": "interval", "at": …, "trace": ""}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final, Literal

from broker.clock import Micros
from broker.jsonio import dumps, loads
from broker.ngsild.change import AttributeTrigger, EntityChange, EntityTrigger
from broker.ngsild.model import VALUE_MEMBER, Entity, Instance, Iri
from broker.stores.base import OutboxRow

INTERVAL: Final = "interval"
"""The trigger of a periodic notification."""

Gone = dict[Iri, list[Instance]]
Previous = dict[Iri, dict[str, Instance | None]]
"""Attribute -> datasetId, '' for the default instance -> type and value it had."""

_KEPT_OF_GONE: Final = ("type", "datasetId", "createdAt", "modifiedAt")


@dataclass(frozen=True, slots=True)
class Owed:
    """What an outbox row says: an entity as a change left it (as it last was, if deleted), and what changed."""

    row: OutboxRow
    entity: Entity
    attributes: dict[Iri, AttributeTrigger]
    trigger: EntityTrigger | Literal["interval"]
    at: Micros
    trace: str = ""
    """The id of the request or uplink that caused the change, for the log."""
    gone: Gone = field(default_factory=dict)
    previous: Previous = field(default_factory=dict)

    @property
    def tick(self) -> str:
        """Which periodic notification it belongs to: the rows of one begin alike."""
        return self.row.id[:16]


class _Latest:
    """The last snapshots made. A change that several subscriptions want is written out once, or twice with `previous`."""

    change: EntityChange | None = None
    bodies: dict[bool, bytes] = {}  # noqa: RUF012  (one process's memory of one change)


_latest = _Latest()


def owed(
    change: EntityChange,
    subscription_id: str,
    version: int,
    now: Micros,
    serial: int,
    trace: str = "",
    *,
    previous: bool = False,
) -> OutboxRow:
    """The outbox row for one subscription that `change` triggers. `previous`: with what was there before.

    `version` is the change's, `now` its time (microseconds), `serial` counts the rows of one version. The id sorts by
    both, and is unique among processes: two of them never write the same version of the same entity.
    """
    if _latest.change is not change:
        _latest.change, _latest.bodies = change, {}
    body = _latest.bodies.get(previous)
    if body is None:
        body = _latest.bodies[previous] = dumps(_body(change, now, trace, previous=previous))
    return OutboxRow(
        id=_row_id(version, serial, change.entity_id, subscription_id),
        subscription_id=subscription_id,
        entity_id=change.entity_id,
        created_at=now,
        body=body,
    )


def owed_periodically(subscription_id: str, entity: Entity, due: Micros, now: Micros, serial: int) -> OutboxRow:
    """The row for one entity of the periodic notification that was due then; it is the `serial`-th.

    The same whoever makes it: the store takes it once.
    """
    return OutboxRow(
        id=_row_id(due, serial, entity["id"], subscription_id),
        subscription_id=subscription_id,
        entity_id=entity["id"],
        created_at=now,
        body=dumps({"entity": entity, "attributes": {}, "trigger": INTERVAL, "at": now, "trace": ""}),
    )


def read_owed(row: OutboxRow) -> Owed:
    """What `owed` wrote."""
    body: dict[str, Any] = loads(row.body)
    entity, attributes = body["entity"], body["attributes"]
    gone: Gone = body.get("gone") or {}
    for name, trigger in attributes.items():
        if trigger == "attributeDeleted" and name not in gone and name not in entity["attrs"]:
            gone[name] = [{"type": "Property"}]  # as versions before 'gone' wrote it
    return Owed(
        row,
        entity,
        attributes,
        body["trigger"],
        body["at"],
        body.get("trace", ""),
        gone,
        body.get("previous") or {},
    )


def coalesce(rows: Sequence[Owed]) -> list[Owed]:
    """The last state of each entity, with all that changed of it since, in the order of those last states.

    A throttled subscription is sent this at the end of its window (5.2.12). What was there before is as of its beginning.
    """
    latest: dict[str, Owed] = {}
    for one in rows:
        earlier = latest.pop(one.row.entity_id, None)
        if earlier is not None and one.trigger != "entityCreated":
            one = _joined(earlier, one)
        latest[one.row.entity_id] = one
    return list(latest.values())


def _joined(earlier: Owed, later: Owed) -> Owed:
    previous = {**later.previous, **earlier.previous}
    for name in later.previous.keys() & earlier.previous.keys():
        previous[name] = {**later.previous[name], **earlier.previous[name]}
    if later.trigger == "entityDeleted":
        return replace(later, previous=previous)
    return replace(
        later,
        attributes={**earlier.attributes, **later.attributes},
        trigger=earlier.trigger,
        previous=previous,
        gone=_still_gone([*_gone_of(earlier), *_gone_of(later)], later.entity),
    )


def _gone_of(one: Owed) -> list[tuple[Iri, Instance]]:
    return [(name, instance) for name, instances in one.gone.items() for instance in instances]


def _still_gone(gone: Sequence[tuple[Iri, Instance]], entity: Entity) -> Gone:
    """Of what was deleted, what has not come back; each once."""
    found: dict[Iri, dict[str | None, Instance]] = {}
    for name, instance in gone:
        dataset = instance.get("datasetId")
        if all(held.get("datasetId") != dataset for held in entity["attrs"].get(name, ())):
            found.setdefault(name, {})[dataset] = instance
    return {name: list(instances.values()) for name, instances in found.items()}


def _body(change: EntityChange, now: Micros, trace: str, *, previous: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "entity": change.entity,
        "attributes": change.attributes,
        "trigger": change.trigger,
        "at": now,
        "trace": trace,
    }
    if change.before is not None and change.after is not None:
        gone = _gone(change.before, change.after, change)
        if gone:
            body["gone"] = gone
        if previous:
            body["previous"] = _previous(change.before, change.after, change)
    return body


def _gone(before: Entity, after: Entity, change: EntityChange) -> dict[Iri, list[dict[str, Any]]]:
    found = {}
    for name in change.attributes:
        left = {instance.get("datasetId") for instance in after["attrs"].get(name, ())}
        gone = [
            {member: value for member, value in instance.items() if member in _KEPT_OF_GONE}
            for instance in before["attrs"].get(name, ())
            if instance.get("datasetId") not in left
        ]
        if gone:
            found[name] = gone
    return found


def _previous(before: Entity, after: Entity, change: EntityChange) -> dict[Iri, dict[str, Any]]:
    found = {}
    for name in change.attributes:
        was, now = (_by_dataset(entity, name) for entity in (before, after))
        changed = {
            dataset: _value(was.get(dataset)) for dataset in {**was, **now} if was.get(dataset) != now.get(dataset)
        }
        if changed:
            found[name] = changed
    return found


def _by_dataset(entity: Entity, name: Iri) -> dict[str, Instance]:
    return {instance.get("datasetId", ""): instance for instance in entity["attrs"].get(name, ())}


def _value(instance: Instance | None) -> dict[str, Any] | None:
    if instance is None:
        return None
    member = VALUE_MEMBER[instance["type"]]
    return {"type": instance["type"], member: instance.get(member)}


def _row_id(version: int, serial: int, entity_id: str, subscription_id: str) -> str:
    who = blake2b(f"{entity_id}\0{subscription_id}".encode(), digest_size=6).hexdigest()
    return f"{version:016x}-{serial:06x}-{who}"
