"""Delivery from a real store to real receivers."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest

from broker.clock import Clock
from broker.config import Delivery as DeliverySettings
from broker.config import Limits, StoreSettings
from broker.jsonld.resolver import ContextResolver
from broker.ngsild.change import EntityChange
from broker.ngsild.model import Entity
from broker.outbound import Fetched
from broker.outbound.transports import Transports
from broker.stores.base import ChangeSet, Needs, OutboxRow, RecordWrite, TenantStore
from broker.stores.command import Command, View
from broker.stores.open import create_store
from broker.subscriptions.delivery import Delivery
from broker.subscriptions.model import parse_patch, parse_subscription
from broker.subscriptions.owed import owed
from broker.subscriptions.state import DeliveryState, read_state
from tests.support.receiver import Receiver, answer, dripping, endless, hang_up, never, receiving

ResultT = TypeVar("ResultT")

VALUE = "https://uri.etsi.org/ngsi-ld/default-context/count"
KIND = "https://uri.etsi.org/ngsi-ld/default-context/Counter"
FAST = DeliverySettings(retry_first_seconds=0.02, retry_longest_seconds=0.1, timeout_seconds=0.3)


async def no_network(url: str) -> Fetched:
    raise AssertionError(f"{url} was fetched")


def entity(number: int, entity_id: str = "urn:x:Counter:1") -> Entity:
    at = "2026-11-21T10:00:00.000Z"
    return {
        "id": entity_id,
        "type": [KIND],
        "createdAt": at,
        "modifiedAt": at,
        "attrs": {VALUE: [{"type": "Property", "value": number, "createdAt": at, "modifiedAt": at}]},
    }


class City:
    """A store with subscriptions, and what happens in it."""

    def __init__(self, store: TenantStore) -> None:
        self.store = store
        self.clock = Clock()
        self.contexts = ContextResolver(no_network, self.clock, Limits())
        self.number = 0
        self.delivery: Delivery | None = None
        self.transports: Transports | None = None

    async def subscribe(self, uri: str, name: str = "urn:x:Subscription:1", **members: Any) -> str:
        notification = {"format": "simplified", "endpoint": {"uri": uri}, **members.pop("notification", {})}
        document = {
            "id": name,
            "type": "Subscription",
            "entities": [{"type": "Counter"}],
            "notification": notification,
            **members,
        }
        stamp = self.clock.stamp()
        body = parse_subscription(document, self.contexts.core, None, Limits(), stamp, "")
        await self.store.commit(ChangeSet(records=[RecordWrite("subscription", name, body, stamp.version)]))
        return name

    async def change(self, patch: dict[str, Any] | None, name: str = "urn:x:Subscription:1") -> None:
        """Patch a subscription; None deletes it."""
        stamp = self.clock.stamp()
        record = await self.store.record("subscription", name)
        assert record is not None
        body = parse_patch(record.body, patch, self.contexts.core, None, Limits(), stamp) if patch is not None else None
        await self.store.commit(ChangeSet(records=[RecordWrite("subscription", name, body, stamp.version)]))

    async def apply(self, command: Command[ResultT], name: str = "urn:x:Subscription:1") -> ResultT:
        """A command on a subscription."""
        stamp = self.clock.stamp()
        view = View(await self.store.load(Needs(records={("subscription", name)})), self.clock.new_id)
        effects = command.apply(view, stamp)
        await self.store.commit(ChangeSet(records=effects.records))
        return effects.result

    async def count(self, times: int = 1, *names: str, entity_id: str = "urn:x:Counter:1") -> list[OutboxRow]:
        """Count on, so often, and owe it to the subscriptions."""
        rows = []
        for _ in range(times):
            self.number += 1
            stamp = self.clock.stamp()
            after = entity(self.number, entity_id)
            change = EntityChange(entity_id, after, after, {VALUE: "attributeUpdated"})
            rows += [
                owed(change, name, stamp.version, stamp.now, serial)
                for serial, name in enumerate(names or ("urn:x:Subscription:1",))
            ]
        await self.store.commit(ChangeSet(outbox=rows))
        if self.delivery is not None:
            self.delivery.wake(rows)
        return rows

    @asynccontextmanager
    async def delivering(
        self, settings: DeliverySettings = FAST, *, shared: bool = False, owner: str = "one", kill: bool = False
    ) -> AsyncIterator[Delivery]:
        """Delivery running. `kill`: at the end it is broken off without writing anything down."""
        async with Transports(settings) as outbound:
            store = _Unsettled(self.store) if kill else self.store
            delivery = Delivery(
                store,
                outbound,
                settings,
                self.clock,
                owner,
                self.contexts.resolve,
                shared=shared,
            )
            self.transports = outbound
            running = asyncio.create_task(delivery.run())
            await asyncio.sleep(0)
            self.delivery = delivery
            try:
                yield delivery
            finally:
                self.delivery = None
                await delivery.stop(2.0)
                await running

    async def state(self, name: str = "urn:x:Subscription:1") -> DeliveryState:
        record = await self.store.record("delivery_state", name)
        return read_state(record.body if record is not None else None)

    async def until(self, condition: Any, seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.02)

    async def nothing_owed(self) -> bool:
        return not await self.store.outbox_owed()


class _Unsettled:
    """A store that loses every commit: as if the process had died before it."""

    def __init__(self, store: TenantStore) -> None:
        self._store = store

    async def commit(self, changes: ChangeSet) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def counted(receiver: Receiver) -> list[int]:
    return [one["count"] for received in receiver.accepted for one in received.data]


@asynccontextmanager
async def opened(where: Path | str) -> AsyncIterator[City]:
    """A city in the database file, or at the URL."""
    url = f"sqlite:///{where}" if isinstance(where, Path) else where
    store = create_store(StoreSettings(url=url), Clock())
    await store.open()
    try:
        yield City(await store.tenant())
    finally:
        await store.close()


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[City]:
    async with opened(tmp_path / "city.db") as made:
        yield made


@pytest.fixture
async def app() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def test_an_app_gets_every_change_in_order(city: City, app: Receiver) -> None:
    await city.subscribe(app.url())
    async with city.delivering():
        for _ in range(50):
            await city.count()
        await city.count(300)  # more at once than are kept in memory
        await city.count(50)
        await app.wait_for(400)
    assert counted(app) == list(range(1, 401))
    assert await city.nothing_owed()
    state = await city.state()
    assert (state.times_sent, state.times_failed, state.attempts) == (400, 0, 0)


async def test_a_notification_says_what_the_standard_wants(city: City, app: Receiver) -> None:
    receiver_info = [{"key": "Authorization", "value": "Bearer x"}]
    await city.subscribe(app.url(), notification={"endpoint": {"uri": app.url(), "receiverInfo": receiver_info}})
    async with city.delivering():
        (row,) = await city.count()
        (received,) = await app.wait_for(1)
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["Authorization"] == "Bearer x"
    assert 'rel="http://www.w3.org/ns/json-ld#context"' in received.headers["Link"]
    assert received.body.pop("notifiedAt").endswith("Z")
    assert received.body == {
        "id": f"urn:ngsi-ld:Notification:{row.id}",
        "type": "Notification",
        "subscriptionId": "urn:x:Subscription:1",
        "data": [{"id": "urn:x:Counter:1", "type": "Counter", "count": 1}],
    }


async def test_what_was_owed_before_the_start_is_delivered(city: City, app: Receiver) -> None:
    await city.subscribe(app.url())
    await city.count(250)
    async with city.delivering():
        await city.count(5)
        await app.wait_for(255)
    assert counted(app) == list(range(1, 256))


async def test_every_failure_is_retried_and_nothing_overtakes_it(city: City, app: Receiver) -> None:
    await city.subscribe(app.url())
    app.script.extend([answer(500), answer(503), hang_up, never, answer(404), answer(307, Location=app.url("/other"))])
    async with city.delivering():
        await city.count(5)
        await app.wait_for(5)
    assert counted(app) == [1, 2, 3, 4, 5]
    assert {one.path for one in app.tried} == {"/notify"}
    first = [one.body["id"] for one in app.tried[:7]]
    assert len(set(first)) == 1  # the same notification under the same id, until it was taken
    state = await city.state()
    assert (state.times_sent, state.times_failed) == (11, 6)


@pytest.mark.parametrize("behave", [endless, dripping])
async def test_a_2xx_counts_though_the_answer_has_no_end(city: City, app: Receiver, behave: Any) -> None:
    await city.subscribe(app.url())
    app.script.append(behave)
    async with city.delivering(DeliverySettings()):
        await city.count(2)
        await app.wait_for_tries(2)
        await city.until(city.nothing_owed)
    assert [one.data[0]["count"] for one in app.tried] == [1, 2]


async def test_a_dead_endpoint_delays_nobody_else(city: City, app: Receiver) -> None:
    async with receiving() as dead, receiving() as silent:
        silent.otherwise = never
        await dead.stop()
        await city.subscribe(app.url(), "urn:x:alive")
        for number in range(20):
            await city.subscribe(dead.url(f"/{number}"), f"urn:x:dead:{number}")
            await city.subscribe(silent.url(f"/{number}"), f"urn:x:silent:{number}")
        others = [f"urn:x:{kind}:{number}" for kind in ("dead", "silent") for number in range(20)]
        async with city.delivering(DeliverySettings(timeout_seconds=60)) as delivery:
            for _ in range(10):
                await city.count(1, *others, "urn:x:alive")
            await app.wait_for(10)
            await delivery.stop(0.1)
    assert counted(app) == list(range(1, 11))
    owed_still = await city.store.outbox_owed()
    assert owed_still == dict.fromkeys(others, 10)


async def test_the_pause_between_retries_goes_on_after_a_restart(city: City, app: Receiver) -> None:
    await city.subscribe(app.url())
    app.otherwise = answer(500)
    patient = DeliverySettings(retry_first_seconds=3600, retry_longest_seconds=3600)
    async with city.delivering(patient):
        await city.count()
        await app.wait_for_tries(1)
    before = await city.state()
    assert (before.attempts, before.times_failed) == (1, 1)
    assert "answered 500" in before.last_error
    async with city.delivering(patient):
        await city.count()
        await asyncio.sleep(0.3)
    assert len(app.tried) == 1
    assert await city.state() == before
    app.otherwise = answer(204)
    await city.change({"description": "whatever was wrong is put right"})
    # Changed while nobody ran: the pause is kept. Changed while somebody does: it is tried at once.
    async with city.delivering(patient):
        await asyncio.sleep(0.3)
        assert len(app.tried) == 1
        await city.change({"description": "again"})
        await app.wait_for(2)
    assert counted(app) == [1, 2]


async def test_a_restart_goes_on_where_it_was(tmp_path: Path, app: Receiver) -> None:
    async with opened(tmp_path / "city.db") as city:
        await city.subscribe(app.url())
        async with city.delivering():
            await city.count(120)
            await app.wait_for(30)
    async with opened(tmp_path / "city.db") as city, city.delivering():
        await app.wait_for(120)
        await city.until(city.nothing_owed)
    assert counted(app) == list(range(1, 121))


async def test_what_was_sent_but_not_settled_is_sent_again_under_the_same_id(city: City, app: Receiver) -> None:
    await city.subscribe(app.url())
    async with city.delivering(kill=True):
        await city.count(3)
        await app.wait_for(3)
    async with city.delivering():
        await app.wait_for(6)
    assert counted(app) == [1, 2, 3, 1, 2, 3]
    ids = [one.body["id"] for one in app.accepted]
    assert ids[:3] == ids[3:]


async def test_what_is_given_up_on_is_kept_and_can_be_revived(city: City, app: Receiver) -> None:
    await city.subscribe(app.url())
    app.otherwise = answer(500)
    hasty = DeliverySettings(retry_first_seconds=0.02, retry_longest_seconds=0.05, give_up_hours=0.3 / 3600)
    async with city.delivering(hasty):
        await city.count(3)

        async def all_dead() -> bool:
            return len(await city.store.dead_letters("urn:x:Subscription:1")) == 3

        await city.until(all_dead)
    dead = await city.store.dead_letters("urn:x:Subscription:1")
    assert {reason for _, reason in dead} == {f"'{app.url()}' answered 500."}
    assert await city.nothing_owed()
    app.otherwise = answer(204)
    async with city.delivering(hasty) as delivery:
        await city.store.commit(ChangeSet(revived=[row.id for row, _ in dead]))
        delivery.look("urn:x:Subscription:1")
        await app.wait_for(3)
    assert counted(app) == [1, 2, 3]
    assert not await city.store.dead_letters("urn:x:Subscription:1")


async def test_a_deleted_subscription_is_owed_nothing(city: City, app: Receiver) -> None:
    await city.subscribe(app.url())
    app.otherwise = answer(500)
    async with city.delivering():
        await city.count(250)
        await app.wait_for_tries(1)
        await city.change(None)
        await city.until(city.nothing_owed)
        tried = len(app.tried)
        await asyncio.sleep(0.3)
        assert len(app.tried) == tried
    assert await city.store.record("delivery_state", "urn:x:Subscription:1") is None


async def test_a_paused_subscription_waits_and_loses_nothing(city: City, app: Receiver) -> None:
    await city.subscribe(app.url(), isActive=False)
    async with city.delivering():
        await city.count(3)
        await asyncio.sleep(0.3)
        assert app.tried == []
        await city.change({"isActive": True})
        await app.wait_for(3)
    assert counted(app) == [1, 2, 3]


async def test_a_new_endpoint_gets_what_the_old_one_did_not_take(city: City, app: Receiver) -> None:
    async with receiving() as old:
        old.otherwise = answer(500)
        await city.subscribe(old.url())
        async with city.delivering(DeliverySettings(retry_first_seconds=3600)):
            await city.count(2)
            await old.wait_for_tries(1)
            await city.change({"notification": {"format": "simplified", "endpoint": {"uri": app.url()}}})
            await app.wait_for(2)
    assert counted(app) == [1, 2]


async def test_throttling_sends_the_last_state_at_the_end_of_the_window(city: City, app: Receiver) -> None:
    await city.subscribe(app.url(), throttling=0.5)
    async with city.delivering():
        await city.count()
        await app.wait_for(1)
        await city.count(150)
        await city.count(1, entity_id="urn:x:Counter:2")
        _, second = await app.wait_for(2)
        await city.until(city.nothing_owed)
    assert [(one["id"], one["count"]) for one in second.data] == [("urn:x:Counter:1", 151), ("urn:x:Counter:2", 152)]
    assert len(app.accepted) == 2


async def test_rows_that_other_processes_committed_are_found(city: City, app: Receiver) -> None:
    await city.subscribe(app.url())
    async with city.delivering(shared=True):
        await city.count(2)
        await app.wait_for(2)
        city.delivery = None  # committed by another process, which told nobody here
        await city.count(3)
        await app.wait_for(5)
    assert counted(app) == [1, 2, 3, 4, 5]


async def test_of_several_processes_one_delivers_and_another_takes_over(mongo_url: str, app: Receiver) -> None:
    settings = DeliverySettings(lease_seconds=1.0)
    async with opened(mongo_url) as one, opened(mongo_url) as other:
        await one.subscribe(app.url())
        async with other.delivering(settings, shared=True, owner="other"):
            async with one.delivering(settings, shared=True, owner="one"):
                await one.count(1)
                await app.wait_for(1)
                for _ in range(20):
                    await one.count(1)
                    other.number = one.number
                    await other.count(1)
                    one.number = other.number
                await app.wait_for(41)
            # Stopped in good order: the lease was given back.
            other.number = one.number
            await other.count(5)
            await app.wait_for(46)
            await other.until(other.nothing_owed)
    assert counted(app) == list(range(1, 47))


async def test_a_lease_runs_out_when_its_process_dies(mongo_url: str, app: Receiver) -> None:
    async with opened(mongo_url) as city:
        await city.subscribe(app.url())
        assert await city.store.lease("delivery:urn:x:Subscription:1", "dead", 1.0)
        async with city.delivering(DeliverySettings(lease_seconds=1.0), shared=True, owner="alive"):
            await city.count(3)
            await app.wait_for(3)
    assert counted(app) == [1, 2, 3]


async def test_an_orderly_stop_finishes_what_is_on_its_way(city: City, app: Receiver) -> None:
    async def slowly(request: Any) -> Any:
        await asyncio.sleep(0.3)
        return await answer(204)(request)

    await city.subscribe(app.url())
    app.otherwise = slowly
    async with city.delivering(DeliverySettings()):
        await city.count(3)
        await app.wait_for_tries(1)
    assert counted(app) == [1]
    assert await city.store.outbox_owed() == {"urn:x:Subscription:1": 2}


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_nothing_is_lost_and_nothing_overtakes(city: City, app: Receiver, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"urn:x:{number}" for number in range(4)]
    for number, name in enumerate(names):
        await city.subscribe(app.url(f"/{number}"), name)

    async def moody(request: Any) -> Any:
        mood = chance.choices([answer(204), answer(500), hang_up, never], [95, 2, 2, 1])[0]
        return await mood(request)

    app.otherwise = moody
    counts: dict[str, list[int]] = {name: [] for name in names}
    done = False

    async def happen() -> None:
        while not done:
            concerned = chance.sample(names, chance.randint(1, 4))
            times = chance.choice([1, 1, 2, 5, 150])
            for name in concerned:
                counts[name] += range(city.number + 1, city.number + times + 1)
            await city.count(times, *concerned)
            await asyncio.sleep(chance.choice([0, 0.001, 0.01, 0.05]))

    hasty = DeliverySettings(retry_first_seconds=0.005, retry_longest_seconds=0.03, timeout_seconds=0.05)
    async with asyncio.TaskGroup() as group:
        group.create_task(happen())
        for _ in range(4):
            async with city.delivering(hasty, kill=chance.random() < 0.3, shared=chance.random() < 0.3):
                await asyncio.sleep(chance.random() / 2)
        done = True
    app.otherwise = answer(204)
    async with city.delivering(hasty):
        await city.until(city.nothing_owed, 60)
    for number, name in enumerate(names):
        got = [one.data[0]["count"] for one in app.accepted if one.path == f"/{number}"]
        assert list(dict.fromkeys(got)) == counts[name]


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.integration.test_delivery import opened

async def main():
    async with opened(Path(sys.argv[1])) as city, city.delivering():
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_killed_again_and_again_nothing_is_lost_and_the_order_stands(tmp_path: Path, app: Receiver) -> None:
    async with opened(tmp_path / "city.db") as city:
        await city.subscribe(app.url())
        await city.count(2000)
    for kill in range(1, 5):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, str(tmp_path / "city.db"), cwd=Path(__file__).parents[2]
        )
        # The last one goes on to the end.
        await (app.wait_for(400 * kill) if kill < 4 else app.wait_until(lambda: counted(app)[-1] == 2000))
        process.kill()
        await process.wait()
    got = counted(app)
    assert list(dict.fromkeys(got)) == list(range(1, 2001))
    repeats = [later for earlier, later in pairwise(got) if later != earlier + 1]
    assert len(repeats) <= 3  # it goes back only where it was killed
