"""Matching: what a change costs with ten subscriptions that match, and with 100,000 of which ten match; loading them.

No I/O. The others differ from the ten in one thing: the entity's id, the type, the attribute, a value or bound in q, the id
pattern, the scope or the area.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.figures import Figure
from broker.clock import Clock, iso
from broker.config import Limits
from broker.jsonld.resolver import ContextResolver
from broker.ngsild.change import EntityChange
from broker.ngsild.model import DEFAULT_VOCAB, LOCATION, Entity
from broker.outbound import Fetched
from broker.stores.base import Record
from broker.subscriptions.index import SubscriptionIndex
from broker.subscriptions.model import parse_subscription

MATCHING = 10
MANY = 100_000
ROUND_SECONDS = 0.3
ROUNDS = 5
Members = dict[str, Any]

# Number of the subscription -> what it asks for; those below MATCHING match.
KINDS: dict[str, Callable[[int], Members]] = {
    "entity id": lambda n: {"entities": [{"type": "Room", "id": f"urn:ngsi-ld:Room:{_other(n)}"}]},
    "type": lambda n: {"entities": [{"type": "Room" if n < MATCHING else f"Kind{n}"}]},
    "watched attribute": lambda n: {"watchedAttributes": ["temperature" if n < MATCHING else f"attribute{n}"]},
    "q, a value": lambda n: {"q": f"floor=={_other(n) + 3}"},
    "q, a bound": lambda n: {"q": f"temperature>{20 if n < MATCHING else n + 30}"},
    "idPattern": lambda n: {"entities": [{"type": "Room", "idPattern": f"Room:{_other(n)}$"}]},
    "scopeQ": lambda n: {"scopeQ": f"/city/{_other(n)}/#"},
    "geoQ, within 100 m": lambda n: {"geoQ": _near(_other(n))},
}


async def run(store: str, folder: Path) -> list[Figure]:
    """Microseconds a change. Fails when others than the ten are found."""
    figures = []
    for name, members in KINDS.items():
        few, _, _ = _measure(members, MATCHING)
        many, load, size = _measure(members, MANY)
        figures.append(
            Figure(
                f"a change, {MANY:,} subscriptions that differ in: {name}",
                f"{many:.1f} µs, with {MATCHING} alone {few:.1f} µs: {many / few:.2f} times; "
                f"loaded in {load:.1f} s, {size:.1f} KB each",
                "about 1 time",
                {"many_us": many, "few_us": few, "ratio": many / few, "load_seconds": load, "kilobytes_each": size},
            )
        )
    return figures


def _other(number: int) -> int:
    """0 for those that match, another number for each of the rest."""
    return max(number - MATCHING + 1, 0)


def _measure(members: Callable[[int], Members], count: int) -> tuple[float, float, float]:
    """Microseconds a change (the fastest round), seconds to load, kilobytes a subscription."""
    contexts = ContextResolver(_no_network, Clock(), Limits())
    stamp = Clock().stamp()

    def records(numbers: range) -> list[Record]:
        made = []
        for number in numbers:
            document = {
                "id": f"urn:ngsi-ld:Subscription:{number:06d}",
                "type": "Subscription",
                "entities": [{"type": "Room"}],
                "notification": {"endpoint": {"uri": "http://app.example.org/notify"}},
                **members(number),
            }
            body = parse_subscription(document, contexts.core, None, Limits(), stamp, "")
            made.append(Record("subscription", document["id"], body, stamp.version))
        return made

    gc.collect()
    before, load = _resident(), 0.0
    index = SubscriptionIndex()
    for start in range(0, count, 1000):
        some = records(range(start, min(start + 1000, count)))
        began = time.perf_counter()
        for record in some:
            index.put(record)
        load += time.perf_counter() - began
        del some
    size = (_resident() - before) / count / 1024
    change, now = _change(stamp.now), stamp.now
    found = index.match(change, now)
    wanted = [f"urn:ngsi-ld:Subscription:{number:06d}" for number in range(MATCHING)]
    if found != wanted:
        raise AssertionError(f"{found[:20]} were found, not {wanted}")
    return min(_round(lambda: index.match(change, now)) for _ in range(ROUNDS)), load, size


def _round(task: Callable[[], object]) -> float:
    began, times = time.thread_time(), 0
    while (took := time.thread_time() - began) < ROUND_SECONDS:
        task()
        times += 1
    return took / times * 1e6


def _near(number: int) -> Members:
    """A circle in a grid of 300 by as many as it takes, 0.01 degrees apart; the first is around the room."""
    return {
        "georel": "near;maxDistance==100",
        "geometry": "Point",
        "coordinates": [17 + number % 300 / 100, 56 + number // 300 / 100],
    }


def _change(at: int) -> EntityChange:
    text = iso(at)

    def one(kind: str, value: object) -> list[dict[str, Any]]:
        return [{"type": kind, "value": value, "createdAt": text, "modifiedAt": text}]

    room: Any = {
        "id": "urn:ngsi-ld:Room:0",
        "type": [DEFAULT_VOCAB + "Room"],
        "scope": ["/city/0/house"],
        "createdAt": text,
        "modifiedAt": text,
        "attrs": {
            DEFAULT_VOCAB + "temperature": one("Property", 21.5),
            DEFAULT_VOCAB + "floor": one("Property", 3),
            LOCATION: one("GeoProperty", {"type": "Point", "coordinates": [17.0, 56.0]}),
        },
    }
    after: Entity = room
    return EntityChange(after["id"], after, after, {DEFAULT_VOCAB + "temperature": "attributeUpdated"})


def _resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def _no_network(url: str) -> Fetched:
    raise AssertionError(f"{url} was fetched")
