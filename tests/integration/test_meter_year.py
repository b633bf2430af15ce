"""A year in the life of one water meter: two swaps, one of them told ten days late, and a reset. Right to the litre."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from broker.clock import SECOND, Micros, iso, parse_iso
from broker.config import Limits, StoreSettings
from tests.support.api import Api, running_broker
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.water_meter import HOUR, Household, Meter

__all__ = ["mongo_uri", "mongo_url"]

DAY = 24 * HOUR
BEGIN: Micros = 1_735_689_600 * SECOND
"""2025-01-01T00:00Z."""
DAYS = 365
FIRST_SWAP = BEGIN + 120 * DAY + 10 * HOUR + 20 * 60 * SECOND
RESET = BEGIN + 200 * DAY + 12 * HOUR
SECOND_SWAP = BEGIN + 290 * DAY + 15 * HOUR + 40 * 60 * SECOND
TOLD = SECOND_SWAP + 10 * DAY
BEFORE = 123_456
"""What the first meter shows in the beginning, litres."""
HOUSE = "urn:ngsi-ld:WaterConsumptionObserved:house"
STOCKHOLM = ZoneInfo("Europe/Stockholm")


@pytest.fixture(params=["sqlite", "mongo"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    mongo = request.param == "mongo"
    url = request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path}/knutpunkt.db"
    limits = Limits(clock_behind_days=36_500)
    async with running_broker(tmp_path, store=StoreSettings(url=url), limits=limits) as api:
        yield api


@dataclass
class Year:
    """The house, its meters, and what the broker was told of them."""

    api: Api
    house: Household = field(default_factory=lambda: Household(seed=4))
    meter: Meter = field(default_factory=lambda: Meter("8a2b0000000000f1", BEFORE))
    shelf: list[Meter] = field(default_factory=list)
    """Meters that were taken down and go on sending: the hours before it in their logs count, those after it do not."""
    truth: dict[Micros, int] = field(default_factory=dict)
    """What the virtual counter must show at each full hour, litres."""

    async def live(self) -> None:
        """All of it, hour by hour."""
        await self._set_up()
        readings: dict[str, Any] = {}
        for hour in range(DAYS * 24 + 1):
            at = BEGIN + hour * HOUR
            if hour:
                self._flow(at, readings)
            self.truth[at] = BEFORE + self.house.used
            for meter in (self.meter, *self.shelf):
                meter.full_hour(at)
                if hour % 12 == 0 and hour:
                    await self.api.ask("POST", "/api/v1/uplinks/chirpstack?event=up", meter.uplink(at))
            if at > TOLD + DAY or FIRST_SWAP + DAY < at < SECOND_SWAP:
                self.shelf.clear()
            if at == RESET:
                self.meter.reset()
            if FIRST_SWAP < at < FIRST_SWAP + HOUR:
                await self._swap(FIRST_SWAP, readings)
            if TOLD < at < TOLD + HOUR:
                await self._swap(SECOND_SWAP, readings)

    def _flow(self, at: Micros, readings: dict[str, Any]) -> None:
        litres = self.house.hour(datetime.fromtimestamp(at / SECOND, tz=STOCKHOLM).hour)
        for swap, dev_eui, shows in ((FIRST_SWAP, "8a2b0000000000f2", 3), (SECOND_SWAP, "8a2b0000000000f3", 12)):
            if at - HOUR < swap < at:
                # A part of the hour's water through the old meter, the rest through the new one.
                self.meter.count(litres // 3)
                readings |= {
                    "endReadings": {"volume": self.meter.litres / 1000},
                    "startReadings": {"waterConsumption": shows / 1000},
                }
                self.shelf.append(self.meter)
                self.meter = Meter(dev_eui, shows)
                litres -= litres // 3
        self.meter.count(litres)

    async def _set_up(self) -> None:
        sensor = {
            "name": "The house's water",
            "entity": HOUSE,
            "entityType": "WaterConsumptionObserved",
            "outputs": [
                {
                    "quantity": "volume",
                    "attribute": "waterConsumption",
                    "counter": {},
                    "checks": {"maxChangePerHour": 5},
                }
            ],
            "derived": [
                {
                    "kind": "difference",
                    "of": "volume",
                    "attribute": "perDay",
                    "per": "day",
                    "timeZone": "Europe/Stockholm",
                }
            ],
        }
        await self.api.ask("PUT", "/api/v1/virtual-sensors/house", sensor, status=201)
        model = {
            "vendor": "Axioma",
            "name": "Qalcosonic W1",
            "codec": "axioma-w1",
            "quantities": [{"quantity": "volume"}],
        }
        await self.api.ask("PUT", "/api/v1/device-models/w1", model)
        swap = {"virtualSensor": "house", "device": self.meter.dev_eui, "model": "w1", "at": iso(BEGIN)}
        await self.api.ask("POST", "/api/v1/swaps", swap, status=201)

    async def _swap(self, at: Micros, readings: dict[str, Any]) -> None:
        wanted = {"virtualSensor": "house", "device": self.meter.dev_eui, "at": iso(at), **readings}
        asked = (await self.api.ask("POST", "/api/v1/swaps", {**wanted, "dryRun": True}, status=200)).json()
        done = (await self.api.ask("POST", "/api/v1/swaps", wanted, status=201)).json()
        start, end = (readings[member] for member in ("startReadings", "endReadings"))
        (meter,) = done["meters"]
        assert asked["meters"] == done["meters"], "what it is said beforehand to do"
        assert float(meter["value"]) - start["waterConsumption"] == pytest.approx(float(meter["offset"]))
        assert float(meter["value"]) >= end["volume"]

    async def history(self, attribute: str) -> list[tuple[Micros, float, dict[str, Any]]]:
        """Time, value and row of all that holds."""
        found = []
        for start in range(BEGIN, BEGIN + (DAYS + 1) * DAY, 15 * DAY):
            period = f"since={iso(start)}&until={iso(start + 15 * DAY)}&limit=1000"
            rows = await self.api.ask(
                "GET", f"/api/v1/history?entity={HOUSE}&attribute={attribute}&{period}", status=200
            )
            found += [(_moment(row["observedAt"]), row["value"]["value"], row) for row in rows.json()]
        return found


def _moment(text: str) -> Micros:
    at = parse_iso(text)
    assert at is not None
    return at


@pytest.mark.timeout(300)
async def test_a_year_with_two_swaps_and_a_reset_is_right_to_the_litre(api: Api) -> None:
    year = Year(api)
    await year.live()

    rows = await year.history("waterConsumption")
    assert {at: round(value * 1000, 6) for at, value, _ in rows} == year.truth, "each hour, and no other time"
    assert all(value * 1000 == pytest.approx(year.truth[at], abs=1e-9) for at, value, _ in rows), "also what came twice"
    assert not any("implausible" in row["value"] for _, _, row in rows)
    devices = {"8a2b0000000000f1": (BEGIN, FIRST_SWAP), "8a2b0000000000f2": (FIRST_SWAP, SECOND_SWAP)}
    for at, _, row in rows:
        begun, ended = devices.get(row["device"], (SECOND_SWAP, BEGIN + DAYS * DAY + 1))
        assert begun <= at < ended

    days = await year.history("perDay")
    expected = {}
    for at, _, _ in days:
        local = datetime.fromtimestamp(at / SECOND, tz=STOCKHOLM)
        assert (local.hour, local.minute) == (0, 0)
        before = datetime.fromtimestamp((at - 2 * HOUR) / SECOND, tz=STOCKHOLM).replace(hour=0)
        expected[at] = year.truth[at] - year.truth[max(int(before.astimezone(UTC).timestamp()) * SECOND, BEGIN)]
    assert {at: round(value * 1000, 6) for at, value, _ in days} == expected
    assert len(days) == DAYS, "each day once"
    assert sum(round(value * 1000) for _, value, _ in days) == year.truth[days[-1][0]] - BEFORE

    state = (await api.ask("GET", "/api/v1/virtual-sensors/house/state", status=200)).json()
    (meter,) = state["meters"]
    assert [one["reason"] for one in meter["segments"]] == ["start", "swap", "reset", "swap"]
    assert float(meter["value"]) * 1000 == pytest.approx(BEFORE + year.house.used)
    assert float(meter["offset"]) == pytest.approx((BEFORE + year.house.used - year.meter.litres) / 1000)
    entity = (await api.ask("GET", f"/entities/{HOUSE}?options=keyValues", status=200)).json()
    assert entity["waterConsumption"] * 1000 == pytest.approx(BEFORE + year.house.used)
