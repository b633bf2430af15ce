"""What has expired is not there any more, even before it is removed (ETSI GS CIM 009 v1.9.1, 4.22)."""

from __future__ import annotations

from typing import cast

from broker.clock import Micros, parse_iso
from broker.ngsild.model import Attributes, Entity, Instance


def has_expired(thing: Entity | Instance, now: Micros) -> bool:
    """Whether the entity, or the instance of an attribute, has expired at the moment."""
    text = thing.get("expiresAt")
    if text is None:
        return False
    at = parse_iso(text)
    return at is not None and at <= now


def living(entity: Entity, now: Micros) -> Entity | None:
    """The entity without what of it has expired; None when all of it has. The very object when nothing has."""
    if "expiresAt" in entity and has_expired(entity, now):
        return None
    for instances in entity["attrs"].values():
        for instance in instances:
            if "expiresAt" in instance and has_expired(instance, now):
                return _without_expired(entity, now)
    return entity


def _without_expired(entity: Entity, now: Micros) -> Entity:
    attrs: Attributes = {}
    for name, instances in entity["attrs"].items():
        kept = [instance for instance in instances if not has_expired(instance, now)]
        if kept:
            attrs[name] = kept
    return cast("Entity", {**entity, "attrs": attrs})
