"""The soak: nothing is lost and nothing overtakes, though a tenth of the endpoints is dead and the broker is killed twice.

10,000 subscriptions, each to one of 1,000 entities, so that each matches 1 in 1,000 updates; 500 updates/s for two minutes,
each a PATCH that counts its entity on, sent again until it is answered 204. A tenth of the endpoints is dead, a third of
these refusing, a third silent, a third silent at an address where others answer. After a third and two thirds of the time the
broker is killed (SIGKILL) and started again. When all is sent the dead are revived, and everything must come.

Counted at the receivers, for every subscription: each number of its entity came, and came first after all smaller ones
(numbers may come twice). Fails on one that is missing or came too early.

The lag of a notification is from when its update was first sent until it was first taken. "Outside the restarts" are those
that were taken before a kill or sent `CALM_SECONDS` or more after the broker was ready again.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from bench.figures import Figure
from bench.receivers import Arrivals, Receivers
from tests.support.broker import BrokerProcess

SECONDS: Final = 120.0
SUBSCRIPTIONS: Final = 10_000
RATE: Final = 500
ENTITIES: Final = 1_000
DEAD_EVERY: Final = 10
"""One in so many endpoints is dead."""
KILLS: Final = 2
CALM_SECONDS: Final = 5.0
GIVE_UP_SECONDS: Final = 300.0
WRITERS: Final = 50
PORTS: Final = {"fine": 60, "refused": 10, "silent": 10}
LONGEST_RETRY_SECONDS: Final = 15
"""Not the setting's default, five minutes: the dead are revived at the end, and somebody waits."""


@dataclass
class _Run:
    """What is known of a run while it goes on."""

    began: float
    sent: dict[tuple[int, int], float] = field(default_factory=dict)
    """(entity, its number) -> when it was first sent, seconds since the epoch."""
    resent: int = 0
    restarts: list[tuple[float, float]] = field(default_factory=list)
    """(killed, ready again)."""
    took: float = 0.0
    """Seconds until the last update was answered."""

    def calm(self, sent: float, taken: float) -> bool:
        """Whether a notification has nothing to do with a restart."""
        return all(taken < killed or sent >= ready + CALM_SECONDS for killed, ready in self.restarts)


async def run(
    store: str, folder: Path, seconds: float = SECONDS, subscriptions: int = SUBSCRIPTIONS, rate: int = RATE
) -> list[Figure]:
    """Lags, and what was counted. Fails when a notification is missing or overtook another."""
    broker = BrokerProcess(
        store,
        folder,
        {
            "KNUTPUNKT_LOG_LEVEL": "error",
            "KNUTPUNKT_DELIVERY_RETRY_LONGEST_SECONDS": str(LONGEST_RETRY_SECONDS),
        },
    )
    receivers = Receivers({"fine": PORTS["fine"], "refused": PORTS["refused"], "silent": PORTS["silent"]})
    try:
        await broker.start()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=WRITERS + 2)) as session:
            began = time.perf_counter()
            await _subscribe(session, broker, receivers, subscriptions)
            subscribed = subscriptions / (time.perf_counter() - began)
            going = _Run(time.time())
            last = await _update(session, broker, going, seconds, rate)
            written = time.time()
            wanted = array("I", (last.get(_entity(number), 0) for number in range(subscriptions)))
            living = array("I", (0 if _dead(number) else last_one for number, last_one in enumerate(wanted)))
            await _until_told(receivers, living)
            drained = time.time() - written
            await receivers.revive()
            await _until_told(receivers, wanted)
            revived = time.time() - written - drained
        await broker.stop()
        arrivals = await receivers.arrivals()
    finally:
        receivers.close()
        await broker.kill()
    return _judge(going, arrivals, wanted, subscribed, drained, revived, rate)


# --- what happens -----------------------------------------------------------------------------------------------------


def _entity(subscription: int) -> int:
    """The entity of a subscription: ten in a row have the same one."""
    return subscription // DEAD_EVERY % ENTITIES


def _dead(subscription: int) -> bool:
    return subscription % DEAD_EVERY == 0


def _endpoint(subscription: int, receivers: Receivers) -> str:
    ports, path = receivers.ports["fine"], f"/{subscription}"
    if _dead(subscription):
        kind = subscription // DEAD_EVERY % 3
        ports = (receivers.ports["refused"], receivers.ports["silent"], ports)[kind]
        path = path if kind < 2 else f"/silent{path}"
    return f"http://127.0.0.1:{ports[subscription // DEAD_EVERY % len(ports)]}{path}"


async def _subscribe(session: aiohttp.ClientSession, broker: BrokerProcess, receivers: Receivers, count: int) -> None:
    for number in range(ENTITIES):
        entity = {"id": _id(number), "type": "Soak", "n": {"type": "Property", "value": 0}}
        await broker.ask("POST", "/ngsi-ld/v1/entities", entity)

    async def subscribe(number: int) -> None:
        document = {
            "id": f"urn:ngsi-ld:Subscription:{number}",
            "type": "Subscription",
            "entities": [{"type": "Soak", "id": _id(_entity(number))}],
            "notification": {"format": "simplified", "endpoint": {"uri": _endpoint(number, receivers)}},
        }
        async with session.post(broker.url + "/ngsi-ld/v1/subscriptions", json=document) as answer:
            assert answer.status == 201, await answer.text()

    await _each(range(count), subscribe, 16)


async def _update(
    session: aiohttp.ClientSession, broker: BrokerProcess, going: _Run, seconds: float, rate: int
) -> dict[int, int]:
    """Count all entities on, at the rate, and kill the broker meanwhile; the last number of each entity."""
    count = int(seconds * rate)
    began = time.perf_counter()

    async def write(writer: int) -> None:
        # An entity is one writer's, which sends the next number when the one before was answered.
        for number in range(count):
            entity, value = number % ENTITIES, number // ENTITIES + 1
            if entity % WRITERS != writer:
                continue
            pause = began + number / rate - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            going.sent[entity, value] = time.time()
            while not await _sent(session, f"{broker.url}/ngsi-ld/v1/entities/{_id(entity)}/attrs", value):
                going.resent += 1
                await asyncio.sleep(0.05)

    async def kill() -> None:
        for number in range(1, KILLS + 1):
            await asyncio.sleep(began + seconds * number / (KILLS + 1) - time.perf_counter())
            killed = time.time()
            await broker.kill()
            await broker.start()
            going.restarts.append((killed, time.time()))

    async with asyncio.TaskGroup() as group:
        group.create_task(kill())
        for writer in range(WRITERS):
            group.create_task(write(writer))
    going.took = time.perf_counter() - began
    return {entity: (count - 1 - entity) // ENTITIES + 1 for entity in range(min(count, ENTITIES))}


async def _sent(session: aiohttp.ClientSession, url: str, value: int) -> bool:
    try:
        async with session.patch(url, json={"n": {"type": "Property", "value": value}}) as answer:
            if answer.status in (204, 503):
                return answer.status == 204
            raise AssertionError(f"{url} answered {answer.status}: {await answer.text()}")
    except (aiohttp.ClientError, OSError):
        return False


async def _until_told(receivers: Receivers, wanted: array[int]) -> None:
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while missing := await receivers.behind(wanted):
        if time.monotonic() > deadline:
            raise AssertionError(f"{missing} subscriptions were not told the last number of their entity")
        await asyncio.sleep(0.2)


async def _each(items: range, task: Callable[[int], Awaitable[None]], at_once: int) -> None:
    left = iter(items)

    async def work() -> None:
        for item in left:
            await task(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())


def _id(entity: int) -> str:
    return f"urn:ngsi-ld:Soak:{entity}"


# --- what is made of it -----------------------------------------------------------------------------------------------


def _judge(
    going: _Run,
    arrivals: Arrivals,
    wanted: array[int],
    subscribed: float,
    drained: float,
    revived: float,
    rate: int,
) -> list[Figure]:
    told = array("I", bytes(4 * len(wanted)))
    """Up to which number each subscription was told all."""
    calm: list[float] = []
    stormy: list[float] = []
    for subscription, number, at in zip(arrivals.subscription, arrivals.told, arrivals.at, strict=True):
        if number <= told[subscription]:
            continue
        if number != told[subscription] + 1:
            raise AssertionError(
                f"Subscription {subscription} was told {number} after {told[subscription]}: out of order, or one is missing"
            )
        told[subscription] = number
        if not _dead(subscription):
            sent = going.sent[_entity(subscription), number]
            (calm if going.calm(sent, at) else stormy).append((at - sent) * 1000)
    missing = sum(wanted) - sum(told)
    if missing:
        raise AssertionError(f"{missing} notifications are missing")
    total, again = sum(wanted), len(arrivals.told) - sum(wanted)
    p50, p99, largest = _quantiles(calm)
    _, _, worst = _quantiles(stormy)
    down = max((ready - killed for killed, ready in going.restarts), default=0.0)
    return [
        Figure(
            f"soak: {len(wanted):,} subscriptions, {len(going.sent):,} updates at {rate}/s, killed {len(going.restarts)} times",
            f"{total:,} notifications, none missing, none out of order, {again:,} came twice; all updates were answered "
            f"after {going.took:.1f} s",
            "none missing, in order",
            {
                "notifications": total,
                "twice": again,
                "resent_updates": going.resent,
                "subscribed_per_second": subscribed,
            },
        ),
        Figure(
            "soak: update sent to notification taken, endpoints that live, outside the restarts",
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {largest:.0f} ms ({len(calm):,})",
            "p99 under 1 s",
            {"p50_ms": p50, "p99_ms": p99, "max_ms": largest},
        ),
        Figure(
            "soak: the same around the restarts",
            f"max {worst / 1000:.1f} s ({len(stormy):,}; down for {down:.1f} s at most)",
            "",
            {"max_ms": worst, "down_seconds": down},
        ),
        Figure(
            "soak: when all was sent, the last living endpoint was told after; the dead, once revived, after",
            f"{drained:.1f} s; {revived:.1f} s",
            "",
            {"drained_seconds": drained, "revived_seconds": revived},
        ),
    ]


def _quantiles(lags: list[float]) -> tuple[float, float, float]:
    lags.sort()
    return (lags[len(lags) // 2], lags[len(lags) * 99 // 100], lags[-1]) if lags else (0.0, 0.0, 0.0)
