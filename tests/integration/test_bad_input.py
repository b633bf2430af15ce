"""Bad input as it comes: over a real MQTT broker and over HTTP to a broker process. It is kept with a reason, and what is
good goes on."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker.clock import SECOND, Clock, iso
from tests.support.broker import BrokerProcess, Refused
from tests.support.city import START, dev_eui, elsys_temperature, register, room, topic, uplink
from tests.support.mosquitto import Mosquitto, publish
from tests.support.recorded import FOLDER

SCRIPT = """
var kept = 0;
function f(x) { return f(x) + 1; }
function decodeUplink(i) {
  var t = (i.bytes[1] << 24 >> 16 | i.bytes[2]) / 10;
  switch (i.bytes[0]) {
    case 0: return {data: {t: t}};
    case 1: throw new Error("battery of wrong make");
    case 2: for (;;);
    case 3: return f(0);
    case 4: var all = []; for (;;) all.push(new Array(1000).fill("x"));
    case 5: return {data: {t: NaN}};
    case 6: return {data: {t: "21.5"}};
    case 7: return {data: {t: "x".repeat(1e7)}};
    case 8: return {data: {t: 1e999}};
    case 9: return "warm";
    case 10: return {data: {t: {value: 21.5}}};
    case 11: return {data: {t: [21.5]}};
    case 12: return {errors: ["unknown frame"]};
    case 13: return {data: {t: new Proxy({}, {get() { throw new Error("no"); }})}};
    case 14: return {data: {get t() { for (;;); }}};
    case 15: return /^(a+)+$/.test("a".repeat(40) + "b");
    case 16: return {data: {t: true}};
    case 17: var o = {}; o.o = o; return {data: o};
    case 18: throw {toString() { throw 1; }};
    case 19: return {data: JSON.parse('{"__proto__": {"t": 1}, "t": "x"}')};
    case 20: return undeclared + 1;
    case 21: return {data: {t: 10n ** 400n}};
    case 22: return null;
  }
}
"""
REASONS = {
    1: "battery of wrong make",
    2: "stopped after",
    3: "stack",
    4: "memory",
    5: "finite",
    6: "must be a number",
    7: "characters|memory",
    8: "finite",
    9: "must answer an object",
    10: "must be a number",
    11: "must be a number",
    12: "unknown frame",
    13: "",
    14: "stopped after",
    15: "stopped after",
    16: "must be a number",
    17: "circular",
    18: "The script failed",
    19: "must be a number",
    20: "undeclared",
    21: "finite",
    22: "must answer an object",
}
"""What the first byte makes the script do -> what stands in the reason."""


@dataclass
class City:
    broker: BrokerProcess
    mosquitto: Mosquitto

    async def rejected(self, count: int) -> list[Any]:
        """The rejected uplinks, once they are as many."""

        async def all_kept() -> Any:
            _, rows = await self.broker.ask("GET", "/api/v1/uplinks?status=rejected&limit=200")
            return rows if len(rows) >= count else None

        rows: list[Any] = await until(all_kept)
        assert len(rows) == count, [row["reason"] for row in rows]
        return rows

    async def history(self, number: int) -> list[Any]:
        _, rows = await self.broker.ask("GET", f"/api/v1/history?entity={room(number)}&attribute=temperature")
        return [row["value"]["value"] for row in rows]

    async def push(self, network: str, body: bytes) -> dict[str, Any]:
        _, receipt = await self.broker.ask("POST", f"/api/v1/uplinks/{network}", body)
        found: dict[str, Any] = receipt
        return found


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[City]:
    with Mosquitto(tmp_path / "mosquitto") as mosquitto:
        broker = BrokerProcess(f"sqlite:///{tmp_path / 'city.db'}", tmp_path, {"KNUTPUNKT_MQTT": mosquitto.url})
        await broker.start()
        try:
            await register(broker, 3)
            yield City(broker, mosquitto)
        finally:
            await broker.kill()
        assert "Traceback" not in broker.log(), broker.log()[-4000:]


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 30.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
        return found


async def test_whatever_a_script_does_its_uplink_is_kept_with_the_reason_and_the_next_is_taken(city: City) -> None:
    quantities = [{"quantity": "temperature", "unit": "CEL", "source": "t"}]
    model = {"vendor": "V", "name": "M", "codec": "javascript", "script": SCRIPT, "quantities": quantities}
    await city.broker.ask("PUT", "/api/v1/device-models/elsys-ers", model)
    messages = []
    for number, what in enumerate(REASONS, start=1):
        at = START + number * 10 * SECOND
        messages.append((topic(0), uplink(0, bytes([what, 0, 0]), at, f_cnt=2 * number)))
        # A good one after each, or the script would be paused after three that were stopped.
        good = b"\0" + (number - 5).to_bytes(2, "big", signed=True)
        messages.append((topic(0), uplink(0, good, at + SECOND, f_cnt=2 * number + 1)))
    await publish(city.mosquitto, messages)
    rejected = await city.rejected(len(REASONS))
    by_count = {row["meta"]["fCnt"]: row["reason"] for row in rejected}
    for number, said in enumerate(REASONS.values(), start=1):
        assert re.search(said, by_count[2 * number]), by_count[2 * number]
        assert 0 < len(by_count[2 * number]) < 700

    async def all_good() -> Any:
        values = await city.history(0)
        return values if len(values) == len(REASONS) else None

    assert await until(all_good) == [(number - 5) / 10 for number in range(1, len(REASONS) + 1)]


async def test_a_message_of_10_megabytes_is_kept_in_part_whatever_brings_it(city: City) -> None:
    good = json.loads(uplink(0, elsys_temperature(99.0), START))
    vast = json.dumps({**good, "filler": "x" * 8_000_000}).encode()
    await publish(city.mosquitto, [(topic(0), vast)])
    with pytest.raises(Refused) as refused:
        await city.push("chirpstack", vast)
    assert refused.value.status == 413
    await publish(city.mosquitto, [(topic(0), uplink(0, elsys_temperature(20.5), START + SECOND))])
    over_mqtt = next(row for row in await city.rejected(1) if row["source"].startswith("mqtt"))
    assert "limits.uplink_bytes" in over_mqtt["reason"]

    async def taken() -> bool:
        return await city.history(0) == [20.5]

    await until(taken)


async def test_an_uplink_on_the_wrong_port_is_no_measurement(city: City) -> None:
    for f_cnt, f_port in enumerate((0, 4, 6, 223, 255)):
        await publish(
            city.mosquitto, [(topic(0), uplink(0, elsys_temperature(99.0), START, f_cnt=f_cnt, f_port=f_port))]
        )
    assert all("fPort" in row["reason"] for row in await city.rejected(5))
    with pytest.raises(Refused):
        await city.broker.ask("GET", f"/ngsi-ld/v1/entities/{room(0)}")


async def test_a_frame_counts_once_however_many_gateways_and_networks_bring_it(city: City) -> None:
    """By one gateway and by three, over MQTT and HTTP, and by another network that hears the device too."""
    now = Clock().now()
    frame = json.loads(uplink(1, elsys_temperature(21.5), now, f_cnt=77))
    heard = [{"gatewayId": f"0016c001f153a1{number:02x}", "rssi": -90 - number, "snr": 5} for number in range(3)]
    by_three = json.dumps(frame | {"rxInfo": heard}).encode()
    await publish(city.mosquitto, [(topic(1), json.dumps(frame).encode()), (topic(1), by_three), (topic(1), by_three)])

    async def taken() -> bool:
        return await city.history(1) == [21.5]

    await until(taken)
    assert (await city.push("chirpstack", by_three))["outcome"] == "duplicate"

    other = json.loads((FOLDER / "the-things-stack" / "up.json").read_text("utf-8"))
    other["end_device_ids"]["dev_eui"] = dev_eui(1).upper()
    message = other["uplink_message"]
    message |= {"f_cnt": 77, "f_port": 5, "frm_payload": frame["data"], "received_at": iso(now + SECOND)}
    message.pop("decoded_payload", None)
    message["rx_metadata"][0].pop("time")
    message["settings"].pop("time", None)
    other["received_at"] = iso(now + SECOND)
    told = await city.push("the-things-stack", json.dumps(other).encode())
    assert told["outcome"] == "duplicate", told
    assert "mqtt:chirpstack" in told["reason"]
    assert await city.history(1) == [21.5]

    message["f_cnt"] = 78
    assert (await city.push("the-things-stack", json.dumps(other).encode()))["outcome"] == "applied"
    assert await city.history(1) == [21.5, 21.5]


async def test_what_is_played_again_changes_nothing(city: City) -> None:
    frames = [
        (topic(2), uplink(2, elsys_temperature(20 + number / 10), START + number * SECOND, f_cnt=number))
        for number in range(20)
    ]
    await publish(city.mosquitto, frames)

    async def all_taken() -> Any:
        values = await city.history(2)
        return values if len(values) == len(frames) else None

    values = await until(all_taken)
    _, before = await city.broker.ask("GET", f"/ngsi-ld/v1/entities/{room(2)}")
    for _ in range(3):
        await publish(city.mosquitto, reversed(frames))
    assert (await city.push("chirpstack", frames[0][1]))["outcome"] == "duplicate"

    async def counted() -> bool:
        _, metrics = await city.broker.ask("GET", "/metrics")
        return 'outcome="duplicate",source="mqtt:chirpstack"} 60.0' in metrics

    await until(counted)
    assert await city.history(2) == values
    _, after = await city.broker.ask("GET", f"/ngsi-ld/v1/entities/{room(2)}")
    assert after == before


@pytest.mark.parametrize("clock", ["00000000", "ffffffff", "80c3c901"], ids=["1970", "2106", "1970-12"])
async def test_a_device_whose_clock_is_years_off_is_not_believed(city: City, clock: str) -> None:
    """Of a meter with a clock of its own, as of a network's time: it is observed when the network had it."""
    quantities = [{"quantity": "volume", "unit": "MTQ"}]
    model = {"vendor": "Axioma", "name": "W1", "codec": "axioma-w1", "quantities": quantities}
    await city.broker.ask("PUT", "/api/v1/device-models/elsys-ers", model)
    outputs = [{"quantity": "volume", "attribute": "volume"}]
    sensor = {"name": "Meter", "entity": room(0), "entityType": "Meter", "outputs": outputs}
    await city.broker.ask("PUT", "/api/v1/virtual-sensors/room-0", sensor)
    now = Clock().now()
    payload = bytes.fromhex(clock + "10c8130000")
    await publish(city.mosquitto, [(topic(0), uplink(0, payload, now, f_port=100))])

    async def observed() -> Any:
        _, rows = await city.broker.ask("GET", f"/api/v1/uplinks?device={dev_eui(0)}&limit=5")
        return rows

    (row,) = await until(observed)
    _, history = await city.broker.ask("GET", f"/api/v1/history?entity={room(0)}")
    assert row["reason"], row
    assert all(abs(int(each["observedAt"][:4]) - int(iso(now)[:4])) <= 1 for each in history)


NAMES = [
    "__proto__",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "'; DROP TABLE uplinks; --",
    "$where",
    "a" * 5000,
]


async def test_hostile_names_are_texts_or_refused(city: City) -> None:
    """In a message's members, as devices, and as names of what a network decoded."""
    messages = []
    for number, name in enumerate(NAMES):
        event = json.loads(uplink(0, elsys_temperature(20.0), START + number * SECOND, f_cnt=number))
        event["deviceInfo"] |= {"deviceName": name, "tenantName": name, "tags": {name: name}}
        event["object"] = {name: {name: name}}
        event[name] = name
        messages.append((topic(0), json.dumps(event).encode()))
    await publish(city.mosquitto, messages)

    async def all_taken() -> bool:
        return len(await city.history(0)) == len(NAMES)

    await until(all_taken)
    for name in NAMES:
        event = json.loads(uplink(0, elsys_temperature(20.0), START))
        event["deviceInfo"]["devEui"] = name
        with pytest.raises(Refused) as refused:
            await city.push("chirpstack", json.dumps(event).encode())
        assert refused.value.status == 400
    thing = {"end_device_ids": {"device_id": "x", "application_ids": {"application_id": "__proto__"}}}
    body = thing | {"uplink_message": {"f_port": 1, "f_cnt": 1, "frm_payload": base64.b64encode(b"\1").decode()}}
    with pytest.raises(Refused):
        await city.push("the-things-stack", json.dumps(body).encode())
    assert len(await city.rejected(len(NAMES) + 1)) == len(NAMES) + 1
