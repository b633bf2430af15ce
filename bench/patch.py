"""PATCH /entities/{id}/attrs, durable, beside an aiohttp handler that does nothing; rounds of both in turn."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import urllib.request
from pathlib import Path

from bench.load import rate
from tests.support.broker import BrokerProcess, free_port

ENTITIES = 200
VALUES = 10
CONNECTIONS = (1, 16, 64)
ROUNDS = 3
SECONDS = 4.0


async def run(store: str, folder: Path) -> dict[str, str]:
    """Requests a second at each number of connections, and the ratio."""
    broker = BrokerProcess(store, folder, {"KNUTPUNKT_LOG_LEVEL": "warning"})
    await broker.start()
    port = free_port()
    empty = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.empty", str(port))
    try:
        await _wait(port)
        for number in range(ENTITIES):
            await broker.ask("POST", "/ngsi-ld/v1/entities", _entity(number))
        requests = [_patch(number, value) for value in range(VALUES) for number in range(ENTITIES)]
        figures: dict[str, str] = {}
        for connections in CONNECTIONS:
            rounds = []
            for _ in range(ROUNDS):
                nothing = await asyncio.to_thread(rate, port, requests, connections, SECONDS)
                durable = await asyncio.to_thread(rate, broker.port, requests, connections, SECONDS)
                rounds.append((durable, nothing))
            durable = statistics.median(one for one, _ in rounds)
            nothing = statistics.median(other for _, other in rounds)
            figures[f"PATCH/s, {connections} connections"] = (
                f"{durable:,.0f} durable; empty handler {nothing:,.0f}; ratio {durable / nothing:.2f}"
            )
        return figures
    finally:
        empty.terminate()
        await empty.wait()
        await broker.stop()


async def _wait(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/", timeout=5)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


def _entity(number: int) -> dict[str, object]:
    attributes = {
        f"p{index}": {"type": "Property", "value": index, "unitCode": "CEL", "observedAt": "2026-01-01T00:00:00Z"}
        for index in range(6)
    }
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [17.3 + number / 1000, 62.4]}}
    return {"id": f"urn:ngsi-ld:Bench:{number}", "type": "Bench", "location": place, **attributes}


def _patch(number: int, value: int) -> bytes:
    body = json.dumps(
        {"p0": {"type": "Property", "value": value + 0.5, "unitCode": "CEL", "observedAt": "2026-01-01T00:00:00Z"}}
    ).encode()
    return (
        f"PATCH /ngsi-ld/v1/entities/urn:ngsi-ld:Bench:{number}/attrs HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
