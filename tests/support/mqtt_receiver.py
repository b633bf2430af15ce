"""Who receives notifications over MQTT: subscribed at a Mosquitto, for as long as a test runs, over its restarts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import gmqtt


@dataclass(frozen=True, slots=True)
class Published:
    """One message as it came."""

    topic: str
    payload: bytes
    qos: int
    properties: dict[str, Any]

    @property
    def body(self) -> dict[str, Any]:
        """The notification."""
        found: dict[str, Any] = json.loads(self.payload)["body"]
        return found

    @property
    def metadata(self) -> dict[str, Any]:
        """What is said of it."""
        found: dict[str, Any] = json.loads(self.payload)["metadata"]
        return found


class MqttReceiver:
    """Keeps what comes."""

    def __init__(self) -> None:
        self.messages: list[Published] = []
        self.changed = asyncio.Condition()

    async def wait_until(self, condition: Callable[[list[Published]], bool], seconds: float = 20.0) -> list[Published]:
        """Once the messages fulfil `condition`."""
        try:
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait_for(lambda: condition(self.messages))
        except TimeoutError:
            raise AssertionError(f"after {seconds} s there were {len(self.messages)} messages") from None
        return self.messages

    async def wait_for(self, count: int) -> list[Published]:
        """So many messages."""
        return await self.wait_until(lambda messages: len(messages) >= count)

    async def take(self, topic: str, payload: bytes, qos: int, properties: dict[str, Any]) -> int:
        async with self.changed:
            self.messages.append(Published(topic, payload, qos, properties))
            self.changed.notify_all()
        return 0


@asynccontextmanager
async def subscribed(port: int, topic: str = "#", user: str = "", password: str = "") -> AsyncIterator[MqttReceiver]:
    """A receiver with a session of its own: what is published while it is away, it gets afterwards."""
    receiver = MqttReceiver()
    client = gmqtt.Client("receiver", clean_session=False, session_expiry_interval=3600)
    client.set_config({"reconnect_retries": -1, "reconnect_delay": 0.05})
    if user:
        client.set_auth_credentials(user, password)
    granted = asyncio.Event()

    def connected(client: Any, flags: int, code: int, properties: Any) -> None:
        client.subscribe(topic, qos=2)

    async def message(client: Any, topic: str, payload: bytes, qos: int, properties: dict[str, Any]) -> int:
        return await receiver.take(topic, payload, qos, properties)

    client.on_connect = connected
    client.on_subscribe = lambda *_: granted.set()
    client.on_message = message
    await client.connect("127.0.0.1", port)
    await granted.wait()
    try:
        yield receiver
    finally:
        await client.disconnect()
