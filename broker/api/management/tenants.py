"""/api/v1/tenants: which tenants there are beside the default one, making one, and how long its raw uplinks are kept."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broker.api.management.common import answer, body, members, text
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.errors import BadRequestData, ResourceNotFound
from broker.pipeline.raw_uplinks import days_of, own_days
from broker.pipeline.tenants import DEFAULT
from broker.stores.base import Record


def routes(services: Services) -> list[Route]:
    """List, show, create, change."""
    tenants, raw = services.tenants, services.raw_uplinks

    async def listed(request: web.Request) -> web.Response:
        """List tenants. All but the default one, in order of their names."""
        parameters(request, frozenset())
        return answer([shown(record.id, record) for record in await tenants.recorded()])

    async def show(request: web.Request) -> web.Response:
        """Show one tenant. '-' is the default one."""
        return answer(await found(request.match_info["tenant"]))

    async def create(request: web.Request) -> web.Response:
        """Create a tenant. Needed only where the settings do not let the first write create it."""
        name = text(members(await body(request, services), ("id",)), "id", required=True)
        assert name is not None
        await tenants.create(name)
        return web.Response(status=201, headers={"Location": f"/api/v1/tenants/{name}"})

    async def change(request: web.Request) -> web.Response:
        """Change a tenant. How long the bytes of its applied uplinks are kept; null: as the setting raw_uplinks.keep_days has it. '-' is the default tenant."""
        given = members(await body(request, services, patch=True), ("rawUplinks",))
        name = request.match_info["tenant"]
        await found(name)
        if "rawUplinks" in given:
            await tenants.keep_raw("" if name == DEFAULT else name, kept(given["rawUplinks"]))
            await raw.refresh()
        return answer(await found(name))

    async def found(name: str) -> dict[str, Any]:
        record = await tenants.record_of("" if name == DEFAULT else name)
        if record is None and name != DEFAULT:
            raise ResourceNotFound(f"There is no tenant '{name[:100]}'.")
        return shown(name, record)

    def shown(name: str, record: Record | None) -> dict[str, Any]:
        own = own_days(record)
        return {
            "id": name,
            **(record.body if record is not None else {}),
            "rawUplinks": {
                "keepDays": own if own is not None else raw.setting,
                "from": "settings" if own is None else "tenant",
            },
        }

    return [
        Route("GET", "/api/v1/tenants", listed, answers={200: "Tenant[]"}),
        Route("POST", "/api/v1/tenants", create, body="NewTenant", answers={201: "", 409: "", 422: ""}),
        Route("GET", "/api/v1/tenants/{tenant}", show, answers={200: "Tenant"}),
        Route("PATCH", "/api/v1/tenants/{tenant}", change, body="TenantPatch", answers={200: "Tenant", 404: ""}),
    ]


def kept(value: Any) -> str | int | None:
    """The member `rawUplinks` of a patch: its `keepDays`, None for none of its own."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadRequestData("'rawUplinks' must be an object with 'keepDays', or null.")
    given = members(value, ("keepDays",)).get("keepDays")
    if given is not None:
        days_of(given)
    found: str | int | None = given
    return found
