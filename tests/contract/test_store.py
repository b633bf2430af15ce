"""Tenants, restarts, versions of the schema, leases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from broker.query.ast import EntityQuery, HasType
from broker.stores.base import ChangeSet, Conflict, Needs, Store, StoreTooNew, TenantStore
from tests.support.stores import (
    NEWER,
    entity,
    history_row,
    iri,
    make_newer,
    make_store,
    outbox_row,
    put,
    record,
    uplink_row,
)

ROOM = "urn:ngsi-ld:Room:214"


async def test_an_open_store_answers(store: Store) -> None:
    await store.ping()


async def test_tenants_see_nothing_of_each_other(store: Store) -> None:
    names = ["", "umea", "Umea", "../umeå stad/x", "x" * 200]
    for version, name in enumerate(names, start=1):
        tenant = await store.tenant(name)
        await tenant.commit(ChangeSet(entities=[put(entity(ROOM, owner=name), version)]))
    for version, name in enumerate(names, start=1):
        stored = await (await store.tenant(name)).entity(ROOM)
        assert stored is not None and stored.version == version


async def test_a_restart_keeps_everything(tenant: TenantStore, reopened: Callable[[], Awaitable[TenantStore]]) -> None:
    made = entity(ROOM, "Room", temperature=21.5)
    await tenant.commit(
        ChangeSet(
            entities=[put(made, 7)],
            history=[history_row(ROOM, "temperature", 0, 7)],
            outbox=[outbox_row(7), outbox_row(8)],
            records=[record("binding", "b", 7, keys=("device:1",)), record("device_state", "1")],
            uplinks=[uplink_row("u", frame_key="f")],
        )
    )
    await tenant.commit(ChangeSet(given_up=[(outbox_row(8).id, "gone")]))
    epochs = await tenant.epochs()
    again = await reopened()
    found = await again.load(Needs({ROOM}, {("device_state", "1")}, {("binding", "device:1")}, {"f", "g"}))
    assert found.entities[ROOM].entity == made and found.entities[ROOM].version == 7
    assert found.records[("device_state", "1")].body == {"id": "1"}
    assert [row.id for row in found.found[("binding", "device:1")]] == ["b"]
    assert found.frames == {"f"}
    assert found.epochs == epochs == await again.epochs()
    assert await again.history(ROOM) == [history_row(ROOM, "temperature", 0, 7)]
    assert await again.outbox("urn:sub:1") == [outbox_row(7)]
    assert await again.dead_letters("urn:sub:1") == [(outbox_row(8), "gone")]
    assert await again.uplink("u") == uplink_row("u", frame_key="f")
    assert (await again.query(EntityQuery(types=HasType(iri("Room"))))).entities == [made]


async def test_after_a_restart_expectations_still_hold(
    tenant: TenantStore, reopened: Callable[[], Awaitable[TenantStore]]
) -> None:
    await tenant.commit(ChangeSet(entities=[put(entity(ROOM, a=1), 7)], records=[record("binding", "b", 7)]))
    again = await reopened()
    with pytest.raises(Conflict):
        await again.commit(ChangeSet(entities=[put(entity(ROOM, a=2), 8)]))
    with pytest.raises(Conflict):
        await again.commit(ChangeSet(epochs={"binding": 0}, entities=[put(entity("urn:e:2"), 8)]))
    await again.commit(ChangeSet(entities=[put(entity(ROOM, a=2), 8, expected=7)]))


async def test_a_store_that_a_newer_version_wrote_is_refused(url: str, store: Store) -> None:
    await (await store.tenant()).commit(ChangeSet(entities=[put(entity(ROOM), 1)]))
    await store.close()
    await make_newer(url)
    newer = make_store(url)
    with pytest.raises(StoreTooNew) as refused:
        await newer.open()
    await newer.close()
    assert str(NEWER) in str(refused.value)


async def test_a_lease_is_taken_renewed_and_released(tenant: TenantStore) -> None:
    assert await tenant.lease("delivery:1", "process-a", 10)
    assert await tenant.lease("delivery:1", "process-a", 10)
    await tenant.release(["delivery:1", "never-taken"], "process-a")
    assert await tenant.lease("delivery:1", "process-b", 10)
