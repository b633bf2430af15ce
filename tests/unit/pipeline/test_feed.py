"""The ring, and what those who listen are told when something goes wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.clock import Clock
from broker.config import Streams
from broker.config import Writer as WriterSettings
from broker.errors import Overloaded
from broker.pipeline.feed import Feed, Listener
from broker.pipeline.writer import Writer
from broker.stores.base import ChangeSet, FeedRow, PositionGone, Tail, TenantStore
from broker.subscriptions.index import SubscriptionIndex
from tests.support.stores import make_store


class Fragile:
    """A store whose tails break when they are told to."""

    def __init__(self, store: TenantStore) -> None:
        self._store = store
        self.broken: Exception | None = None
        self.tails = 0

    async def tail(self, position: str | None) -> Tail:
        self.tails += 1
        return _Tail(await self._store.tail(position), self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _Tail:
    def __init__(self, tail: Tail, store: Fragile) -> None:
        self._tail, self._store = tail, store

    @property
    def position(self) -> str:
        return self._tail.position

    async def read(self, seconds: float) -> list[tuple[str, FeedRow]]:
        if self._store.broken is not None:
            error, self._store.broken = self._store.broken, None
            raise error
        return await self._tail.read(min(seconds, 0.05))

    async def close(self) -> None:
        await self._tail.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Fragile]:
    made = make_store(f"sqlite:///{tmp_path}/k.db")
    await made.open()
    yield Fragile(await made.tenant())
    await made.close()


@pytest.fixture
async def feed(store: Fragile) -> AsyncIterator[Feed]:
    clock = Clock()
    writer = Writer(store, clock, WriterSettings(), SubscriptionIndex(), lambda _: None)
    feed = Feed(store, writer, clock, Streams())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        tasks.create_task(feed.run())
        yield feed
        feed.close()
        writer.close()


async def put(store: Fragile, *numbers: int) -> None:
    at = Clock().now()
    rows = [FeedRow(number, "urn:e:1", at, b'{"n":%d}' % number) for number in numbers]
    await store.commit(ChangeSet(feed=rows))


async def heard(listener: Listener, count: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += [event.row.version for event in await listener.next(1.0)]
    return found


async def test_many_are_told_by_one_reader(store: Fragile, feed: Feed) -> None:
    listeners = [await feed.listen(None) for _ in range(20)]
    await put(store, 1, 2, 3)
    assert [await heard(one, 3) for one in listeners] == [[1, 2, 3]] * 20
    assert store.tails == 1


async def test_a_fault_that_loses_the_place_is_told_as_a_hole(store: Fragile, feed: Feed) -> None:
    listener = await feed.listen(None)
    await put(store, 1)
    assert await heard(listener, 1) == [1]
    store.broken = PositionGone("too old")
    await asyncio.sleep(0.3)
    # Who listens goes on by a tail of its own: with this store nothing was lost at all.
    await put(store, 2, 3)
    assert await heard(listener, 2) == [2, 3]
    await put(store, 4)
    assert await heard(listener, 1) == [4]


async def test_any_fault_lets_the_reader_begin_again(store: Fragile, feed: Feed) -> None:
    listener = await feed.listen(None)
    store.broken = RuntimeError("a change too large")
    await asyncio.sleep(0.3)
    await put(store, 1)
    assert await heard(listener, 1) == [1]


async def test_what_a_listener_has_not_read_when_its_place_is_lost_is_said(store: Fragile, feed: Feed) -> None:
    listener = await feed.listen(None)
    await put(store, 1)
    assert await heard(listener, 1) == [1]
    store.broken = PositionGone("too old")
    await asyncio.sleep(0.3)
    store.broken = PositionGone("too old")
    with pytest.raises(PositionGone):
        while True:
            store.broken = store.broken or PositionGone("too old")
            await listener.next(1.0)


async def test_a_closed_feed_takes_nobody_and_lets_all_go(feed: Feed) -> None:
    listener = await feed.listen(None)
    feed.close()
    assert listener.closed and await listener.next(60.0) == []
    with pytest.raises(Overloaded):
        await feed.listen(None)
