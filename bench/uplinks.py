"""Uplinks from MQTT to the durable commit: a backlog drained in one process, every one of them counted in the history."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

from broker.clock import SECOND, iso
from tests.support.broker import BrokerProcess
from tests.support.city import START, elsys_temperature, register, room, topic, uplink
from tests.support.mosquitto import Mosquitto, publish

DEVICES = 300
EACH = 100


async def run(store: str, folder: Path) -> dict[str, str]:
    """Uplinks a second."""
    with Mosquitto(folder / "mosquitto") as mosquitto:
        broker = BrokerProcess(store, folder, {"KNUTPUNKT_MQTT": mosquitto.url, "KNUTPUNKT_LOG_LEVEL": "warning"})
        await broker.start()
        await register(broker, DEVICES)
        await broker.stop()
        sent = await publish(mosquitto, _messages())
        began = time.perf_counter()
        await broker.start()
        started = time.perf_counter()
        first, already = None, 0.0
        while True:
            count = await _applied(broker)
            now = time.perf_counter()
            if count and first is None:
                first, already = now, count
            if count >= sent:
                break
            if now - began > 300:
                raise AssertionError(f"{count:.0f} of {sent} uplinks after 300 s")
            await asyncio.sleep(0.05)
        assert first is not None
        for number in range(DEVICES):
            query = f"entity={room(number)}&attribute=temperature&since={iso(START)}&limit=1000"
            _, rows = await broker.ask("GET", f"/api/v1/history?{query}")
            if len(rows) != EACH:
                raise AssertionError(f"{room(number)} has {len(rows)} of {EACH} observations")
        await broker.stop()
        return {
            "uplinks/s, MQTT to durable commit": (
                f"{(sent - already) / (now - first):,.0f} ({sent:,} of {DEVICES} devices, none missing; "
                f"first seen {first - started:.1f} s after the start)"
            )
        }


def _messages() -> list[tuple[str, bytes]]:
    return [
        (topic(number), uplink(number, elsys_temperature(20 + serial / 10), START + serial * SECOND, f_cnt=serial))
        for serial in range(EACH)
        for number in range(DEVICES)
    ]


async def _applied(broker: BrokerProcess) -> float:
    _, text = await broker.ask("GET", "/metrics")
    found = re.search(r'knutpunkt_uplinks_total\{outcome="applied",source="mqtt:chirpstack"\} (\S+)', text)
    return float(found[1]) if found else 0.0
