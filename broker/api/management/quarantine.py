"""/api/v1/quarantine: what waits for someone to say what it is; discarding it; who could replace a device."""

from __future__ import annotations

from aiohttp import web

from broker.api.management.common import answer, body, members, shown_times, text
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.clock import iso
from broker.devices.candidates import Heard, candidates
from broker.devices.registry import as_binding, as_device, as_state, to_body
from broker.errors import ResourceNotFound
from broker.stores.base import QuarantineGroup, UplinkRow

NEWEST = 20
"""Uplinks of a device in quarantine that are looked at."""
MOST_DEVICES = 200
"""Devices in quarantine that are looked at, those heard last."""
SHOWN = 10


def routes(services: Services) -> list[Route]:
    """List, discard; candidates for a virtual sensor."""
    store, quarantine = services.tenants.default.store, services.quarantine

    async def listed(request: web.Request) -> web.Response:
        """List the quarantine. What waits, by device and reason."""
        parameters(request, frozenset())
        return answer(
            [
                {
                    "device": group.device_id,
                    "count": group.count,
                    "first": iso(group.first),
                    "last": iso(group.last),
                    "reason": group.reason,
                }
                for group in await store.quarantine()
            ]
        )

    async def discard(request: web.Request) -> web.Response:
        """Discard what waits of a device. It is kept, marked as discarded, and never applied."""
        given = members(await body(request, services), ("by", "why"))
        count = await quarantine.discard(
            request.match_info["device"].lower(), text(given, "by") or "", text(given, "why") or ""
        )
        return answer({"discarded": count})

    async def candidates_of(request: web.Request) -> web.Response:
        """List candidates for a swap. Devices in quarantine that could be this virtual sensor's next, the likeliest first, with the reasons."""
        parameters(request, frozenset())
        sensor_id = request.match_info["sensor"]
        if await store.record("virtual_sensor", sensor_id) is None:
            raise ResourceNotFound(f"There is no virtual sensor '{sensor_id[:100]}'.")
        bindings = [as_binding(record) for record in await store.records("binding", key=f"sensor:{sensor_id}")]
        held = [binding for binding in bindings if not binding.empty]
        last = max(held, key=lambda binding: binding.valid_from).device if held else None
        groups = [group for group in await store.quarantine() if group.device_id is not None][:MOST_DEVICES]
        found = candidates(
            [await heard(group) for group in groups],
            replaced=last,
            model=await model_of(last),
            state=as_state(await store.record("device_state", last)) if last is not None else None,
            profile=await profile_of(last),
        )
        return answer([shown_times(to_body(one), ("first", "last")) for one in found[:SHOWN]])

    async def heard(group: QuarantineGroup) -> Heard:
        assert group.device_id is not None
        rows = await newest(group.device_id, NEWEST)
        return Heard(group.device_id, group.count, group.first, group.last, rows, await model_of(group.device_id))

    async def newest(device: str, count: int) -> list[UplinkRow]:
        return await store.uplinks(device_id=device, limit=count, newest_first=True)

    async def model_of(device: str | None) -> str | None:
        record = await store.record("device", device) if device is not None else None
        return as_device(record).model if record is not None else None

    async def profile_of(device: str | None) -> str | None:
        rows = await newest(device, 1) if device is not None else []
        return rows[0].meta.get("deviceProfile") if rows else None

    return [
        Route("GET", "/api/v1/quarantine", listed, answers={200: "QuarantineGroup[]"}),
        Route("POST", "/api/v1/quarantine/{device}/discard", discard, body="Discarding", answers={200: "Discarded"}),
        Route("GET", "/api/v1/virtual-sensors/{sensor}/candidates", candidates_of, answers={200: "Candidate[]"}),
    ]
