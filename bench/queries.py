"""Queries over 1,000 and over 100,000 entities, beside each other: what a query costs must not grow with what is stored.

Over HTTP, on one connection: type, q and limit 20; places within a square; and retrieval by id beside an aiohttp handler
that does nothing. In the store, in this process: page 1 and page 1,000. Each answer's number of entities is looked at.
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from bench.figures import Figure
from bench.load import load
from bench.patch import nothing_served
from broker.clock import Clock, iso
from broker.config import StoreSettings
from broker.ngsild.model import DEFAULT_VOCAB, LOCATION, Entity
from broker.query.ast import EntityQuery, HasType
from broker.stores.base import ChangeSet, EntityWrite, TenantStore
from broker.stores.open import create_store
from tests.support.broker import BrokerProcess

SIZES = (1_000, 100_000)
AT_ONCE = 1_000
"""Entities in a commit."""
ROUNDS = 3
SECONDS = 2.0
PAGE = 20
LATE_PAGE = 1_000
REPEATED = 200
MOMENT = 1_790_000_000_000_000

SHARED = 60
"""Entities that have one value of `zone`, and that lie in the square asked for, at each size, count: two thirds are Rooms."""


def queries(size: int) -> dict[str, str]:
    """The queries by name; a page is full at each size."""
    side = math.sqrt(SHARED / size)
    west, south, east, north = 20.3, 63.3, 20.3 + side, 63.3 + side
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    within = f"georel=within&geometry=Polygon&coordinates={quote(json.dumps([ring]))}"
    return {
        "type, q > (half of them), limit 20": "type=Room&q=temperature%3E50&limit=20",
        f"type, q == ({SHARED} of them), limit 20": "type=Room&q=zone==7&limit=20",
        f"within a square ({SHARED} of them), limit 20": f"type=Room&limit=20&{within}",
    }


async def run(store: str, folder: Path) -> list[Figure]:
    """Queries a second over few and many entities and their ratios; retrieval beside the empty handler; pages."""
    rates: dict[int, dict[str, float]] = {}
    figures: list[Figure] = []
    for size in SIZES:
        url = _beside(store, size)
        pages = await _fill(url, size)
        broker = BrokerProcess(url, folder, {"KNUTPUNKT_LOG_LEVEL": "warning"})
        await broker.start()
        try:
            rates[size] = {name: await _rate(broker.port, path) for name, path in queries(size).items()}
            if size == SIZES[-1]:
                figures.append(await _retrieval(broker.port, size))
        finally:
            await broker.stop()
        if pages is not None:
            figures.append(pages)
    few, many = SIZES
    return [
        Figure(
            f"queries/s, {name}",
            f"{rates[many][name]:,.0f} over {many:,}, {rates[few][name]:,.0f} over {few:,}: "
            f"{rates[few][name] / rates[many][name]:.2f} times the cost",
            "at most 1.5 times",
            {"many_per_second": rates[many][name], "few_per_second": rates[few][name]},
        )
        for name in rates[few]
    ] + figures


def _beside(store: str, size: int) -> str:
    """Another store's URL for each size."""
    base, question, options = store.partition("?")
    return f"{base}{size}{question}{options}"


async def _fill(url: str, size: int) -> Figure | None:
    store = create_store(StoreSettings(url=url), Clock())
    await store.open()
    try:
        tenant = await store.tenant()
        for start in range(0, size, AT_ONCE):
            writes = [
                EntityWrite(_id(n), _entity(n, size), MOMENT + n, 0) for n in range(start, min(start + AT_ONCE, size))
            ]
            await tenant.commit(ChangeSet(entities=writes))
        return await _pages(tenant) if size > LATE_PAGE * PAGE else None
    finally:
        await store.close()


async def _pages(tenant: TenantStore) -> Figure:
    """Page 1 and page 1,000 by position, of all of one type."""
    query = EntityQuery(types=HasType(DEFAULT_VOCAB + "Room"), limit=PAGE)
    after: str | None = None
    for _ in range(LATE_PAGE * PAGE // AT_ONCE):
        after = (await tenant.query(replace(query, limit=AT_ONCE, after=after))).next
    first = await _median(lambda: tenant.query(query))
    late = await _median(lambda: tenant.query(replace(query, after=after)))
    by_offset = await _median(lambda: tenant.query(replace(query, offset=LATE_PAGE * PAGE)), REPEATED // 10)
    return Figure(
        f"page {LATE_PAGE:,} of {PAGE}, in the store",
        f"{late:.2f} ms by position, page 1 {first:.2f} ms: {late / first:.2f} times; by offset {by_offset:.1f} ms",
        "1 time",
        {"late_ms": late, "first_ms": first, "offset_ms": by_offset},
    )


async def _median(ask: Callable[[], Awaitable[object]], repeated: int = REPEATED) -> float:
    """Milliseconds."""
    times = []
    for _ in range(repeated):
        started = time.perf_counter()
        await ask()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


async def _rate(port: int, path: str) -> float:
    request = _get(f"/ngsi-ld/v1/entities?{path}")
    loads = [await asyncio.to_thread(load, port, [request], 1, SECONDS, status=200) for _ in range(ROUNDS)]
    return statistics.median(one.rate for one in loads)


async def _retrieval(port: int, size: int) -> Figure:
    """Retrieval of entities that the memory of the store has, as those in use are, and the empty handler, in turn."""
    requests = [_get(f"/ngsi-ld/v1/entities/{_id(n)}") for n in range(0, size, size // 200)]
    rounds: list[tuple[float, float]] = []
    async with nothing_served() as (empty, _):
        for _ in range(ROUNDS):
            nothing = await asyncio.to_thread(load, empty, requests, 16, SECONDS)
            found = await asyncio.to_thread(load, port, requests, 16, SECONDS, status=200)
            rounds.append((found.rate, nothing.rate))
    rate, other = (statistics.median(each) for each in zip(*rounds, strict=True))
    ratio = statistics.median(found / nothing for found, nothing in rounds)
    return Figure(
        "retrieve by id/s, 16 connections",
        f"{rate:,.0f}, empty handler {other:,.0f}: ratio {ratio:.2f}",
        "ratio 0.6",
        {"per_second": rate, "empty_per_second": other, "ratio": ratio},
    )


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode()


def _id(number: int) -> str:
    return f"urn:ngsi-ld:Bench:{number}"


def _entity(number: int, size: int) -> Entity:
    at = iso(MOMENT + number)
    values = {
        "temperature": number * 7919 % 1000 / 10,
        "zone": number % (size // SHARED),
        "name": f"room {number}",
        "rank": number,
    }
    members = {"createdAt": at, "modifiedAt": at}
    place = {"type": "Point", "coordinates": [20 + number * 7919 % size / size, 63 + number * 104_729 % size / size]}
    return {
        "id": _id(number),
        "type": [DEFAULT_VOCAB + ("Room" if number % 3 else "Bin")],
        "attrs": {
            **{
                DEFAULT_VOCAB + name: [{"type": "Property", "value": value, **members}]
                for name, value in values.items()
            },
            LOCATION: [{"type": "GeoProperty", "value": place, **members}],
        },
        **members,  # type: ignore[typeddict-item]
    }
