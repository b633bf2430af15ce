"""An acknowledgement is a promise: uplinks go in over MQTT while the broker is killed again and again."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from broker.clock import SECOND, iso, parse_iso
from tests.support.broker import BrokerProcess
from tests.support.city import START, elsys_temperature, register, room, topic, uplink
from tests.support.mosquitto import Mosquitto, publish
from tests.support.receiver import Receiver, receiving

UPLINKS = 5000
DEVICES = 10
KILLS = 12
"""Start-ups between them are where most of the test's time goes."""
CHUNK = 50


def temperature(serial: int) -> float:
    """The serial of a device's uplink, as the value it sends: 0.0, 0.1, 0.2, …"""
    return serial / 10


@pytest.fixture(params=["sqlite", "mongo"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'city.db'}"
    uri: str = request.getfixturevalue("mongo_uri")
    address, _, options = uri.partition("?")
    name = f"crash_{random.randrange(1 << 40):x}"
    return f"{address.rstrip('/')}/{name}" + (f"?{options}" if options else "")


@pytest.mark.timeout(400)
async def test_every_uplink_is_in_the_history_once_and_told_in_order_though_the_broker_is_killed(
    store_url: str, tmp_path: Path
) -> None:
    with Mosquitto(tmp_path / "mosquitto") as mosquitto:
        async with receiving() as receiver:
            broker = BrokerProcess(store_url, tmp_path, {"KNUTPUNKT_MQTT": mosquitto.url})
            await broker.start()
            await register(broker, DEVICES)
            await broker.ask("POST", "/ngsi-ld/v1/subscriptions", subscription(receiver.url()))
            acknowledged = await killed_while(broker, publish_all(mosquitto))
            assert acknowledged == UPLINKS
            await everything_told(receiver)
            histories = [await history(broker, number) for number in range(DEVICES)]
            assert await broker.stop() == 0, broker.log()[-2000:]
    expected = [temperature(serial) for serial in range(UPLINKS // DEVICES)]
    assert histories == [expected] * DEVICES
    for number, told in told_values(receiver).items():
        assert list(dict.fromkeys(told)) == expected, f"{number}: out of order or incomplete"


def subscription(endpoint: str) -> dict[str, Any]:
    return {
        "id": "urn:ngsi-ld:Subscription:crash",
        "type": "Subscription",
        "entities": [{"type": "IndoorEnvironmentObserved"}],
        "notification": {"attributes": ["temperature"], "endpoint": {"uri": endpoint, "accept": "application/json"}},
    }


async def publish_all(mosquitto: Mosquitto) -> int:
    """All uplinks at QoS 1, a little at a time so that the kills fall between and among them."""
    messages = [
        (topic(number), uplink(number, elsys_temperature(temperature(serial)), START + serial * SECOND, f_cnt=serial))
        for serial in range(UPLINKS // DEVICES)
        for number in range(DEVICES)
    ]
    acknowledged = 0
    for start in range(0, UPLINKS, CHUNK):
        acknowledged += await publish(mosquitto, messages[start : start + CHUNK], client_id=f"publisher-{start}")
        await asyncio.sleep(0.1)
    return acknowledged


async def killed_while(broker: BrokerProcess, publishing: Any) -> int:
    """Kill and restart the broker at random moments while `publishing`, and a few times after."""
    task: asyncio.Task[int] = asyncio.ensure_future(publishing)
    for _ in range(KILLS):
        await asyncio.sleep(random.uniform(0.05, 1.0))
        await broker.kill()
        await broker.start()
    return await task


async def everything_told(receiver: Receiver) -> None:
    last = temperature(UPLINKS // DEVICES - 1)
    async with asyncio.timeout(120):
        while True:
            told = told_values(receiver)
            if len(told) == DEVICES and all(values and values[-1] == last for values in told.values()):
                return
            await asyncio.sleep(0.2)


def told_values(receiver: Receiver) -> dict[str, list[float]]:
    told: dict[str, list[float]] = defaultdict(list)
    for notification in receiver.accepted:
        for entity in notification.data:
            told[entity["id"]].append(entity["temperature"]["value"])
    return told


async def history(broker: BrokerProcess, number: int) -> list[float]:
    """All observed temperatures of a room, by time of observation."""
    values: list[float] = []
    since = START
    while True:
        _, rows = await broker.ask(
            "GET", f"/api/v1/history?entity={room(number)}&attribute=temperature&limit=1000&since={iso(since)}"
        )
        if not rows:
            return values
        values += [row["value"]["value"] for row in rows]
        at = parse_iso(rows[-1]["observedAt"])
        assert at is not None
        since = at + 1
