from __future__ import annotations

import pytest
from msgspec.structs import replace

from broker.ngsild.model import IMPLAUSIBLE
from broker.stores.base import ChangeSet, HistoryRow, Latest, Needs, Superseded, TenantStore
from tests.support.stores import MOMENT, history_row, prop

ROOM = "urn:ngsi-ld:Room:214"
ROWS = [
    history_row(ROOM, "temperature", 30, 1, 20.5, uplink_id="u1", device_id="d1", binding_id="b1"),
    history_row(ROOM, "temperature", 10, 2, 19.5),
    history_row(ROOM, "humidity", 20, 3, 40),
    history_row(ROOM, "temperature", 30, 4, [True, None]),
    replace(history_row(ROOM, "humidity", 40, 5), instance=None),
    replace(history_row(ROOM, "temperature", 50, 6), dataset_id="urn:dataset:1", recorded_at=MOMENT + 99),
]


def sorted_rows(rows: list[HistoryRow]) -> list[HistoryRow]:
    return sorted(rows, key=lambda row: (row.observed_at, row.version))


@pytest.fixture
async def filled(tenant: TenantStore) -> TenantStore:
    await tenant.commit(ChangeSet(history=ROWS[:3]))
    await tenant.commit(ChangeSet(history=[*ROWS[3:], history_row("urn:e:other", "temperature", 15, 7)]))
    return tenant


async def test_rows_come_whole_in_order_of_observation_then_version(filled: TenantStore) -> None:
    assert await filled.history(ROOM) == sorted_rows(ROWS)
    assert await filled.history(ROOM, newest_first=True) == sorted_rows(ROWS)[::-1]


async def test_rows_of_one_attribute(filled: TenantStore) -> None:
    of_temperature = [row for row in sorted_rows(ROWS) if row.attribute.endswith("temperature")]
    assert await filled.history(ROOM, ROWS[0].attribute) == of_temperature
    assert await filled.history(ROOM, ROWS[0].attribute, newest_first=True) == of_temperature[::-1]
    assert await filled.history(ROOM, "https://example.org/unheard") == []
    assert await filled.history("urn:e:nowhere") == []


async def test_a_period_includes_its_start_and_not_its_end(filled: TenantStore) -> None:
    rows = await filled.history(ROOM, since=MOMENT + 20, until=MOMENT + 40)
    assert [row.observed_at - MOMENT for row in rows] == [20, 30, 30]
    rows = await filled.history(ROOM, ROWS[0].attribute, since=MOMENT + 30)
    assert [row.version for row in rows] == [1, 4, 6]
    rows = await filled.history(ROOM, ROWS[0].attribute, until=MOMENT + 30, newest_first=True)
    assert [row.version for row in rows] == [2]


async def test_a_limit_keeps_the_first_in_the_order_asked(filled: TenantStore) -> None:
    assert [row.version for row in await filled.history(ROOM, limit=2)] == [2, 3]
    assert [row.version for row in await filled.history(ROOM, limit=2, newest_first=True)] == [6, 5]
    assert [row.version for row in await filled.history(ROOM, ROWS[0].attribute, limit=2, newest_first=True)] == [6, 4]


async def test_how_a_value_was_made_is_kept_with_its_row(tenant: TenantStore) -> None:
    row = replace(history_row(ROOM, "temperature", 30, 1, 20.5), lineage={"model": ["elsys-ers", 7], "raw": 205})
    await tenant.commit(ChangeSet(history=[row]))
    assert await tenant.history(ROOM) == [row]


async def test_superseded_rows_are_kept_and_passed_over(filled: TenantStore) -> None:
    await filled.commit(ChangeSet(superseded=[Superseded(ROOM, 9, binding_id="b1", since=MOMENT + 30)]))
    left = sorted_rows(ROWS)
    left.remove(ROWS[0])
    assert await filled.history(ROOM) == left
    whole = await filled.history(ROOM, superseded=True)
    assert [row.superseded for row in whole] == [None, None, 9, None, None, None]
    assert replace(whole[2], superseded=None) == ROWS[0]


@pytest.mark.parametrize(
    ("mark", "gone"),
    [
        (Superseded(ROOM, 9, uplink_id="u1"), [1]),
        (Superseded(ROOM, 9, uplink_id="u1", binding_id="b1", since=MOMENT + 30, until=MOMENT + 31), [1]),
        (Superseded(ROOM, 9, since=MOMENT + 30, until=MOMENT + 40), [1, 4]),
        (Superseded(ROOM, 4, since=MOMENT + 30), [1]),
        (Superseded(ROOM, 9, uplink_id="u1", until=MOMENT + 30), []),
        (Superseded(ROOM, 9, binding_id="b2"), []),
        (Superseded("urn:e:nowhere", 9), []),
        (Superseded(ROOM, 9), [1, 2, 3, 4, 5, 6]),
    ],
)
async def test_what_is_superseded_is_what_was_named_and_written_before(
    filled: TenantStore, mark: Superseded, gone: list[int]
) -> None:
    await filled.commit(ChangeSet(superseded=[mark]))
    whole = await filled.history(ROOM, superseded=True)
    assert sorted(row.version for row in whole if row.superseded is not None) == gone
    await filled.commit(ChangeSet(superseded=[replace(mark, version=20)]))
    assert {row.superseded for row in await filled.history(ROOM, superseded=True) if row.version in gone} <= {
        mark.version
    }


async def test_a_change_does_not_supersede_what_it_brings(tenant: TenantStore) -> None:
    old, new = (history_row(ROOM, "temperature", 30, version, 20.5, uplink_id="u1") for version in (1, 2))
    await tenant.commit(ChangeSet(history=[old]))
    await tenant.commit(ChangeSet(history=[new], superseded=[Superseded(ROOM, 2, uplink_id="u1")]))
    assert await tenant.history(ROOM) == [new]


async def test_the_newest_row_that_would_be_left(filled: TenantStore) -> None:
    temperature = ROWS[0].attribute
    of_binding = Latest(ROOM, temperature, "b1", MOMENT + 30)
    nobody, nowhere = Latest(ROOM, temperature, "b7", 0), Latest("urn:e:nowhere", temperature, "b1", 0)
    snapshot = await filled.load(Needs(latest={of_binding, nobody, nowhere}))
    assert snapshot.latest == {of_binding: ROWS[3], nobody: ROWS[3]}
    await filled.commit(ChangeSet(superseded=[Superseded(ROOM, 9, since=MOMENT + 30, until=MOMENT + 31)]))
    snapshot = await filled.load(Needs(latest={of_binding, nobody}))
    assert snapshot.latest == {of_binding: ROWS[1], nobody: ROWS[1]}


async def test_the_attributes_that_there_is_a_history_of(filled: TenantStore) -> None:
    assert await filled.history_attributes(ROOM) == sorted({row.attribute for row in ROWS})
    assert await filled.history_attributes("urn:e:nowhere") == []


async def test_a_value_that_failed_a_check_is_not_what_would_be_left(filled: TenantStore) -> None:
    odd = history_row(ROOM, "temperature", 90, 8, 9999)
    assert odd.instance is not None
    await filled.commit(
        ChangeSet(history=[replace(odd, instance={**odd.instance, "attrs": {IMPLAUSIBLE: [prop(["range"])]}})])
    )
    newest = Latest(ROOM, ROWS[0].attribute, "b7", 0)
    assert (await filled.load(Needs(latest={newest}))).latest == {newest: ROWS[3]}
