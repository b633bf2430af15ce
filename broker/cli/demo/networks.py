"""How frames reach the broker: ChirpStack's MQTT, its HTTP integration, CoAP for NB-IoT."""

from __future__ import annotations

from typing import Protocol

import aiocoap
import gmqtt

from broker.cli.demo.client import Api, DemoError
from broker.cli.demo.frames import SENML_JSON, Frame, chirpstack_event, chirpstack_topic
from broker.cli.demo.ports import LOOPBACK
from broker.clock import Clock


class Network(Protocol):
    """Carries frames to the broker."""

    async def send(self, frame: Frame, name: str) -> None:
        """Send one; DemoError when it did not arrive."""


class OverMqtt:
    """A LoRaWAN network server that publishes on MQTT 5 at QoS 1."""

    def __init__(self, port: int, clock: Clock) -> None:
        self._port = port
        self._clock = clock
        self._client = gmqtt.Client("knutpunkt-demo-chirpstack")

    async def open(self) -> None:
        """Connect."""
        await self._client.connect(LOOPBACK, self._port)

    async def close(self) -> None:
        """Disconnect."""
        await self._client.disconnect()

    async def send(self, frame: Frame, name: str) -> None:
        """Publish the uplink."""
        event = chirpstack_event(frame, name, self._clock.now(), self._clock.new_id())
        self._client.publish(chirpstack_topic(frame), event, qos=1)


class OverHttp:
    """The same network server with its HTTP integration instead."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    async def send(self, frame: Frame, name: str) -> None:
        """Post the uplink."""
        event = chirpstack_event(frame, name, self._clock.now(), self._clock.new_id())
        await self._api.ask("POST", "/api/v1/uplinks/chirpstack?event=up", event)


class OverCoap:
    """NB-IoT devices, each posting for itself."""

    def __init__(self, port: int) -> None:
        self._url = f"coap://{LOOPBACK}:{port}/up/"
        self._context: aiocoap.Context | None = None

    async def open(self) -> None:
        """Make the client's socket."""
        self._context = await aiocoap.Context.create_client_context()

    async def close(self) -> None:
        """Close it."""
        if self._context is not None:
            await self._context.shutdown()

    async def send(self, frame: Frame, name: str) -> None:
        """POST the device's SenML pack."""
        assert self._context is not None, "open() comes first"
        request = aiocoap.Message(
            code=aiocoap.POST, uri=self._url + frame.device, payload=frame.payload, content_format=SENML_JSON
        )
        try:
            answer = await self._context.request(request).response
        except aiocoap.error.Error as error:
            raise DemoError(f"CoAP: {error}") from None
        if not answer.code.is_successful():
            raise DemoError(f"CoAP answered {answer.code}: {answer.payload.decode(errors='replace')}")
