"""PATCH /entities/{id}/attrs, durable, beside an aiohttp handler that does nothing; rounds of both in turn.

At the end the process is killed (SIGKILL) and the history counted: what was answered 204 must be there.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.figures import Figure
from bench.load import Load, load
from broker.clock import Clock
from broker.config import StoreSettings
from broker.stores.open import create_store
from tests.support.broker import BrokerProcess
from tests.support.ports import free_port

ENTITIES = 200
VALUES = 10
CONNECTIONS = (1, 16, 64)
ROUNDS = 3
SECONDS = 4.0
PROPERTY = "https://uri.etsi.org/ngsi-ld/default-context/p0"


async def run(store: str, folder: Path) -> list[Figure]:
    """Requests a second at each number of connections, and the ratio. Fails when an answered one is not in the history."""
    broker = BrokerProcess(store, folder, {"KNUTPUNKT_LOG_LEVEL": "warning"})
    await broker.start()
    await create_entities(broker)
    requests = prepared()
    figures: list[Figure] = []
    sent: list[Load] = []
    async with nothing_served() as (port, raw_port):
        ceiling = await asyncio.to_thread(load, raw_port, requests, CONNECTIONS[-1], 2.0)
        for connections in CONNECTIONS:
            rounds: list[tuple[Load, Load]] = []
            for _ in range(ROUNDS):
                nothing = await asyncio.to_thread(load, port, requests, connections, SECONDS)
                durable = await asyncio.to_thread(load, broker.port, requests, connections, SECONDS)
                rounds.append((durable, nothing))
            figures.append(_figure(connections, rounds))
            sent += [durable for durable, _ in rounds]
    await broker.kill()
    kept, answered = await _kept(store), sum(one.answered for one in sent)
    if not answered <= kept <= answered + sum(one.open for one in sent):
        raise AssertionError(f"{answered} PATCH requests were answered 204, and the history has {kept} of them")
    figures.append(
        Figure(
            "PATCH, found after SIGKILL",
            f"all {answered:,} that were answered 204",
            "all",
            {"answered": answered, "kept": kept},
        )
    )
    figures.append(
        Figure(
            "the load generator's own limit, requests/s",
            f"{ceiling.rate:,.0f}",
            "several times the handler's",
            {"per_second": ceiling.rate},
        )
    )
    return figures


def _figure(connections: int, rounds: list[tuple[Load, Load]]) -> Figure:
    durable = statistics.median(one.rate for one, _ in rounds)
    nothing = statistics.median(other.rate for _, other in rounds)
    ratio = statistics.median(one.rate / other.rate for one, other in rounds)
    return Figure(
        f"PATCH/s, {connections} connection{'s' if connections > 1 else ''}",
        f"{durable:,.0f} durable, empty handler {nothing:,.0f}: ratio {ratio:.2f}",
        "ratio 0.5",
        {"per_second": durable, "empty_per_second": nothing, "ratio": ratio},
    )


@asynccontextmanager
async def nothing_served() -> AsyncIterator[tuple[int, int]]:
    """The servers of `bench.empty`: their ports."""
    port, raw_port = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.empty", str(port), str(raw_port))
    try:
        await _wait(port)
        yield port, raw_port
    finally:
        process.terminate()
        await process.wait()


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


async def _kept(url: str) -> int:
    """How many changes of the property the history has, without those that came with the entities."""
    store = create_store(StoreSettings(url=url), Clock())
    await store.open()
    try:
        tenant = await store.tenant()
        rows = [len(await tenant.history(_id(number), PROPERTY, limit=10_000_000)) for number in range(ENTITIES)]
        return sum(rows) - ENTITIES
    finally:
        await store.close()


async def create_entities(broker: BrokerProcess) -> None:
    """The entities that the requests change."""
    for number in range(ENTITIES):
        await broker.ask("POST", "/ngsi-ld/v1/entities", _entity(number))


def prepared() -> list[bytes]:
    """The requests, each another entity's than the one before."""
    return [_patch(number, value) for value in range(VALUES) for number in range(ENTITIES)]


def _id(number: int) -> str:
    return f"urn:ngsi-ld:Bench:{number}"


def _entity(number: int) -> dict[str, object]:
    attributes = {
        f"p{index}": {"type": "Property", "value": index, "unitCode": "CEL", "observedAt": "2026-01-01T00:00:00Z"}
        for index in range(6)
    }
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [17.3 + number / 1000, 62.4]}}
    return {"id": _id(number), "type": "Bench", "location": place, **attributes}


def _patch(number: int, value: int) -> bytes:
    body = json.dumps(
        {"p0": {"type": "Property", "value": value + 0.5, "unitCode": "CEL", "observedAt": "2026-01-01T00:00:00Z"}}
    ).encode()
    return (
        f"PATCH /ngsi-ld/v1/entities/{_id(number)}/attrs HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
