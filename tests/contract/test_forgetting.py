"""Deleting for good, on every store: what is asked for goes, and nothing else."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from broker.stores.base import ChangeSet, Needs, Store, Superseded, TenantStore
from tests.support.stores import MOMENT, history_row, iri, make_store, outbox_row, uplink_row

ROOM, HALL = "urn:e:room", "urn:e:hall"


async def values(tenant: TenantStore, entity_id: str = ROOM) -> list[tuple[str, int]]:
    rows = await tenant.history(entity_id, superseded=True)
    return sorted((row.attribute.rpartition("/")[2], row.observed_at - MOMENT) for row in rows)


async def test_history_of_a_period_goes_for_one_attribute_or_for_all(tenant: TenantStore) -> None:
    rows = [history_row(ROOM, name, at, at) for at in range(1, 6) for name in ("level", "motion")]
    await tenant.commit(ChangeSet(history=[*rows, history_row(HALL, "level", 1, 1)]))
    assert await tenant.forget_history(ROOM, iri("level"), MOMENT + 2, MOMENT + 4, 100) == 2
    assert await values(tenant) == [("level", 1), ("level", 4), ("level", 5), *(("motion", at) for at in range(1, 6))]
    assert await tenant.forget_history(ROOM, None, 0, MOMENT + 4, 100) == 4
    assert await values(tenant) == [("level", 4), ("level", 5), ("motion", 4), ("motion", 5)]
    assert await values(tenant, HALL) == [("level", 1)]
    assert await tenant.forget_history("urn:e:unknown", None, 0, MOMENT + 9, 100) == 0
    assert await tenant.forget_history(ROOM, iri("unknown"), 0, MOMENT + 9, 100) == 0


async def test_rows_that_do_not_hold_any_more_go_too(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(history=[history_row(ROOM, "level", 1, 1, binding_id="b")]))
    await tenant.commit(ChangeSet(superseded=[Superseded(ROOM, 2, binding_id="b")]))
    assert await tenant.forget_history(ROOM, iri("level"), 0, MOMENT + 9, 100) == 1
    assert await values(tenant) == []
    assert await tenant.history_attributes(ROOM) == []


async def test_no_more_goes_at_once_than_asked_for(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(history=[history_row(ROOM, "level", at, at) for at in range(5)]))
    assert [await tenant.forget_history(ROOM, None, 0, MOMENT + 9, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_raw_uplinks_of_a_device_and_a_period_go_and_their_frames_are_forgotten(tenant: TenantStore) -> None:
    rows = [uplink_row(f"u{at}", received_at=MOMENT + at, device_id="d") for at in range(5)]
    other = uplink_row("x", received_at=MOMENT, device_id="e")
    await tenant.commit(ChangeSet(uplinks=[*rows, other]))
    assert await tenant.forget_uplinks("d", MOMENT + 1, MOMENT + 4, 2) == 2
    assert await tenant.forget_uplinks("d", MOMENT + 1, MOMENT + 4, 2) == 1
    assert [row.id for row in await tenant.uplinks()] == ["u0", "u4", "x"]
    frames = {f"frame:u{at}" for at in range(5)}
    assert (await tenant.load(Needs(frames=frames))).frames == {"frame:u0", "frame:u4"}
    await tenant.commit(ChangeSet(uplinks=[replace(rows[2], id="again")]))
    assert await tenant.uplink("again") is not None


async def test_notifications_that_wait_or_were_given_up_on_go(tenant: TenantStore) -> None:
    rows = [outbox_row(version, entity_id=entity_id) for version, entity_id in enumerate([ROOM, ROOM, ROOM, HALL], 1)]
    await tenant.commit(ChangeSet(outbox=rows))
    await tenant.commit(ChangeSet(given_up=[(rows[0].id, "gone")]))
    assert await tenant.forget_letters([ROOM], MOMENT + 3) == 2
    assert await tenant.outbox("urn:sub:1") == rows[2:]
    assert await tenant.dead_letters("urn:sub:1") == []
    assert await tenant.forget_letters([], MOMENT + 9) == 0


async def test_what_was_deleted_is_not_in_the_file_any_more(tmp_path: Path) -> None:
    store: Store = make_store(f"sqlite:///{tmp_path}/knutpunkt.db")
    await store.open()
    tenant = await store.tenant()
    secret = b"asleep at 02:14 "
    await tenant.commit(ChangeSet(uplinks=[uplink_row(f"u{at}", raw=secret * 20, device_id="d") for at in range(50)]))
    await tenant.commit(ChangeSet(history=[history_row(ROOM, "s", at, at, secret.decode()) for at in range(50)]))
    assert await tenant.forget_uplinks("d", 0, MOMENT + 1, 100) == 50
    assert await tenant.forget_history(ROOM, None, 0, MOMENT + 99, 100) == 50
    await store.close()
    assert not found_in(tmp_path, secret)


def found_in(folder: Path, text: bytes) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and text in file.read_bytes()]
