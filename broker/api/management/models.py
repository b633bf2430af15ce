"""/api/v1/device-models: what makes of device send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from broker.api.conditional import VARY_PLAIN, if_record_matches, tagged
from broker.api.management.common import answer, body
from broker.api.management.listing import LISTED, all_of, listed, member_is, one_page, searched
from broker.api.parameters import parameters
from broker.api.route import CONDITIONS, Route
from broker.api.services import Services
from broker.errors import BadRequestData, ResourceNotFound
from broker.pipeline.registry.deletions import DeleteModel, refuse_used
from broker.pipeline.registry.edits import Edit, SaveModel, When
from broker.pipeline.registry.follow import follow_model
from broker.stores.base import Record

LIST: Final = LISTED | {"network"}
ALL: Final = "/api/v1/device-models"
ONE: Final = "/api/v1/device-models/{model}"


def routes(services: Services) -> list[Route]:
    """List, show, create, change, delete."""
    store, writer = services.tenants.default.store, services.tenants.default.writer

    async def list_models(request: web.Request) -> web.Response:
        """List device models. In order of their ids; the header Link leads to the next page."""
        given = parameters(request, LIST)
        keep = all_of(
            searched(given, ("id", "vendor", "name")), member_is(given, "network"), member_is(given, "managedBy")
        )
        records, more = await one_page(store, "device_model", given, key=owner_key(given), keep=keep)
        return listed(request, given, [record.body for record in records], records[-1].id if records else "", more=more)

    async def show_model(request: web.Request) -> web.Response:
        """Show a device model."""
        return shown(request, await found(request.match_info["model"]))

    async def create_model(request: web.Request) -> web.Response:
        """Add a device model. Refused when there is one of its id."""
        document = await body(request, services)
        model_id = new_id(document)
        await writer.execute(SaveModel(model_id, Edit(document, when="absent")))
        return web.Response(status=201, headers={"Location": f"{ALL}/{model_id}"})

    async def put_model(request: web.Request) -> web.Response:
        """Add a device model, or replace it. No restart is needed; what its devices' entities say of it follows."""
        return await saved(request, whole=True, when="any")

    async def patch_model(request: web.Request) -> web.Response:
        """Change members of a device model. A JSON merge patch (RFC 7396): null takes a member away."""
        return await saved(request, whole=False, when="present")

    async def saved(request: web.Request, *, whole: bool, when: When) -> web.Response:
        model_id = request.match_info["model"]
        command = SaveModel(model_id, Edit(await body(request, services, patch=not whole), whole, when))
        done = await writer.execute(if_record_matches(request, "device_model", model_id, "device model", command))
        await follow_model(store, writer, model_id, done)
        return shown(request, await found(model_id), 201 if done.outcome == "created" else 200)

    async def delete_model(request: web.Request) -> web.Response:
        """Delete a device model. Refused while a device has it."""
        model_id = request.match_info["model"]
        refuse_used(model_id, await store.records("device", key=f"model:{model_id}", limit=1))
        command = if_record_matches(request, "device_model", model_id, "device model", DeleteModel(model_id))
        await writer.execute(command)
        return web.Response(status=204)

    async def found(model_id: str) -> Record:
        record = await store.record("device_model", model_id)
        if record is None:
            raise ResourceNotFound(f"There is no device model '{model_id}'.")
        return record

    return [
        Route("GET", ALL, list_models, parameters=LIST, answers={200: "DeviceModel[]"}, paged=True),
        Route("POST", ALL, create_model, body="DeviceModel", answers={201: "", 409: ""}),
        Route("GET", ONE, show_model, headers=("If-None-Match",), answers={200: "DeviceModel", 304: ""}),
        Route(
            "PUT",
            ONE,
            put_model,
            headers=CONDITIONS,
            body="NewDeviceModel",
            answers={200: "DeviceModel", 201: "DeviceModel"},
        ),
        Route("PATCH", ONE, patch_model, headers=CONDITIONS, body="DeviceModelPatch", answers={200: "DeviceModel"}),
        Route("DELETE", ONE, delete_model, headers=CONDITIONS, answers={204: "", 409: ""}),
    ]


def shown(request: web.Request, record: Record, status: int = 200) -> web.Response:
    """A thing that is shown as it is kept, with its tag."""
    return tagged(request, answer(record.body, status), record.version, VARY_PLAIN)


def owner_key(given: Mapping[str, str]) -> str | None:
    """The parameter `managedBy` as a key."""
    return f"owner:{given['managedBy']}" if given.get("managedBy") else None


def new_id(document: Mapping[str, object]) -> str:
    """The id of a thing that is to be made. Raises BadRequestData."""
    value = document.get("id")
    if not isinstance(value, str):
        raise BadRequestData("'id' must say what the new one is called.")
    return value
