"""The broker's public HTTP API, from the demo; the city is loaded through it."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson

from broker.cli.demo.city import City, device_model
from broker.clock import SECOND, Micros, iso

BOUND_SINCE = 24 * 3600 * SECOND
"""The city's sensors have been where they are for a day: meters tell of the hours before."""


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


class Api:
    """One broker over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def ask(self, method: str, path: str, body: bytes | None = None, accepted: tuple[int, ...] = ()) -> Any:
        """The answer's JSON; DemoError for a status of 400 and above that is not in `accepted`."""
        headers = {"Content-Type": "application/json"}
        async with self._session.request(method, self._url + path, data=body, headers=headers) as answer:
            content = await answer.read()
            if answer.status >= 400 and answer.status not in accepted:
                raise DemoError(f"{method} {path} was answered {answer.status}: {content.decode(errors='replace')}")
            return orjson.loads(content) if content else None

    async def current_devices(self) -> dict[str, str]:
        """Virtual sensor -> the device that it is now."""
        sensors = await self.ask("GET", "/api/v1/virtual-sensors?limit=1000")
        return {
            sensor["id"]: binding["device"]
            for sensor in sensors
            for binding in sensor["bindings"]
            if binding["validTo"] is None
        }

    async def models(self) -> dict[str, str]:
        """Device -> its model."""
        return {device["id"]: device["model"] for device in await self.ask("GET", "/api/v1/devices?limit=1000")}


async def load(api: Api, city: City, now: Micros) -> None:
    """Bring the city into the broker; what is there from the last time stays as it is."""
    for entity in city.entities:
        await api.ask("POST", "/ngsi-ld/v1/entities", orjson.dumps(entity), accepted=(409,))
    for model in sorted({device["model"] for device in city.devices}):
        await api.ask("PUT", f"/api/v1/device-models/{model}", orjson.dumps(device_model(model)))
    known = await api.models()
    for device in city.devices:
        if device["id"] not in known:
            body = {name: value for name, value in device.items() if name != "id"}
            await api.ask("PUT", f"/api/v1/devices/{device['id']}", orjson.dumps(body))
    for sensor in city.virtual_sensors:
        await api.ask("PUT", f"/api/v1/virtual-sensors/{sensor.id}", orjson.dumps(sensor.document()))
    bound = await api.current_devices()
    for sensor in city.virtual_sensors:
        if sensor.device is not None and sensor.id not in bound:
            body = {"virtualSensor": sensor.id, "device": sensor.device, "at": iso(now - BOUND_SINCE)}
            await api.ask("POST", "/api/v1/swaps", orjson.dumps(body))
