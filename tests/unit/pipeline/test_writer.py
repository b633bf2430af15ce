"""The writer: groups, order, refusals, conflicts, admission."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from broker.clock import Clock, Stamp
from broker.config import Limits
from broker.entities.commands import CreateEntity, DeleteEntity, append_attributes
from broker.entities.records import PutRecord
from broker.errors import AlreadyExists, InternalError, Overloaded, StoreUnavailable
from broker.ngsild.fragment import Fragment
from broker.stores.base import ChangeSet, Conflict, Needs, OutboxRow, Snapshot, TenantStore
from broker.stores.command import Effects, View
from broker.subscriptions.model import parse_subscription
from tests.support.stores import iri, prop
from tests.unit.pipeline.conftest import MakeWriter
from tests.unit.subscriptions.support import CORE


def fragment(entity_id: str = "urn:e:1", **values: Any) -> Fragment:
    attrs = {iri(name): [prop(value)] for name, value in values.items()}
    return Fragment(id=entity_id, types=[iri("Thing")], attrs=attrs)


class Watched:
    """A real store whose commits are counted, held or made to fail first."""

    def __init__(self, store: TenantStore) -> None:
        self._store = store
        self.commits: list[ChangeSet] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.before: Callable[[ChangeSet], Any] = lambda changes: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, changes: ChangeSet) -> None:
        await self.gate.wait()
        failure = self.before(changes)
        if failure is not None:
            raise failure
        await self._store.commit(changes)
        self.commits.append(changes)


async def test_commands_that_wait_for_a_commit_share_the_next_one(store: TenantStore, running: MakeWriter) -> None:
    watched = Watched(store)
    async with running(watched) as writer:
        watched.gate.clear()
        first = asyncio.create_task(writer.execute(CreateEntity(fragment("urn:e:0", n=0))))
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(writer.execute(CreateEntity(fragment(f"urn:e:{n}", n=n)))) for n in range(1, 51)]
        await asyncio.sleep(0.05)
        watched.gate.set()
        await asyncio.gather(first, *rest)
    assert [len(changes.entities) for changes in watched.commits] == [1, 50]


async def test_commands_on_one_entity_apply_in_order_of_arrival_and_each_is_in_the_history(
    store: TenantStore, running: MakeWriter
) -> None:
    async with running(store) as writer:
        await writer.execute(CreateEntity(fragment(n=0)))
        await asyncio.gather(
            *(writer.execute(append_attributes("urn:e:1", fragment(n=n), overwrite=True)) for n in range(1, 200))
        )
    kept = await store.entity("urn:e:1")
    assert kept is not None
    assert kept.entity["attrs"][iri("n")][0]["value"] == 199
    rows = await store.history("urn:e:1")
    assert [row.instance["value"] for row in rows if row.instance is not None] == list(range(200))
    assert [row.version for row in rows] == sorted({row.version for row in rows})


async def test_a_refused_command_fails_alone(store: TenantStore, running: MakeWriter) -> None:
    async with running(store) as writer:
        results = await asyncio.gather(
            *(writer.execute(CreateEntity(fragment(entity_id))) for entity_id in ("urn:a", "urn:a", "urn:b")),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [type(None), AlreadyExists, type(None)]
    assert await store.entity("urn:b") is not None


async def test_an_entity_created_and_deleted_in_one_group_leaves_only_its_history(
    store: TenantStore, running: MakeWriter
) -> None:
    async with running(store) as writer:
        await asyncio.gather(writer.execute(CreateEntity(fragment(n=1))), writer.execute(DeleteEntity("urn:e:1")))
    assert await store.entity("urn:e:1") is None
    assert [row.instance is None for row in await store.history("urn:e:1")] == [False, True]


async def test_a_conflict_is_loaded_and_applied_again(store: TenantStore, running: MakeWriter) -> None:
    watched = Watched(store)
    failures = [Conflict("another was first"), Conflict("again")]
    watched.before = lambda changes: failures.pop() if failures else None
    async with running(watched) as writer:
        await writer.execute(CreateEntity(fragment(n=1)))
    assert not failures
    assert len(await store.history("urn:e:1")) == 1


async def test_a_store_that_is_away_fails_the_command_and_the_next_one_goes_through(
    store: TenantStore, running: MakeWriter
) -> None:
    watched = Watched(store)
    failures = [StoreUnavailable("The store does not answer.")]
    watched.before = lambda changes: failures.pop() if failures else None
    async with running(watched) as writer:
        with pytest.raises(StoreUnavailable):
            await writer.execute(CreateEntity(fragment(n=1)))
        await writer.execute(CreateEntity(fragment(n=1)))


async def test_one_command_that_cannot_be_stored_does_not_take_the_others_with_it(
    store: TenantStore, running: MakeWriter
) -> None:
    watched = Watched(store)
    watched.before = lambda changes: (
        ValueError("cannot be stored") if any(write.id == "urn:poison" for write in changes.entities) else None
    )
    async with running(watched) as writer:
        results = await asyncio.gather(
            *(writer.execute(CreateEntity(fragment(entity_id))) for entity_id in ("urn:a", "urn:poison", "urn:b")),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [type(None), InternalError, type(None)]
    assert await store.entity("urn:a") is not None
    assert await store.entity("urn:b") is not None


@dataclass(frozen=True)
class Crashing:
    """A command with a fault in it."""

    def needs(self, seen: Snapshot) -> Needs:
        return Needs()

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        raise ZeroDivisionError


async def test_a_command_with_a_fault_fails_alone_and_says_nothing_of_the_inside(
    store: TenantStore, running: MakeWriter
) -> None:
    async with running(store) as writer:
        results = await asyncio.gather(
            writer.execute(Crashing()), writer.execute(CreateEntity(fragment())), return_exceptions=True
        )
    assert isinstance(results[0], InternalError)
    assert "Zero" not in results[0].detail
    assert results[1] is None


async def test_a_full_queue_refuses_those_who_do_not_wait_and_holds_those_who_do(
    store: TenantStore, running: MakeWriter
) -> None:
    watched = Watched(store)
    async with running(watched, queue_commands=2, group_commands=1) as writer:
        watched.gate.clear()
        held = []
        for n in range(3):  # the first is being committed, two wait
            held.append(asyncio.create_task(writer.execute(CreateEntity(fragment(f"urn:{n}")))))
            await asyncio.sleep(0.05)
        with pytest.raises(Overloaded):
            await writer.execute(CreateEntity(fragment("urn:refused")))
        waiting = asyncio.create_task(writer.execute(CreateEntity(fragment("urn:patient")), wait=True))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        watched.gate.set()
        await asyncio.gather(*held, waiting)
    assert await store.entity("urn:patient") is not None
    assert await store.entity("urn:refused") is None


async def test_after_close_nothing_is_admitted_and_what_was_admitted_is_done(
    store: TenantStore, running: MakeWriter
) -> None:
    async with running(store) as writer:
        admitted = [asyncio.create_task(writer.execute(CreateEntity(fragment(f"urn:{n}")))) for n in range(100)]
        await asyncio.sleep(0)
        writer.close()
        with pytest.raises(Overloaded):
            await writer.execute(CreateEntity(fragment("urn:late")))
        await asyncio.gather(*admitted)
        await writer.drained()


def subscription() -> PutRecord:
    """Subscribes to everything of the tests' type."""
    document = {
        "id": "urn:s",
        "type": "Subscription",
        "entities": [{"type": iri("Thing")}],
        "notification": {"endpoint": {"uri": "http://127.0.0.1:1/"}},
    }
    body = parse_subscription(document, CORE, None, Limits(), Clock().stamp(), "urn:s")
    return PutRecord("subscription", "urn:s", body)


async def test_a_subscription_sees_what_comes_after_it_in_the_same_group_and_nothing_before(
    store: TenantStore, running: MakeWriter, told: list[OutboxRow]
) -> None:
    async with running(store) as writer:
        await asyncio.gather(
            writer.execute(CreateEntity(fragment("urn:before", n=1))),
            writer.execute(subscription()),
            writer.execute(CreateEntity(fragment("urn:after", n=1))),
        )
    assert [row.entity_id for row in told] == ["urn:after"]
    assert [row.entity_id for row in await store.outbox("urn:s")] == ["urn:after"]


async def test_two_writers_on_one_store_see_each_others_subscriptions_at_once(
    store: TenantStore, running: MakeWriter
) -> None:
    async with running(store) as one, running(store) as other:
        await one.execute(CreateEntity(fragment("urn:1", n=1)))
        await other.execute(subscription())
        await one.execute(CreateEntity(fragment("urn:2", n=1)))
    assert [row.entity_id for row in await store.outbox("urn:s")] == ["urn:2"]
