"""Processes on one MongoDB database: each hears of what the others change, and says so when it does not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.broker import BrokerProcess, Refused
from tests.support.cable import cable
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.receiver import Receiver, receiving

__all__ = ["mongo_uri", "mongo_url"]

ENTITY = "urn:ngsi-ld:Counter:1"


@pytest.fixture
async def two(mongo_url: str, tmp_path: Path) -> AsyncIterator[tuple[BrokerProcess, BrokerProcess]]:
    async with AsyncExitStack() as stack:
        brokers = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            brokers.append(BrokerProcess(mongo_url, folder))
        await asyncio.gather(*(broker.start() for broker in brokers))
        for broker in brokers:
            stack.push_async_callback(broker.kill)
        yield brokers[0], brokers[1]


@pytest.fixture
async def app() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


def subscription(name: str, endpoint: str) -> dict[str, Any]:
    return {
        "id": f"urn:x:{name}",
        "type": "Subscription",
        "entities": [{"type": "Counter"}],
        "notification": {"format": "simplified", "endpoint": {"uri": endpoint}},
    }


async def count(broker: BrokerProcess, value: int) -> None:
    await broker.ask("POST", f"/ngsi-ld/v1/entities/{ENTITY}/attrs", {"n": {"type": "Property", "value": value}})


async def in_memory(broker: BrokerProcess) -> int:
    """How many subscriptions a process has in memory."""
    _, text = await broker.ask("GET", "/metrics")
    found = re.search(r'^knutpunkt_subscriptions\{tenant=""\} (\S+)$', text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


async def until(broker: BrokerProcess, subscriptions: int) -> None:
    async with asyncio.timeout(20):
        while await in_memory(broker) != subscriptions:
            await asyncio.sleep(0.05)


async def test_a_subscription_that_was_answered_is_told_of_the_very_next_change_at_another_process(
    two: tuple[BrokerProcess, BrokerProcess], app: Receiver
) -> None:
    one, other = two
    await one.ask("POST", "/ngsi-ld/v1/entities", {"id": ENTITY, "type": "Counter"})
    for value in range(12):
        name = f"{value}"
        await one.ask("POST", "/ngsi-ld/v1/subscriptions", subscription(name, app.url(f"/{name}")))
        await count(other, value)  # at once: there was no time to hear of the subscription
        await one.ask("DELETE", f"/ngsi-ld/v1/entities/{ENTITY}/attrs/n")
        one, other = other, one
    expected = {(f"/{name}", value) for name in range(12) for value in range(name, 12)}

    def told() -> set[tuple[str, int]]:
        return {(note.path, note.data[0]["n"]) for note in app.accepted if isinstance(note.data[0].get("n"), int)}

    await app.wait_until(lambda: expected <= told())
    assert told() == expected


async def test_a_process_that_writes_nothing_hears_of_subscriptions_and_tenants_of_another(
    two: tuple[BrokerProcess, BrokerProcess],
) -> None:
    one, other = two
    for name in ("a", "b"):
        await one.ask("POST", "/ngsi-ld/v1/subscriptions", subscription(name, "http://127.0.0.1:9/"))
    await until(other, 2)
    await one.ask("DELETE", "/ngsi-ld/v1/subscriptions/urn:x:a")
    await until(other, 1)
    await one.ask(
        "POST",
        "/ngsi-ld/v1/subscriptions",
        subscription("c", "http://127.0.0.1:9/"),
        headers={"NGSILD-Tenant": "umea"},
    )
    async with asyncio.timeout(20):
        while 'knutpunkt_subscriptions{tenant="umea"} 1.0' not in (await other.ask("GET", "/metrics"))[1]:
            await asyncio.sleep(0.05)


async def test_a_process_that_hears_nothing_refuses_writes_until_it_is_in_step_again(
    mongo_url: str, tmp_path: Path
) -> None:
    address = urlsplit(mongo_url)
    if address.port is None or address.username or "," in address.netloc:
        pytest.skip("one server without a password can be put behind a cable that can be cut")
    async with cable(address.port) as wire:
        url = f"mongodb://127.0.0.1:{wire.port}{address.path}?directConnection=true"
        broker = BrokerProcess(url, tmp_path)
        await broker.start()
        try:
            await broker.ask("POST", "/ngsi-ld/v1/entities", {"id": ENTITY, "type": "Counter"})
            wire.cut()
            async with asyncio.timeout(30):
                while "not in step" not in await readiness(broker):
                    await asyncio.sleep(0.2)
            with pytest.raises(Refused) as refused:
                await count(broker, 1)
            assert refused.value.status == 503
            assert b"not in step" in refused.value.body
            assert "knutpunkt_in_step 0.0" in (await broker.ask("GET", "/metrics"))[1]
            wire.mend()
            async with asyncio.timeout(60):
                while True:
                    try:
                        await count(broker, 2)
                        break
                    except Refused as error:
                        assert error.status == 503
                        await asyncio.sleep(0.2)
            _, entity = await broker.ask("GET", f"/ngsi-ld/v1/entities/{ENTITY}?options=keyValues")
            assert entity["n"] == 2
        finally:
            await broker.kill()


async def readiness(broker: BrokerProcess) -> str:
    try:
        return str((await broker.ask("GET", "/health/ready"))[1])
    except Refused as refused:
        return refused.body.decode()
