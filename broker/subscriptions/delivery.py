"""Drains the outbox: a lane for each subscription that is owed something, and what keeps the lanes in step.

At least once, in order, and a dead endpoint delays nobody else. The store is the truth: `wake` only saves time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import structlog

from broker import metrics
from broker.clock import Clock
from broker.config import Delivery as DeliverySettings
from broker.config import Limits
from broker.ending import end
from broker.errors import StoreUnavailable
from broker.jsonld.context import Context
from broker.outbound import Transport
from broker.stores.base import OutboxRow, TenantStore
from broker.subscriptions.figures import measure
from broker.subscriptions.lane import TROUBLE_SECONDS, Lane, Means, lease_name
from broker.subscriptions.linked import NOTHING, Hidden
from broker.subscriptions.periodic import LEASE as PERIODIC_LEASE
from broker.subscriptions.periodic import Periodic
from broker.subscriptions.receivers.telling import Telling
from broker.subscriptions.settle import Settler
from broker.subscriptions.state import DeliveryState
from broker.subscriptions.waiting import Room

log = structlog.get_logger(__name__)

SCAN_SECONDS = 10.0
"""How often the store is asked who is owed something, as a safety net."""
SHARED_SCAN_SECONDS = 1.0
"""The same where other processes write to the outbox as well: how late their notifications may be found."""
WATCH_SECONDS = 0.5
"""How often it is looked whether subscriptions have changed."""
SETTLE_LAST_SECONDS = 2.0
"""Time to write down what was delivered, at the end."""


async def _nothing_hidden() -> Hidden:
    return NOTHING


class Delivery:
    """Delivery for one tenant. `run` until `stop`.

    `owner` names this process in leases. `resolve_context` gives the names of a subscription's @context (None: the core
    one) and may raise LdContextNotAvailable. `shared`: other processes use the same store. `tenant`: notifications say it.
    `personal` says what only granted subscriptions are told of; `limits`: of linked entities;
    `telling` makes the messages to ready receivers.
    """

    def __init__(
        self,
        store: TenantStore,
        outbound: Transport,
        settings: DeliverySettings,
        clock: Clock,
        owner: str,
        resolve_context: Callable[[Any], Awaitable[Context]],
        *,
        shared: bool,
        tenant: str = "",
        personal: Callable[[], Awaitable[Hidden]] = _nothing_hidden,
        limits: Limits | None = None,
        telling: Telling | None = None,
    ) -> None:
        limits = limits or Limits()
        self._store = store
        self._settler = Settler(store, clock)
        self._means = Means(
            store=store,
            outbound=outbound,
            settings=settings,
            clock=clock,
            owner=owner,
            resolve_context=resolve_context,
            shared=shared,
            settler=self._settler,
            room=Room(),
            personal=personal,
            join_entities=limits.join_entities,
            telling=telling,
            tenant=tenant,
        )
        self._periodic = Periodic(
            store,
            clock,
            owner,
            personal,
            self.wake,
            shared=shared,
            lease_seconds=settings.lease_seconds,
            most_linked=limits.query_linked,
        )
        self._lanes: dict[str, Lane] = {}
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._elsewhere: dict[str, float] = {}
        """Subscription id -> until when its lease is not asked for, because another process holds it."""
        self._group: asyncio.TaskGroup | None = None
        self._scanned = False
        self._rescan = asyncio.Event()
        self.lease_owner = owner if shared else ""
        """What this process is called in leases; '' where it is the only one."""
        self._stopped = asyncio.Event()
        self._leases: list[str] = []
        """To give back at the end, once everything is written down."""
        self._backlog = metrics.queue_depth.labels(f"outbox:{tenant}" if tenant else "outbox")

    def wake(self, rows: Sequence[OutboxRow]) -> None:
        """Rows that were just committed, in order. Never blocks; what does not fit is read from the store later."""
        if self._group is None or self._means.stopping:
            return
        for row in rows:
            if not self._is_elsewhere(row.subscription_id):
                self._lane(row.subscription_id).offer(row)

    def look(self, subscription_id: str) -> None:
        """There may be rows for a subscription that nobody was told of (dead letters that were revived)."""
        if self._group is not None and not self._means.stopping and not self._is_elsewhere(subscription_id):
            self._lane(subscription_id).look()

    def unwritten(self, subscription_id: str) -> DeliveryState | None:
        """How the delivery of a subscription stands here, where that is newer than what the store says; else None."""
        return self._settler.unwritten(subscription_id)

    def refresh(self, ids: Collection[str] | None = None) -> None:
        """These subscriptions have changed (None: any may have): their lanes read them again before they send. (Found out
        within a second anyway.)
        """
        self._periodic.changed()
        if ids is None:
            self._means.generation += 1
        for lane in self._lanes.values() if ids is None else [self._lanes[one] for one in ids if one in self._lanes]:
            lane.changed()

    async def run(self) -> None:
        """Deliver, until `stop` is called or this is cancelled. What was delivered is written down before it returns."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                chores = [
                    group.create_task(self._settler.run(), name="delivery settle"),
                    group.create_task(self._watch(), name="delivery watch"),
                    group.create_task(self._scan(), name="delivery scan"),
                    group.create_task(measure(self._store, self._means.clock, tenant=self._means.tenant)),
                    group.create_task(self._periodic.run(), name="delivery periodic"),
                ]
                await self._stopped.wait()
                await end(chores)
        finally:
            self._group = None
            self._means.stopping = True
            await self._settle_last()

    async def stop(self, grace_seconds: float) -> None:
        """Send nothing more; let what is on its way finish, at most `grace_seconds`. `run` returns then."""
        self._means.stopping = True
        self._leases = [PERIODIC_LEASE, *(lease_name(name) for name in self._lanes)]
        for lane in self._lanes.values():
            lane.nudge()
        running = list(self._tasks.values())
        if running:
            _, late = await asyncio.wait(running, timeout=grace_seconds)
            for task in late:
                task.cancel()
        self._stopped.set()

    def _lane(self, subscription_id: str) -> Lane:
        lane = self._lanes.get(subscription_id)
        if lane is not None and not lane.closed:
            return lane
        assert self._group is not None
        # Until the store was asked once, older rows may be waiting; and after a lane that ended, too.
        lane = Lane(subscription_id, self._means, behind=not self._scanned or lane is not None or self._means.shared)
        task = self._group.create_task(lane.run(), name=f"delivery {subscription_id}")
        self._lanes[subscription_id] = lane
        self._tasks[lane] = task
        task.add_done_callback(lambda _: self._ended(lane))
        return lane

    def _is_elsewhere(self, subscription_id: str) -> bool:
        """Whether another process delivered it a moment ago: it finds what is owed."""
        until = self._elsewhere.get(subscription_id)
        if until is None:
            return False
        if time.monotonic() < until:
            return True
        del self._elsewhere[subscription_id]
        return False

    def _ended(self, lane: Lane) -> None:
        self._tasks.pop(lane, None)
        if lane.refused:
            self._elsewhere[lane.subscription_id] = time.monotonic() + self._means.settings.lease_seconds / 2
        if self._lanes.get(lane.subscription_id) is lane:
            del self._lanes[lane.subscription_id]

    async def _scan(self) -> None:
        """Who is owed something that no lane knows of: from before the start, from other processes, revived."""
        while True:
            try:
                await self._settler.flush()
                owed = await self._store.outbox_owed()
            except StoreUnavailable as error:
                log.warning("delivery.store_unavailable", reason=error.detail)
                await asyncio.sleep(TROUBLE_SECONDS)
                continue
            self._backlog.set(sum(owed.values()))
            for subscription_id in owed:
                lane = self._lanes.get(subscription_id)
                if lane is None or lane.closed or lane.idle:
                    self.look(subscription_id)
            self._scanned = True
            try:
                async with asyncio.timeout(SHARED_SCAN_SECONDS if self._means.shared else SCAN_SECONDS):
                    await self._rescan.wait()
            except TimeoutError:
                continue
            self._rescan.clear()

    async def _watch(self) -> None:
        """Notice changed subscriptions, and what an operator says of them, by their epochs."""
        known: tuple[int, int] | None = None
        while True:
            try:
                epochs = await self._store.epochs()
                now = (epochs.get("subscription", 0), epochs.get("steering", 0))
            except StoreUnavailable:
                now = known if known is not None else (0, 0)
            if known is None or now[1] != known[1]:
                # Operators are few: all lanes look again.
                self.refresh()
                self._rescan.set()
            elif now[0] != known[0]:
                await self._follow(known[0])
            known = now
            await asyncio.sleep(WATCH_SECONDS)

    async def _follow(self, since: int) -> None:
        """Refresh what changed since an epoch."""
        moved = None
        with suppress(StoreUnavailable):
            moved = await self._store.moved("subscription", since)
        self.refresh(moved[1] if moved is not None else None)

    async def _settle_last(self) -> None:
        try:
            async with asyncio.timeout(SETTLE_LAST_SECONDS):
                await self._settler.flush()
                if self._means.shared:
                    await self._store.release(self._leases, self._means.owner)
        except (TimeoutError, StoreUnavailable):
            log.warning(
                "delivery.settle_skipped", reason="The store did not answer; some notifications will be sent again."
            )
