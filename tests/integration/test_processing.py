"""Calibration, plausibility, derived values and meters as an application and operations staff see them, on both stores."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.clock import SECOND, iso
from tests.support.broker import BrokerProcess, Refused
from tests.support.city import ELSYS, START, dev_eui, elsys_temperature, uplink
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.water_meter import HOUR, Meter

__all__ = ["mongo_uri", "mongo_url"]

ROOM = "urn:ngsi-ld:IndoorEnvironmentObserved:room"
SENSOR: dict[str, Any] = {
    "name": "Room",
    "entity": ROOM,
    "entityType": "IndoorEnvironmentObserved",
    "outputs": [
        {
            "quantity": "temperature",
            "attribute": "temperature",
            "calibration": {"offset": -0.3, "name": "certificate 7"},
            "checks": {"maximum": 40, "maxChangePerHour": 30},
        }
    ],
    "derived": [
        {"kind": "formula", "expression": "temperature * 1.8 + 32", "unit": "FAH", "attribute": "fahrenheit"},
        {"kind": "mean", "of": "temperature", "windowSeconds": 3600, "attribute": "hourly"},
    ],
}


@pytest.fixture(params=["sqlite", "mongo"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'city.db'}" if sqlite else request.getfixturevalue("mongo_url")
    made = BrokerProcess(url, tmp_path)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def put_room(broker: BrokerProcess) -> None:
    await broker.ask("PUT", "/api/v1/device-models/elsys-ers", ELSYS)
    await broker.ask("PUT", "/api/v1/virtual-sensors/room", SENSOR)
    await swap(broker, "room", dev_eui(0), model="elsys-ers")


async def swap(broker: BrokerProcess, sensor: str, device: str, **more: Any) -> None:
    document = {"virtualSensor": sensor, "device": device, "at": iso(START - SECOND), **more}
    await broker.ask("POST", "/api/v1/swaps", document)


async def send(broker: BrokerProcess, celsius: float, minute: int) -> dict[str, Any]:
    message = uplink(0, elsys_temperature(celsius), START + minute * 60 * SECOND)
    _, receipt = await broker.ask("POST", "/api/v1/uplinks/chirpstack?event=up", message)
    found: dict[str, Any] = receipt
    return found


async def test_values_are_calibrated_checked_and_made_into_others(broker: BrokerProcess) -> None:
    await put_room(broker)
    assert (await send(broker, 20.0, 0))["implausible"] == []
    receipt = await send(broker, 60.0, 10)
    assert (receipt["outcome"], receipt["implausible"]) == ("applied", ["range", "rate"])
    assert "temperature 59.7 (range, rate)" in receipt["reason"]
    await send(broker, 21.0, 20)

    _, entity = await broker.ask("GET", f"/ngsi-ld/v1/entities/{ROOM}")
    assert (entity["temperature"]["value"], entity["temperature"]["observedAt"]) == (20.7, iso(START + 1200 * SECOND))
    assert (entity["fahrenheit"]["value"], entity["fahrenheit"]["unitCode"]) == (pytest.approx(69.26), "FAH")
    assert entity["hourly"]["value"] == pytest.approx(20.2)
    assert entity["hourly"]["observedBy"]["object"] == f"urn:ngsi-ld:Device:{dev_eui(0)}"

    temporal = f"/ngsi-ld/v1/temporal/entities/{ROOM}?attrs=temperature&timerel=after&timeAt={iso(START - SECOND)}"
    _, evolution = await broker.ask("GET", temporal)
    marks = {one["value"]: one.get("implausible", {}).get("value") for one in evolution["temperature"]}
    assert marks == {19.7: None, 59.7: ["range", "rate"], 20.7: None}
    _, text = await broker.ask("GET", "/metrics")
    assert 'knutpunkt_implausible_total{check="range"} 1.0' in text

    asked = f"/api/v1/lineage?entity={ROOM}&attribute=temperature&at={iso(START + 600 * SECOND)}"
    _, lineage = await broker.ask("GET", asked)
    assert lineage["made"]["raw"] == 60.0
    assert (lineage["made"]["calibration"], lineage["made"]["checks"]) == ("certificate 7", ["range", "rate"])
    assert lineage["virtualSensor"]["definition"]["outputs"][0]["calibration"]["offset"] == -0.3


async def test_what_is_wrong_in_a_contract_is_named(broker: BrokerProcess) -> None:
    output, formula = SENSOR["outputs"][0], SENSOR["derived"][0]
    for wrong, said in (
        ({"outputs": [output | {"calibration": {}}]}, "'outputs[0].calibration' must have one of"),
        ({"derived": [formula | {"expression": "wind + 1"}]}, "no output or earlier derived value 'wind'"),
        ({"derived": [formula | {"expression": "().__class__"}]}, "'derived[0].expression'"),
        ({"derived": [formula | {"kind": "magic"}]}, "derived[0].kind"),
        ({"outputs": [output | {"checks": {"maxmum": 3}}]}, "maxmum"),
    ):
        with pytest.raises(Refused) as refused:
            await broker.ask("PUT", "/api/v1/virtual-sensors/room", SENSOR | wrong)
        assert said in str(refused.value).replace("\\'", "'")
    await put_room(broker)
    _, shown = await broker.ask("GET", "/api/v1/virtual-sensors/room")
    assert shown["derived"][0]["attribute"] == "fahrenheit"
    with pytest.raises(Refused) as refused:
        await swap(broker, "room", dev_eui(1), at=iso(START), startReadings={"temperature": 1})
    assert "'room' has no meter of 'temperature'" in str(refused.value).replace("\\'", "'")


async def test_a_meter_is_swapped_on_the_command_line_with_what_it_shows(broker: BrokerProcess) -> None:
    house = "urn:ngsi-ld:WaterConsumptionObserved:house"
    await broker.ask(
        "PUT",
        "/api/v1/virtual-sensors/house",
        {
            "name": "House",
            "entity": house,
            "entityType": "WaterConsumptionObserved",
            "outputs": [{"quantity": "volume", "attribute": "waterConsumption", "counter": {}}],
        },
    )
    model = {"vendor": "A", "name": "W1", "codec": "axioma-w1", "quantities": [{"quantity": "volume"}]}
    await broker.ask("PUT", "/api/v1/device-models/w1", model)
    old, new = Meter(dev_eui(1), 1_234_567), Meter(dev_eui(2), 12)
    await swap(broker, "house", old.dev_eui, model="w1")
    begin = START - START % HOUR + HOUR
    await _reports(broker, old, begin)

    words = ("swap", "house", new.dev_eui, "--at", iso(begin + HOUR // 2), "--end", "volume=1234.6", "--start")
    said = await _cli(broker, *words, "volume=0.012")
    assert "waterConsumption goes on from 1234.6, offset 1234.588." in said
    new.count(5)
    await _reports(broker, new, begin + HOUR)
    _, entity = await broker.ask("GET", f"/ngsi-ld/v1/entities/{house}?options=keyValues")
    assert entity["waterConsumption"] == 1234.605
    assert "a reading is QUANTITY=NUMBER" in await _cli(broker, *words, "a lot", fails=True)


async def _reports(broker: BrokerProcess, meter: Meter, at: int) -> None:
    meter.full_hour(at)
    await broker.ask("POST", "/api/v1/uplinks/chirpstack?event=up", meter.uplink(at))


async def _cli(broker: BrokerProcess, *words: str, fails: bool = False) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "broker.cli.main", *words, "--url", broker.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert (process.returncode != 0) == fails, said.decode()
    return said.decode()
