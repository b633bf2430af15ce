"""A notification, from the change to the message (ETSI GS CIM 009 v1.9.1, 5.3.1, 5.8.6, 6.3.8).

What is owed is kept as a snapshot of the entity as the change left it; how it looks (format, attributes, @context) is
decided when it is sent, by the subscription as it then is.

    {"entity": {…}, "attributes": {"https://…/temperature": "attributeUpdated"}, "trigger": "entityUpdated", "at": …,
     "trace": "…"}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from broker.clock import Micros, iso
from broker.jsonio import dumps, loads
from broker.jsonld.context import Context
from broker.jsonld.link import format_context_link
from broker.ngsild.change import AttributeTrigger, EntityChange, EntityTrigger
from broker.ngsild.model import NGSI_LD_NULL, Entity, Iri
from broker.ngsild.names import Names
from broker.ngsild.render import Form, render_entity
from broker.stores.base import OutboxRow
from broker.subscriptions.subscription import Subscription


@dataclass(frozen=True, slots=True)
class Owed:
    """What an outbox row says: an entity as a change left it (as it last was, if deleted), and what changed."""

    row: OutboxRow
    entity: Entity
    attributes: dict[Iri, AttributeTrigger]
    trigger: EntityTrigger
    at: Micros
    trace: str = ""
    """The id of the request or uplink that caused the change, for the log."""


class _Latest:
    """The last snapshot made. A change that several subscriptions want is written out once."""

    change: EntityChange | None = None
    body: bytes = b""


_latest = _Latest()


def owed(
    change: EntityChange, subscription_id: str, version: int, now: Micros, serial: int, trace: str = ""
) -> OutboxRow:
    """The outbox row for one subscription that `change` triggers.

    `version` is the change's, `now` its time (microseconds), `serial` counts the rows of one version. The id sorts by
    both, and is unique among processes: two of them never write the same version of the same entity.
    """
    if _latest.change is not change:
        _latest.body = dumps(
            {
                "entity": change.entity,
                "attributes": change.attributes,
                "trigger": change.trigger,
                "at": now,
                "trace": trace,
            }
        )
        _latest.change = change
    who = blake2b(f"{change.entity_id}\0{subscription_id}".encode(), digest_size=6).hexdigest()
    return OutboxRow(
        id=f"{version:016x}-{serial:06x}-{who}",
        subscription_id=subscription_id,
        entity_id=change.entity_id,
        created_at=now,
        body=_latest.body,
    )


def read_owed(row: OutboxRow) -> Owed:
    """What `owed` wrote."""
    body: dict[str, Any] = loads(row.body)
    return Owed(row, body["entity"], body["attributes"], body["trigger"], body["at"], body.get("trace", ""))


def coalesce(rows: Sequence[Owed]) -> list[Owed]:
    """The last state of each entity, with all that changed of it since, in the order of those last states.

    A throttled subscription is sent this at the end of its window (5.2.12).
    """
    latest: dict[str, Owed] = {}
    for one in rows:
        earlier = latest.pop(one.row.entity_id, None)
        if earlier is not None and one.trigger == "entityUpdated":
            one = Owed(
                one.row, one.entity, {**earlier.attributes, **one.attributes}, earlier.trigger, one.at, one.trace
            )
        latest[one.row.entity_id] = one
    return list(latest.values())


def render_notification(
    subscription: Subscription, entries: Sequence[Owed], names: Context
) -> tuple[dict[str, Any], dict[str, str]]:
    """The Notification (5.3.1) and its HTTP headers (6.3.8), for one or more entities.

    The id comes from the last outbox row, so that a receiver can tell what it has seen before. With 'application/json'
    a Link header names the @context: by its only URL, or by that of the one which was created for it (5.13.1).
    """
    params = subscription.notification
    form = Form(
        representation=params.format,
        sys_attrs=params.sys_attrs,
        attrs=frozenset(params.attributes) if params.attributes is not None else None,
    )
    last = entries[-1]
    payload: dict[str, Any] = {
        "id": f"urn:ngsi-ld:Notification:{last.row.id}",
        "type": "Notification",
        "subscriptionId": subscription.id,
        "notifiedAt": iso(last.at),
        "data": [_render(one, names, form) for one in entries],
    }
    headers = dict(params.endpoint.headers)
    headers["Content-Type"] = params.endpoint.accept
    if params.endpoint.accept == "application/ld+json":
        payload["@context"] = names.value
    elif (url := names.url or subscription.context_url) is not None:
        headers["Link"] = format_context_link(url)
    return payload, headers


def _render(one: Owed, names: Names, form: Form) -> dict[str, Any]:
    """An entity of a notification; deleted attributes and entities as 5.8.6 says."""
    if one.trigger == "entityDeleted":
        gone: dict[str, Any] = {
            "id": one.entity["id"],
            "type": render_entity(one.entity, names, Form(attrs=frozenset()))["type"],
            "deletedAt": iso(one.at),
        }
        if form.sys_attrs:
            gone |= {"createdAt": one.entity["createdAt"], "modifiedAt": one.entity["modifiedAt"]}
        return gone
    shown = render_entity(one.entity, names, form)
    for name, trigger in one.attributes.items():
        if trigger != "attributeDeleted" or name in one.entity["attrs"]:
            continue
        if form.attrs is None or name in form.attrs:
            shown[names.compact(name)] = (
                {"type": "Property", "value": NGSI_LD_NULL, "deletedAt": iso(one.at)}
                if form.sys_attrs
                else NGSI_LD_NULL
            )
    return shown
