"""All changes of one tenant, for those who follow them live: read once from the store, handed to many.

What was read last stands in a ring of bounded size. Who keeps up reads from it; who falls behind, or comes back after a
while, reads from the store by a tail of its own until it has caught up. So nobody's slowness costs memory, and nothing is
passed over: what cannot be had any more is said (PositionGone).
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final, Protocol

import structlog

from broker.clock import SECOND, Clock, Micros
from broker.config import Streams
from broker.ending import end
from broker.errors import BrokerError, Overloaded, StoreUnavailable
from broker.pipeline.feed_event import FeedEvent, event_id, read_id
from broker.pipeline.recording import Record
from broker.stores.base import PositionGone, Tail, TenantStore
from broker.stores.command import Command, ResultT

log = structlog.get_logger(__name__)

RING_EVENTS: Final = 10_000
RING_BYTES: Final = 16 * 1024 * 1024
AT_ONCE: Final = 100
"""Events handed over at once, count."""
READ_SECONDS: Final = 1.0
"""How long one read waits."""
LINGER_SECONDS: Final = 10.0
"""How long the store is followed after the last one has gone."""
TROUBLE_SECONDS: Final = 1.0
CHORE_SECONDS: Final = 30.0
"""How often old rows are deleted, and it is looked whether recording must be prolonged."""
FORGOTTEN_ROWS: Final = 5000
"""Old rows deleted at once, count."""


class Executor(Protocol):
    """The writer."""

    async def execute(self, command: Command[ResultT], *, wait: bool = False) -> ResultT:
        """The command's result once it is durable."""
        ...


class Feed:
    """One tenant's. `run` until `close`."""

    def __init__(self, store: TenantStore, writer: Executor, clock: Clock, settings: Streams) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._keep: Micros = int(settings.resume_hours * 3600 * SECOND)
        self._ring: deque[FeedEvent] = deque()
        self._bytes = 0
        self._places: dict[str, int] = {}
        """Position -> number, of what stands in the ring."""
        self._first = 0
        """Number of the first event in the ring."""
        self._position = ""
        self._since: Micros = 0
        self._grown = asyncio.Event()
        """Set and replaced when there is more, or it is closed."""
        self._listeners: set[Listener] = set()
        self._pump: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._stopped = asyncio.Event()
        self.closed = False

    async def listen(self, last_id: str | None) -> Listener:
        """Follow the changes behind an event's id; None: from now on.

        Raises PositionGone when they cannot all be had any more, Overloaded when the broker is stopping, StoreUnavailable.
        """
        position = None
        if last_id is not None:
            position, at = read_id(last_id)
            record = await self._store.record("stream_use", "stream")
            now = self._clock.now()
            if record is None or at < record.body["since"] or record.body["until"] <= now or at < now - self._keep:
                raise PositionGone("What changed since is not kept any more.")
        async with self._opening:
            if self.closed:
                raise Overloaded("The broker is stopping. Come back shortly, with the id of the last event.")
            await self._writer.execute(Record(self._keep), wait=True)
            if self._pump is None or self._pump.done():
                tail = await self._store.tail(None)
                self._forget_ring()
                self._position = tail.position
                self._pump = asyncio.create_task(self._follow(tail), name="feed")
            listener = Listener(self, self._store, position)
            self._listeners.add(listener)
        return listener

    async def run(self) -> None:
        """Delete what is too old, until `close`."""
        while not self.closed:
            try:
                if self._listeners:
                    await self._writer.execute(Record(self._keep), wait=True)
                await self._forget()
            except BrokerError as error:
                log.warning("feed.chore_put_off", reason=error.detail)
            with suppress(TimeoutError):
                async with asyncio.timeout(CHORE_SECONDS):
                    await self._stopped.wait()
        if self._pump is not None:
            await end([self._pump])

    async def _forget(self) -> None:
        gone = FORGOTTEN_ROWS
        while gone == FORGOTTEN_ROWS and not self.closed:
            gone = await self._store.forget_feed(self._clock.now() - self._keep, FORGOTTEN_ROWS)

    def close(self) -> None:
        """Tell all who listen that it ends."""
        self.closed = True
        self._stopped.set()
        self._tell()

    # --- the listeners' ---

    @property
    def first(self) -> int:
        """Number of the first event in the ring."""
        return self._first

    @property
    def head(self) -> int:
        """Number that the next event will have."""
        return self._first + len(self._ring)

    @property
    def position(self) -> str:
        """Behind the last event that was read."""
        return self._position

    def now(self) -> Micros:
        """The time."""
        return self._clock.now()

    def place(self, position: str) -> int | None:
        """The number of the event at a position, if it stands in the ring."""
        return self._places.get(position)

    def events(self, number: int) -> list[FeedEvent]:
        """The next events from a number on."""
        start = number - self._first
        return [self._ring[index] for index in range(start, min(start + AT_ONCE, len(self._ring)))]

    async def grow(self, seconds: float) -> None:
        """Wait until there is more, at most so long."""
        grown = self._grown
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await grown.wait()

    def leave(self, listener: Listener) -> None:
        """Somebody has gone."""
        self._listeners.discard(listener)

    # --- the ring ---

    async def _follow(self, tail: Tail) -> None:
        """Read the store's feed into the ring, until nobody has listened for a while."""
        idle = 0.0
        try:
            while not self.closed and idle < LINGER_SECONDS:
                try:
                    rows = await tail.read(READ_SECONDS)
                except Exception as error:
                    # Whatever it is, those who listen must not wait for nothing: they are told of the hole, or there is none.
                    log.warning("feed.interrupted", reason=str(error) or type(error).__name__)
                    await tail.close()
                    tail = await self._again(lost=not isinstance(error, StoreUnavailable))
                    continue
                for position, row in rows:
                    self._add(FeedEvent(position, row))
                self._position = tail.position
                if rows:
                    self._tell()
                idle = 0.0 if self._listeners else idle + READ_SECONDS
        finally:
            await tail.close()

    async def _again(self, *, lost: bool) -> Tail:
        """A tail that goes on where the last one was; from now on where that is lost: who listens finds a hole."""
        while True:
            try:
                tail = await self._store.tail(None if lost else self._position)
            except PositionGone:
                lost = True
            except StoreUnavailable:
                await asyncio.sleep(TROUBLE_SECONDS)
            else:
                if lost:
                    self._forget_ring()
                    self._position = tail.position
                    self._tell()
                return tail

    def _add(self, event: FeedEvent) -> None:
        self._places[event.position] = self.head
        self._ring.append(event)
        self._bytes += len(event.row.body)
        while len(self._ring) > RING_EVENTS or self._bytes > RING_BYTES:
            gone = self._ring.popleft()
            self._first += 1
            self._bytes -= len(gone.row.body)
            del self._places[gone.position]

    def _forget_ring(self) -> None:
        """Who stood in it is behind now: the number of a next event that is nobody's is left out."""
        self._first = self.head + 1
        self._ring.clear()
        self._places.clear()
        self._bytes = 0

    def _tell(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


class Listener:
    """One who follows. Its calls come one after the other."""

    def __init__(self, feed: Feed, store: TenantStore, position: str | None) -> None:
        """`position` None: from now on."""
        self._feed = feed
        self._store = store
        self._number: int | None = None
        """Of the next event in the ring; None: reads from the store."""
        self._tail: Tail | None = None
        self._position = feed.position if position is None else position
        self._at = feed.now()
        if position is None or position == feed.position:
            self._number = feed.head

    @property
    def id(self) -> str:
        """What it can be gone on from by."""
        return event_id(self._position, self._at)

    @property
    def closed(self) -> bool:
        """Whether the broker is stopping."""
        return self._feed.closed

    async def next(self, seconds: float) -> list[FeedEvent]:
        """What comes next, in order; none when nothing came for so long, or sooner. Raises PositionGone, StoreUnavailable."""
        if self._feed.closed:
            return []
        if self._number is not None and self._number >= self._feed.first:
            return await self._from_ring(self._number, seconds)
        self._number = None
        return await self._from_store(min(seconds, READ_SECONDS))

    async def close(self) -> None:
        """Let go."""
        self._feed.leave(self)
        await self._close_tail()

    async def _from_ring(self, number: int, seconds: float) -> list[FeedEvent]:
        events = self._feed.events(number)
        if not events:
            # Nothing since: the position moves on all the same, where nothing came in between.
            self._position, self._at = self._feed.position, self._feed.now()
            await self._feed.grow(seconds)
            if number < self._feed.first:
                return []
            events = self._feed.events(number)
        if events:
            self._number = number + len(events)
            self._position, self._at = events[-1].position, events[-1].row.at
        return events

    async def _from_store(self, seconds: float) -> list[FeedEvent]:
        if self._tail is None:
            self._tail = await self._store.tail(self._position)
        try:
            events = [FeedEvent(position, row) for position, row in await self._tail.read(seconds)]
        except StoreUnavailable:
            await self._close_tail()
            raise
        self._position = self._tail.position
        if events:
            self._at = events[-1].row.at
            place = self._feed.place(events[-1].position)
            caught_up = place + 1 if place is not None else None
        else:
            self._at = self._feed.now()
            caught_up = self._feed.head if self._position == self._feed.position else None
        if caught_up is not None:
            self._number = caught_up
            await self._close_tail()
        return events

    async def _close_tail(self) -> None:
        tail, self._tail = self._tail, None
        if tail is not None:
            await tail.close()
