"""/api/v1/bindings: which device was which virtual sensor, and when. Made by swaps and claims; never changed."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from broker.api.conditional import VARY_PLAIN, tagged
from broker.api.management.common import answer, moment
from broker.api.management.listing import PAGED, all_of, listed, member_is, one_page
from broker.api.management.shapes import shown_binding
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.devices.registry import as_binding
from broker.errors import ResourceNotFound

LIST: Final = PAGED | {"device", "virtualSensor", "at"}
ALL: Final = "/api/v1/bindings"


def routes(services: Services) -> list[Route]:
    """List, show."""
    store = services.tenants.default.store

    async def list_bindings(request: web.Request) -> web.Response:
        """List bindings. In order of their ids, which is that of their making; the header Link leads to the next page."""
        given = dict(parameters(request, LIST))
        if "device" in given:
            given["device"] = given["device"].lower()
        at = moment(given.get("at"), "at")
        key = (
            f"sensor:{given['virtualSensor']}"
            if "virtualSensor" in given
            else f"device:{given['device']}"
            if "device" in given
            else None
        )
        keep = all_of(
            member_is(given, "device") if "virtualSensor" in given else None,
            (lambda record: as_binding(record).covers(at)) if at is not None else None,
        )
        records, more = await one_page(store, "binding", given, key=key, keep=keep)
        items = [shown_binding(record) for record in records]
        return listed(request, given, items, records[-1].id if records else "", more=more)

    async def show_binding(request: web.Request) -> web.Response:
        """Show a binding."""
        binding_id = request.match_info["binding"]
        record = await store.record("binding", binding_id)
        if record is None:
            raise ResourceNotFound(f"There is no binding '{binding_id[:140]}'.")
        return tagged(request, answer(shown_binding(record)), record.version, VARY_PLAIN)

    return [
        Route("GET", ALL, list_bindings, parameters=LIST, answers={200: "Binding[]"}, paged=True),
        Route(
            "GET",
            "/api/v1/bindings/{binding}",
            show_binding,
            headers=("If-None-Match",),
            answers={200: "Binding", 304: ""},
        ),
    ]
