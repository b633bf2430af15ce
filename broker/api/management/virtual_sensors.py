"""/api/v1/virtual-sensors: the identities that last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from broker.api.conditional import VARY_PLAIN, if_record_matches, tagged
from broker.api.management.common import answer, body, page_limit
from broker.api.management.listing import (
    LISTED,
    Keep,
    all_of,
    boolean,
    listed,
    member_is,
    one_after_another,
    one_page,
    searched,
)
from broker.api.management.models import new_id, owner_key
from broker.api.management.names import compacted, expanded
from broker.api.management.shapes import shown_binding
from broker.api.parameters import parameters
from broker.api.route import CONDITIONS, Route
from broker.api.services import Services
from broker.clock import Micros
from broker.devices.registry import as_binding, as_sensor
from broker.errors import ResourceNotFound
from broker.pipeline.registry.deletions import DeleteSensor
from broker.pipeline.registry.edits import Edit, SaveSensor, When
from broker.stores.base import Needs, Record, RecordKind, TenantStore

LIST: Final = LISTED | {"entity", "entityType", "device", "unbound"}
ALL: Final = "/api/v1/virtual-sensors"
ONE: Final = "/api/v1/virtual-sensors/{sensor}"


def routes(services: Services) -> list[Route]:
    """List, show, create, change, delete."""
    store, writer = services.tenants.default.store, services.tenants.default.writer
    names = services.contexts.core

    async def list_sensors(request: web.Request) -> web.Response:
        """List virtual sensors. In order of their ids, each with its bindings; the header Link leads to the next page."""
        given = parameters(request, LIST)
        now = services.clock.now()
        kind = names.expand(given["entityType"]) if "entityType" in given else None
        key = f"entity:{given['entity']}" if "entity" in given else f"type:{kind}" if kind else owner_key(given)
        keep = one_after_another(
            all_of(
                searched(given, ("id", "name", "note")),
                member_is(given, "managedBy"),
                (lambda record: as_sensor(record).entity_type == kind) if kind is not None else None,
            ),
            _unbound(store, given, now),
        )
        if "device" in given:
            records, more = await of_device(given, now, keep)
        else:
            records, more = await one_page(store, "virtual_sensor", given, key=key, keep=keep)
        items = await shown_sensors(records)
        return listed(request, given, items, records[-1].id if records else "", more=more)

    async def of_device(given: Mapping[str, str], now: Micros, keep: Keep | None) -> tuple[list[Record], bool]:
        bindings = map(as_binding, await store.records("binding", key=f"device:{given['device'].lower()}"))
        wanted: set[tuple[RecordKind, str]] = {
            ("virtual_sensor", one.virtual_sensor) for one in bindings if one.covers(now)
        }
        found = (await store.load(Needs(records=wanted))).records.values()
        after, limit, entity = given.get("after", ""), page_limit(given), given.get("entity")
        records = sorted((record for record in found if record.id > after), key=lambda record: record.id)
        if entity is not None:
            records = [record for record in records if entity in as_sensor(record).entities]
        if keep is not None:
            records = await keep(records)
        return records[:limit], len(records) > limit

    async def show_sensor(request: web.Request) -> web.Response:
        """Show a virtual sensor, with its bindings."""
        return await shown(request, request.match_info["sensor"])

    async def create_sensor(request: web.Request) -> web.Response:
        """Define a virtual sensor. Refused when there is one of its id."""
        document = await read(request)
        sensor_id = new_id(document)
        await writer.execute(SaveSensor(sensor_id, Edit(document, when="absent")))
        return web.Response(status=201, headers={"Location": f"{ALL}/{sensor_id}"})

    async def put_sensor(request: web.Request) -> web.Response:
        """Define a virtual sensor, or replace it. It says which quantity becomes which attribute of which entity."""
        return await saved(request, whole=True, when="any")

    async def patch_sensor(request: web.Request) -> web.Response:
        """Change members of a virtual sensor. A JSON merge patch (RFC 7396): null takes a member away."""
        return await saved(request, whole=False, when="present")

    async def saved(request: web.Request, *, whole: bool, when: When) -> web.Response:
        sensor_id = request.match_info["sensor"]
        command = SaveSensor(sensor_id, Edit(await read(request, patch=not whole), whole, when))
        done = await writer.execute(if_record_matches(request, "virtual_sensor", sensor_id, "virtual sensor", command))
        return await shown(request, sensor_id, 201 if done.outcome == "created" else 200)

    async def delete_sensor(request: web.Request) -> web.Response:
        """Delete a virtual sensor. Refused while a device is it, now or later; its entity and its history stay."""
        sensor_id = request.match_info["sensor"]
        command = if_record_matches(request, "virtual_sensor", sensor_id, "virtual sensor", DeleteSensor(sensor_id))
        await writer.execute(command)
        return web.Response(status=204)

    async def read(request: web.Request, *, patch: bool = False) -> dict[str, Any]:
        document = await body(request, services, patch=patch)
        context = await services.contexts.resolve(document.pop("@context", None))
        return expanded(document, context)

    async def shown(request: web.Request, sensor_id: str, status: int = 200) -> web.Response:
        record = await store.record("virtual_sensor", sensor_id)
        if record is None:
            raise ResourceNotFound(f"There is no virtual sensor '{sensor_id}'.")
        (item,) = await shown_sensors([record])
        return tagged(request, answer(item, status), record.version, VARY_PLAIN)

    async def shown_sensors(records: Sequence[Record]) -> list[dict[str, Any]]:
        found = (await store.load(_bindings(records))).found
        return [
            {
                **compacted(record.body, names),
                "bindings": [shown_binding(one) for one in found.get(("binding", f"sensor:{record.id}"), ())],
            }
            for record in records
        ]

    return [
        Route("GET", ALL, list_sensors, parameters=LIST, answers={200: "VirtualSensorShown[]"}, paged=True),
        Route("POST", ALL, create_sensor, body="CreatedVirtualSensor", answers={201: "", 409: ""}),
        Route("GET", ONE, show_sensor, headers=("If-None-Match",), answers={200: "VirtualSensorShown", 304: ""}),
        Route(
            "PUT",
            ONE,
            put_sensor,
            headers=CONDITIONS,
            body="NewVirtualSensor",
            answers={200: "VirtualSensorShown", 201: "VirtualSensorShown"},
        ),
        Route(
            "PATCH",
            ONE,
            patch_sensor,
            headers=CONDITIONS,
            body="VirtualSensorPatch",
            answers={200: "VirtualSensorShown"},
        ),
        Route("DELETE", ONE, delete_sensor, headers=CONDITIONS, answers={204: "", 409: ""}),
    ]


def _bindings(records: Sequence[Record]) -> Needs:
    return Needs(found={("binding", f"sensor:{record.id}") for record in records})


def _unbound(store: TenantStore, given: Mapping[str, str], now: Micros) -> Keep | None:
    """The parameter `unbound`; None without it."""
    wanted = boolean(given, "unbound")
    if wanted is None:
        return None

    async def keep(records: Sequence[Record]) -> list[Record]:
        found = (await store.load(_bindings(records))).found
        return [
            record
            for record in records
            if any(as_binding(one).covers(now) for one in found.get(("binding", f"sensor:{record.id}"), ()))
            is not wanted
        ]

    return keep
