"""Swaps as operations staff make them: tried, dated back, planned, undone; what waits; and why a value is what it is."""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.clock import SECOND, iso
from tests.support.broker import BrokerProcess, Refused
from tests.support.city import START, dev_eui, elsys_temperature, register, room, uplink
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.receiver import receiving

__all__ = ["mongo_uri", "mongo_url"]

OLD, NEW = dev_eui(0), dev_eui(77)


@pytest.fixture(params=["sqlite", "mongo"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    """Two rooms, each a device since START."""
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'city.db'}" if sqlite else request.getfixturevalue("mongo_url")
    made = BrokerProcess(url, tmp_path)
    await made.start()
    try:
        await register(made, 2)
        yield made
    finally:
        await made.stop()


async def send(broker: BrokerProcess, number: int, celsius: float, minute: int, **members: Any) -> dict[str, Any]:
    """Device `number` measured so many degrees at a minute after START."""
    message = uplink(number, elsys_temperature(celsius), START + minute * 60 * SECOND, **members)
    _, receipt = await broker.ask("POST", "/api/v1/uplinks/chirpstack?event=up", message)
    found: dict[str, Any] = receipt
    return found


async def history(broker: BrokerProcess) -> list[tuple[float, str]]:
    _, rows = await broker.ask("GET", f"/api/v1/history?entity={room(0)}&attribute=temperature")
    return [(row["value"]["value"], row["device"]) for row in rows]


async def current(broker: BrokerProcess) -> Any:
    _, entity = await broker.ask("GET", f"/ngsi-ld/v1/entities/{room(0)}?options=keyValues")
    return entity.get("temperature")


def at(minute: int) -> str:
    return iso(START + minute * 60 * SECOND)


async def test_a_swap_dated_back_attributes_anew_what_both_devices_have_sent_and_undoing_it_gives_all_back(
    broker: BrokerProcess,
) -> None:
    for minute, celsius in ((0, 20.0), (10, 20.1), (20, 20.2), (30, 20.3)):
        await send(broker, 0, celsius, minute)
    for minute, celsius in ((22, 21.2), (32, 21.3)):
        assert (await send(broker, 77, celsius, minute))["outcome"] == "quarantined"
    asked = {"virtualSensor": "room-0", "device": NEW.upper(), "at": at(15), "by": "Kim", "why": "battery dead"}

    status, plan = await broker.ask("POST", "/api/v1/swaps", {**asked, "dryRun": True})
    assert status == 200
    assert plan["closed"]["device"] == OLD
    assert plan["registered"]["model"] == "elsys-ers"
    assert await history(broker) == [(20.0, OLD), (20.1, OLD), (20.2, OLD), (20.3, OLD)]

    status, done = await broker.ask("POST", "/api/v1/swaps", asked)
    assert status == 201
    assert done["swap"] | {"by": "Kim", "why": "battery dead", "replaced": OLD, "device": NEW} == done["swap"]
    assert done["replayed"] == {"applied": 2, "rejected": 0, "left": 2}
    assert await history(broker) == [(20.0, OLD), (20.1, OLD), (21.2, NEW), (21.3, NEW)]
    assert await current(broker) == 21.3
    _, waiting = await broker.ask("GET", "/api/v1/quarantine")
    assert [(one["device"], one["count"]) for one in waiting] == [(OLD, 2)]
    assert f"was 'room-0' until {at(15)}" in waiting[0]["reason"]

    _, undone = await broker.ask("POST", f"/api/v1/swaps/{done['swap']['id']}/undo", {"by": "Kim", "why": "wrong room"})
    assert undone["swap"]["undoneWhy"] == "wrong room"
    assert undone["reopened"]["device"] == OLD
    assert undone["replayed"] == {"applied": 2, "rejected": 0, "left": 2}
    assert await history(broker) == [(20.0, OLD), (20.1, OLD), (20.2, OLD), (20.3, OLD)]
    assert await current(broker) == 20.3
    with pytest.raises(Refused, match="undone already"):
        await broker.ask("POST", f"/api/v1/swaps/{done['swap']['id']}/undo", {})
    _, swaps = await broker.ask("GET", f"/api/v1/swaps?virtualSensor=room-0&device={NEW}")
    assert [one["undoneBy"] for one in swaps] == ["Kim"]


async def test_only_the_last_swap_can_be_undone_and_an_earlier_one_names_what_comes_first(
    broker: BrokerProcess,
) -> None:
    _, first = await broker.ask("POST", "/api/v1/swaps", {"virtualSensor": "room-0", "device": NEW, "at": at(15)})
    _, second = await broker.ask(
        "POST", "/api/v1/swaps", {"virtualSensor": "room-0", "device": dev_eui(78), "at": at(25)}
    )
    with pytest.raises(Refused, match="undo the later one first"):
        await broker.ask("POST", f"/api/v1/swaps/{first['swap']['id']}/undo", {})
    await broker.ask("POST", f"/api/v1/swaps/{second['swap']['id']}/undo", {})
    await broker.ask("POST", f"/api/v1/swaps/{first['swap']['id']}/undo", {})
    _, sensor = await broker.ask("GET", "/api/v1/virtual-sensors/room-0")
    assert [one["device"] for one in sensor["bindings"] if one["validTo"] is None] == [OLD]


async def test_a_planned_swap_takes_effect_by_itself(broker: BrokerProcess) -> None:
    soon = round(time.time() * SECOND) + 2 * SECOND
    _, done = await broker.ask("POST", "/api/v1/swaps", {"virtualSensor": "room-0", "device": NEW, "at": iso(soon)})
    assert done["swap"]["planned"] is True

    async def asset(device: str) -> Any:
        _, entity = await broker.ask("GET", f"/ngsi-ld/v1/entities/urn:ngsi-ld:Device:{device}?options=keyValues")
        return entity.get("controlledAsset")

    assert (await asset(OLD), await asset(NEW)) == (room(0), None)
    async with asyncio.timeout(20):
        while await asset(NEW) is None:
            await asyncio.sleep(0.2)
    assert (await asset(OLD), await asset(NEW)) == (None, room(0))
    _, swap = await broker.ask("GET", f"/api/v1/swaps/{done['swap']['id']}")
    assert swap["planned"] is False


async def test_a_candidate_is_suggested_with_the_reasons_and_what_is_not_wanted_is_discarded(
    broker: BrokerProcess,
) -> None:
    await send(broker, 0, 20.0, 0)
    stranger = {"gatewayId": "ffffffffffffffff", "rssi": -97, "snr": 7.5}
    await send(broker, 99, 5.0, 1, rxInfo=[stranger])
    for minute in (3, 4):
        await send(broker, 77, 21.0, minute)
    _, found = await broker.ask("GET", "/api/v1/virtual-sensors/room-0/candidates")
    assert [one["device"] for one in found] == [NEW, dev_eui(99)]
    assert "same gateway, 0016c001f153a14c" in found[0]["reasons"]
    assert any(reason.startswith("seen 2 times") for reason in found[0]["reasons"])

    _, done = await broker.ask("POST", f"/api/v1/quarantine/{dev_eui(99)}/discard", {"by": "Kim", "why": "a neighbour"})
    assert done == {"discarded": 1}
    _, rows = await broker.ask("GET", f"/api/v1/uplinks?device={dev_eui(99)}")
    assert [(row["status"], row["reason"]) for row in rows] == [("discarded", "Discarded by Kim: a neighbour")]
    with pytest.raises(Refused, match="Nothing of device"):
        await broker.ask("POST", f"/api/v1/quarantine/{dev_eui(99)}/discard", {})


async def test_a_value_is_explained_from_its_bytes_to_who_was_told(broker: BrokerProcess) -> None:
    async with receiving() as receiver:
        await broker.ask(
            "POST",
            "/ngsi-ld/v1/subscriptions",
            {
                "id": "urn:ngsi-ld:Subscription:s",
                "type": "Subscription",
                "entities": [{"type": "IndoorEnvironmentObserved"}],
                "notification": {"endpoint": {"uri": receiver.url(), "accept": "application/json"}},
            },
        )
        receipt = await send(broker, 0, -5.3, 0)
        await receiver.wait_for(1)
        await send(broker, 0, 7.0, 10)
        await receiver.wait_for(2)

        async def explained() -> dict[str, Any]:
            asked = f"entity={room(0)}&attribute=temperature&at={at(5)}"
            _, answered = await broker.ask("GET", f"/api/v1/lineage?{asked}")
            found: dict[str, Any] = answered
            return found

        async with asyncio.timeout(10):
            while not (why := await explained())["told"]:
                await asyncio.sleep(0.1)
    assert (why["instance"]["value"], why["observedAt"], why["from"]) == (-5.3, at(0), "device")
    assert why["uplink"]["id"] == receipt["uplinkId"]
    assert base64.b64encode(elsys_temperature(-5.3)).decode() in base64.b64decode(why["uplink"]["raw"]).decode()
    assert why["made"]["raw"] == -5.3
    assert why["device"]["id"] == OLD
    assert why["deviceModel"]["definition"]["codec"] == "elsys"
    assert why["virtualSensor"]["definition"]["entity"] == room(0)
    assert (why["binding"]["device"], why["swap"]["device"]) == (OLD, OLD)
    assert [one["subscription"] for one in why["told"]] == ["urn:ngsi-ld:Subscription:s"]
    assert why["earlier"] == []


async def test_a_value_that_was_taken_back_is_told_of_and_a_clients_value_says_so(broker: BrokerProcess) -> None:
    await send(broker, 0, 20.0, 10)
    await send(broker, 77, 21.0, 10)
    await broker.ask("POST", "/api/v1/swaps", {"virtualSensor": "room-0", "device": NEW, "at": at(5), "by": "Kim"})
    _, why = await broker.ask("GET", f"/api/v1/lineage?entity={room(0)}&attribute=temperature")
    assert (why["instance"]["value"], why["device"]["id"], why["swap"]["by"]) == (21.0, NEW, "Kim")
    assert [(one["instance"]["value"], one["device"]) for one in why["earlier"]] == [(20.0, OLD)]
    await broker.ask("POST", f"/ngsi-ld/v1/entities/{room(0)}/attrs", {"owner": {"type": "Property", "value": "IT"}})
    _, why = await broker.ask("GET", f"/api/v1/lineage?entity={room(0)}&attribute=owner")
    assert (why["from"], why["uplink"], why["made"]) == ("client", None, None)
    with pytest.raises(Refused, match=r"has no .*humidity"):
        await broker.ask("GET", f"/api/v1/lineage?entity={room(0)}&attribute=humidity")
    with pytest.raises(Refused, match=r"attribute.* is required"):
        await broker.ask("GET", f"/api/v1/lineage?entity={room(0)}")


async def test_a_dry_run_tells_which_alarms_close_and_how_a_meter_goes_on_and_the_swap_does_it(
    broker: BrokerProcess,
) -> None:
    meter = {"quantity": "pulseCount", "attribute": "pulses", "channel": "1", "counter": {}}
    _, sensor = await broker.ask("GET", "/api/v1/virtual-sensors/room-0")
    changed = {name: sensor[name] for name in ("name", "entity", "entityType", "outputs")}
    await broker.ask("PUT", "/api/v1/virtual-sensors/room-0", {**changed, "outputs": [*changed["outputs"], meter]})
    message = uplink(0, b"\x0b" + (1200).to_bytes(4, "big"), START)  # Elsys: type 0x0b, pulses in all
    _, receipt = await broker.ask("POST", "/api/v1/uplinks/chirpstack?event=up", message)
    assert (receipt["outcome"], receipt["reason"]) == ("applied", "")
    status = {"deviceInfo": {"devEui": OLD}, "time": iso(round(time.time() * SECOND)), "batteryLevel": 9.0}
    await broker.ask("POST", "/api/v1/uplinks/chirpstack?event=status", {"deduplicationId": "b1", **status})

    asked = {"virtualSensor": "room-0", "device": NEW, "startReadings": {"pulseCount": 15}}
    _, plan = await broker.ask("POST", "/api/v1/swaps", {**asked, "dryRun": True})
    (meter,) = plan["meters"]
    assert (meter["attribute"], meter["value"], float(meter["offset"])) == ("pulses", "1200", 1185.0)
    assert [one["kind"] for one in plan["alarmsClosing"]] == ["battery"]
    _, still = await broker.ask("GET", "/api/v1/alarms?state=open")
    assert [one["kind"] for one in still] == ["battery"]
    await broker.ask("POST", "/api/v1/swaps", asked)
    assert (await broker.ask("GET", "/api/v1/alarms?state=open"))[1] == []
    _, closed = await broker.ask("GET", "/api/v1/alarms?state=closed")
    assert [(one["kind"], one["closedBecause"]) for one in closed] == [("battery", "swap")]


async def cli(broker: BrokerProcess, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "broker.cli.main", *words, "--url", broker.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_swapping_from_the_command_line(broker: BrokerProcess) -> None:
    await send(broker, 0, 20.0, 0)
    await send(broker, 77, 21.0, 10)
    assert NEW in await cli(broker, "candidates", "room-0")
    tried = await cli(broker, "swap", "room-0", NEW, "--at", at(5), "--dry-run")
    assert tried.startswith("Nothing is done yet")
    swapped = await cli(broker, "swap", "room-0", NEW, "--at", at(5), "--by", "Kim", "--why", "battery dead")
    assert "1 applied" in swapped
    assert "battery dead" in await cli(broker, "swaps", "room-0")
    assert "Put there:        by Kim battery dead" in await cli(broker, "why", room(0), "temperature")
    assert f"device {OLD} again" in await cli(broker, "undo", "room-0", "--why", "wrong room")
    assert "(undone)" in await cli(broker, "swaps")
    assert "1 uplink discarded" in await cli(broker, "quarantine", "discard", NEW)
    assert await history(broker) == [(20.0, OLD)]
