"""Periodic notifications (timeInterval) from real stores: each tick once, whoever makes it and whenever it dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import broker.subscriptions.periodic
from broker.clock import SECOND, Clock, iso
from broker.config import Limits, StoreSettings
from broker.errors import StoreUnavailable
from broker.jsonld.resolver import ContextResolver
from broker.outbound import Fetched
from broker.query.ast import Excluded
from broker.stores.base import ChangeSet, EntityWrite, OutboxRow, Record, RecordWrite, TenantStore
from broker.stores.open import create_store
from broker.subscriptions.linked import NOTHING, Hidden
from broker.subscriptions.model import keys_of, parse_subscription
from broker.subscriptions.owed import read_owed
from broker.subscriptions.periodic import Periodic, Tick, tick_of
from tests.support.broker import BrokerProcess
from tests.support.receiver import receiving
from tests.unit.subscriptions.support import NOW, entity

NAME = "urn:x:Subscription:1"


async def no_network(url: str) -> Fetched:
    raise AssertionError(f"{url} was fetched")


class City:
    """A store with entities and periodic subscriptions."""

    def __init__(self, store: TenantStore) -> None:
        self.store = store
        self.clock = Clock()
        self.woken: list[OutboxRow] = []

    async def add(self, *numbers: int, kind: str = "Room") -> None:
        writes = [
            EntityWrite(one["id"], one, self.clock.stamp().version, 0, None)
            for number in numbers
            for one in [entity(kind, f"urn:x:{kind}:{number}", number=number)]
        ]
        await self.store.commit(ChangeSet(entities=writes))

    async def subscribe(self, interval: float = 0.05, name: str = NAME, **members: Any) -> None:
        stamp = self.clock.stamp()
        document = {
            "id": name,
            "type": "Subscription",
            "entities": [{"type": "Room"}],
            "timeInterval": interval,
            "notification": {"endpoint": {"uri": "http://app.example.org/notify"}},
            **members,
        }
        core = ContextResolver(no_network, self.clock, Limits()).core
        body = parse_subscription(document, core, None, Limits(), stamp, "")
        await self.store.commit(
            ChangeSet(records=[RecordWrite("subscription", name, body, stamp.version, keys=keys_of(body))])
        )

    def periodic(self, personal: Hidden = NOTHING, store: TenantStore | None = None, **members: Any) -> Periodic:
        async def hidden() -> Hidden:
            return personal

        def wake(rows: Sequence[OutboxRow]) -> None:
            self.woken += rows

        given = {"shared": False, "lease_seconds": 1.0, "most_linked": 100, **members}
        return Periodic(store or self.store, self.clock, "one", hidden, wake, **given)

    async def owed(self, name: str = NAME) -> list[OutboxRow]:
        return await self.store.outbox(name, limit=10_000)

    async def settle(self) -> list[OutboxRow]:
        """As if all that is owed were delivered."""
        rows = await self.owed()
        await self.store.commit(ChangeSet(delivered=[row.id for row in rows]))
        return rows


@asynccontextmanager
async def ticking(*periodic: Periodic) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.run()) for one in periodic]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(params=["sqlite", "mongo"])
async def city(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[City]:
    url = f"sqlite:///{tmp_path}/city.db" if request.param == "sqlite" else request.getfixturevalue("mongo_url")
    store = create_store(StoreSettings(url=url), Clock())
    await store.open()
    try:
        yield City(await store.tenant())
    finally:
        await store.close()


async def until(condition: Any) -> Any:
    async with asyncio.timeout(20):
        while not (found := await condition()):
            await asyncio.sleep(0.01)
    return found


def numbers(rows: Sequence[OutboxRow]) -> list[int]:
    return [next(iter(read_owed(row).entity["attrs"].values()))[0]["value"] for row in rows]


async def test_a_tick_owes_all_that_match_and_the_next_comes_when_it_is_settled(city: City) -> None:
    await city.add(*range(5))
    await city.add(99, kind="Hall")
    await city.subscribe(q="number>1")
    async with ticking(city.periodic()):
        first = await until(city.owed)
        assert numbers(first) == [2, 3, 4]
        await asyncio.sleep(0.3)  # several intervals: an app that does not answer is owed one tick, not many
        assert await city.owed() == first
        await city.settle()
        second = await until(city.owed)
    assert numbers(second) == [2, 3, 4]
    assert second[0].id[:16] > first[0].id[:16]
    assert city.woken == [*first, *second]


async def test_two_processes_make_each_tick_once(city: City) -> None:
    await city.add(*range(3))
    await city.subscribe(0.03)
    made: list[OutboxRow] = []
    # Without the lease between them, as when it has just run out.
    async with ticking(city.periodic(), city.periodic()), asyncio.timeout(20):
        while len(made) < 12:
            await asyncio.sleep(0.01)
            made += await city.settle()
    assert set(Counter(row.id[:16] for row in made).values()) == {3}
    assert len({row.id for row in made}) == len(made)


class _Failing:
    """A store that is gone after so many commits."""

    def __init__(self, store: TenantStore, commits: int) -> None:
        self._store, self._left = store, commits

    async def commit(self, changes: ChangeSet) -> None:
        if not self._left:
            raise StoreUnavailable("It was killed.")
        self._left -= 1
        await self._store.commit(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_tick_that_was_broken_off_is_gone_on_with(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.subscriptions.periodic, "AT_ONCE", 10)
    await city.add(*range(35))
    await city.subscribe(0.05)
    broken: Any = _Failing(city.store, 2)
    async with ticking(city.periodic(store=broken)):
        await until(lambda: _count(city, 20))
    async with ticking(city.periodic()):
        rows = await until(lambda: _count(city, 35))
    assert numbers(rows) == list(range(35))
    assert len({row.id[:16] for row in rows}) == 1


async def _count(city: City, count: int) -> list[OutboxRow]:
    rows = await city.owed()
    return rows if len(rows) == count else []


async def test_who_is_not_granted_it_is_told_nothing_personal(city: City) -> None:
    await city.add(*range(3))
    await city.subscribe()
    await city.subscribe(name="urn:x:Subscription:2", entities=[{"type": "Room"}, {"type": "Hall"}])

    class Home:
        excluded = Excluded(frozenset({"urn:x:Room:1"}))

        def __bool__(self) -> bool:
            return True

        def entity(self, entity_id: str) -> bool:
            return self.excluded.has(entity_id)

    async with ticking(city.periodic(Home())):
        assert numbers(await until(city.owed)) == [0, 2]
        assert numbers(await until(lambda: city.owed("urn:x:Subscription:2"))) == [0, 2]


async def test_a_paused_one_is_told_nothing_and_one_that_is_gone_leaves_nothing(city: City) -> None:
    await city.add(1)
    await city.subscribe()
    await city.subscribe(name="urn:x:Subscription:2", isActive=False)
    periodic = city.periodic()
    async with ticking(periodic):
        await until(city.owed)
        assert not await city.owed("urn:x:Subscription:2")
        await city.store.commit(
            ChangeSet(records=[RecordWrite("subscription", NAME, None, city.clock.stamp().version)])
        )
        periodic.changed()
        await until(lambda: _no_ticks(city))


async def _no_ticks(city: City) -> bool:
    return not await city.store.records("tick")


async def test_a_tick_is_made_once_by_processes_that_are_killed(mongo_url: str, tmp_path: Path) -> None:
    async with receiving() as app, AsyncExitStack() as stack:
        brokers = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            broker = BrokerProcess(mongo_url, folder, {"KNUTPUNKT_DELIVERY_LEASE_SECONDS": "1"})
            await broker.start()
            stack.push_async_callback(broker.kill)
            brokers.append(broker)
        for number in range(3):
            await brokers[0].ask("POST", "/ngsi-ld/v1/entities", {"id": f"urn:x:Room:{number}", "type": "Room"})
        document = {
            "type": "Subscription",
            "entities": [{"type": "Room"}],
            "timeInterval": 0.4,
            "notification": {"endpoint": {"uri": app.url()}},
        }
        await brokers[0].ask("POST", "/ngsi-ld/v1/subscriptions", document)
        await app.wait_for(4)
        await brokers[0].kill()
        await app.wait_for(8)
        await brokers[0].start()
        await brokers[1].kill()
        await app.wait_for(12)
    ids = {one.body["id"] for one in app.accepted}
    assert len({one.rpartition(":")[2].partition("-")[0] for one in ids}) == len(ids)
    assert {len(one.data) for one in app.accepted} == {3}


@pytest.mark.parametrize(
    ("late", "following"),
    [(0, 60), (59, 60), (60, 120), (61, 120), (1_000_000, 1_000_020)],
)
def test_of_ticks_that_were_missed_one_is_made(late: int, following: int) -> None:
    tick = Tick("2026-11-21T10:00:00.000Z", 60, NOW, "somewhere", 7)
    assert tick.done(NOW + late * SECOND) == Tick(tick.since, 60, NOW + following * SECOND)


def test_the_first_tick_comes_after_one_interval_and_a_new_interval_begins_anew() -> None:
    body = {"createdAt": iso(NOW), "modifiedAt": iso(NOW + 100 * SECOND)}
    record = Record("subscription", NAME, body, 1)
    first = tick_of(record, 60, None)
    assert first.due == NOW + 60 * SECOND
    kept = Record(
        "tick", NAME, {"since": iso(NOW), "interval": 60, "due": NOW + 180 * SECOND, "after": None, "serial": 0}, 1
    )
    assert tick_of(record, 60, kept).due == NOW + 180 * SECOND
    assert tick_of(record, 10, kept).due == NOW + 110 * SECOND
    again = Record("subscription", NAME, {**body, "createdAt": iso(NOW + SECOND), "modifiedAt": iso(NOW + SECOND)}, 2)
    assert tick_of(again, 60, kept).due == NOW + 61 * SECOND
