"""/api/v1/virtual-sensors: the identities that last, and what is bound to them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broker.api.management.common import answer, body, page_limit
from broker.api.management.shapes import shown_binding
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.devices.check import check_sensor
from broker.devices.commands import PutVirtualSensor
from broker.devices.model import VirtualSensor
from broker.devices.registry import from_user, to_body
from broker.errors import BadRequestData, ResourceNotFound
from broker.jsonld.context import Context
from broker.stores.base import Record

LIST = frozenset(("limit", "after", "entity"))
NAMED = ("outputs", "derived", "thresholds")
"""Members with parts that name attributes."""


def routes(services: Services) -> list[Route]:
    """Virtual sensors."""
    store, writer = services.tenants.default.store, services.tenants.default.writer

    async def list_sensors(request: web.Request) -> web.Response:
        """List virtual sensors. In order of their ids, each with its bindings."""
        given = parameters(request, LIST)
        key = f"entity:{given['entity']}" if "entity" in given else None
        records = await store.records("virtual_sensor", key=key, after=given.get("after", ""), limit=page_limit(given))
        return answer([await shown(record) for record in records])

    async def show_sensor(request: web.Request) -> web.Response:
        """Show a virtual sensor, with its bindings."""
        sensor_id = request.match_info["sensor"]
        record = await store.record("virtual_sensor", sensor_id)
        if record is None:
            raise ResourceNotFound(f"There is no virtual sensor '{sensor_id}'.")
        return answer(await shown(record))

    async def shown(record: Record) -> dict[str, Any]:
        bindings = await store.records("binding", key=f"sensor:{record.id}")
        names = services.contexts.core
        return {**_compacted(record.body, names), "bindings": [shown_binding(one) for one in bindings]}

    async def put_sensor(request: web.Request) -> web.Response:
        """Define a virtual sensor. It says which quantity becomes which attribute of which entity."""
        document = await body(request, services)
        context = await services.contexts.resolve(document.pop("@context", None))
        sensor = from_user(
            {**_expanded(document, context), "id": request.match_info["sensor"]}, VirtualSensor, "virtual sensor"
        )
        check_sensor(sensor)
        created = await writer.execute(PutVirtualSensor(sensor))
        return answer(_compacted(to_body(sensor), services.contexts.core), 201 if created else 200)

    return [
        Route("GET", "/api/v1/virtual-sensors", list_sensors, parameters=LIST, answers={200: "VirtualSensorShown[]"}),
        Route("GET", "/api/v1/virtual-sensors/{sensor}", show_sensor, answers={200: "VirtualSensorShown"}),
        Route(
            "PUT",
            "/api/v1/virtual-sensors/{sensor}",
            put_sensor,
            body="NewVirtualSensor",
            answers={200: "VirtualSensor", 201: "VirtualSensor"},
        ),
    ]


def _expanded(document: dict[str, Any], context: Context) -> dict[str, Any]:
    """The user's names of type and attributes as IRIs."""
    made = dict(document)
    if isinstance(made.get("entityType"), str):
        made["entityType"] = context.expand(made["entityType"])
    outputs = made.get("outputs")
    if not isinstance(outputs, list):
        raise BadRequestData("'outputs' must be an array of objects with 'quantity' and 'attribute'.")
    for member in NAMED:
        if isinstance(parts := made.get(member), list):
            made[member] = [
                {**part, "attribute": context.expand(part["attribute"])}
                if isinstance(part, dict) and isinstance(part.get("attribute"), str)
                else part
                for part in parts
            ]
    return made


def _compacted(document: dict[str, Any], context: Context) -> dict[str, Any]:
    made = {**document, "entityType": context.compact(document["entityType"])}
    for member in NAMED:
        made[member] = [
            {**part, "attribute": context.compact(part["attribute"])} if part.get("attribute") is not None else part
            for part in document.get(member, ())
        ]
    return made
