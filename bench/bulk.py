"""A municipality's spreadsheet of 10,000 devices with their virtual sensors: tried, imported, imported again, exported,
searched; and how long an uplink waits meanwhile.

At the end the process is killed (SIGKILL), and every row that was imported must be there.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.figures import Figure
from broker.clock import Clock
from broker.config import StoreSettings
from broker.stores.open import create_store
from tests.support.broker import BrokerProcess

ROWS = 10_000
MODEL = {
    "vendor": "Elsys",
    "name": "ERS CO2",
    "codec": "elsys",
    "expectedIntervalSeconds": 600,
    "quantities": [
        {"quantity": quantity, "unit": unit}
        for quantity, unit in (("temperature", "CEL"), ("humidity", "P1"), ("co2", "59"), ("batteryVoltage", "VLT"))
    ],
}
AIM = "seconds"


async def run(store: str, folder: Path) -> list[Figure]:
    """Seconds of each, and the longest wait of an uplink. Fails when a row is missing at the end."""
    broker = BrokerProcess(store, folder, {"KNUTPUNKT_LOG_LEVEL": "warning"})
    await broker.start()
    await broker.ask("PUT", "/api/v1/device-models/ers", MODEL)
    body = spreadsheet(ROWS)
    figures = [
        await _timed(broker, "dry run", "POST", "/api/v1/import/devices?dryRun=true", body, created=ROWS),
        await _timed(broker, "import", "POST", "/api/v1/import/devices", body, created=ROWS),
        await _timed(broker, "the same import again", "POST", "/api/v1/import/devices", body, unchanged=ROWS),
        await _timed(broker, "export as CSV", "GET", "/api/v1/export/devices?format=csv", None),
        await _timed(broker, "a search that finds one device", "GET", "/api/v1/devices?search=rum%209999", None),
    ]
    await broker.kill()
    kept = await _kept(store)
    if kept != (ROWS, ROWS, ROWS):
        raise AssertionError(f"{ROWS} rows were imported; devices, virtual sensors and bindings there are {kept}")
    found = Figure("bulk, found after SIGKILL", f"all {ROWS:,} devices, virtual sensors and bindings", "all")
    return [*figures, found]


def spreadsheet(rows: int) -> bytes:
    """As Excel in Swedish saves it."""
    lines = ["id;model;name;note;virtualSensor;entityType"]
    lines += [
        f"{0xA81758FFFE000000 + number:016x};ers;Älvskolan, rum {number};plan {number % 5};"
        f"rum-{number:05d};IndoorEnvironmentObserved"
        for number in range(rows)
    ]
    return "\r\n".join(lines).encode("utf-8-sig")


async def _timed(broker: BrokerProcess, name: str, method: str, path: str, body: bytes | None, **wanted: int) -> Figure:
    """One request, and uplinks beside it, one after another."""
    started = time.perf_counter()
    asked = asyncio.create_task(asyncio.to_thread(_ask, broker.url + path, method, body))
    waits = []
    while not asked.done():
        before = time.perf_counter()
        await broker.ask("POST", "/api/v1/uplinks/chirpstack?event=up", _uplink(time.time_ns()))
        waits.append(time.perf_counter() - before)
        await asyncio.sleep(0.01)
    content = await asked
    took = time.perf_counter() - started
    if wanted:
        report: dict[str, Any] = json.loads(content)
        if report["problems"] or any(report[member] != count for member, count in wanted.items()):
            raise AssertionError(f"{name}: {content[:500]!r}")
    worst = max(waits, default=0.0)
    return Figure(
        f"bulk, {ROWS:,} devices with virtual sensors: {name}",
        f"{took:.2f} s; an uplink meanwhile waited {1000 * sorted(waits)[len(waits) // 2]:.0f} ms (median), "
        f"{1000 * worst:.0f} ms at most",
        AIM,
        {"seconds": took, "uplink_longest_seconds": worst},
    )


def _ask(url: str, method: str, body: bytes | None) -> bytes:
    request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": "text/csv"})
    with urllib.request.urlopen(request, timeout=600) as response:
        content: bytes = response.read()
        return content


def _uplink(number: int) -> dict[str, Any]:
    """Of a device that nobody knows: it is kept in quarantine."""
    return {
        "deduplicationId": str(number),
        "deviceInfo": {"devEui": "00000000000000aa"},
        "fPort": 5,
        "fCnt": 1,
        "data": "AQDh",
    }


async def _kept(url: str) -> tuple[int, int, int]:
    """How many devices, virtual sensors and bindings there are."""
    store = create_store(StoreSettings(url=url), Clock())
    await store.open()
    try:
        tenant = await store.tenant()
        return (
            len(await tenant.records("device")),
            len(await tenant.records("virtual_sensor")),
            len(await tenant.records("binding")),
        )
    finally:
        await store.close()
