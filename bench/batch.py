"""POST /entityOperations/upsert with 100 entities a request: new ones, then the same again; durable, beside a handler that
does nothing.

At the end the process is killed (SIGKILL), and every change that was answered must be in the history.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

from bench.figures import Figure
from bench.load import Load, load
from bench.patch import nothing_served
from broker.clock import Clock
from broker.config import StoreSettings
from broker.stores.open import create_store
from tests.support.broker import BrokerProcess

A_REQUEST = 100
"""Entities in a request."""
NEW = 200
"""Requests with new entities."""
VALUES = 5
"""Different values that the same entities are given, in turn."""
CONNECTIONS = 8
ROUNDS = 3
SECONDS = 4.0
TEMPERATURE = "https://uri.etsi.org/ngsi-ld/default-context/temperature"


async def run(store: str, folder: Path) -> list[Figure]:
    """Entities a second, created and replaced. Fails when an answered one is not in the history."""
    broker = BrokerProcess(store, folder, {"KNUTPUNKT_LOG_LEVEL": "warning"})
    await broker.start()
    first, later = created(), replaced()
    rounds: list[tuple[Load, Load]] = []
    async with nothing_served() as (port, _):
        nothing = await asyncio.to_thread(load, port, later, CONNECTIONS, SECONDS)
        new = await asyncio.to_thread(send_once, broker.port, first, CONNECTIONS, b"HTTP/1.1 201")
        for _ in range(ROUNDS):
            other = await asyncio.to_thread(load, port, later, CONNECTIONS, SECONDS)
            rounds.append((await asyncio.to_thread(load, broker.port, later, CONNECTIONS, SECONDS), other))
    await broker.kill()
    kept, answered = await _kept(store), (len(first) + sum(one.answered for one, _ in rounds)) * A_REQUEST
    if not answered <= kept <= answered + sum(one.open for one, _ in rounds) * A_REQUEST:
        raise AssertionError(f"{answered} entities were upserted, and the history has {kept} changes")
    empty = statistics.median(other.rate for _, other in rounds)
    durable = statistics.median(one.rate for one, _ in rounds)
    return [
        _figure("batch upsert, new entities/s", new, nothing.rate),
        _figure("batch upsert, existing entities/s", durable, empty),
        Figure(
            "batch upsert, found after SIGKILL",
            f"all {answered:,} changes of entities that were answered",
            "all",
            {"answered": answered, "kept": kept},
        ),
    ]


def _figure(name: str, requests: float, empty: float) -> Figure:
    return Figure(
        f"{name}, {A_REQUEST} a request, {CONNECTIONS} connections",
        f"{requests * A_REQUEST:,.0f} durable ({requests:,.0f} requests/s, empty handler {empty:,.0f})",
        "8,000/s",
        {"entities_per_second": requests * A_REQUEST, "empty_requests_per_second": empty, "ratio": requests / empty},
    )


async def _kept(url: str) -> int:
    """How many changes of one attribute the history has, over all entities."""
    store = create_store(StoreSettings(url=url), Clock())
    await store.open()
    try:
        tenant = await store.tenant()
        return sum(
            [len(await tenant.history(_id(number), TEMPERATURE, limit=10_000_000)) for number in range(NEW * A_REQUEST)]
        )
    finally:
        await store.close()


def created() -> list[bytes]:
    """Requests with entities that are not there, each another hundred."""
    return [_request(start, 0) for start in range(0, NEW * A_REQUEST, A_REQUEST)]


def replaced() -> list[bytes]:
    """Requests with the same entities and other values."""
    return [_request(start, value) for value in range(1, VALUES + 1) for start in range(0, NEW * A_REQUEST, A_REQUEST)]


def _id(number: int) -> str:
    return f"urn:ngsi-ld:AirQualityObserved:{number:06d}"


def _request(start: int, value: int) -> bytes:
    body = json.dumps([_entity(number, value) for number in range(start, start + A_REQUEST)]).encode()
    return (
        "POST /ngsi-ld/v1/entityOperations/upsert HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _entity(number: int, value: int) -> dict[str, object]:
    """What a sensor on a wall says: three measurements, its place, its device, its battery."""
    observed = f"2026-01-01T00:{value:02d}:00Z"

    def measured(measurement: float, unit: str) -> dict[str, object]:
        return {"type": "Property", "value": measurement, "unitCode": unit, "observedAt": observed}

    place = [17.2 + number % 400 / 1000, 62.3 + number // 400 / 1000]
    return {
        "id": _id(number),
        "type": "AirQualityObserved",
        "temperature": measured(round(15 + (number * 7 + value * 13) % 200 / 10, 1), "CEL"),
        "relativeHumidity": measured(round(30 + (number * 3 + value * 5) % 60, 1), "P1"),
        "co2": measured(400 + (number * 11 + value * 17) % 1000, "59"),
        "batteryLevel": measured(90 - value, "P1"),
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": place}},
        "refDevice": {"type": "Relationship", "object": f"urn:ngsi-ld:Device:{number:06d}"},
    }


# --- each request once ------------------------------------------------------------------------------------------------


class _Once(asyncio.Protocol):
    """A connection that takes the next request when the one before is answered; answers have bodies."""

    def __init__(self, requests: list[bytes], wanted: bytes, done: asyncio.Event) -> None:
        self._requests = requests
        self._wanted = wanted
        self._buffer = b""
        self._done = done
        self.wrong = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._done.set()

    def send(self) -> None:
        if self._requests:
            self._transport.write(self._requests.pop())
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            return
        self.wrong += not head.startswith(self._wanted)
        self._buffer = b""
        self.send()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


@dataclass(frozen=True, slots=True)
class _Sent:
    seconds: float
    wrong: int
    left: int


def _send(port: int, requests: list[bytes], connections: int, wanted: bytes) -> _Sent:
    async def run() -> _Sent:
        loop = asyncio.get_running_loop()
        waiting = list(reversed(requests))
        made = []
        for _ in range(connections):
            done = asyncio.Event()

            def connection(done: asyncio.Event = done) -> _Once:
                return _Once(waiting, wanted, done)

            _, protocol = await loop.create_connection(connection, "127.0.0.1", port)
            made.append((protocol, done))
        started = time.perf_counter()
        for protocol, _ in made:
            protocol.send()
        for _, done in made:
            await done.wait()
        return _Sent(time.perf_counter() - started, sum(protocol.wrong for protocol, _ in made), len(waiting))

    return uvloop.run(run())


def send_once(port: int, requests: Sequence[bytes], connections: int, wanted: bytes) -> float:
    """Requests answered a second, each sent once, from a process of its own. Fails when an answer is not `wanted`."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        sent = pool.submit(_send, port, list(requests), connections, wanted).result()
    if sent.wrong or sent.left:
        raise AssertionError(f"{sent.wrong} requests were answered otherwise than {wanted!r}, {sent.left} not sent")
    return len(requests) / sent.seconds
