from __future__ import annotations

import pytest
from msgspec.structs import replace

from broker.stores.base import ChangeSet, HistoryRow, TenantStore
from tests.support.stores import MOMENT, history_row

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


async def test_the_attributes_that_there_is_a_history_of(filled: TenantStore) -> None:
    assert await filled.history_attributes(ROOM) == sorted({row.attribute for row in ROWS})
    assert await filled.history_attributes("urn:e:nowhere") == []
