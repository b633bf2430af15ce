"""Linked entities: in q, looked up when a change is about to be committed, and in a notification, as they are when it is
sent (ETSI GS CIM 009 v1.9.1, 4.9, 4.5.23, 5.8.6).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from broker.clock import Clock, Micros, Stamp
from broker.ngsild.change import EntityChange
from broker.ngsild.expired import living
from broker.ngsild.linked import Shown, linked_entities
from broker.ngsild.model import Entity
from broker.ngsild.names import Names
from broker.query.ast import Excluded
from broker.stores.base import Needs, OutboxRow, TenantStore
from broker.subscriptions.notify import shown_entities
from broker.subscriptions.owed import Owed, owed
from broker.subscriptions.subscription import Subscription


class Hidden(Protocol):
    """What is personal."""

    @property
    def excluded(self) -> Excluded:
        """The entities, for queries."""
        ...

    def __bool__(self) -> bool:
        """Whether anything is."""
        ...

    def entity(self, entity_id: str) -> bool:
        """Whether an entity is."""
        ...


class _Nothing:
    excluded = Excluded()

    def __bool__(self) -> bool:
        return False

    def entity(self, entity_id: str) -> bool:
        """None is."""
        return False


NOTHING: Final[Hidden] = _Nothing()
"""Nothing is personal."""


class View(Protocol):
    """The entities as a group of commands leaves them, as far as it touched or loaded them."""

    def entity(self, entity_id: str) -> Entity | None:
        """The entity, or None."""
        ...

    def wrote(self, entity_id: str) -> bool:
        """Whether the group wrote it, or deleted it."""
        ...


@dataclass(frozen=True, slots=True)
class Pending:
    """A change that a subscription wants if the entities that it links to are so."""

    change: EntityChange
    subscription: Subscription
    stamp: Stamp
    serial: int
    trace: str
    personal: Hidden
    """A subscription that is not granted it cannot ask for it by a link either."""


async def owed_by_links(pending: Sequence[Pending], view: View, store: TenantStore) -> list[OutboxRow]:
    """The rows for those of `pending` that match. One read for each step of links, for all of them. Raises StoreUnavailable."""
    loaded: dict[str, Entity | None] = {}
    while True:
        missing: set[str] = set()
        found = [one for one in pending if _matches(one, _lookup(one, view, loaded, missing, one.stamp.now))]
        if not missing:
            return [
                owed(
                    one.change,
                    one.subscription.id,
                    one.stamp.version,
                    one.stamp.now,
                    one.serial,
                    one.trace,
                    previous=one.subscription.notification.show_changes,
                )
                for one in found
            ]
        read = (await store.load(Needs(entities=missing))).entities
        loaded |= {entity_id: read[entity_id].entity if entity_id in read else None for entity_id in missing}


def _matches(one: Pending, lookup: Callable[[str], Entity | None]) -> bool:
    entity = one.change.entity
    return any(
        selector.matches(entity) and (selector.linked is None or selector.linked(entity, lookup))
        for selector in one.subscription.selectors
    )


def _lookup(
    one: Pending, view: View, loaded: dict[str, Entity | None], missing: set[str], now: Micros
) -> Callable[[str], Entity | None]:
    def lookup(entity_id: str) -> Entity | None:
        if not one.subscription.granted and one.personal.entity(entity_id):
            return None
        entity = view.entity(entity_id)
        if entity is None and not view.wrote(entity_id):
            if entity_id not in loaded:
                missing.add(entity_id)
                return None
            entity = loaded[entity_id]
        return living(entity, now) if entity is not None else None

    return lookup


class Reading(Protocol):
    """What linked entities are read with."""

    @property
    def store(self) -> TenantStore:
        """Where they are."""
        ...

    @property
    def clock(self) -> Clock:
        """What has expired is not there."""
        ...

    @property
    def personal(self) -> Callable[[], Awaitable[Hidden]]:
        """What is personal now."""
        ...

    @property
    def join_entities(self) -> int:
        """How many at most."""
        ...


async def linked_to(subscription: Subscription, entries: Sequence[Owed], names: Names, reading: Reading) -> list[Shown]:
    """What a notification's entities lead to, where the subscription joins it. Raises TooManyResults, StoreUnavailable."""
    join = subscription.notification.join
    if join is None:
        return []

    async def load(ids: set[str]) -> dict[str, Entity]:
        if not subscription.granted:
            personal = await reading.personal()
            ids = {entity_id for entity_id in ids if not personal.entity(entity_id)}
        found = (await reading.store.load(Needs(entities=ids))).entities
        now = reading.clock.now()
        return {
            entity_id: entity
            for entity_id, stored in found.items()
            if (entity := living(stored.entity, now)) is not None
        }

    start = shown_entities(subscription, [one for one in entries if one.trigger != "entityDeleted"], names)
    return await linked_entities(start, join, load, reading.join_entities)
