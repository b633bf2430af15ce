"""What an uplink brought is found by it, on every store; single rows of it can stop to hold, and its bytes can go."""

from __future__ import annotations

from broker.clock import DAY, Clock, id_floor
from broker.stores.base import BYTES_DROPPED, ChangeSet, Needs, Superseded, TenantStore
from tests.support.stores import MOMENT, history_row, iri, uplink_row

ROOM, HALL = "urn:e:room", "urn:e:hall"


async def brought(tenant: TenantStore, uplink_id: str) -> list[tuple[str, str, int]]:
    rows = (await tenant.load(Needs(brought={uplink_id}))).brought[uplink_id]
    return sorted((row.entity_id, row.attribute.rpartition("/")[2], row.observed_at - MOMENT) for row in rows)


async def test_an_uplink_s_rows_are_found_whatever_their_time_and_entity(tenant: TenantStore) -> None:
    rows = [
        history_row(ROOM, "level", -3, 1, uplink_id="u1", lineage={"raw": 1}),
        history_row(ROOM, "motion", 5, 1, uplink_id="u1"),
        history_row(HALL, "level", 5, 1, uplink_id="u1"),
        history_row(ROOM, "level", 6, 2, uplink_id="u2"),
        history_row(ROOM, "level", 7, 3),
    ]
    await tenant.commit(ChangeSet(history=rows))
    assert await brought(tenant, "u1") == [(HALL, "level", 5), (ROOM, "level", -3), (ROOM, "motion", 5)]
    assert await brought(tenant, "u2") == [(ROOM, "level", 6)]
    assert await brought(tenant, "u3") == []
    found = (await tenant.load(Needs(brought={"u1"}))).brought["u1"]
    assert [row for row in found if row.lineage] == [rows[0]]


async def test_one_attribute_s_row_of_an_uplink_stops_to_hold_and_says_by_which_reprocessing(
    tenant: TenantStore,
) -> None:
    rows = [history_row(ROOM, name, at, 1, uplink_id="u1") for name in ("level", "motion") for at in (1, 2)]
    await tenant.commit(ChangeSet(history=rows))
    mark = Superseded(
        ROOM, 9, uplink_id="u1", since=MOMENT + 1, until=MOMENT + 2, attribute=iri("level"), by="reprocessing-1"
    )
    await tenant.commit(ChangeSet(superseded=[mark]))
    assert await brought(tenant, "u1") == [(ROOM, "level", 2), (ROOM, "motion", 1), (ROOM, "motion", 2)]
    all_rows = await tenant.history(ROOM, superseded=True)
    gone = [row for row in all_rows if row.superseded is not None]
    assert [(row.attribute, row.superseded, row.superseded_by) for row in gone] == [(iri("level"), 9, "reprocessing-1")]
    assert all(row.superseded_by is None for row in all_rows if row not in gone)


async def test_bytes_of_applied_uplinks_go_page_by_page_and_all_else_stays(tenant: TenantStore) -> None:
    times = [MOMENT + day * DAY for day in range(6)]
    rows = [
        uplink_row(Clock(lambda at=at: at).new_id(), received_at=at, frame_key=f"f{at}", meta={"topic": "a"})  # type: ignore[misc]
        for at in times
    ]
    waiting = uplink_row(id_floor(times[1]) + "8", status="quarantined", frame_key="w", received_at=times[1])
    refused = uplink_row(id_floor(times[1]) + "9", status="rejected", frame_key="r", received_at=times[1])
    await tenant.commit(ChangeSet(uplinks=[*rows, waiting, refused]))
    after, dropped, pages = "", 0, 0
    while True:
        count, after = await tenant.drop_bytes(after, times[4], 2)
        dropped, pages = dropped + count, pages + 1
        if not after:
            break
    assert (dropped, pages) == (4, 4)
    kept = {row.id: row for row in await tenant.uplinks(limit=100)}
    assert [bool(kept[row.id].raw) for row in rows] == [False, False, False, False, True, True]
    assert kept[rows[0].id].meta == {"topic": "a", BYTES_DROPPED: True}
    assert kept[rows[0].id].status == "applied"
    assert kept[rows[5].id].meta == {"topic": "a"}
    assert kept[waiting.id].raw
    assert kept[refused.id].raw
    assert (await tenant.load(Needs(frames={rows[0].frame_key or ""}))).frames == {rows[0].frame_key}
