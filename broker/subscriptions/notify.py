"""A notification, from what is owed to the message (ETSI GS CIM 009 v1.9.1, 5.3.1, 5.8.6, 6.3.8).

Entities that are gone, attributes that are gone and what was there before are written into the entity first, as instances
that say so; then it is rendered like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from broker.clock import iso
from broker.jsonld.context import Context
from broker.jsonld.link import format_context_link
from broker.ngsild.fallback import conform
from broker.ngsild.fragment import deleted_instance
from broker.ngsild.joined import form_of, with_linked
from broker.ngsild.language import choose_language
from broker.ngsild.linked import Shown
from broker.ngsild.model import LOCATION, NGSI_LD_NULL, VALUE_MEMBER, Attributes, Entity, Instance, Iri
from broker.ngsild.names import Names
from broker.ngsild.render import Form, render_entity, render_feature, render_features
from broker.subscriptions.owed import Owed
from broker.subscriptions.subscription import Subscription

_PREVIOUS = {member: f"previous{member[0].upper()}{member[1:]}" for member in VALUE_MEMBER.values()}
"""value -> previousValue, objectList -> previousObjectList, …, as the core @context has them."""


def shown_entities(subscription: Subscription, entries: Sequence[Owed], names: Names) -> list[Shown]:
    """The entities of a notification, before linked ones are looked for."""
    params = subscription.notification
    return [Shown(_entity(one, subscription, names), params.pick, params.omit) for one in entries]


def render_notification(
    subscription: Subscription, entries: Sequence[Owed], names: Context, linked: Sequence[Shown] = ()
) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """The Notification (5.3.1) and its HTTP headers (6.3.8), for one or more entities; None when nothing of them is shown.

    `linked` are the entities that they lead to, where the subscription joins them. The id comes from the last outbox row,
    so that a receiver can tell what it has seen before. With 'application/json' a Link header names the @context: by its
    only URL, or by that of the one which was created for it (5.13.1).
    """
    last = entries[-1]
    data = _data(subscription, entries, names, linked)
    payload: dict[str, Any] = {
        "id": f"urn:ngsi-ld:Notification:{last.row.id}",
        "type": "Notification",
        "subscriptionId": subscription.id,
        "notifiedAt": iso(last.at),
        "data": data,
    }
    endpoint = subscription.notification.endpoint
    headers = dict(endpoint.headers)
    headers["Content-Type"] = endpoint.accept
    if endpoint.accept == "application/geo+json":
        payload["data"] = render_features(data)
    if endpoint.accept == "application/json" or (endpoint.accept == "application/geo+json" and _prefers_plain(headers)):
        if (url := names.url or subscription.context_url) is not None:
            headers["Link"] = format_context_link(url)
    elif endpoint.accept == "application/geo+json":
        payload["data"]["@context"] = names.value
    else:
        # Each entity can be read by itself, as in the answer to a query.
        payload["data"] = [{**item, "@context": names.value} for item in data]
        payload["@context"] = names.value
    return (payload if data else None), headers


def _prefers_plain(headers: dict[str, str]) -> bool:
    """Whether the receiver's Prefer (from receiverInfo) asks for GeoJSON without '@context' (6.3.6)."""
    return any(name.lower() == "prefer" and "body=json" in value.replace(" ", "") for name, value in headers.items())


def _data(
    subscription: Subscription, entries: Sequence[Owed], names: Names, linked: Sequence[Shown]
) -> list[dict[str, Any]]:
    params = subscription.notification
    form = Form(
        representation=params.format,
        sys_attrs=params.sys_attrs,
        datasets=subscription.datasets,
        languages=subscription.languages,
    )
    geo = params.endpoint.accept == "application/geo+json"
    start = shown_entities(subscription, entries, names)
    data = []
    for one, shown in zip(entries, start, strict=True):
        item = _rendered(shown, names, form, geo=geo)
        if not item:
            continue  # nothing of what is picked is there
        if params.format != "normalized":
            _shorten_deleted(item, one, shown, subscription, names)
        if one.trigger == "entityDeleted":
            (item["properties"] if geo else item)["deletedAt"] = iso(one.at)
        elif params.join is not None and params.join.kind == "inline":
            known = {other.entity["id"]: other.entity for other in (*start, *linked)}
            with_linked(shown, item, known, names, form, params.join)
        data.append(item)
    if params.join is not None and params.join.kind == "flat":
        seen = {shown.entity["id"] for shown in start}
        for other in linked:
            if other.entity["id"] not in seen:
                seen.add(other.entity["id"])
                data.append(_rendered(other, names, form, geo=geo))
    return [item for item in data if item]


def _rendered(shown: Shown, names: Names, form: Form, *, geo: bool) -> dict[str, Any]:
    form = form_of(form, shown)
    if not geo:
        return render_entity(shown.entity, names, form)
    dataset = next(iter(form.datasets)) if len(form.datasets) == 1 else None
    feature = render_feature(shown.entity, names, form, geometry=LOCATION, dataset_id=dataset)
    if feature["geometry"] == NGSI_LD_NULL:
        feature["geometry"] = None
    return feature


# --- what is gone, and what was there before ---


def _entity(one: Owed, subscription: Subscription, names: Names) -> Entity:
    """The entity to render: with an instance for each that is gone, and with what was there before where that is asked for."""
    if one.trigger == "entityDeleted":
        made = _deleted(one, subscription, names)
    elif one.gone or one.previous:
        made = _changed(one, subscription, names)
    else:
        made = one.entity
    return conform(made, subscription.conformance, names)


def _deleted(one: Owed, subscription: Subscription, names: Names) -> Entity:
    """A deleted entity: with its attributes only where it was their deletion that is told, or what they were."""
    params = subscription.notification
    attrs: Attributes = {}
    told = subscription.triggers
    if params.show_changes or ("attributeDeleted" in told and "entityDeleted" not in told):
        for name, instances in one.entity["attrs"].items():
            if params.show_changes or not subscription.watched or name in subscription.watched:
                attrs[name] = [_gone(one, name, instance, instance, subscription, names) for instance in instances]
    made: Entity = {
        "id": one.entity["id"],
        "type": one.entity["type"],
        "attrs": attrs,
        "createdAt": one.entity["createdAt"],
        "modifiedAt": one.entity["modifiedAt"],
    }
    return made


def _changed(one: Owed, subscription: Subscription, names: Names) -> Entity:
    attrs: Attributes = dict(one.entity["attrs"])
    show = subscription.notification.show_changes and one.trigger != "entityCreated"
    if show:
        for name, before in one.previous.items():
            if name in attrs:
                attrs[name] = [
                    _with_previous(instance, before.get(instance.get("datasetId", "")), subscription, names)
                    for instance in attrs[name]
                ]
    for name, instances in one.gone.items():
        left = attrs.get(name, [])
        if len(instances) > 1 and not left and not show and not subscription.datasets:
            # All of it is gone: there is no need to say which instances there were.
            instances = [cast("Instance", {k: v for k, v in instances[0].items() if k != "datasetId"})]
        attrs[name] = [*left, *(_gone(one, name, instance, None, subscription, names) for instance in instances)]
    return {**one.entity, "attrs": attrs}


def _gone(
    one: Owed, name: Iri, instance: Instance, was: Instance | None, subscription: Subscription, names: Names
) -> Instance:
    """What stands for an instance that is gone. `was`: what it was, where nothing else is remembered."""
    made: dict[str, Any] = {**deleted_instance(instance, iso(one.at))}
    for member in ("createdAt", "modifiedAt"):
        if member in instance:
            made[member] = instance[member]
    if not subscription.notification.show_changes or one.trigger == "entityCreated":
        return cast("Instance", made)
    before = one.previous.get(name, {}).get(instance.get("datasetId", ""), was)
    return _with_previous(cast("Instance", made), before, subscription, names)


def _with_previous(instance: Instance, before: Instance | None, subscription: Subscription, names: Names) -> Instance:
    if before is None:
        return instance
    member = VALUE_MEMBER[before["type"]]
    value: Any = before.get(member)
    if member == "vocab":
        value = [names.compact(each) for each in value] if isinstance(value, list) else names.compact(value)
    elif member == "objectList" and subscription.notification.format == "normalized":
        value = [{"object": each} for each in value]
    elif member == "languageMap" and subscription.languages and value:
        member, value = "value", choose_language(value, subscription.languages)[1]
    return cast("Instance", {**instance, _PREVIOUS[member]: value})


def _shorten_deleted(item: dict[str, Any], one: Owed, shown: Shown, subscription: Subscription, names: Names) -> None:
    """Where the representation allows it, nothing but the null stands for an attribute that is gone (5.8.6)."""
    params = subscription.notification
    if params.format == "concise" and (params.sys_attrs or params.show_changes):
        return
    members = item["properties"] if item.get("type") == "Feature" and "properties" in item else item
    for name in one.entity["attrs"] if one.trigger == "entityDeleted" else one.gone:
        held = shown.entity["attrs"].get(name, ())
        term = names.compact(name)
        if term in members and len(held) == 1 and "datasetId" not in held[0] and "deletedAt" in held[0]:
            members[term] = NGSI_LD_NULL
