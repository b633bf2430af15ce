"""The city's devices, sending in turn for as long as the demo runs.

Which device sends from a place is what the broker's registry says: swap a sensor, and the new device sends from there
while the old one is silent, as if somebody had been there with a ladder.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import structlog

from broker.cli.demo.city import City, Sensor
from broker.cli.demo.client import Api, DemoError
from broker.cli.demo.frames import frame
from broker.cli.demo.networks import Network
from broker.clock import Clock

LOOK_EVERY_SECONDS = 2.0
"""How often the simulator looks at which device is where."""

log = structlog.get_logger(__name__)


class Simulator:
    """Sends for every place of the city in turn."""

    def __init__(self, city: City, api: Api, networks: Mapping[str, Network], clock: Clock) -> None:
        self._city = city
        self._api = api
        self._networks = networks
        self._clock = clock
        self._sent: Counter[str] = Counter()
        self._devices: dict[str, str] = {}
        self._models: dict[str, str] = {}

    async def first_round(self) -> None:
        """Every device once, at once."""
        await self._look()
        for sensor in self._city.virtual_sensors:
            await self._send(sensor)

    async def run(self, every_seconds: float) -> None:
        """Every device once in `every_seconds`, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_looking())
            while True:
                for sensor in self._city.virtual_sensors:
                    await asyncio.sleep(every_seconds / len(self._city.virtual_sensors))
                    await self._send(sensor)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            await self._look()

    async def _look(self) -> None:
        unknown = self._city.unknown
        self._devices = {unknown.virtual_sensor: unknown.id} | await self._api.current_devices()
        self._models = {unknown.id: unknown.model} | await self._api.models()

    async def _send(self, sensor: Sensor) -> None:
        device = self._devices.get(sensor.id)
        if device is None:
            return
        now = self._clock.now()
        try:
            sent = frame(device, self._models[device], sensor.signal, sensor.id, now, self._sent[device])
        except KeyError:
            # The user put a device there whose model the demo cannot imitate.
            return
        try:
            await self._networks[sent.network].send(sent, sensor.name)
        except DemoError as error:
            log.warning("demo.not_sent", device=device, reason=str(error))
        self._sent[device] += 1
