"""/api/v1/commands and /api/v1/virtual-sensors/{id}/commands: tell a sensor something, follow what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from aiohttp import web

from broker.api.management.common import answer, body, members, page_limit, text
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.devices.actuation import CommandStatus, as_document, is_open
from broker.devices.commanding import as_command
from broker.errors import BadRequestData, ResourceNotFound
from broker.stores.base import Record

OF_SENSOR = frozenset(("status", "open", "after", "limit"))
LIST = OF_SENSOR | {"virtualSensor", "device"}
NEW_MEMBERS = ("command", "parameters", "expiresInSeconds", "by")


def routes(services: Services) -> list[Route]:
    """Commands."""
    store, downlinks = services.tenants.default.store, services.downlinks

    async def send(request: web.Request) -> web.Response:
        """Send a command to a virtual sensor. It is queued, sent to the device that is the sensor then, and followed."""
        given = members(await body(request, services), NEW_MEMBERS)
        name = text(given, "command", required=True)
        assert name is not None
        values = given.get("parameters", {})
        if not isinstance(values, dict):
            raise BadRequestData("'parameters' must be an object of names and values.")
        seconds = given.get("expiresInSeconds")
        if seconds is not None and (not isinstance(seconds, int) or isinstance(seconds, bool)):
            raise BadRequestData("'expiresInSeconds' must be a whole number of seconds.")
        queued = await downlinks.queue(
            request.match_info["sensor"], name, values, expires_seconds=seconds, by=(text(given, "by") or "")[:200]
        )
        return answer(as_document(queued), 201)

    async def of_sensor(request: web.Request) -> web.Response:
        """List a virtual sensor's commands. From the oldest to the newest, whichever device got them."""
        given, sensor = parameters(request, OF_SENSOR), request.match_info["sensor"]
        if await store.record("virtual_sensor", sensor) is None:
            raise ResourceNotFound(f"There is no virtual sensor '{sensor[:140]}'.")
        return answer(await found({**given, "virtualSensor": sensor}))

    async def every(request: web.Request) -> web.Response:
        """List commands. From the oldest to the newest."""
        return answer(await found(parameters(request, LIST)))

    async def found(given: Mapping[str, str]) -> list[dict[str, Any]]:
        """A page of the commands that all of the filters select: the store by one of them, then the others."""
        limit, wanted = page_limit(given), _keys(given)
        shown: list[dict[str, Any]] = []
        after = given.get("after", "")
        while True:
            page = await store.records("device_command", key=wanted[0] if wanted else None, after=after, limit=limit)
            for record in page:
                if len(shown) < limit and _has(record, wanted, given):
                    shown.append(as_document(as_command(record)))
            if len(page) < limit or len(shown) >= limit:
                return shown
            after = page[-1].id

    async def show(request: web.Request) -> web.Response:
        """Show a command, and what has become of it."""
        command_id = request.match_info["command"]
        record = await store.record("device_command", command_id)
        if record is None:
            raise ResourceNotFound(f"There is no command '{command_id[:80]}'.")
        return answer(as_document(as_command(record)))

    async def cancel(request: web.Request) -> web.Response:
        """Cancel a command. Possible as long as it has not been sent."""
        given = members(await body(request, services), ("by",))
        cancelled = await downlinks.cancel(request.match_info["command"], (text(given, "by") or "")[:200])
        return answer(as_document(cancelled))

    return [
        Route(
            "POST",
            "/api/v1/virtual-sensors/{sensor}/commands",
            send,
            body="NewCommand",
            answers={201: "Command", 404: "", 422: ""},
        ),
        Route(
            "GET",
            "/api/v1/virtual-sensors/{sensor}/commands",
            of_sensor,
            parameters=OF_SENSOR,
            answers={200: "Command[]"},
        ),
        Route("GET", "/api/v1/commands", every, parameters=LIST, answers={200: "Command[]"}),
        Route("GET", "/api/v1/commands/{command}", show, answers={200: "Command"}),
        Route(
            "POST",
            "/api/v1/commands/{command}/cancel",
            cancel,
            body="CommandCancellation",
            answers={200: "Command", 412: ""},
        ),
    ]


def _keys(given: Mapping[str, str]) -> list[str]:
    """The keys of the records that the parameters ask for, the most selective first."""
    status, wanted = given.get("status"), given.get("open")
    if status is not None and status not in get_args(CommandStatus):
        raise BadRequestData(f"'status' must be one of {', '.join(get_args(CommandStatus))}; got '{status[:40]}'.")
    if wanted not in (None, "true", "false"):
        raise BadRequestData(f"'open' must be true or false, got '{wanted[:40]}'.")
    keys = []
    if "virtualSensor" in given:
        keys.append(f"sensor:{given['virtualSensor']}")
    if "device" in given:
        keys.append(f"device:{given['device'].lower()}")
    if wanted == "true":
        keys.append("open")
    if status is not None:
        keys.append(f"status:{status}")
    return keys


def _has(record: Record, keys: list[str], given: Mapping[str, str]) -> bool:
    if any(key not in record.keys for key in keys):
        return False
    return given.get("open") != "false" or not is_open(as_command(record))
