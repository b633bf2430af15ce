"""HTTP intake: network servers push uplinks here. Answered after the commit, whatever became of them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broker.access.token import BearerTokens
from broker.api.body import read_body
from broker.api.parameters import parameters
from broker.api.problem import JSON
from broker.api.route import Route
from broker.api.services import Services, UplinkDoor
from broker.errors import InvalidRequest, PayloadTooLarge, ResourceNotFound
from broker.jsonio import dumps
from broker.logs import TRACE
from broker.pipeline.intake import Receipt, Unread

KNOWN = frozenset({"event"})


def routes(services: Services) -> list[Route]:
    """POST /api/v1/uplinks/{network}."""
    limits = services.settings.limits
    http = services.settings.http
    check_token = BearerTokens(http.token, http.personal_token).check

    def door_of(request: web.Request) -> tuple[str, UplinkDoor]:
        """The source's door, once it has shown its secret: its own, or the token that every route asks for."""
        name = request.match_info["network"]
        door = services.uplink_doors.get(name)
        if door is not None and door.check is not None:
            door.check(request.headers)
            return name, door
        check_token(request.headers.get("Authorization"))
        if door is None:
            known = ", ".join(sorted(services.uplink_doors)) or "none"
            raise ResourceNotFound(f"There is no network '{name[:100]}' that pushes uplinks; there is {known}.")
        return name, door

    async def reject(source: str, meta: dict[str, Any], body: bytes, reason: str) -> Receipt:
        if len(body) > limits.uplink_kept_bytes:
            meta = {**meta, "bytes": len(body)}
        return await services.intake.reject(
            source=source, raw=body[: limits.uplink_kept_bytes], reason=reason, meta=meta, wait=False
        )

    async def take_in(request: web.Request) -> web.Response:
        """Take in what a network server pushed. `network` in the path is a source of the settings, which has a secret of its own, or a network, for which the token of all routes is asked. `event` says of which kind the message is, as ChirpStack's HTTP integration does.

        200 applied or known already, 202 kept in quarantine; 400 and 413 not understood, but kept; 503 not taken. Of an array of messages each has a receipt, and those that are not understood are kept by themselves.
        """
        name, door = door_of(request)
        event = parameters(request, KNOWN | door.parameters).get("event", "up")
        source = f"http:{door.network}"
        meta: dict[str, Any] = {"event": event, "origin": name} if name != door.network else {"event": event}
        received_at = services.clock.now()
        body = await read_body(request, limits)
        if len(body) > limits.uplink_bytes:
            reason = f"The message has {len(body)} bytes, more than the limit 'limits.uplink_bytes' of {limits.uplink_bytes}."
            receipt = await reject(source, meta, body, reason)
            raise PayloadTooLarge(f"{reason} It is kept as '{receipt.uplink_id}'.")
        try:
            parts = door.read(event, body, source=source, received_at=received_at, limits=limits)
        except ValueError as error:
            parts = [Unread(body, str(error))]
        receipts = []
        request_id = TRACE.get()
        for part in parts:
            TRACE.set(request_id)
            if isinstance(part, Unread):
                receipts.append(await reject(source, meta, part.raw, part.reason))
            else:
                part.meta.update(meta)
                receipts.append(await services.intake.submit(part, wait=False))
        if len(receipts) == 1 and isinstance(parts[0], Unread):
            raise InvalidRequest(f"{parts[0].reason} The message is kept as '{receipts[0].uplink_id}'.")
        shown = [_shown(receipt) for receipt in receipts]
        done = all(receipt.outcome in ("applied", "duplicate") for receipt in receipts)
        return web.Response(
            status=200 if done else 202,
            body=dumps(shown[0] if len(shown) == 1 else {"uplinks": shown}),
            content_type=JSON,
        )

    return [
        Route(
            "POST",
            "/api/v1/uplinks/{network}",
            take_in,
            own_check=True,
            parameters=KNOWN,
            body="NetworkMessage",
            takes=("application/json", "application/octet-stream"),
            answers={200: "Received", 202: "Received"},
        )
    ]


def _shown(receipt: Receipt) -> dict[str, Any]:
    return {
        "uplinkId": receipt.uplink_id,
        "outcome": receipt.outcome,
        "reason": receipt.reason,
        "implausible": receipt.implausible,
    }
