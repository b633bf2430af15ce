"""A small ChirpStack for tests: takes commands from a real MQTT broker, queues them by their ids, and tells what becomes of
them, as ChirpStack v4 does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import gmqtt

from tests.support.mosquitto import Mosquitto, publish

SECONDS = 20.0


class ChirpStack:
    """What came, in order (`taken`), and its queue (`queue`: by id, so that the same id again is no second item)."""

    def __init__(self, mosquitto: Mosquitto) -> None:
        self._mosquitto = mosquitto
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.queue: dict[str, dict[str, Any]] = {}
        self._arrived = asyncio.Condition()
        self._client = gmqtt.Client("chirpstack", clean_session=False, session_expiry_interval=3600)
        self._client.on_message = self._on_message

    async def connect(self) -> None:
        """Subscribe to commands; the session stays when it goes."""
        await self._client.connect("127.0.0.1", self._mosquitto.port)
        subscribed = asyncio.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.subscribe(gmqtt.Subscription("application/+/device/+/command/+", qos=1))
        await asyncio.wait_for(subscribed.wait(), SECONDS)

    async def disconnect(self) -> None:
        """Go, without ending the session."""
        await self._client.disconnect()

    async def _on_message(self, _: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        message = json.loads(payload)
        async with self._arrived:
            self.taken.append((topic, message))
            self.queue.setdefault(message["id"], message)
            self._arrived.notify_all()
        return 0

    async def until(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """What has come, once it is `count` commands."""
        async with self._arrived, asyncio.timeout(SECONDS):
            await self._arrived.wait_for(lambda: len(self.taken) >= count)
        return list(self.taken)

    async def tell(self, event: str, dev_eui: str, **members: Any) -> None:
        """Publish an event of a device, as application 1."""
        body = {
            "time": members.pop("time", None),
            "deviceInfo": {"applicationId": "1", "devEui": dev_eui, "deviceName": dev_eui},
            **members,
        }
        body = {name: value for name, value in body.items() if value is not None}
        await publish(
            self._mosquitto,
            [(f"application/1/device/{dev_eui}/event/{event}", json.dumps(body).encode())],
            client_id="chirpstack-events",
        )


@asynccontextmanager
async def chirpstack(mosquitto: Mosquitto) -> AsyncIterator[ChirpStack]:
    """A connected one."""
    network = ChirpStack(mosquitto)
    await network.connect()
    try:
        yield network
    finally:
        await network.disconnect()
