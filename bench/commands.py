"""Commands to sensors, from the API to the PUBACK of a real MQTT broker: all queued while the network is away, then sent.

How fast they are queued, what they cost while they wait, and how soon all are sent once a network server has subscribed.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

from bench.figures import Figure
from tests.support.broker import BrokerProcess
from tests.support.city import ELSYS, START, elsys_temperature, register, topic, uplink
from tests.support.mosquitto import Mosquitto, publish
from tests.support.network import chirpstack

DEVICES = 1000
AT_ONCE = 16
WAITING_SECONDS = 10.0
GIVE_UP_SECONDS = 120.0
COMMAND = {"measure": {"fPort": 6, "payload": ["01"]}}


async def run(store: str, folder: Path) -> list[Figure]:
    """Three figures. Fails when a command is not sent, or one is published twice."""
    with Mosquitto(folder / "mosquitto") as mosquitto:
        broker = BrokerProcess(store, folder, {"KNUTPUNKT_MQTT": mosquitto.url, "KNUTPUNKT_LOG_LEVEL": "error"})
        await broker.start()
        await register(broker, DEVICES)
        await broker.ask("PUT", "/api/v1/device-models/elsys-ers", ELSYS | {"commands": COMMAND})
        heard = [(topic(number), uplink(number, elsys_temperature(20.0), START)) for number in range(DEVICES)]
        await publish(mosquitto, heard)
        await _until(broker, r'knutpunkt_uplinks_total\{outcome="applied".*?\} (\S+)')
        queued = await _queue(broker)
        before = _cpu(broker)
        await asyncio.sleep(WAITING_SECONDS)
        waiting = (_cpu(broker) - before) / WAITING_SECONDS
        async with chirpstack(mosquitto) as network:
            began = time.perf_counter()
            await _until(broker, r'knutpunkt_device_commands_total\{outcome="sent"\} (\S+)')
            sent = time.perf_counter() - began
            ids = [message["id"] for _, message in network.taken]
        await broker.stop()
    if len(set(ids)) != DEVICES or len(ids) != DEVICES:
        raise AssertionError(f"{len(ids)} publications of {len(set(ids))} commands instead of {DEVICES}")
    return [
        Figure("commands/s queued over HTTP", f"{queued:,.0f} ({AT_ONCE} clients)", "", {"per_second": queued}),
        Figure(
            f"CPU while {DEVICES:,} commands wait for the network",
            f"{100 * waiting:.1f} % of a core",
            "",
            {"cores": waiting},
        ),
        Figure(
            f"{DEVICES:,} commands sent, once the network server has subscribed",
            f"{sent:.1f} s, each published once and acknowledged",
            "",
            {"seconds": sent},
        ),
    ]


async def _queue(broker: BrokerProcess) -> float:
    """Queue one command for each device; how many a second."""
    numbers = iter(range(DEVICES))

    async def client() -> None:
        for number in numbers:
            await broker.ask("POST", f"/api/v1/virtual-sensors/room-{number}/commands", {"command": "measure"})

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return DEVICES / (time.perf_counter() - began)


def _cpu(broker: BrokerProcess) -> float:
    """Seconds of CPU that the process has used."""
    assert broker.process is not None
    fields = Path(f"/proc/{broker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def _until(broker: BrokerProcess, counter: str) -> None:
    """Returns when a counter has reached DEVICES."""
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while True:
            _, text = await broker.ask("GET", "/metrics")
            found = re.search(counter, text)
            if found is not None and float(found[1]) >= DEVICES:
                return
            await asyncio.sleep(0.05)
