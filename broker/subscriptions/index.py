"""Which subscriptions a change concerns: an index over entity id, type and attribute, so that those that cannot match
cost nothing, and 100,000 subscriptions of which ten match cost about what ten cost.

A subscription stands in a bucket for each (entity id or type it selects, attribute it watches); a change looks into the
buckets of its entity's id and types and of the attributes it changed. Within a bucket it is filed by what else it asks for
(`guard.py`). What is found there is tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from itertools import product

import structlog

from broker.clock import Micros
from broker.errors import BrokerError
from broker.ngsild.change import EntityChange
from broker.ngsild.model import Iri
from broker.query.ast import AllTypes, AnyType, HasType, TypeSelection
from broker.stores.base import Record
from broker.subscriptions.bucket import Bucket
from broker.subscriptions.guard import Guard, guard_of
from broker.subscriptions.model import UNLIMITED
from broker.subscriptions.subscription import Selector, Subscription, compile_subscription

log = structlog.get_logger(__name__)

_ANY = ""
"""In a key: whatever type, whatever attribute."""
_Key = tuple[str, Iri]
"""('i' + id, 't' + type or '', attribute or '')."""


class SubscriptionIndex:
    """The subscriptions of one tenant. Built from records; kept in step by whoever commits them."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._versions: dict[str, int] = {}
        self._buckets: dict[_Key, Bucket] = {}
        self._linked: set[str] = set()
        """Those that ask for linked entities."""
        self.replace(records)

    def __len__(self) -> int:
        return len(self._subscriptions)

    def get(self, subscription_id: str) -> Subscription | None:
        """One subscription."""
        return self._subscriptions.get(subscription_id)

    def shows_changes(self, subscription_id: str) -> bool:
        """Whether a subscription wants to know what was there before."""
        subscription = self._subscriptions.get(subscription_id)
        return subscription is not None and subscription.notification.show_changes

    def replace(self, records: Iterable[Record]) -> None:
        """These and no others."""
        all_of_them = list(records)
        self.add(all_of_them)
        self.keep({record.id for record in all_of_them})

    def add(self, records: Iterable[Record]) -> None:
        """Put these, but for those that are here in the same version: they cost nothing."""
        for record in records:
            if self._versions.get(record.id) != record.version:
                self.put(record)

    def keep(self, ids: Set[str]) -> None:
        """Remove all others."""
        for subscription_id in self._versions.keys() - ids:
            self.remove(subscription_id)

    def put(self, record: Record) -> None:
        """Add a subscription or put it in place of the one with its id."""
        self.remove(record.id)
        self._versions[record.id] = record.version
        try:
            subscription = compile_subscription(record.body, UNLIMITED)
        except (BrokerError, LookupError, TypeError, ValueError) as error:
            # Written by another version: one that cannot be read must not keep the others from working.
            log.error("subscription.unreadable", subscription=record.id, reason=repr(error))
            return
        self._subscriptions[subscription.id] = subscription
        if any(selector.linked is not None for selector in subscription.selectors):
            self._linked.add(subscription.id)
        for key, guard in _filed(subscription):
            self._buckets.setdefault(key, Bucket()).add(subscription, guard)

    def remove(self, subscription_id: str) -> None:
        """Forget one, if it is there."""
        self._versions.pop(subscription_id, None)
        self._linked.discard(subscription_id)
        subscription = self._subscriptions.pop(subscription_id, None)
        if subscription is None:
            return
        for key, guard in _filed(subscription):
            bucket = self._buckets[key]
            bucket.remove(subscription_id, guard)
            if not bucket:
                del self._buckets[key]

    def match(self, change: EntityChange, now: Micros, *, granted: bool = False) -> list[str]:
        """The ids of the active subscriptions that `change` triggers, in a stable order (5.8.6); but for those of
        `match_linked`.

        `granted`: the change is told only to subscriptions that are granted personal data.
        """
        return [
            subscription.id
            for subscription in self._candidates(change, now, granted=granted)
            if subscription.id not in self._linked and subscription.selects(change)
        ]

    def match_linked(self, change: EntityChange, now: Micros, *, granted: bool = False) -> list[Subscription]:
        """Subscriptions that `change` may trigger: whether, the entities say that it links to (`Selector.linked`)."""
        if not self._linked:
            return []
        return [
            subscription
            for subscription in self._candidates(change, now, granted=granted)
            if subscription.id in self._linked and subscription.selects(change)
        ]

    def _candidates(self, change: EntityChange, now: Micros, *, granted: bool) -> list[Subscription]:
        """Active ones that are triggered, by id, whatever they select."""
        if not self._buckets:
            return []
        entity = change.entity
        # A deleted entity takes all its attributes along.
        attributes = change.attributes if change.after is not None else {**dict.fromkeys(entity["attrs"]), _ANY: None}
        places = ["i" + entity["id"], _ANY, *("t" + kind for kind in entity["type"])]
        found: dict[str, Subscription] = {}
        for place, attribute in product(places, (*attributes, _ANY)):
            bucket = self._buckets.get((place, attribute))
            if bucket is not None:
                for filed in bucket.find(entity):
                    found |= filed
        return [
            found[subscription_id]
            for subscription_id in sorted(found)
            if (found[subscription_id].granted or not granted)
            and found[subscription_id].status(now) == "active"
            and _triggered(found[subscription_id], change)
        ]


def _triggered(subscription: Subscription, change: EntityChange) -> bool:
    """Whether what happened is among the subscription's triggers, for an attribute it watches.

    Creating an entity creates its attributes as well, deleting it deletes them. Of an entity-level event, the watched
    attributes are those the entity has. An attribute that gets or loses one of its instances is updated, and the instance
    is created or deleted.
    """
    triggers, watched = subscription.triggers, subscription.watched
    if change.trigger != "entityUpdated" and change.trigger in triggers:
        return not watched or not watched.isdisjoint(change.entity["attrs"])
    if change.after is None:
        return "attributeDeleted" in triggers and (not watched or not watched.isdisjoint(change.entity["attrs"]))
    return any(
        trigger in triggers or (trigger == "attributeUpdated" and not triggers.isdisjoint(_of_instances(change, name)))
        for name, trigger in change.attributes.items()
        if not watched or name in watched
    )


def _of_instances(change: EntityChange, name: Iri) -> set[str]:
    """What happened to single instances (datasetIds) of an attribute that was there and is."""
    before, after = (
        {instance.get("datasetId") for instance in entity["attrs"].get(name, ())} if entity is not None else set()
        for entity in (change.before, change.after)
    )
    found = set()
    if after - before:
        found.add("attributeCreated")
    if before - after:
        found.add("attributeDeleted")
    return found


def _filed(subscription: Subscription) -> Iterator[tuple[_Key, Guard]]:
    """The buckets it stands in, and where in them; none for one that the clock tells, not changes."""
    if subscription.interval:
        return
    guards: dict[str, Guard] = {}
    for selector in subscription.selectors:
        guard = guard_of(selector.query)
        for place in _places(selector):
            guards[place] = guards.get(place, frozenset()) | guard
    for place, guard in guards.items():
        for attribute in subscription.watched or (_ANY,):
            yield (place, attribute), guard


def _places(selector: Selector) -> list[str]:
    """Where to look for a selector: its ids, else types of which every entity it selects has one."""
    query = selector.query
    if query.ids:
        return ["i" + one for one in query.ids]
    if query.types is None:
        return [_ANY]
    return ["t" + kind for kind in _one_of(query.types)]


def _one_of(selection: TypeSelection) -> list[Iri]:
    """Types of which an entity must have at least one to be selected, as few as the selection allows."""
    match selection:
        case HasType(kind):
            return [kind]
        case AnyType(terms):
            return [kind for term in terms for kind in _one_of(term)]
        case AllTypes(terms):
            return min((_one_of(term) for term in terms), key=len)
