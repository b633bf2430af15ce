"""How long the bytes of uplinks are kept, by tenant and on both stores, by a clock of our own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.clock import DAY, Clock, Micros
from broker.errors import BadRequestData
from broker.pipeline.raw_uplinks import RawUplinks, days_of
from broker.stores.base import ChangeSet, Record, Store, TenantStore, UplinkUpdate
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.stores import MOMENT, make_store, uplink_row

__all__ = ["mongo_uri", "mongo_url"]


class City:
    """Two tenants, and a clock that the test winds."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now: Micros = MOMENT
        self.clock = Clock(lambda: self.now)
        self.own: dict[str, Any] = {}

    async def open(self) -> None:
        await self.store.open()
        self.tenants = [("", await self.store.tenant()), ("soralva", await self.store.tenant("soralva"))]

    def raw(self, setting: str) -> RawUplinks:
        async def stores() -> list[tuple[str, TenantStore]]:
            return self.tenants

        async def own(name: str) -> Record | None:
            policy = self.own.get(name)
            return (
                Record("tenant", name or "-", {"rawUplinks": {"keepDays": policy}}, 1) if policy is not None else None
            )

        return RawUplinks(setting, stores, own, self.clock)

    async def come(self, days: int, status: str = "applied") -> None:
        """An uplink for each tenant, so many days after the beginning."""
        self.now = MOMENT + days * DAY
        for name, tenant in self.tenants:
            key = f"{name}{days}{status}"
            row = uplink_row(self.clock.new_id(), status=status, frame_key=key, received_at=self.now)
            await tenant.commit(ChangeSet(uplinks=[row]))

    async def kept(self) -> list[list[bool]]:
        """Which still have their bytes, by tenant."""
        return [[bool(row.raw) for row in await tenant.uplinks(limit=1000)] for _, tenant in self.tenants]


@pytest.fixture(params=["sqlite", "mongo"])
async def city(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[City]:
    sqlite = request.param == "sqlite"
    made = City(make_store(f"sqlite:///{tmp_path / 'k.db'}" if sqlite else request.getfixturevalue("mongo_url")))
    await made.open()
    yield made
    await made.store.close()


async def test_for_ever_unless_said_otherwise(city: City) -> None:
    for day in range(3):
        await city.come(day)
    city.now += 4000 * DAY
    assert await city.raw("forever").sweep() == 0
    assert await city.kept() == [[True] * 3, [True] * 3]


async def test_each_tenant_keeps_them_for_as_long_as_it_says(city: City) -> None:
    city.own["soralva"] = 1
    raw = city.raw("3")
    for day in range(6):
        await city.come(day)
    assert await raw.sweep() == 2 + 4
    assert await city.kept() == [[False] * 2 + [True] * 4, [False] * 4 + [True] * 2]
    assert await raw.sweep() == 0
    city.now += DAY
    assert await raw.sweep() == 2
    city.own["soralva"] = "forever"
    city.now += 10 * DAY
    assert await raw.sweep() == 3
    assert await city.kept() == [[False] * 6, [False] * 5 + [True]]


async def test_what_is_not_applied_keeps_them_and_is_found_when_it_is_applied_later(city: City) -> None:
    raw = city.raw("2")
    for day, status in enumerate(("quarantined", "rejected", "discarded", "applied")):
        await city.come(day, status)
    city.now += 10 * DAY
    assert await raw.sweep() == 2
    assert await city.kept() == [[True, True, True, False]] * 2
    for _, tenant in city.tenants:
        (waiting,) = await tenant.uplinks(status="quarantined")
        await tenant.commit(claimed(waiting.id))
    assert await raw.sweep() == 0, "it goes on where it was"
    city.now += DAY
    assert await raw.sweep() == 2
    assert await city.kept() == [[False, True, True, False]] * 2


def claimed(uplink_id: str) -> ChangeSet:
    return ChangeSet(uplink_updates=[UplinkUpdate(uplink_id, "applied")])


async def test_none_at_all_is_said_before_they_come(city: City) -> None:
    raw = city.raw("forever")
    before = raw.keeps_new
    city.own[""] = 0
    await raw.refresh()
    assert (before, raw.keeps_new) == (True, False)
    assert await raw.keep_days("soralva") is None


@pytest.mark.parametrize("value", [-1, 1.5, True, "ever", "7", None, 100_000])
def test_what_is_no_number_of_days_is_refused(value: Any) -> None:
    with pytest.raises(BadRequestData, match="'keepDays' must be 'forever' or a whole number"):
        days_of(value)
