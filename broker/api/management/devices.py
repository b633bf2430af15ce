"""/api/v1/devices and /api/v1/device-models: what is registered, what was last heard of it."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broker.api.management.common import answer, body, page_limit, shown_times
from broker.api.management.shapes import shown_binding
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.devices.check import check_id, check_model
from broker.devices.commands import PutDevice, PutDeviceModel
from broker.devices.model import Device, DeviceModel
from broker.devices.registry import from_user, to_body
from broker.errors import BadRequestData, ResourceNotFound
from broker.stores.base import Record

STATE_TIMES = ("lastSeen", "joinedAt")
PAGED = frozenset(("limit", "after"))


def routes(services: Services) -> list[Route]:
    """Devices and device models."""
    store, writer = services.tenants.default.store, services.tenants.default.writer

    async def list_devices(request: web.Request) -> web.Response:
        """List devices. In order of their ids, each with its state and its bindings."""
        given = parameters(request, PAGED)
        records = await store.records("device", after=given.get("after", ""), limit=page_limit(given))
        return answer([await shown(record) for record in records])

    async def show_device(request: web.Request) -> web.Response:
        """Show a device, with its state and its bindings."""
        return answer(await shown(await found(request.match_info["device"])))

    async def put_device(request: web.Request) -> web.Response:
        """Register a device, or change what is registered of it. Its id is in lower case."""
        device_id = request.match_info["device"]
        device = from_user({**await body(request, services), "id": device_id}, Device, "device")
        check_id(device.id, "device")
        if device.id != device.id.lower():
            raise BadRequestData(f"A device's id is written in lower case: '{device.id.lower()}'.")
        created = await writer.execute(PutDevice(device))
        return answer(to_body(device), 201 if created else 200)

    async def found(device_id: str) -> Record:
        record = await store.record("device", device_id)
        if record is None:
            raise ResourceNotFound(f"There is no device '{device_id}'.")
        return record

    async def shown(record: Record) -> dict[str, Any]:
        state = await store.record("device_state", record.id)
        bindings = await store.records("binding", key=f"device:{record.id}")
        return {
            **record.body,
            "state": shown_times(state.body, STATE_TIMES) if state is not None else None,
            "bindings": [shown_binding(binding) for binding in bindings],
        }

    async def list_models(request: web.Request) -> web.Response:
        """List device models. In order of their ids."""
        given = parameters(request, PAGED)
        records = await store.records("device_model", after=given.get("after", ""), limit=page_limit(given))
        return answer([record.body for record in records])

    async def show_model(request: web.Request) -> web.Response:
        """Show a device model."""
        model_id = request.match_info["model"]
        record = await store.record("device_model", model_id)
        if record is None:
            raise ResourceNotFound(f"There is no device model '{model_id}'.")
        return answer(record.body)

    async def put_model(request: web.Request) -> web.Response:
        """Add a device model, or replace it. No restart is needed."""
        model_id = request.match_info["model"]
        model = from_user({**await body(request, services), "id": model_id}, DeviceModel, "device model")
        check_model(model)
        created = await writer.execute(PutDeviceModel(model))
        return answer(to_body(model), 201 if created else 200)

    return [
        Route("GET", "/api/v1/devices", list_devices, parameters=PAGED, answers={200: "DeviceShown[]"}),
        Route("GET", "/api/v1/devices/{device}", show_device, answers={200: "DeviceShown"}),
        Route("PUT", "/api/v1/devices/{device}", put_device, body="NewDevice", answers={200: "Device", 201: "Device"}),
        Route("GET", "/api/v1/device-models", list_models, parameters=PAGED, answers={200: "DeviceModel[]"}),
        Route("GET", "/api/v1/device-models/{model}", show_model, answers={200: "DeviceModel"}),
        Route(
            "PUT",
            "/api/v1/device-models/{model}",
            put_model,
            body="NewDeviceModel",
            answers={200: "DeviceModel", 201: "DeviceModel"},
        ),
    ]
