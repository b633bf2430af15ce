"""A change set is written whole or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from broker.stores.base import ChangeSet, Conflict, Needs, Record, TenantStore, UplinkUpdate
from tests.support.stores import entity, history_row, outbox_row, put, record, uplink_row

ROOM = "urn:ngsi-ld:Room:214"


def everything() -> ChangeSet:
    """One of each thing that a change set can write."""
    return ChangeSet(
        entities=[put(entity(ROOM, a=1), 10)],
        history=[history_row(ROOM, "a", 0, 10)],
        outbox=[outbox_row(10)],
        records=[record("device", "d2", keys=("k",)), record("device_state", "d2")],
        uplinks=[uplink_row("u2", frame_key="f2")],
        delivered=[outbox_row(1).id],
        given_up=[(outbox_row(2).id, "gone")],
        revived=[outbox_row(3).id],
        uplink_updates=[UplinkUpdate("u1", "discarded")],
    )


@pytest.fixture
async def prepared(tenant: TenantStore) -> TenantStore:
    await tenant.commit(
        ChangeSet(
            entities=[put(entity("urn:e:other"), 1)],
            records=[record("device", "d1"), record("virtual_sensor", "v1")],
            uplinks=[uplink_row("u1", status="quarantined", reason="unknown device", frame_key="f1")],
            outbox=[outbox_row(1), outbox_row(2), outbox_row(3)],
        )
    )
    await tenant.commit(ChangeSet(given_up=[(outbox_row(3).id, "first")]))
    return tenant


async def untouched(tenant: TenantStore) -> None:
    """Nothing of `everything()` is there."""
    assert await tenant.entity(ROOM) is None
    assert await tenant.history(ROOM) == []
    assert await tenant.outbox("urn:sub:1") == [outbox_row(1), outbox_row(2)]
    assert await tenant.dead_letters("urn:sub:1") == [(outbox_row(3), "first")]
    assert await tenant.records("device") == [Record("device", "d1", {"id": "d1"}, 1)]
    assert await tenant.record("device_state", "d2") is None
    assert [(row.id, row.status) for row in await tenant.uplinks()] == [("u1", "quarantined")]
    found = await tenant.load(
        Needs(entities={ROOM}, records={("device", "d2")}, found={("device", "k")}, frames={"f2"})
    )
    assert (found.entities, found.records, found.found.get(("device", "k"), ()), found.frames) == ({}, {}, (), set())


async def test_all_members_are_written_together(prepared: TenantStore) -> None:
    await prepared.commit(everything())
    stored = await prepared.entity(ROOM)
    assert stored is not None and stored.version == 10
    assert await prepared.history(ROOM) == [history_row(ROOM, "a", 0, 10)]
    assert await prepared.outbox("urn:sub:1") == [outbox_row(3), outbox_row(10)]
    assert await prepared.dead_letters("urn:sub:1") == [(outbox_row(2), "gone")]
    assert [row.id for row in await prepared.records("device")] == ["d1", "d2"]
    assert [(row.id, row.status) for row in await prepared.uplinks()] == [("u1", "discarded"), ("u2", "applied")]


async def test_a_failing_entity_lets_nothing_be_written(prepared: TenantStore) -> None:
    changes = everything()
    changes.entities.append(put(entity("urn:e:other", a=1), 11, expected=9))
    with pytest.raises(Conflict):
        await prepared.commit(changes)
    await untouched(prepared)


async def test_a_failing_record_lets_nothing_be_written(prepared: TenantStore) -> None:
    changes = everything()
    changes.records.append(record("virtual_sensor", "v1", 5, expected=4))
    with pytest.raises(Conflict):
        await prepared.commit(changes)
    await untouched(prepared)


async def test_a_frame_applied_before_lets_nothing_be_written(prepared: TenantStore) -> None:
    changes = everything()
    changes.uplinks.append(uplink_row("u3", frame_key="f1"))
    with pytest.raises(Conflict):
        await prepared.commit(changes)
    await untouched(prepared)


async def test_a_failing_uplink_update_lets_nothing_be_written(prepared: TenantStore) -> None:
    changes = everything()
    changes.uplink_updates.append(UplinkUpdate("nowhere", "applied"))
    with pytest.raises(Conflict):
        await prepared.commit(changes)
    await untouched(prepared)


async def test_an_epoch_that_moved_lets_nothing_be_written(prepared: TenantStore) -> None:
    changes = everything()
    changes.epochs = {"binding": 3}
    with pytest.raises(Conflict):
        await prepared.commit(changes)
    await untouched(prepared)


async def test_after_a_conflict_the_next_change_set_is_written(prepared: TenantStore) -> None:
    with pytest.raises(Conflict):
        await prepared.commit(replace(everything(), epochs={"binding": 3}))
    await prepared.commit(everything())
    assert await prepared.entity(ROOM) is not None


async def test_an_empty_change_set_is_nothing_to_do(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet())
    assert await tenant.epochs() == {}


async def test_concurrent_commits_are_served_in_the_order_of_the_calls(tenant: TenantStore) -> None:
    async with asyncio.TaskGroup() as group:
        for version in range(1, 21):
            group.create_task(tenant.commit(ChangeSet(entities=[put(entity(ROOM, a=version), version, version - 1)])))
    stored = await tenant.entity(ROOM)
    assert stored is not None and stored.version == 20


async def test_a_cancelled_commit_was_written_whole_or_not_at_all(tenant: TenantStore) -> None:
    tasks = [
        asyncio.create_task(
            tenant.commit(
                ChangeSet(entities=[put(entity(f"urn:e:{n}"), n)], history=[history_row(f"urn:e:{n}", "a", 0, n)])
            )
        )
        for n in range(1, 11)
    ]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await tenant.commit(ChangeSet(entities=[put(entity("urn:e:last"), 99)]))
    for n in range(1, 11):
        present = await tenant.entity(f"urn:e:{n}") is not None
        assert present == bool(await tenant.history(f"urn:e:{n}"))
        assert present or n % 2 == 1
