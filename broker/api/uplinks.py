"""HTTP intake: network servers push uplinks here. Answered after the commit, whatever became of them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broker.api.body import read_body
from broker.api.parameters import parameters
from broker.api.problem import JSON
from broker.api.route import Route
from broker.api.services import Services
from broker.errors import InvalidRequest, PayloadTooLarge, ResourceNotFound
from broker.jsonio import dumps
from broker.pipeline.intake import Receipt

KNOWN = frozenset({"event"})


def routes(services: Services) -> list[Route]:
    """POST /api/v1/uplinks/{network}."""
    limits = services.settings.limits

    async def reject(network: str, event: str, body: bytes, reason: str) -> Receipt:
        meta: dict[str, Any] = {"event": event}
        if len(body) > limits.uplink_kept_bytes:
            meta["bytes"] = len(body)
        return await services.intake.reject(
            source=f"http:{network}", raw=body[: limits.uplink_kept_bytes], reason=reason, meta=meta, wait=False
        )

    async def take_in(request: web.Request) -> web.Response:
        """Take in one message of a network server. `event` says of which kind, as ChirpStack's HTTP integration does.

        200 applied or known already, 202 kept in quarantine; 400 and 413 not understood, but kept; 503 not taken.
        """
        network = request.match_info["network"]
        reader = services.uplink_readers.get(network)
        if reader is None:
            known = ", ".join(sorted(services.uplink_readers)) or "none"
            raise ResourceNotFound(f"There is no network '{network[:100]}' that pushes uplinks; there is {known}.")
        event = parameters(request, KNOWN).get("event", "up")
        received_at = services.clock.now()
        body = await read_body(request, limits)
        if len(body) > limits.uplink_bytes:
            reason = f"The message has {len(body)} bytes, more than the limit 'limits.uplink_bytes' of {limits.uplink_bytes}."
            receipt = await reject(network, event, body, reason)
            raise PayloadTooLarge(f"{reason} It is kept as '{receipt.uplink_id}'.")
        try:
            uplink = reader(event, body, source=f"http:{network}", received_at=received_at, limits=limits)
        except ValueError as error:
            reason = str(error)
            receipt = await reject(network, event, body, reason)
            raise InvalidRequest(f"{reason} The message is kept as '{receipt.uplink_id}'.") from None
        receipt = await services.intake.submit(uplink, wait=False)
        return web.Response(
            status=200 if receipt.outcome in ("applied", "duplicate") else 202,
            body=dumps(
                {
                    "uplinkId": receipt.uplink_id,
                    "outcome": receipt.outcome,
                    "reason": receipt.reason,
                    "implausible": receipt.implausible,
                }
            ),
            content_type=JSON,
        )

    return [
        Route(
            "POST",
            "/api/v1/uplinks/{network}",
            take_in,
            parameters=KNOWN,
            body="NetworkMessage",
            answers={200: "Receipt", 202: "Receipt"},
        )
    ]
