"""/api/v1/swaps and what belongs to them: which device a virtual sensor is, since when, who said so, and undoing it."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broker.api.management.common import answer, body, flag, members, moment, page_limit, shown_times, text
from broker.api.management.shapes import BINDING_TIMES, shown_claim, shown_plan, shown_replayed, shown_swap
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.codecs.quantities import quantity_names
from broker.devices.model import SwapRecord
from broker.devices.registry import as_swap, to_body
from broker.devices.swaps import Swap, Unbind
from broker.devices.undoing import Undo
from broker.errors import BadRequestData, ResourceNotFound

LIST = frozenset(("limit", "after", "virtualSensor", "device"))
SWAP = (
    "virtualSensor",
    "device",
    "at",
    "model",
    "deviceName",
    "channel",
    "by",
    "why",
    "dryRun",
    "startReadings",
    "endReadings",
)


def routes(services: Services) -> list[Route]:
    """Swap, claim, unbind, undo; the record of all; who could be next."""
    store, claims, clock = services.tenants.default.store, services.claims, services.clock

    def swap_of(given: dict[str, Any], device: str, at: int) -> Swap:
        sensor = text(given, "virtualSensor", required=True)
        assert sensor is not None
        return Swap(
            sensor,
            device.lower(),
            at,
            model=text(given, "model"),
            device_name=text(given, "deviceName") or "",
            channel=text(given, "channel") or "",
            by=text(given, "by") or "",
            why=text(given, "why") or "",
            start_readings=readings(given, "startReadings"),
            end_readings=readings(given, "endReadings"),
        )

    def readings(given: dict[str, Any], member: str) -> dict[str, float]:
        """What meters showed, by quantity or attribute; attributes by the names that the core @context gives."""
        found = given.get(member)
        if found is None:
            return {}
        if not isinstance(found, dict) or any(type(one) not in (int, float) for one in found.values()):
            raise BadRequestData(f"'{member}' must be an object of numbers by quantity or attribute.")
        names = quantity_names()
        return {name if name in names else services.contexts.core.expand(name): one for name, one in found.items()}

    async def done(swap: Swap, *, dry_run: bool) -> web.Response:
        if dry_run:
            return answer(shown_plan(await claims.preview(swap), services.contexts.core))
        return answer(shown_claim(await claims.swap(swap), services.contexts.core), 201)

    async def swap(request: web.Request) -> web.Response:
        """Swap a device. Another one is the virtual sensor from now on, or from the time that is said; dated in the past, what both devices sent since is attributed anew. With `dryRun` nothing is done, and the answer says what would be."""
        given = members(await body(request, services), SWAP)
        device, at = text(given, "device", required=True), moment(given.get("at"), "at")
        assert device is not None
        wanted = swap_of(given, device, at if at is not None else clock.now())
        return await done(wanted, dry_run=flag(given, "dryRun"))

    async def claim(request: web.Request) -> web.Response:
        """Claim a device from quarantine. The request says which virtual sensor it is; what it has sent so far is replayed."""
        given = members(await body(request, services), SWAP)
        device, at = request.match_info["device"].lower(), moment(given.get("at"), "at")
        wanted = swap_of(given, device, at if at is not None else await claims.since(device))
        return await done(wanted, dry_run=flag(given, "dryRun"))

    async def unbind(request: web.Request) -> web.Response:
        """Unbind a virtual sensor. No device is it any more, from now on or from the time that is said."""
        given = members(await body(request, services), ("at", "by", "why", "endReadings"))
        at = moment(given.get("at"), "at")
        unbound = await claims.unbind(
            Unbind(
                request.match_info["sensor"],
                at if at is not None else clock.now(),
                by=text(given, "by") or "",
                why=text(given, "why") or "",
                end_readings=readings(given, "endReadings"),
            )
        )
        return answer(shown_times(to_body(unbound.closed), BINDING_TIMES))

    async def listed(request: web.Request) -> web.Response:
        """List swaps. In the order they were said; each with who, when and why."""
        given = parameters(request, LIST)
        key = None
        if "virtualSensor" in given:
            key = f"sensor:{given['virtualSensor']}"
        elif "device" in given:
            key = f"device:{given['device'].lower()}"
        records = await store.records("swap", key=key, after=given.get("after", ""), limit=page_limit(given))
        swaps = [as_swap(record) for record in records]
        if "virtualSensor" in given and "device" in given:
            swaps = [one for one in swaps if given["device"].lower() in (one.device, one.replaced)]
        return answer([shown_swap(one) for one in swaps])

    async def show(request: web.Request) -> web.Response:
        """Show a swap."""
        return answer(shown_swap(await found(request.match_info["swap"])))

    async def undo(request: web.Request) -> web.Response:
        """Undo a swap. As if it had not been: what both devices sent since is attributed anew. Only the last one of a virtual sensor can be undone."""
        given = members(await body(request, services), ("by", "why"))
        undone, replayed = await claims.undo(
            Undo(request.match_info["swap"], by=text(given, "by") or "", why=text(given, "why") or "")
        )
        reopened = undone.reopened
        return answer(
            {
                "swap": shown_swap(undone.record),
                "reopened": shown_times(to_body(reopened), BINDING_TIMES) if reopened is not None else None,
                "replayed": shown_replayed(replayed),
            }
        )

    async def found(swap_id: str) -> SwapRecord:
        record = await store.record("swap", swap_id)
        if record is None:
            raise ResourceNotFound(f"There is no swap '{swap_id[:100]}'.")
        return as_swap(record)

    return [
        Route("POST", "/api/v1/swaps", swap, body="Swap", answers={200: "SwapPlan", 201: "Claimed", 404: "", 409: ""}),
        Route("GET", "/api/v1/swaps", listed, parameters=LIST, answers={200: "SwapRecord[]"}),
        Route("GET", "/api/v1/swaps/{swap}", show, answers={200: "SwapRecord"}),
        Route("POST", "/api/v1/swaps/{swap}/undo", undo, body="Undoing", answers={200: "Undone", 409: ""}),
        Route(
            "POST",
            "/api/v1/devices/{device}/claim",
            claim,
            body="Claim",
            answers={200: "SwapPlan", 201: "Claimed", 409: ""},
        ),
        Route(
            "POST",
            "/api/v1/virtual-sensors/{sensor}/unbind",
            unbind,
            body="Unbinding",
            answers={200: "Binding"},
        ),
    ]
