"""Two processes on one MongoDB database: who comes second is told, and nothing of its change set is written."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from broker.ngsild.model import Entity
from broker.query.ast import EntityQuery
from broker.stores.base import ChangeSet, Conflict, Needs, TenantStore
from tests.support.stores import entity, history_row, make_store, outbox_row, put, record, uplink_row

ROOM = "urn:ngsi-ld:Room:214"


@pytest.fixture
async def both(mongo_url: str) -> AsyncIterator[tuple[TenantStore, TenantStore]]:
    """The default tenant as two processes see it, opened at the same moment on an empty database."""
    stores = [make_store(mongo_url), make_store(mongo_url)]
    async with asyncio.TaskGroup() as group:
        for store in stores:
            group.create_task(store.open())
    yield await stores[0].tenant(), await stores[1].tenant()
    for store in stores:
        await store.close()


def temperature(value: float) -> Entity:
    return entity(ROOM, "Room", temperature=value)


async def succeeded(*commits: asyncio.Task[None]) -> list[bool]:
    """Which of the commits were not conflicts; anything else that was raised is raised."""
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, Conflict):
            raise outcome
    return [outcome is None for outcome in outcomes]


async def test_what_the_other_changed_meanwhile_is_a_conflict_and_nothing_is_written(
    both: tuple[TenantStore, TenantStore],
) -> None:
    one, other = both
    await one.commit(ChangeSet(entities=[put(temperature(20), 1)]))
    read = (await other.load(Needs(entities={ROOM}))).entities[ROOM]
    await one.commit(ChangeSet(entities=[put(temperature(21), 2, expected=1)]))
    with pytest.raises(Conflict):
        await other.commit(
            ChangeSet(
                entities=[put(temperature(19), 3, expected=read.version), put(entity("urn:e:new"), 3)],
                history=[history_row(ROOM, "temperature", 0, 3)],
                outbox=[outbox_row(3)],
                records=[record("device", "d")],
                uplinks=[uplink_row("u", frame_key="f")],
            )
        )
    assert [found["id"] for found in (await other.query(EntityQuery())).entities] == [ROOM]
    assert (await other.query(EntityQuery())).entities == [temperature(21)]
    assert await other.history(ROOM) == [] and await other.outbox_owed() == {}
    assert await other.records("device") == [] and await other.uplinks() == []
    assert await other.epochs() == {}
    reread = (await other.load(Needs(entities={ROOM}))).entities[ROOM]
    await other.commit(ChangeSet(entities=[put(temperature(19), 4, expected=reread.version)]))
    assert (await one.query(EntityQuery())).entities == [temperature(19)]


async def test_of_two_at_the_same_moment_one_wins_whole(both: tuple[TenantStore, TenantStore]) -> None:
    version = 1
    await both[0].commit(ChangeSet(entities=[put(temperature(0), version)]))
    for attempt in range(15):
        proposed = [version + 1, version + 2]
        won = await succeeded(
            *(
                asyncio.create_task(
                    tenant.commit(
                        ChangeSet(
                            entities=[put(temperature(new), new, expected=version)],
                            history=[history_row(ROOM, "temperature", attempt, new)],
                        )
                    )
                )
                for tenant, new in zip(both, proposed, strict=True)
            )
        )
        assert won in ([True, False], [False, True])
        version = proposed[won.index(True)]
        stored = await both[0].entity(ROOM)
        assert stored is not None and stored.version == version and stored.entity == temperature(version)
        assert (await both[1].history(ROOM))[-1].version == version
    assert len(await both[0].history(ROOM)) == 15


async def test_a_redelivered_frame_is_applied_by_one_of_them(both: tuple[TenantStore, TenantStore]) -> None:
    for number in range(15):
        won = await succeeded(
            *(
                asyncio.create_task(
                    tenant.commit(ChangeSet(uplinks=[uplink_row(f"u{number}{name}", frame_key=f"frame:{number}")]))
                )
                for name, tenant in zip("ab", both, strict=True)
            )
        )
        assert won in ([True, False], [False, True])
    assert len(await both[0].uplinks()) == 15
    assert len((await both[1].load(Needs(frames={f"frame:{number}" for number in range(20)}))).frames) == 15


async def test_records_that_the_other_changed_move_the_epoch_that_a_cache_relies_on(
    both: tuple[TenantStore, TenantStore],
) -> None:
    one, other = both
    await one.commit(ChangeSet(records=[record("binding", "b", 1)]))
    cached = await other.epochs()
    await one.commit(ChangeSet(records=[record("binding", "b", 2)]))
    assert await other.epochs() != cached
    with pytest.raises(Conflict):
        await other.commit(ChangeSet(entities=[put(temperature(20), 3)], epochs=cached))
    assert await other.entity(ROOM) is None
    await other.commit(ChangeSet(entities=[put(temperature(20), 3)], epochs=await other.epochs()))


async def test_a_lease_is_held_by_one_and_taken_over_when_it_ran_out(both: tuple[TenantStore, TenantStore]) -> None:
    one, other = both
    assert await one.lease("delivery:1", "process-a", 60)
    assert not await other.lease("delivery:1", "process-b", 60)
    await other.release(["delivery:1"], "process-b")
    assert not await other.lease("delivery:1", "process-b", 60)
    assert await one.lease("delivery:1", "process-a", 0.05)
    while not await other.lease("delivery:1", "process-b", 60):
        await asyncio.sleep(0.01)
    assert not await one.lease("delivery:1", "process-a", 60)


async def test_of_many_that_want_a_free_lease_one_gets_it(both: tuple[TenantStore, TenantStore]) -> None:
    for number in range(5):
        taken = await asyncio.gather(
            *(
                tenant.lease(f"free:{number}", f"process-{name}", 60)
                for name, tenant in zip("abab", both * 2, strict=True)
            )
        )
        assert sorted({name for name, got in zip("abab", taken, strict=True) if got}) in (["a"], ["b"])


async def test_a_cancelled_commit_keeps_nothing_locked(both: tuple[TenantStore, TenantStore]) -> None:
    one, other = both
    version = 1
    await one.commit(ChangeSet(entities=[put(temperature(0), version)]))
    for attempt in range(25):
        cut = asyncio.create_task(
            one.commit(
                ChangeSet(
                    entities=[put(temperature(-1), version + 1, expected=version)],
                    history=[history_row(ROOM, "temperature", version + 1, version + 1)],
                    outbox=[outbox_row(version + 1)],
                )
            )
        )
        await asyncio.sleep(attempt * 0.0008)  # so that every step of a commit is cut now and then
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
        while True:  # an outcome that was under way may come in between, but nothing may stay in the way
            stored = await other.entity(ROOM)
            assert stored is not None
            version = stored.version
            try:
                await other.commit(ChangeSet(entities=[put(temperature(version), version + 2, expected=version)]))
            except Conflict:
                continue
            version += 2
            break
        of_cut = {row.version for row in await other.history(ROOM)}
        assert of_cut == {int(row.id.split("-")[0], 16) for row in await other.outbox("urn:sub:1")}


DIES_IN_MID_COMMIT = """
import asyncio, os, sys
from broker.stores.base import ChangeSet
from broker.stores.mongo.change_set import Plan
from tests.support.stores import entity, make_store, put

async def main():
    store = make_store(sys.argv[1])
    await store.open()
    tenant = await store.tenant()
    session = await tenant._session.use()
    await session.start_transaction()
    await Plan(ChangeSet(entities=[put(entity("urn:e:1", n=2), 2, 1)])).run(tenant.database, session)
    os._exit(9)

asyncio.run(main())
"""


async def test_what_a_process_had_in_hand_when_it_died_blocks_nobody_for_long(mongo_url: str) -> None:
    store = make_store(mongo_url)
    await store.open()
    try:
        tenant = await store.tenant()
        await tenant.commit(ChangeSet(entities=[put(entity("urn:e:1", n=1), 1)]))
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", DIES_IN_MID_COMMIT, mongo_url)
        assert await child.wait() == 9
        with pytest.raises(Conflict):
            await tenant.commit(ChangeSet(entities=[put(entity("urn:e:1", n=3), 3, 1)]))
        await tenant.commit(ChangeSet(entities=[put(entity("urn:e:1", n=3), 3, 1)]))
        kept = await tenant.entity("urn:e:1")
        assert kept is not None
        assert kept.version == 3
    finally:
        await store.close()
