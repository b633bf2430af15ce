"""Uplinks from MQTT to the durable commit, in one process; every one of them counted in the history at the end.

Twice: a backlog that waits in the MQTT broker's persistent session while Knutpunkt is down, and uplinks published at a
steady rate while it runs. The first shows what the process can take, the second whether it keeps up with what is aimed at.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from broker.clock import SECOND, iso
from tests.support.broker import BrokerProcess
from tests.support.city import START, elsys_temperature, register, room, topic, uplink
from tests.support.mosquitto import Mosquitto, publish

DEVICES = 300
EACH = 100
"""Uplinks of each device in each of the two parts."""
OFFERED = 3000
"""Uplinks a second in the second part. (Unpaced, all are published in half a second: a backlog again.)"""
GIVE_UP_SECONDS = 300
AIM = "3,000/s on SQLite"


async def run(store: str, folder: Path) -> list[Figure]:
    """Uplinks a second. Fails when one is missing in the history."""
    with Mosquitto(folder / "mosquitto") as mosquitto:
        broker = BrokerProcess(store, folder, {"KNUTPUNKT_MQTT": mosquitto.url, "KNUTPUNKT_LOG_LEVEL": "warning"})
        backlog = messages(0)
        await wait_with_backlog(broker, mosquitto, backlog)
        await broker.start()
        began, already = await _until(broker, 1)
        ended, count = await _until(broker, len(backlog))
        waiting = (count - already) / (ended - began)

        live = messages(EACH)
        began = time.perf_counter()
        await asyncio.to_thread(lambda: asyncio.run(publish(mosquitto, _paced(live))))
        published = time.perf_counter()
        ended, _ = await _until(broker, len(backlog) + len(live))
        await _all_in_history(broker, 2 * EACH)
        await broker.stop()
    return [
        Figure(
            "uplinks/s, MQTT to durable commit, a backlog",
            f"{waiting:,.0f} ({len(backlog):,} of {DEVICES} devices, none missing)",
            AIM,
            {"per_second": waiting},
        ),
        Figure(
            f"uplinks/s, MQTT to durable commit, {OFFERED:,}/s published meanwhile",
            f"{len(live) / (ended - began):,.0f}, the last durable {ended - published:.2f} s after it was published "
            f"({len(live):,} at {len(live) / (published - began):,.0f}/s, none missing)",
            "keeps up",
            {
                "per_second": len(live) / (ended - began),
                "offered_per_second": len(live) / (published - began),
                "behind_seconds": ended - published,
            },
        ),
    ]


def messages(first: int) -> list[tuple[str, bytes]]:
    """EACH uplinks of every device, in turn, with the frame counters from `first` on."""
    return [
        (topic(number), uplink(number, elsys_temperature(20 + serial / 10), START + serial * SECOND, f_cnt=serial))
        for serial in range(first, first + EACH)
        for number in range(DEVICES)
    ]


def _paced(uplinks: list[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """`uplinks`, OFFERED a second. Sleeps, so only for a thread of its own."""
    began = time.perf_counter()
    for number, one in enumerate(uplinks):
        pause = began + number / OFFERED - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
        yield one


async def wait_with_backlog(broker: BrokerProcess, mosquitto: Mosquitto, backlog: list[tuple[str, bytes]]) -> None:
    """Devices registered, `broker` stopped, and `backlog` waiting for it in its session."""
    await broker.start()
    await register(broker, DEVICES)
    await broker.stop()
    await publish(mosquitto, backlog)


async def applied(broker: BrokerProcess) -> int:
    """How many uplinks the process has applied and committed since its start."""
    _, text = await broker.ask("GET", "/metrics")
    found = re.search(r'knutpunkt_uplinks_total\{outcome="applied",source="mqtt:chirpstack"\} (\S+)', text)
    return int(float(found[1])) if found else 0


async def _until(broker: BrokerProcess, wanted: int) -> tuple[float, int]:
    """When at least `wanted` were applied, and how many."""
    deadline = time.perf_counter() + GIVE_UP_SECONDS
    while True:
        count = await applied(broker)
        now = time.perf_counter()
        if count >= wanted:
            return now, count
        if now > deadline:
            raise AssertionError(f"{count} of {wanted} uplinks after {GIVE_UP_SECONDS} s")
        await asyncio.sleep(0.25)


async def _all_in_history(broker: BrokerProcess, each: int) -> None:
    for number in range(DEVICES):
        query = f"entity={room(number)}&attribute=temperature&since={iso(START)}&limit=1000"
        _, rows = await broker.ask("GET", f"/api/v1/history?{query}")
        if len({row["observedAt"] for row in rows}) != each or len(rows) != each:
            raise AssertionError(f"{room(number)} has {len(rows)} of {each} observations")
