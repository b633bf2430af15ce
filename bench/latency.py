"""From publishing an uplink to the notification at the app, at a steady rate; every one of them counted at the receiver."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import gmqtt

from broker.clock import parse_iso
from tests.support.broker import BrokerProcess
from tests.support.city import elsys_temperature, register, topic, uplink
from tests.support.mosquitto import Mosquitto
from tests.support.receiver import receiving

DEVICES = 200
RATE = 500
SECONDS = 20
OTHER_SUBSCRIPTIONS = 9


async def run(store: str, folder: Path) -> dict[str, str]:
    """p50, p99 and the largest, milliseconds."""
    with Mosquitto(folder / "mosquitto") as mosquitto:
        async with receiving() as receiver:
            broker = BrokerProcess(store, folder, {"KNUTPUNKT_MQTT": mosquitto.url, "KNUTPUNKT_LOG_LEVEL": "warning"})
            await broker.start()
            await register(broker, DEVICES)
            for number in range(OTHER_SUBSCRIPTIONS + 1):
                await broker.ask("POST", "/ngsi-ld/v1/subscriptions", _subscription(number, receiver.url()))
            await _publish(mosquitto.port)
            deadline = time.monotonic() + 60
            while len(receiver.accepted) < RATE * SECONDS:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{len(receiver.accepted)} of {RATE * SECONDS} notifications came")
                await asyncio.sleep(0.1)
            lags = sorted(
                (at - (parse_iso(note.data[0]["temperature"]["observedAt"]) or 0)) / 1000
                for note, at in zip(receiver.accepted, receiver.accepted_at, strict=True)
            )
            await broker.stop()
    return {
        f"publish to notification at {RATE}/s": (
            f"p50 {lags[len(lags) // 2]:.1f} ms, p99 {lags[len(lags) * 99 // 100]:.1f} ms, "
            f"max {lags[-1]:.1f} ms ({len(lags):,} of {RATE * SECONDS:,} arrived)"
        )
    }


async def _publish(port: int) -> None:
    client = gmqtt.Client("bench")
    await client.connect("127.0.0.1", port)
    began = time.perf_counter()
    for number in range(RATE * SECONDS):
        pause = began + number / RATE - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        # An uplink's time is when it was published; its device's next one is later.
        body = uplink(number % DEVICES, elsys_temperature(number % 400 / 10), time.time_ns() // 1000)
        client.publish(topic(number % DEVICES), body, qos=1)
    await client.disconnect()


def _subscription(number: int, endpoint: str) -> dict[str, object]:
    wanted = "IndoorEnvironmentObserved" if number == 0 else f"Other{number}"
    return {
        "type": "Subscription",
        "entities": [{"type": wanted}],
        "notification": {"endpoint": {"uri": endpoint, "accept": "application/json"}},
    }
