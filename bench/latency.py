"""From publishing an uplink to the notification at the app, at a steady rate; every one of them counted at the receiver."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import gmqtt

from bench.figures import Figure
from broker.clock import iso
from tests.support.broker import BrokerProcess
from tests.support.city import elsys_temperature, register, room, topic, uplink
from tests.support.mosquitto import Mosquitto
from tests.support.receiver import Receiver, receiving

DEVICES = 200
RATE = 500
SECONDS = 20
OTHER_SUBSCRIPTIONS = 9
GIVE_UP_SECONDS = 60


async def run(store: str, folder: Path) -> list[Figure]:
    """p50, p99 and the largest, milliseconds. Fails when an uplink caused no notification."""
    with Mosquitto(folder / "mosquitto") as mosquitto:
        async with receiving() as receiver:
            broker = BrokerProcess(store, folder, {"KNUTPUNKT_MQTT": mosquitto.url, "KNUTPUNKT_LOG_LEVEL": "warning"})
            await broker.start()
            await register(broker, DEVICES)
            for number in range(OTHER_SUBSCRIPTIONS + 1):
                await broker.ask("POST", "/ngsi-ld/v1/subscriptions", _subscription(number, receiver.url()))
            published, took = await _publish(mosquitto.port)
            arrived = await _arrivals(receiver, published)
            await broker.stop()
    lags = sorted((arrived[key] - at) / 1000 for key, at in published.items())
    p50, p99, largest = lags[len(lags) // 2], lags[len(lags) * 99 // 100], lags[-1]
    rate = len(published) / took
    return [
        Figure(
            f"publish to notification at {rate:,.0f} uplinks/s",
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {largest:.1f} ms ({len(published):,} uplinks, none missing)",
            f"p99 < 100 ms at {RATE}/s",
            {"p50_ms": p50, "p99_ms": p99, "max_ms": largest, "per_second": rate},
        )
    ]


async def _publish(port: int) -> tuple[dict[tuple[str, str], int], float]:
    """(entity, its observedAt) -> when that uplink was published, microseconds; and how long it took, seconds."""
    client = gmqtt.Client("bench")
    await client.connect("127.0.0.1", port)
    published: dict[tuple[str, str], int] = {}
    began = time.perf_counter()
    for number in range(RATE * SECONDS):
        pause = began + number / RATE - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        device = number % DEVICES
        # An uplink's time is when it was published: it names the uplink in the notification.
        now = time.time_ns() // 1000
        client.publish(topic(device), uplink(device, elsys_temperature(number % 400 / 10), now, f_cnt=number), qos=1)
        published[(room(device), iso(now))] = now
    took = time.perf_counter() - began
    await client.disconnect()
    return published, took


async def _arrivals(receiver: Receiver, published: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """When each uplink's value was first notified, microseconds since the epoch."""
    arrived: dict[tuple[str, str], int] = {}
    deadline, looked_at = time.monotonic() + GIVE_UP_SECONDS, 0
    while True:
        upto = len(receiver.accepted_at)
        for note, at in zip(receiver.accepted[looked_at:upto], receiver.accepted_at[looked_at:upto], strict=True):
            for entity in note.data:
                arrived.setdefault((entity["id"], entity["temperature"]["observedAt"]), at)
        looked_at = upto
        missing = published.keys() - arrived.keys()
        if not missing:
            return arrived
        if time.monotonic() > deadline:
            raise AssertionError(f"{len(missing)} of {len(published)} uplinks caused no notification: {min(missing)}")
        await asyncio.sleep(0.1)


def _subscription(number: int, endpoint: str) -> dict[str, object]:
    wanted = "IndoorEnvironmentObserved" if number == 0 else f"Other{number}"
    return {
        "type": "Subscription",
        "entities": [{"type": wanted}],
        "notification": {"endpoint": {"uri": endpoint, "accept": "application/json"}},
    }
