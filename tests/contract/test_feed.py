"""The feed: every change in the order of the commits, read on from any position."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from broker.stores.base import ChangeSet, FeedRow, PositionGone, Tail, TenantStore
from tests.support.stores import MOMENT, history_row


def feed_row(version: int, entity_id: str = "urn:e:1") -> FeedRow:
    return FeedRow(version, entity_id, MOMENT + version, b'{"n":1}')


async def read(tail: Tail, count: int) -> list[tuple[str, FeedRow]]:
    found: list[tuple[str, FeedRow]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await tail.read(1.0)
    return found


async def test_rows_come_in_the_order_of_the_commits(tenant: TenantStore) -> None:
    tail = await tenant.tail(None)
    await tenant.commit(ChangeSet(feed=[feed_row(5), feed_row(5, "urn:e:2")]))
    await tenant.commit(ChangeSet(feed=[feed_row(3)]))
    assert [row for _, row in await read(tail, 3)] == [feed_row(5), feed_row(5, "urn:e:2"), feed_row(3)]
    assert await tail.read(0.05) == []
    await tail.close()


async def test_another_tail_goes_on_behind_any_row(
    tenant: TenantStore, reopened: Callable[[], Awaitable[TenantStore]]
) -> None:
    tail = await tenant.tail(None)
    start = tail.position
    await tenant.commit(ChangeSet(feed=[feed_row(n) for n in (1, 2, 3)]))
    rows = await read(tail, 3)
    await tail.close()
    again = await reopened()
    await again.commit(ChangeSet(feed=[feed_row(4)]))
    for position, versions in ((start, [1, 2, 3, 4]), (rows[0][0], [2, 3, 4]), (rows[2][0], [4])):
        tail = await again.tail(position)
        found = await read(tail, len(versions))
        assert [row.version for _, row in found] == versions
        await tail.close()


async def test_what_waits_is_told_at_once(tenant: TenantStore) -> None:
    tail = await tenant.tail(None)
    waiting = asyncio.create_task(tail.read(20.0))
    await asyncio.sleep(0.05)
    await tenant.commit(ChangeSet(feed=[feed_row(1)]))
    assert [row for _, row in await waiting] == [feed_row(1)]
    await tail.close()


@pytest.mark.parametrize("position", ["", "x", "99999999", "1" * 30, "å"])
async def test_what_is_no_position_is_said(tenant: TenantStore, position: str) -> None:
    with pytest.raises(PositionGone):
        await tenant.tail(position)


async def test_old_rows_and_those_of_personal_entities_are_forgotten(tenant: TenantStore) -> None:
    tail = await tenant.tail(None)
    await tenant.commit(ChangeSet(feed=[feed_row(n) for n in range(5)] + [feed_row(9, "urn:e:2")]))
    assert await tenant.forget_feed(MOMENT + 3, 2) == 2
    assert await tenant.forget_feed(MOMENT + 3, 100) == 1
    assert await tenant.forget_feed(MOMENT + 3, 100) == 0
    assert await tenant.forget_letters(["urn:e:1"], MOMENT + 4) == 1
    await tail.close()


async def test_history_of_all_entities_comes_in_order_of_version_and_whole(tenant: TenantStore) -> None:
    rows = [
        [history_row("urn:e:1", "a", 50, 1)],
        [history_row("urn:e:2", "a", 10, 4), history_row("urn:e:2", "b", 10, 4), history_row("urn:e:3", "a", 10, 4)],
        [history_row("urn:e:1", "b", 20, 7)],
        [history_row("urn:e:1", "a", 5, 9)],
    ]
    for some in rows:
        await tenant.commit(ChangeSet(history=some))
    every = [row for some in rows for row in some]
    assert await tenant.history_between(0, 100, 100) == every
    assert await tenant.history_between(0, 100, 2) == every[:4]
    assert await tenant.history_between(2, 9, 3) == every[1:4]
    assert await tenant.history_between(5, 9, 10) == [every[4]]
    assert await tenant.history_between(10, 20, 10) == []
    assert await tenant.history_between(0, 1, 10) == []
