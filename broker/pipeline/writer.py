"""The one writer of a process: turns commands into change sets and commits them in groups.

    take what has arrived -> load what it needs, one read a phase -> apply in order of arrival -> match subscriptions
    -> commit once -> tell everyone

While a group commits, the next one gathers: the busier it is, the more commands share one fsync. Nothing is told to
anyone before the commit has returned. A command that is refused (BrokerError) fails alone. When another process was
first (Conflict), the group is loaded and applied again: commands are pure, so that is always safe.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from broker import metrics
from broker.access.personal import NOTHING
from broker.clock import Clock, Stamp
from broker.config import Writer as WriterSettings
from broker.errors import BrokerError, InternalError, OutOfStep, Overloaded, StoreUnavailable
from broker.logs import TRACE
from broker.pipeline.personal import PersonalData
from broker.pipeline.recording import KIND as RECORDING
from broker.pipeline.recording import Recording
from broker.stores.base import (
    UNCOUNTED_KINDS,
    ChangeSet,
    Conflict,
    Needs,
    OutboxRow,
    Record,
    RecordKind,
    Snapshot,
    TenantStore,
)
from broker.stores.command import Alone, Command, Effects, View
from broker.subscriptions.index import SubscriptionIndex
from broker.subscriptions.linked import Pending, owed_by_links
from broker.subscriptions.owed import owed

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")

PHASES = 6
"""How often a command may ask for more before it is applied: device, then bindings, sensors, entities; with room."""
LOADED_AT_ONCE = 200
"""Subscriptions read and compiled without a pause, count: some 20 ms."""
HOLD_SECONDS = 0.05
PATIENCE_SECONDS = 1.0
"""While the subscriptions are loaded at the start, a request waits so long; then it is refused."""
_OUT_OF_STEP = "This process is not in step with the others just now; nothing was applied. Try again later."
CONFLICT_TRIES = 30
"""Another process was first this often in a row: by then the pauses sum up to seconds, and the sender should know."""


def _ignore(_: Collection[str] | None) -> None:
    """Nobody wants to know."""


def _always() -> bool:
    return True


@dataclass(slots=True)
class _Waiting:
    command: Command[Any]
    trace: str
    """The id of the request or uplink that sent it."""
    done: asyncio.Future[Any]
    weight: int
    patient: bool
    """Whether it waits until this process is in step."""


@dataclass(slots=True)
class _Applied:
    """A group as it would be committed, and whom to tell what."""

    changes: ChangeSet
    results: list[tuple[_Waiting, Any]]
    left: list[_Waiting]
    """Commands behind one that changed subscriptions: they are to be matched against the new ones."""
    view: View
    pending: list[Pending]
    """Changes that some subscriptions want if the entities they link to are so."""


class Writer:
    """Executes commands. `run` must be running (in a TaskGroup) for `execute` to return."""

    def __init__(
        self,
        store: TenantStore,
        clock: Clock,
        settings: WriterSettings,
        index: SubscriptionIndex,
        on_commit: Callable[[Sequence[OutboxRow]], None],
        tenant: str = "",
        personal: PersonalData | None = None,
        on_subscriptions: Callable[[Collection[str] | None], None] = _ignore,
        in_step: Callable[[], bool] = _always,
    ) -> None:
        """`tenant` is for the metrics: each has a queue of its own. `personal`: what only those are told who are granted it.

        `on_subscriptions` is told the ids of subscriptions that have changed (None: any may have). `in_step`: whether this
        process hears of what others change; while it does not, nothing is committed.
        """
        self._personal = personal
        self._recording = Recording(store)
        self._store = store
        self._clock = clock
        self._settings = settings
        self._index = index
        self._index_epoch: int | None = None
        self._behind = True
        """Subscriptions may have changed that are not looked at yet; at the start, all of them."""
        self._on_subscriptions = on_subscriptions
        self._in_step = in_step
        self._began = time.monotonic()
        self._on_commit = on_commit
        self._queue: deque[_Waiting] = deque()
        self._queued = 0
        """The weights of what is in the queue."""
        self._room: deque[asyncio.Future[None]] = deque()
        self._arrived = asyncio.Event()
        self._ended = asyncio.Event()
        self._closing = False
        queue = f"writer:{tenant}" if tenant else "writer"
        self._depth = metrics.queue_depth.labels(queue)
        self._refused = metrics.refused.labels(queue)
        self._subscriptions = metrics.subscriptions.labels(tenant)
        self._count = {name: metrics.commands.labels(name) for name in ("applied", "refused", "failed")}

    async def execute(self, command: Command[ResultT], *, wait: bool = False, weight: int = 1) -> ResultT:
        """The command's result, once it is durable. `weight`: how many commands it counts for in the queue and in a group.

        Raises what the command raises; where `wait` is False Overloaded when the queue is full, and OutOfStep;
        StoreUnavailable when the store cannot commit. Cancelled while waiting in the queue, the command may still be applied.
        """
        self.check_admits(wait=wait)
        while self._queued >= self._settings.queue_commands:
            if not wait:
                self._refused.inc()
                raise Overloaded("The writer's queue is full; nothing was applied. Try again later.")
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(room)
            await room
        if self._closing:
            raise Overloaded("The broker is stopping; nothing was applied. Try again later.")
        done: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(command, TRACE.get(), done, weight, wait))
        self._queued += weight
        self._arrived.set()
        return await done

    def check_admits(self, *, wait: bool) -> None:
        """Raises OutOfStep for who does not wait, where this process is not in step."""
        if not wait and self._refuses:
            self._refused.inc()
            raise OutOfStep(_OUT_OF_STEP)

    async def run(self) -> None:
        """Serve until `close` was called and the queue is empty."""
        try:
            while self._queue or not self._closing:
                if self._behind and not self._closing:
                    await self._catch_up()
                    continue
                if not self.in_step:
                    if self._closing:
                        break
                    await self._hold()
                    continue
                if not self._queue:
                    self._arrived.clear()
                    await self._arrived.wait()
                    # What arrives in the same turn of the loop joins the group.
                    await asyncio.sleep(0)
                    continue
                group = self._take()
                while group:
                    group = await self._process(group)
        finally:
            self._closing = True
            while self._queue:
                self._fail(self._take(), Overloaded("The broker is stopping; nothing was applied. Try again later."))
            self._ended.set()

    @property
    def in_step(self) -> bool:
        """Whether the subscriptions are loaded, and this process hears of what others change."""
        return self._index_epoch is not None and self._in_step()

    def look(self) -> None:
        """Another process may have changed subscriptions."""
        self._behind = True
        self._arrived.set()

    @property
    def closing(self) -> bool:
        """Whether nothing more is admitted."""
        return self._closing

    async def drained(self) -> None:
        """Returns when `run` has ended."""
        await self._ended.wait()

    def close(self) -> None:
        """Admit nothing more; `run` ends when what was admitted is done."""
        self._closing = True
        self._arrived.set()
        self._make_room(len(self._room))

    def _take(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        weight = 0
        while self._queue and weight < self._settings.group_commands:
            alone = isinstance(self._queue[0].command, Alone)
            if alone and group:
                break
            group.append(self._queue.popleft())
            weight += group[-1].weight
            if alone:
                break
        self._queued -= weight
        self._depth.set(self._queued)
        self._make_room(weight)
        return [waiting for waiting in group if not waiting.done.cancelled()]

    def _make_room(self, count: int) -> None:
        while count and self._room:
            room = self._room.popleft()
            if not room.done():
                room.set_result(None)
                count -= 1

    async def _process(self, group: list[_Waiting]) -> list[_Waiting]:
        """Commit `group`; returns what must still be done (commands behind a change of subscriptions)."""
        try:
            return await self._commit(group)
        except Overloaded as error:
            self._fail(group, error)
        except asyncio.CancelledError:
            self._fail(group, Overloaded("The broker is stopping; it is not known whether this was applied."))
            raise
        except Exception as error:
            if len(group) > 1:
                # One of them cannot be stored; alone, only that one fails.
                log.warning("writer.group_split", commands=len(group), error=repr(error))
                for waiting in group:
                    left = [waiting]
                    while left:
                        left = await self._process(left)
                return []
            log.exception("writer.command_failed", command=type(group[0].command).__name__)
            self._fail(group, InternalError("The change could not be stored; nothing of it was applied."))
        return []

    def _fail(self, group: list[_Waiting], error: BrokerError) -> None:
        self._count["failed"].inc(len(group))
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_exception(error)

    async def _commit(self, group: list[_Waiting]) -> list[_Waiting]:
        for attempt in range(CONFLICT_TRIES):
            snapshot, asked = await self._load(group)
            await self._keep_index_in_step(snapshot)
            if self._personal is not None:
                await self._personal.in_step(snapshot.epochs)
            await self._recording.in_step(snapshot.epochs)
            applied = self._apply(group, snapshot, asked)
            if applied.pending:
                applied.changes.outbox += await owed_by_links(applied.pending, applied.view, self._store)
            try:
                if applied.changes:
                    with metrics.commit_seconds.time():
                        await self._store.commit(applied.changes)
            except Conflict:
                metrics.commit_conflicts.inc(len(group))
                await asyncio.sleep(random.uniform(0, min(0.002 * 2**attempt, 0.25)))  # noqa: S311  (jitter, no secret)
                continue
            metrics.commit_commands.observe(len(group) - len(applied.left))
            self._settle(applied)
            return applied.left
        raise Overloaded("Other processes change the same entities all the time; nothing was applied. Try again later.")

    async def _load(self, group: list[_Waiting]) -> tuple[Snapshot, Needs]:
        """All that the commands need, phase by phase: one read a phase for the whole group."""
        snapshot, asked = Snapshot(), Needs()
        commands = [waiting.command for waiting in group]
        for _ in range(PHASES):
            wanted = Needs()
            for command in commands:
                wanted.add(command.needs(snapshot))
            missing = wanted.minus(asked)
            if not missing and asked:
                return snapshot, asked
            loaded = await self._store.load(missing)
            if snapshot.epochs and snapshot.epochs != loaded.epochs:
                # The registry changed between two phases: what was read first may not fit what was read now.
                snapshot, asked = Snapshot(), Needs()
                continue
            snapshot.add(loaded)
            asked.add(missing)
            if not missing:
                return snapshot, asked
        return snapshot, asked

    async def _keep_index_in_step(self, snapshot: Snapshot) -> None:
        """Take over what other processes did to subscriptions: those that changed, at the start all."""
        epoch = snapshot.epochs.get("subscription", 0)
        while self._index_epoch != epoch:
            moved = None
            if self._index_epoch is not None:
                moved = await self._store.moved("subscription", self._index_epoch)
            if moved is None:
                self._index_epoch = await self._load_subscriptions()
                self._on_subscriptions(None)
            else:
                self._index_epoch, ids = moved
                found = (await self._store.load(Needs(records={("subscription", one) for one in ids}))).records
                for one in ids:
                    self._put(one, found.get(("subscription", one)))
                self._on_subscriptions(ids)
            epoch = (await self._store.epochs()).get("subscription", 0)
        self._subscriptions.set(len(self._index))
        snapshot.epochs = {**snapshot.epochs, "subscription": epoch}

    async def _load_subscriptions(self) -> int:
        """All subscriptions, a page at a time so that others have their turns; the epoch that they are at least of."""
        epoch = (await self._store.epochs()).get("subscription", 0)
        seen: set[str] = set()
        last = ""
        while page := await self._store.records("subscription", after=last, limit=LOADED_AT_ONCE):
            self._index.add(page)
            seen.update(record.id for record in page)
            last = page[-1].id
            await asyncio.sleep(0)
        self._index.keep(seen)
        return epoch

    def _put(self, subscription_id: str, record: Record | None) -> None:
        if record is None:
            self._index.remove(subscription_id)
        else:
            self._index.add([record])

    async def _catch_up(self) -> None:
        """Take over what other processes changed, before a command needs it."""
        self._behind = False
        try:
            await self._keep_index_in_step(Snapshot(epochs=await self._store.epochs()))
        except StoreUnavailable as error:
            self._behind = True
            log.warning("writer.behind", reason=error.detail)
            await self._hold()

    @property
    def _refuses(self) -> bool:
        """Whether who does not want to wait is better told so."""
        return not self._in_step() or (self._index_epoch is None and time.monotonic() - self._began > PATIENCE_SECONDS)

    async def _hold(self) -> None:
        """A moment in which nothing is committed."""
        hasty = [waiting for waiting in self._queue if not waiting.patient] if self._refuses else []
        if hasty:
            self._queue = deque(waiting for waiting in self._queue if waiting.patient)
            weight = sum(waiting.weight for waiting in hasty)
            self._queued -= weight
            self._make_room(weight)
            self._fail(hasty, OutOfStep(_OUT_OF_STEP))
        await asyncio.sleep(HOLD_SECONDS)

    def _apply(self, group: list[_Waiting], snapshot: Snapshot, asked: Needs) -> _Applied:
        view = View(snapshot, self._clock.new_id)
        changes = ChangeSet(epochs=_relied_on(snapshot, asked))
        results: list[tuple[_Waiting, Any]] = []
        pending: list[Pending] = []
        # A change's version is larger than those before it, even when another process's clock runs ahead of ours.
        newest = max((stored.version for stored in snapshot.entities.values()), default=0)
        for position, waiting in enumerate(group):
            stamp = self._clock.stamp(after=newest)
            try:
                effects = waiting.command.apply(view, stamp)
            except BrokerError as error:
                results.append((waiting, error))
                continue
            except Exception:
                log.exception("writer.command_failed", command=type(waiting.command).__name__)
                results.append((waiting, InternalError("The command failed; nothing of it was applied.")))
                continue
            view.absorb(effects, stamp)
            self._add(effects, stamp, waiting.trace, changes, pending)
            results.append((waiting, effects.result))
            if any(write.kind == "subscription" for write in effects.records):
                return self._finish(view, changes, results, group[position + 1 :], pending)
        return self._finish(view, changes, results, [], pending)

    def _add(self, effects: Effects[Any], stamp: Stamp, trace: str, changes: ChangeSet, pending: list[Pending]) -> None:
        changes.history += effects.history
        changes.superseded += effects.superseded
        changes.uplinks += effects.uplinks
        changes.uplink_updates += effects.uplink_updates
        if not effects.silent:
            changes.feed += self._recording.rows(effects.changes, stamp)
        personal = NOTHING
        if self._personal is not None:
            self._personal.follow(effects.records)
            personal = self._personal.known
        if effects.silent:
            return
        serial = 0
        for change in effects.changes:
            granted = personal.entity(change.entity_id)
            for subscription_id in self._index.match(change, stamp.now, granted=granted):
                previous = self._index.shows_changes(subscription_id)
                row = owed(change, subscription_id, stamp.version, stamp.now, serial, trace, previous=previous)
                changes.outbox.append(row)
                serial += 1
            for subscription in self._index.match_linked(change, stamp.now, granted=granted):
                pending.append(Pending(change, subscription, stamp, serial, trace, personal))
                serial += 1

    @staticmethod
    def _finish(
        view: View,
        changes: ChangeSet,
        results: list[tuple[_Waiting, Any]],
        left: list[_Waiting],
        pending: list[Pending],
    ) -> _Applied:
        changes.entities = view.entity_writes()
        changes.records = view.record_writes()
        return _Applied(changes, results, left, view, pending)

    def _settle(self, applied: _Applied) -> None:
        """The commit stands: bring the index along, tell delivery, then whoever waits."""
        self._follow(applied.changes)
        if self._personal is not None:
            self._personal.committed(applied.changes.records)
        if applied.changes.outbox:
            self._on_commit(applied.changes.outbox)
        for waiting, result in applied.results:
            refused = isinstance(result, BrokerError)
            self._count["refused" if refused else "applied"].inc()
            if waiting.done.done():
                continue
            if refused:
                waiting.done.set_exception(result)
            else:
                waiting.done.set_result(result)

    def _follow(self, changes: ChangeSet) -> None:
        """Our own change of subscriptions, in the index: the commit held that nobody else's came between."""
        written = [write for write in changes.records if write.kind == "subscription"]
        for write in written:
            if write.body is None:
                self._index.remove(write.id)
            else:
                self._index.put(Record(write.kind, write.id, write.body, write.version, write.keys))
        if written:
            self._index_epoch = changes.epochs["subscription"] + 1
            self._subscriptions.set(len(self._index))
            self._on_subscriptions([write.id for write in written])


def _relied_on(snapshot: Snapshot, asked: Needs) -> dict[RecordKind, int]:
    """The kinds whose records were read, the subscriptions that were matched, and whether changes are recorded: they must
    not have moved meanwhile.
    """
    kinds: set[RecordKind] = {kind for kind, _ in asked.records | asked.found}
    kinds.add("subscription")
    kinds.add(RECORDING)
    return {kind: snapshot.epochs.get(kind, 0) for kind in kinds - UNCOUNTED_KINDS}
