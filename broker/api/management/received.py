"""/api/v1/uplinks and /api/v1/history: what came in, what was observed by whom."""

from __future__ import annotations

from typing import get_args

from aiohttp import web

from broker.api.management.common import answer, moment, page_limit
from broker.api.management.shapes import raw_of, shown_history, shown_uplink
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.errors import BadRequestData, ResourceNotFound
from broker.ngsild.render import render_instance
from broker.stores.base import UplinkStatus

UPLINKS = frozenset(("status", "device", "after", "limit", "newestFirst"))
HISTORY = frozenset(("entity", "attribute", "since", "until", "limit", "newestFirst"))


def routes(services: Services) -> list[Route]:
    """Raw uplinks, history rows."""
    store = services.tenants.default.store

    async def uplinks(request: web.Request) -> web.Response:
        """List uplinks. As they came in, and what became of each."""
        given = parameters(request, UPLINKS)
        status = given.get("status")
        if status is not None and status not in get_args(UplinkStatus):
            known = ", ".join(get_args(UplinkStatus))
            raise BadRequestData(f"'status' must be one of {known}; got '{status[:40]}'.")
        rows = await store.uplinks(
            status=status,  # type: ignore[arg-type]  # checked above
            device_id=given.get("device"),
            after=given.get("after", ""),
            limit=page_limit(given),
            newest_first=given.get("newestFirst") == "true",
        )
        return answer([shown_uplink(row) for row in rows])

    async def uplink(request: web.Request) -> web.Response:
        """Show one uplink, with its bytes."""
        row = await store.uplink(request.match_info["uplink"])
        if row is None:
            raise ResourceNotFound(f"There is no uplink '{request.match_info['uplink'][:80]}'.")
        return answer({**shown_uplink(row), "raw": raw_of(row)})

    async def history(request: web.Request) -> web.Response:
        """Read the history. What an entity's attributes were, and which device measured it."""
        given = parameters(request, HISTORY)
        if "entity" not in given:
            raise BadRequestData("'entity' is required: the id of the entity whose history is asked for.")
        names = services.contexts.core
        rows = await store.history(
            given["entity"],
            names.expand(given["attribute"]) if "attribute" in given else None,
            since=moment(given.get("since"), "since"),
            until=moment(given.get("until"), "until"),
            limit=page_limit(given),
            newest_first=given.get("newestFirst") == "true",
        )
        return answer(
            [
                {
                    **shown_history(row, names.compact(row.attribute)),
                    "value": render_instance(row.instance, names) if row.instance is not None else None,
                }
                for row in rows
            ]
        )

    return [
        Route("GET", "/api/v1/uplinks", uplinks, parameters=UPLINKS, answers={200: "Uplink[]"}),
        Route("GET", "/api/v1/uplinks/{uplink}", uplink, answers={200: "Uplink"}),
        Route("GET", "/api/v1/history", history, parameters=HISTORY, answers={200: "HistoryRow[]"}),
    ]
