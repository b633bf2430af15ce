"""/api/v1/devices: what is registered, what it is now, what was last heard of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from broker.api.conditional import VARY_PLAIN, if_record_matches, tagged
from broker.api.management.common import answer, body, shown_times
from broker.api.management.listing import (
    LISTED,
    Keep,
    all_of,
    boolean,
    listed,
    member_is,
    number,
    one_after_another,
    one_page,
    searched,
    seconds,
)
from broker.api.management.models import new_id, owner_key
from broker.api.management.shapes import shown_binding
from broker.api.parameters import parameters
from broker.api.route import CONDITIONS, Route
from broker.api.services import Services
from broker.clock import SECOND, Micros
from broker.devices.registry import as_binding, as_device, as_model, as_state
from broker.errors import BadRequestData, ResourceNotFound
from broker.pipeline.registry.deletions import DeleteDevice
from broker.pipeline.registry.edits import Edit, SaveDevice, When
from broker.stores.base import Needs, Record, Snapshot, TenantStore

LIST: Final = LISTED | {"model", "network", "bound", "silentFor", "batteryBelow"}
ALL: Final = "/api/v1/devices"
ONE: Final = "/api/v1/devices/{device}"
STATE_TIMES: Final = ("lastSeen", "joinedAt")


def routes(services: Services) -> list[Route]:
    """List, show, register, change, delete."""
    store, writer = services.tenants.default.store, services.tenants.default.writer

    async def list_devices(request: web.Request) -> web.Response:
        """List devices. In order of their ids, each with its state and its bindings; the header Link leads to the next page."""
        given = parameters(request, LIST)
        key = f"model:{given['model']}" if given.get("model") else owner_key(given)
        test = all_of(searched(given, ("id", "name", "note")), member_is(given, "model"), member_is(given, "managedBy"))
        keep = one_after_another(test, _by_what_is_known(store, given, services.clock.now()))
        records, more = await one_page(store, "device", given, key=key, keep=keep)
        items = await shown_devices(store, records)
        return listed(request, given, items, records[-1].id if records else "", more=more)

    async def show_device(request: web.Request) -> web.Response:
        """Show a device, with its state and its bindings."""
        return await shown(request, request.match_info["device"])

    async def create_device(request: web.Request) -> web.Response:
        """Register a device. Refused when there is one of its id, which is in lower case."""
        document = await body(request, services)
        device_id = new_id(document)
        await writer.execute(SaveDevice(device_id, Edit(document, when="absent")))
        return web.Response(status=201, headers={"Location": f"{ALL}/{device_id}"})

    async def put_device(request: web.Request) -> web.Response:
        """Register a device, or replace what is registered of it. Its id is in lower case."""
        return await saved(request, whole=True, when="any")

    async def patch_device(request: web.Request) -> web.Response:
        """Change what is registered of a device. A JSON merge patch (RFC 7396): null takes a member away."""
        return await saved(request, whole=False, when="present")

    async def saved(request: web.Request, *, whole: bool, when: When) -> web.Response:
        device_id = request.match_info["device"]
        command = SaveDevice(device_id, Edit(await body(request, services, patch=not whole), whole, when))
        done = await writer.execute(if_record_matches(request, "device", device_id, "device", command))
        return await shown(request, device_id, 201 if done.outcome == "created" else 200)

    async def delete_device(request: web.Request) -> web.Response:
        """Delete a device. Refused while it is a virtual sensor, now or later; what it observed stays."""
        device_id = request.match_info["device"]
        await writer.execute(if_record_matches(request, "device", device_id, "device", DeleteDevice(device_id)))
        return web.Response(status=204)

    async def shown(request: web.Request, device_id: str, status: int = 200) -> web.Response:
        record = await store.record("device", device_id)
        if record is None:
            raise ResourceNotFound(f"There is no device '{device_id}'.")
        (item,) = await shown_devices(store, [record])
        return tagged(request, answer(item, status), record.version, VARY_PLAIN)

    return [
        Route("GET", ALL, list_devices, parameters=LIST, answers={200: "DeviceShown[]"}, paged=True),
        Route("POST", ALL, create_device, body="Device", answers={201: "", 409: ""}),
        Route("GET", ONE, show_device, headers=("If-None-Match",), answers={200: "DeviceShown", 304: ""}),
        Route(
            "PUT",
            ONE,
            put_device,
            headers=CONDITIONS,
            body="NewDevice",
            answers={200: "DeviceShown", 201: "DeviceShown"},
        ),
        Route("PATCH", ONE, patch_device, headers=CONDITIONS, body="DevicePatch", answers={200: "DeviceShown"}),
        Route("DELETE", ONE, delete_device, headers=CONDITIONS, answers={204: "", 409: ""}),
    ]


async def shown_devices(store: TenantStore, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Devices with their states and bindings, in one read."""
    known = await _known(store, records)
    return [
        {
            **record.body,
            "state": shown_times(state.body, STATE_TIMES) if state is not None else None,
            "bindings": [shown_binding(binding) for binding in known.found.get(("binding", f"device:{record.id}"), ())],
        }
        for record in records
        for state in [known.records.get(("device_state", record.id))]
    ]


async def _known(store: TenantStore, records: Sequence[Record]) -> Snapshot:
    """The devices' states, models and bindings."""
    return await store.load(
        Needs(
            records={("device_state", record.id) for record in records}
            | {("device_model", as_device(record).model) for record in records},
            found={("binding", f"device:{record.id}") for record in records},
        )
    )


def _by_what_is_known(store: TenantStore, given: Mapping[str, str], now: Micros) -> Keep | None:
    """The filters on a device's state, model and bindings; None without any."""
    bound, silent = boolean(given, "bound"), seconds(given, "silentFor")
    battery, network = number(given, "batteryBelow"), given.get("network")
    if network not in (None, "lorawan", "nb-iot"):
        raise BadRequestData(f"'network' must be lorawan or nb-iot, got '{network[:40]}'.")
    if bound is None and silent is None and battery is None and network is None:
        return None

    def passes(record: Record, known: Snapshot) -> bool:
        state = as_state(known.records.get(("device_state", record.id)))
        model = known.records.get(("device_model", as_device(record).model))
        bindings = map(as_binding, known.found.get(("binding", f"device:{record.id}"), ()))
        return (
            (bound is None or any(binding.covers(now) for binding in bindings) is bound)
            # A device that was never heard is silent for as long as anyone may ask.
            and (silent is None or state.last_seen is None or now - state.last_seen >= silent * SECOND)
            and (battery is None or (state.battery_percent is not None and state.battery_percent < battery))
            and (network is None or (model is not None and as_model(model).network == network))
        )

    async def keep(records: Sequence[Record]) -> list[Record]:
        known = await _known(store, records)
        return [record for record in records if passes(record, known)]

    return keep
