from __future__ import annotations

import pytest

from broker.stores.base import ChangeSet, Conflict, Needs, Record, RecordWrite, TenantStore
from tests.support.stores import record


async def test_a_record_is_read_as_it_was_written(tenant: TenantStore) -> None:
    body = {"id": "d1", "$set": {"a.b": None}, "å": [1, 2.5, True, "", {}]}
    await tenant.commit(ChangeSet(records=[record("device", "d1", 3, body=body, keys=("a:1", "b:2"))]))
    assert await tenant.record("device", "d1") == Record("device", "d1", body, 3, ("a:1", "b:2"))
    assert await tenant.record("binding", "d1") is None


async def test_records_of_a_kind_come_in_id_order_and_in_pages(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(records=[record("device", name) for name in ["c", "a", "B", "d"]]))
    await tenant.commit(ChangeSet(records=[record("binding", "b0")]))
    assert [row.id for row in await tenant.records("device")] == ["B", "a", "c", "d"]
    assert [row.id for row in await tenant.records("device", limit=2)] == ["B", "a"]
    assert [row.id for row in await tenant.records("device", after="a", limit=2)] == ["c", "d"]
    assert await tenant.records("subscription") == []


async def test_records_are_found_by_any_of_their_keys(tenant: TenantStore) -> None:
    await tenant.commit(
        ChangeSet(
            records=[
                record("binding", "b2", keys=("device:1", "sensor:x")),
                record("binding", "b1", keys=("device:1", "sensor:y")),
                record("binding", "b3", keys=("device:2",)),
                record("device", "d", keys=("device:1",)),
            ]
        )
    )
    assert [row.id for row in await tenant.records("binding", key="device:1")] == ["b1", "b2"]
    assert [row.id for row in await tenant.records("binding", key="device:1", after="b1")] == ["b2"]
    found = await tenant.load(
        Needs(records={("device", "d"), ("device", "none")}, found={("binding", "sensor:x"), ("binding", "sensor:z")})
    )
    assert {key: row.id for key, row in found.records.items()} == {("device", "d"): "d"}
    assert [row.id for row in found.found[("binding", "sensor:x")]] == ["b2"]
    assert found.found.get(("binding", "sensor:z"), ()) == ()


async def test_a_changed_record_is_found_by_its_new_keys_only(tenant: TenantStore) -> None:
    needs = Needs(found={("binding", "old"), ("binding", "new"), ("binding", "kept")})
    await tenant.commit(ChangeSet(records=[record("binding", "b", 1, keys=("old", "kept"))]))
    await tenant.load(needs)
    await tenant.commit(ChangeSet(records=[record("binding", "b", 2, keys=("kept", "new"))]))
    found = (await tenant.load(needs)).found
    assert found.get(("binding", "old"), ()) == ()
    assert [row.version for row in found[("binding", "new")]] == [2]
    assert [row.version for row in found[("binding", "kept")]] == [2]
    assert await tenant.records("binding", key="old") == []


async def test_a_deleted_record_is_gone_with_its_keys(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(records=[record("binding", "b", 1, keys=("k",))]))
    await tenant.commit(ChangeSet(records=[RecordWrite("binding", "b", None, 2, expected=1)]))
    assert await tenant.record("binding", "b") is None
    assert await tenant.records("binding", key="k") == []


async def test_an_expectation_of_a_record_that_does_not_hold_is_a_conflict(tenant: TenantStore) -> None:
    with pytest.raises(Conflict):
        await tenant.commit(ChangeSet(records=[record("device", "d", 2, expected=1)]))
    await tenant.commit(ChangeSet(records=[record("device", "d", 2, expected=0)]))
    for expected in (0, 1, 3):
        with pytest.raises(Conflict):
            await tenant.commit(ChangeSet(records=[record("device", "d", 4, expected=expected)]))
        with pytest.raises(Conflict):
            await tenant.commit(ChangeSet(records=[RecordWrite("device", "d", None, 4, expected)]))
    await tenant.commit(ChangeSet(records=[record("device", "d", 4, expected=2)]))
    await tenant.commit(ChangeSet(records=[record("device", "d", 5)]))
    assert await tenant.record("device", "d") == Record("device", "d", {"id": "d"}, 5)


async def test_every_commit_of_a_counted_kind_moves_its_epoch(tenant: TenantStore) -> None:
    assert (await tenant.epochs()).get("device", 0) == 0
    await tenant.commit(ChangeSet(records=[record("device", "a"), record("device", "b")]))
    first = await tenant.epochs()
    await tenant.commit(ChangeSet(records=[record("device", "a", 2), record("binding", "x")]))
    second = await tenant.epochs()
    assert first["device"] > 0 and second["device"] > first["device"]
    assert first.get("binding", 0) == 0 and second["binding"] > 0
    assert (await tenant.load(Needs())).epochs == second


async def test_device_states_and_delivery_states_have_no_epoch(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(records=[record("device_state", "a"), record("delivery_state", "b")]))
    epochs = await tenant.epochs()
    assert "device_state" not in epochs and "delivery_state" not in epochs


async def test_a_change_set_that_relied_on_an_epoch_that_moved_is_a_conflict(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(records=[record("binding", "b")]))
    seen = await tenant.epochs()
    await tenant.commit(ChangeSet(records=[record("device_state", "d", 1)], epochs={"binding": seen["binding"]}))
    await tenant.commit(ChangeSet(records=[record("device_state", "d", 2)], epochs={"subscription": 0}))
    await tenant.commit(ChangeSet(records=[record("binding", "b", 2)]))
    with pytest.raises(Conflict):
        await tenant.commit(ChangeSet(records=[record("device_state", "d", 3)], epochs={"binding": seen["binding"]}))
    state = await tenant.record("device_state", "d")
    assert state is not None and state.version == 2


async def test_what_moved_of_a_followed_kind_is_told_since_any_epoch_that_is_remembered(tenant: TenantStore) -> None:
    assert await tenant.moved("subscription", 0) == (0, set())
    epochs = [0]
    for ids in (["a", "b"], ["c"], ["a"]):
        writes = [record("subscription", one) if one != "c" else record("device", "c") for one in ids]
        await tenant.commit(ChangeSet(records=writes))
        epochs.append((await tenant.epochs()).get("subscription", 0))
    assert await tenant.moved("subscription", epochs[0]) == (epochs[-1], {"a", "b"})
    assert await tenant.moved("subscription", epochs[2]) == (epochs[-1], {"a"})
    await tenant.commit(ChangeSet(records=[RecordWrite("subscription", "b", None, 9)]))
    assert await tenant.moved("subscription", epochs[-1]) == (epochs[-1] + 1, {"b"})
    assert await tenant.moved("subscription", epochs[-1] + 1) == (epochs[-1] + 1, set())
    assert await tenant.moved("subscription", epochs[-1] + 5) is None
