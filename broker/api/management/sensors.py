"""/api/v1/swaps, claims and unbinding: which device is which virtual sensor."""

from __future__ import annotations

from aiohttp import web

from broker.api.management.common import answer, body, members, moment, shown_times, text
from broker.api.management.shapes import BINDING_TIMES, shown_claim
from broker.api.route import Route
from broker.api.services import Services
from broker.devices.commands import Unbind
from broker.devices.registry import to_body

SWAP_MEMBERS = ("virtualSensor", "device", "at", "model", "deviceName")


def routes(services: Services) -> list[Route]:
    """Swaps, claims, unbinding."""
    writer, claims = services.tenants.default.writer, services.claims

    async def swap(request: web.Request) -> web.Response:
        """Swap a device. Another one is the virtual sensor from now on, or from the time that is said; its uplinks that wait are replayed."""
        given = members(await body(request, services), SWAP_MEMBERS)
        sensor, device = text(given, "virtualSensor", required=True), text(given, "device", required=True)
        assert sensor is not None and device is not None
        claimed = await claims.swap(
            sensor,
            device.lower(),
            at=moment(given.get("at"), "at"),
            model=text(given, "model"),
            name=text(given, "deviceName") or "",
        )
        return answer(shown_claim(claimed), 201)

    async def claim(request: web.Request) -> web.Response:
        """Claim a device from quarantine. The request says which virtual sensor it is; what it has sent so far is replayed."""
        given = members(await body(request, services), SWAP_MEMBERS)
        sensor = text(given, "virtualSensor", required=True)
        assert sensor is not None
        claimed = await claims.claim(
            request.match_info["device"].lower(),
            sensor,
            at=moment(given.get("at"), "at"),
            model=text(given, "model"),
            name=text(given, "deviceName") or "",
        )
        return answer(shown_claim(claimed), 201)

    async def unbind(request: web.Request) -> web.Response:
        """Unbind a virtual sensor. No device is it any more."""
        given = members(await body(request, services), ("at",))
        at = moment(given.get("at"), "at")
        at = at if at is not None else services.clock.now()
        closed = await writer.execute(Unbind(request.match_info["sensor"], at))
        return answer(shown_times(to_body(closed), BINDING_TIMES))

    return [
        Route(
            "POST",
            "/api/v1/virtual-sensors/{sensor}/unbind",
            unbind,
            body="Unbinding",
            answers={200: "Binding"},
        ),
        Route("POST", "/api/v1/swaps", swap, body="Swap", answers={201: "Claimed", 404: "", 409: ""}),
        Route("POST", "/api/v1/devices/{device}/claim", claim, body="Claim", answers={201: "Claimed", 409: ""}),
    ]
