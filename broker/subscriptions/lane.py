"""One subscription's delivery: what it is owed, in order, one notification at a time, until all of it is settled.

What waits in memory is in `waiting.py`; the truth is in the store.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from broker import metrics
from broker.clock import SECOND, Clock, Micros
from broker.config import Delivery as DeliverySettings
from broker.config import Limits
from broker.errors import BrokerError, StoreUnavailable
from broker.jsonio import dumps
from broker.jsonld.context import Context
from broker.outbound import HostResting, Message, OutboundError, Transport
from broker.stores.base import ChangeSet, Needs, OutboxRow, Record, RecordKind, TenantStore
from broker.subscriptions.linked import Hidden, linked_to
from broker.subscriptions.model import UNLIMITED
from broker.subscriptions.notify import render_notification
from broker.subscriptions.owed import INTERVAL, Owed, coalesce, read_owed
from broker.subscriptions.receivers.render import at_once
from broker.subscriptions.receivers.telling import Telling
from broker.subscriptions.settle import Settler
from broker.subscriptions.signing import valid_secrets
from broker.subscriptions.state import DeliveryState, read_state
from broker.subscriptions.steering import Steering, read_steering
from broker.subscriptions.subscription import Subscription, compile_subscription
from broker.subscriptions.waiting import Room, Waiting

log = structlog.get_logger(__name__)

WINDOW_ROWS = 10_000
"""Rows of one throttled notification; what is beyond it goes into the next."""
TICK_ENTITIES = 100
"""Entities of one periodic notification; where more match, several go out."""
SWEEP_ROWS = 1000
"""Rows dropped or given up at a time."""
LINGER_SECONDS = 5.0
"""An idle lane keeps what it knows of its subscription this long."""
PAUSED_SECONDS = 3600.0
"""How long a lane that an operator paused sleeps before it looks again; word of a change wakes it."""
REPLAYED = "-replay-"
"""In the id of a row that a replay made, before the replay's own id."""
REPLAY_HEADER = "Knutpunkt-Replay"
"""Marks a notification that was sent before: its value is the replay's id."""
TROUBLE_SECONDS = 1.0
"""Pause when the store does not answer, or after a fault of ours."""

_SENT = metrics.notifications.labels("sent")
_FAILED = metrics.notifications.labels("failed")
_GIVEN_UP = metrics.notifications.labels("given_up")
_DROPPED = metrics.notifications.labels("dropped")


def _unknown(_: str) -> None:
    """The store has to be asked."""
    return None


@dataclass(slots=True)
class Means:
    """What all lanes share."""

    store: TenantStore
    outbound: Transport
    settings: DeliverySettings
    clock: Clock
    owner: str
    resolve_context: Callable[[Any], Awaitable[Context]]
    shared: bool
    """Other processes use the store as well: leases decide who delivers, and rows are always read from the store."""
    settler: Settler
    room: Room
    personal: Callable[[], Awaitable[Hidden]]
    """What is personal now: only a granted subscription is told of it, by a join too."""
    join_entities: int = Limits().join_entities
    """Linked entities of one notification at most."""
    known: Callable[[str], tuple[Subscription, int] | None] = _unknown
    """A subscription that is in memory, and its version."""
    telling: Telling | None = None
    """What messages to ready receivers are made with."""
    tenant: str = ""
    """Said in every notification (5.5.10); '' for the default one."""
    generation: int = 0
    """Moves on when any subscription has changed."""
    stopping: bool = False


@dataclass(slots=True)
class _Head:
    """What is sent next, in one notification: one row, or a throttled subscription's window."""

    rows: list[str]
    oldest: Micros
    newest: Micros
    entries: list[Owed] = field(default_factory=list)


class Lane:
    """Delivery of one subscription. Made behind: what the store holds is read first."""

    def __init__(self, subscription_id: str, means: Means, *, behind: bool) -> None:
        self.subscription_id = subscription_id
        self.closed = False
        self.refused = False
        """Another process holds the lease."""
        self._means = means
        self._waiting = Waiting(subscription_id, means.store, means.settler, means.room, behind=behind)
        self._head: _Head | None = None
        self._wake = asyncio.Event()
        self._changes = 0
        self._generation = (-1, 0)
        """Of all subscriptions and of this one, when it was read."""
        self._subscription: Subscription | None = None
        self._version = 0
        self._names: Context | None = None
        self._steering = Steering()
        self._steered = 0
        """The version of what is steered by."""
        self._state: DeliveryState | None = None
        self._rests_until: Micros = 0
        self._leased = False

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return self._head is None and not self._waiting and not self._waiting.behind

    def offer(self, row: OutboxRow) -> None:
        """A row that was just committed."""
        if self._means.shared or (self._state is not None and self._state.attempts):
            # Another process's row may come before it; or it will have to wait, which it can do in the store.
            self._waiting.miss()
        else:
            self._waiting.offer(row)
        self._wake.set()

    def look(self) -> None:
        """There may be rows in the store that nobody offered."""
        self._waiting.miss()
        self._wake.set()

    def nudge(self) -> None:
        """The broker is stopping."""
        self._wake.set()

    def changed(self) -> None:
        """The subscription may have changed."""
        self._changes += 1
        self._wake.set()

    async def run(self) -> None:
        """Deliver until there was nothing to do for a while, the subscription is gone, or the broker stops."""
        keeper: asyncio.Task[None] | None = None
        try:
            while not self._means.stopping and not self.closed:
                try:
                    if not await self._lease():
                        break
                    if self._means.shared and keeper is None:
                        keeper = asyncio.create_task(self._keep_lease(), name=f"lease {self.subscription_id}")
                    await self._step()
                except StoreUnavailable as error:
                    log.warning("delivery.store_unavailable", subscription=self.subscription_id, reason=error.detail)
                    await asyncio.sleep(TROUBLE_SECONDS)
                except Exception:
                    log.exception("delivery.lane_failed", subscription=self.subscription_id)
                    self._waiting.miss()
                    await asyncio.sleep(TROUBLE_SECONDS)
        finally:
            self.closed = True
            self._waiting.forget()
            if keeper is not None:
                keeper.cancel()

    async def _step(self) -> None:
        """One thing at a time; everything is looked at again after every wait."""
        self._wake.clear()
        subscription = await self._refresh()
        if subscription is None:
            await self._drop()
            return
        if self._steering.paused:
            await self._pause(PAUSED_SECONDS)
            return
        if self._head is None and not self._waiting:
            if self._waiting.behind:
                await self._waiting.read()
            else:
                await self._linger()
            return
        assert self._state is not None
        now = self._means.clock.now()
        status = subscription.status(now)
        if status == "expired":
            await self._give_up(None, "The subscription expired before this could be delivered.")
            return
        if status == "paused":
            oldest = self._since(self._head.oldest if self._head is not None else self._waiting.first_at)
            if now >= oldest + self._horizon:
                await self._give_up(now - self._horizon, "The subscription was paused.")
            else:
                await self._pause(min((oldest + self._horizon - now) / SECOND, 3600.0))
            return
        oldest = self._head.oldest if self._head is not None else self._waiting.first_at
        due = max(
            self._state.next_attempt,
            self._rests_until,
            oldest + int(subscription.digest * SECOND) if subscription.digest else 0,
            self._state.last_notification + int(subscription.throttling * SECOND) if subscription.throttling else 0,
        )
        if due > now:
            await self._pause((due - now) / SECOND)
            return
        await self._send(subscription, await self._take(subscription))

    # --- what is owed ---

    async def _take(self, subscription: Subscription) -> _Head:
        """What to send: what failed before, else the next row; all there is when throttled, the last state of each."""
        head = self._head
        if head is None:
            row = self._waiting.pop()
            head = self._head = _Head([row.id], row.created_at, row.created_at, [read_owed(row)])
            if head.entries[0].trigger == INTERVAL:
                await self._take_tick(head)
            elif subscription.rules is not None and subscription.digest:
                await self._take_some(head, at_once(subscription.rules.receiver))
        while subscription.throttling and len(head.rows) < WINDOW_ROWS:
            if not self._waiting:
                if not self._waiting.behind:
                    break
                await self._waiting.read(after=head.rows[-1])
                continue
            page = [self._waiting.pop() for _ in range(len(self._waiting))]
            head.rows += [row.id for row in page]
            head.newest = page[-1].created_at
            head.entries = coalesce([*head.entries, *map(read_owed, page)])
        return head

    async def _take_tick(self, head: _Head) -> None:
        """The other entities of a periodic notification."""
        await self._take_some(head, TICK_ENTITIES, head.entries[0].tick)

    async def _take_some(self, head: _Head, most: int, beginning: str = "") -> None:
        """More rows, each as it is, as long as their ids have that beginning; what is left goes into the next message."""
        while len(head.rows) < most:
            if not self._waiting:
                if not self._waiting.behind:
                    return
                await self._waiting.read(after=head.rows[-1])
                continue
            if not self._waiting.next_id.startswith(beginning):
                return
            row = self._waiting.pop()
            head.rows.append(row.id)
            head.newest = row.created_at
            head.entries.append(read_owed(row))

    # --- sending ---

    async def _send(self, subscription: Subscription, head: _Head) -> None:
        assert self._state is not None
        endpoint = subscription.notification.endpoint
        settler = self._means.settler
        try:
            message = await self._message(subscription, head)
            if message is None:
                version, self._generation = self._version, (-1, 0)
                if await self._refresh() is None or self._version != version:
                    return  # it was owed by other rules than those that leave nothing to tell: again, by them
                self._head = None  # of what is picked, nothing is there; or a receiver's rules leave nothing to tell
                settler.dropped(self.subscription_id, head.rows)
                return
            settler.under_way(self.subscription_id, self._state.sending(self._means.clock.now()))
            try:
                await self._means.outbound.send(message)
            finally:
                settler.under_way(self.subscription_id, None)
        except StoreUnavailable:
            raise
        except HostResting as resting:
            # Not an attempt. Spread, so that all who wait for one host do not come back at one instant.
            self._rests_until = self._means.clock.now() + int(
                resting.retry_after * (1 + random.random() / 4) * SECOND  # noqa: S311 - jitter, no secret
            )
            assert self._state is not None
            self._state = self._state.resting(self._rests_until, resting.reason)
            self._means.settler.state(self.subscription_id, self._state)
            await self._too_old(resting.reason)
            return
        except (OutboundError, BrokerError) as error:
            await self._failed(endpoint.cooldown, error.reason if isinstance(error, OutboundError) else error.detail)
            return
        except Exception:
            log.exception("notification.not_rendered", subscription=self.subscription_id, row=head.rows[-1])
            await self._failed(endpoint.cooldown, "The notification could not be written; the broker's log says why.")
            return
        self._succeeded(head)

    async def _message(self, subscription: Subscription, head: _Head) -> Message | None:
        """What to send; None: nothing, after all."""
        most, now = self._means.settings.timeout_seconds, self._means.clock.now()
        failed_before = self._state is not None and self._state.attempts > 0
        if subscription.rules is not None:
            assert self._means.telling is not None
            message = await self._means.telling.message(subscription, head.entries, now, most)
            return replace(message, failed_before=failed_before) if message is not None else None
        if self._names is None:
            self._names = await self._means.resolve_context(subscription.context)
        linked = await linked_to(subscription, head.entries, self._names, self._means)
        payload, headers = render_notification(subscription, head.entries, self._names, linked)
        if payload is None:
            return None
        _, replayed, replay = head.rows[-1].partition(REPLAYED)
        if replayed:
            headers[REPLAY_HEADER] = replay
        if self._means.tenant:
            headers["NGSILD-Tenant"] = self._means.tenant
        endpoint = subscription.notification.endpoint
        return Message(
            uri=endpoint.uri,
            body=dumps(payload),
            headers=headers,
            timeout=min(endpoint.timeout or most, most),
            id=payload["id"],
            info=endpoint.notifier_info,
            secrets=valid_secrets(subscription.signing, now),
            at=now // SECOND,
            failed_before=failed_before,
        )

    def _succeeded(self, head: _Head) -> None:
        assert self._state is not None
        now = self._means.clock.now()
        self._head = None
        self._rests_until = 0
        self._state = self._state.succeeded(now)
        settle = self._means.settler.dropped if head.entries[0].trigger == INTERVAL else self._means.settler.delivered
        settle(self.subscription_id, head.rows)
        self._means.settler.state(self.subscription_id, self._state)
        _SENT.inc()
        metrics.notification_seconds.observe((now - head.newest) / SECOND)
        log.info(
            "notification.sent",
            trace=head.entries[-1].trace,
            subscription=self.subscription_id,
            row=head.rows[-1],
            entity=head.entries[-1].row.entity_id,
        )

    async def _failed(self, cooldown: float, reason: str) -> None:
        assert self._state is not None and self._head is not None
        now = self._means.clock.now()
        self._state = self._state.failed(
            now,
            reason,
            self._means.settings,
            random.random(),  # noqa: S311 - jitter, no secret
            cooldown=cooldown,
        )
        self._means.settler.state(self.subscription_id, self._state)
        _FAILED.inc()
        log.warning(
            "notification.failed",
            trace=self._head.entries[-1].trace,
            subscription=self.subscription_id,
            row=self._head.rows[-1],
            entity=self._head.entries[-1].row.entity_id,
            attempts=self._state.attempts,
            retry_seconds=round((self._state.next_attempt - now) / SECOND, 3),
            reason=reason,
        )
        self._waiting.forget()  # but for the head
        await self._too_old(reason)

    @property
    def _horizon(self) -> Micros:
        gathering = self._subscription.digest if self._subscription is not None else 0.0
        return int((self._means.settings.give_up_hours * 3600 + gathering) * SECOND)

    def _since(self, created_at: Micros) -> Micros:
        """Since when a row counts as owed: not from before it was revived, or waited for a pause to end."""
        return max(created_at, self._steering.fresh_at)

    async def _too_old(self, reason: str) -> None:
        """Give up on what has been tried for too long."""
        before = self._means.clock.now() - self._horizon
        if self._head is not None and self._since(self._head.oldest) <= before:
            await self._give_up(before, reason)

    async def _give_up(self, before: Micros | None, reason: str) -> None:
        """Move rows from before a moment (None: all) to the dead letters, from the first on."""
        if self._head is not None:
            self._means.settler.given_up(self.subscription_id, [(row, reason) for row in self._head.rows])
            self._gone(len(self._head.rows), reason)
            self._head = None
        self._waiting.forget()
        while True:
            await self._means.settler.flush()
            rows = await self._means.store.outbox(self.subscription_id, limit=SWEEP_ROWS)
            old = [row.id for row in rows if before is None or self._since(row.created_at) <= before]
            if not old:
                return
            self._means.settler.given_up(self.subscription_id, [(row, reason) for row in old])
            self._gone(len(old), reason)

    def _gone(self, count: int, reason: str) -> None:
        _GIVEN_UP.inc(count)
        log.error("notification.given_up", subscription=self.subscription_id, rows=count, reason=reason)

    async def _drop(self) -> None:
        """The subscription is gone: so is what it was owed."""
        self._head = None
        self._waiting.forget()
        self._means.settler.state(self.subscription_id, None)
        dropped = 0
        while True:
            await self._means.settler.flush()
            rows = await self._means.store.outbox(self.subscription_id, limit=SWEEP_ROWS)
            if not rows:
                break
            dropped += len(rows)
            await self._means.store.commit(ChangeSet(delivered=[row.id for row in rows]))
        _DROPPED.inc(dropped)
        if dropped:
            log.info("notification.dropped", subscription=self.subscription_id, rows=dropped)
        self.closed = True

    # --- what it stands on ---

    async def _refresh(self) -> Subscription | None:
        """The subscription as it is; read again when it may have changed."""
        generation = (self._means.generation, self._changes)
        if self._generation == generation:
            return self._subscription
        name, known = self.subscription_id, self._means.known(self.subscription_id)
        wanted: set[tuple[RecordKind, str]] = {("steering", name)}
        if known is None:
            wanted.add(("subscription", name))
        if self._state is None:
            wanted.add(("delivery_state", name))
        found = (await self._means.store.load(Needs(records=wanted))).records
        if known is None and (record := found.get(("subscription", name))) is not None:
            known = compile_subscription(record.body, UNLIMITED), record.version
        if self._state is None:
            kept = found.get(("delivery_state", name))
            self._state = read_state(kept.body if kept is not None else None)
        self._follow_steering(found.get(("steering", name)))
        if known is None:
            self._subscription = None
        elif self._subscription is None or known[1] != self._version:
            if self._subscription is not None and self._state.attempts:
                self._state = self._state.at_once()  # it was changed: whatever was wrong may be right now
            self._subscription, self._version = known
            self._names = None
        self._generation = generation
        return self._subscription

    def _follow_steering(self, record: Record | None) -> None:
        """An operator's word. Whatever it is, what is in memory may not be what is owed any more."""
        version = record.version if record is not None else 0
        if version == self._steered:
            return
        self._steered, self._steering = version, read_steering(record)
        self._head = None
        self._waiting.forget()
        if self._state is not None and not self._steering.paused:
            self._state = self._state.at_once()
            self._rests_until = 0
        log.info("delivery.steered", subscription=self.subscription_id, paused=self._steering.paused)

    async def _lease(self) -> bool:
        if not self._means.shared or self._leased:
            return True
        self._leased = await self._means.store.lease(
            lease_name(self.subscription_id), self._means.owner, self._means.settings.lease_seconds
        )
        self.refused = not self._leased
        return self._leased

    async def _keep_lease(self) -> None:
        """Renew the lease while the lane lives; when it is lost, another process delivers, and this lane ends."""
        seconds = self._means.settings.lease_seconds
        until = time.monotonic() + seconds
        while True:
            await asyncio.sleep(seconds / 3)
            asked = time.monotonic()
            try:
                held = await self._means.store.lease(lease_name(self.subscription_id), self._means.owner, seconds)
            except StoreUnavailable:
                held = asked < until
            else:
                until = asked + seconds
            if not held:
                log.warning("delivery.lease_lost", subscription=self.subscription_id)
                self.closed = self.refused = True
                self._wake.set()
                return

    async def _linger(self) -> None:
        """Wait for something to do; close when nothing came."""
        if await self._pause(LINGER_SECONDS):
            return
        if self._leased:
            # A lane made from here on asks for the lease itself; this one must have given it back before.
            await self._means.store.release([lease_name(self.subscription_id)], self._means.owner)
            self._leased = False
        if self.idle:
            self.closed = True

    async def _pause(self, seconds: float) -> bool:
        """Wait that long, or until something changes (True)."""
        if self._wake.is_set() or self._means.stopping:
            return True
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True


def lease_name(subscription_id: str) -> str:
    """What a lane's lease is called in the store."""
    return f"delivery:{subscription_id}"
