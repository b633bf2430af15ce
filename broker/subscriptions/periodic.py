"""Periodic notifications: timeInterval (ETSI GS CIM 009 v1.9.1, 5.2.12, 5.8.6).

When a subscription's time has come, what it selects is read and owed, and in the same transaction the next time is
written down (record kind 'tick'): so a tick is made once, whichever process makes it and whenever it dies.

    {"since": "2026-…Z", "interval": 60.0, "due": microseconds, "after": null, "serial": 0}

`since` is when the subscription was created, `due` the next tick; `after` and `serial` say how far it got, where a tick
has more entities than are read at a time. Ticks that were missed (nothing ran, the subscription was paused) are made up
for by one. While an earlier tick still waits to be delivered no other is made, so that a dead endpoint is owed one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import structlog

from broker.clock import SECOND, Clock, Micros, parse_iso
from broker.errors import BrokerError, StoreUnavailable
from broker.ngsild.expired import living
from broker.query.ast import EntityQuery, EntitySelector
from broker.query.linked import without_links
from broker.stores.base import ChangeSet, Conflict, OutboxRow, Record, RecordWrite, TenantStore
from broker.subscriptions.linked import Hidden
from broker.subscriptions.model import PERIODIC, UNLIMITED
from broker.subscriptions.owed import owed_periodically
from broker.subscriptions.subscription import Subscription, compile_subscription

log = structlog.get_logger(__name__)

LEASE: Final = "periodic"
"""One process makes the ticks; another takes over when it is gone."""
AT_ONCE: Final = 500
"""Entities read and owed in one transaction."""
LOOK_SECONDS: Final = 0.5
"""How long it waits at most before it looks again."""
SHORTEST_SECONDS: Final = 0.02
"""How long it waits at least, and so how often a subscription can be told at most."""
LEASE_SECONDS: Final = 1.0
"""How often a process that does not make the ticks asks whether it should."""
FIRST_PAUSE: Final[Micros] = SECOND // 10
LONGEST_PAUSE: Final[Micros] = 5 * SECOND
"""How long it waits for an earlier tick to be settled before it looks again."""
TROUBLE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Tick:
    """When a subscription is told next, and how far that got."""

    since: str
    interval: float
    due: Micros
    after: str | None = None
    serial: int = 0

    def done(self, now: Micros) -> Tick:
        """After this one: the next that has not been missed."""
        step = max(int(self.interval * SECOND), 1)
        missed = max(now - self.due, 0) // step
        return replace(self, due=self.due + (missed + 1) * step, after=None, serial=0)


def tick_of(subscription: Record, interval: float, kept: Record | None) -> Tick:
    """Where a subscription's ticks stand: as kept, or from its creation, or from when its interval was changed."""
    since = subscription.body["createdAt"]
    if kept is not None:
        tick = Tick(**kept.body)
        if tick.since == since and tick.interval == interval:
            return tick
    begins = subscription.body["createdAt" if kept is None else "modifiedAt"]
    return Tick(since, interval, (parse_iso(begins) or 0) + int(interval * SECOND))


def query_of(subscription: Subscription) -> EntityQuery:
    """What a subscription selects, as one query."""
    queries = [selector.query for selector in subscription.selectors]
    if len(queries) == 1:
        return queries[0]
    selectors = tuple(EntitySelector(query.ids, query.id_pattern, query.types) for query in queries)
    return EntityQuery(q=queries[0].q, geo=queries[0].geo, scope=queries[0].scope, selectors=selectors)


@dataclass(slots=True)
class _Periodic:
    subscription: Subscription
    tick: Tick
    version: int
    """Of the kept tick; 0: there is none."""
    pause: Micros = 0
    """How long it waited last for an earlier tick to be settled."""
    look_at: Micros = 0
    """Not looked at before."""

    @property
    def next(self) -> Micros:
        """When there is something to do for it."""
        return max(self.tick.due, self.look_at)


class Periodic:
    """One tenant's. `run` until cancelled; `changed` when subscriptions have changed."""

    def __init__(
        self,
        store: TenantStore,
        clock: Clock,
        owner: str,
        personal: Callable[[], Awaitable[Hidden]],
        wake: Callable[[Sequence[OutboxRow]], None],
        *,
        shared: bool,
        lease_seconds: float,
        most_linked: int,
    ) -> None:
        """`most_linked`: entities that a condition of q on linked ones may lead to."""
        self._store = store
        self._clock = clock
        self._owner = owner
        self._personal = personal
        self._wake = wake
        self._shared = shared
        self._lease_seconds = lease_seconds
        self._most_linked = most_linked
        self._leased_at: float | None = None
        self._periodic: dict[str, _Periodic] = {}
        self._epoch = 0
        self._stale = True
        self._look = asyncio.Event()

    def changed(self) -> None:
        """Some subscription has changed."""
        self._stale = True
        self._look.set()

    async def run(self) -> None:
        """Make ticks."""
        while True:
            try:
                pause = await self._round()
            except StoreUnavailable as error:
                log.warning("periodic.store_unavailable", reason=error.detail)
                pause = TROUBLE_SECONDS
            except Exception:
                log.exception("periodic.failed")
                self._stale = True
                pause = TROUBLE_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._look.wait()
            except TimeoutError:
                continue

    async def _round(self) -> float | None:
        """Make what is due; how long to wait then, seconds (None: until something changes)."""
        self._look.clear()
        if self._stale:
            await self._read()
        if not self._periodic or not await self._lease():
            return LEASE_SECONDS if self._periodic else None
        now = self._clock.now()
        for one in list(self._periodic.values()):
            while one.next <= now and one.subscription.status(now) == "active" and not self._stale:
                try:
                    if not await self._tick(one, now):
                        break
                except Conflict:
                    self._stale = True
                except StoreUnavailable:
                    raise
                except BrokerError as error:
                    log.error("periodic.refused", subscription=one.subscription.id, reason=error.detail)
                    await self._write(one, one.tick.done(now), [])
        if self._stale:
            return 0.0
        active = [one.next for one in self._periodic.values() if one.subscription.status(now) == "active"]
        if not active:
            return None
        return min(max((min(active) - self._clock.now()) / SECOND, SHORTEST_SECONDS), LOOK_SECONDS)

    async def _read(self) -> None:
        """All periodic subscriptions and where their ticks stand; what is kept of others goes."""
        self._stale = False
        epoch = (await self._store.epochs()).get("subscription", 0)
        records = await self._store.records("subscription", key=PERIODIC)
        kept = {record.id: record for record in await self._store.records("tick")}
        self._periodic = {}
        for record in records:
            known = kept.pop(record.id, None)
            try:
                subscription = compile_subscription(record.body, UNLIMITED)
                tick = tick_of(record, subscription.interval, known)
            except (BrokerError, LookupError, TypeError, ValueError) as error:
                log.error("subscription.unreadable", subscription=record.id, reason=repr(error))
                continue
            self._periodic[record.id] = _Periodic(subscription, tick, known.version if known is not None else 0)
        self._epoch = epoch
        if kept and await self._lease():
            version = self._clock.stamp().version
            await self._store.commit(
                ChangeSet(records=[RecordWrite("tick", subscription_id, None, version) for subscription_id in kept])
            )

    async def _tick(self, one: _Periodic, now: Micros) -> bool:
        """Owe the entities, or the next part of them; False when it must wait. Raises Conflict, BrokerError."""
        if one.tick.after is None and await self._store.outbox(one.subscription.id, limit=1):
            one.pause = min(max(one.pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
            one.look_at = now + one.pause
            return False
        one.pause = one.look_at = 0
        personal = await self._personal()
        excluded = personal.excluded if personal and not one.subscription.granted else None

        async def find(query: EntityQuery) -> list[str]:
            page = await self._store.query(replace(query, excluded=excluded))
            return [entity["id"] for entity in page.entities]

        query = replace(
            query_of(one.subscription), now=now, limit=AT_ONCE, after=one.tick.after, excluded=excluded, count=False
        )
        page = await self._store.query(await without_links(query, find, self._most_linked))
        entities = [alive for entity in page.entities if (alive := living(entity, now)) is not None]
        rows = [
            owed_periodically(one.subscription.id, entity, one.tick.due, now, one.tick.serial + number)
            for number, entity in enumerate(entities)
        ]
        further = page.more and page.next is not None
        following = replace(one.tick, after=page.next, serial=one.tick.serial + len(rows))
        await self._write(one, following if further else one.tick.done(now), rows)
        return True

    async def _write(self, one: _Periodic, tick: Tick, rows: list[OutboxRow]) -> None:
        version = self._clock.stamp().version
        write = RecordWrite("tick", one.subscription.id, asdict(tick), version, one.version)
        await self._store.commit(ChangeSet(outbox=rows, records=[write], epochs={"subscription": self._epoch}))
        one.tick, one.version = tick, version
        self._wake(rows)

    async def _lease(self) -> bool:
        """Whether this is the process that makes the ticks."""
        if not self._shared:
            return True
        now = time.monotonic()
        if self._leased_at is None or now - self._leased_at > self._lease_seconds / 3:
            held = await self._store.lease(LEASE, self._owner, self._lease_seconds)
            if held and self._leased_at is None:
                self._stale = True  # whoever had it before may have gone on since this was read
            self._leased_at = now if held else None
        return self._leased_at is not None
