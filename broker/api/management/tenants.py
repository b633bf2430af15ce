"""/api/v1/tenants: which tenants there are beside the default one, and making one where that must be said."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broker.api.management.common import answer, body, members, text
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.errors import ResourceNotFound


def routes(services: Services) -> list[Route]:
    """List, show, create."""
    tenants = services.tenants

    async def listed(request: web.Request) -> web.Response:
        """List tenants. All but the default one, in order of their names."""
        parameters(request, frozenset())
        return answer(await shown())

    async def show(request: web.Request) -> web.Response:
        """Show one tenant."""
        name = request.match_info["tenant"]
        for tenant in await shown():
            if tenant["id"] == name:
                return answer(tenant)
        raise ResourceNotFound(f"There is no tenant '{name[:100]}'.")

    async def create(request: web.Request) -> web.Response:
        """Create a tenant. Needed only where the settings do not let the first write create it."""
        name = text(members(await body(request, services), ("id",)), "id", required=True)
        assert name is not None
        await tenants.create(name)
        return web.Response(status=201, headers={"Location": f"/api/v1/tenants/{name}"})

    async def shown() -> list[dict[str, Any]]:
        return [{"id": record.id, **record.body} for record in await tenants.recorded()]

    return [
        Route("GET", "/api/v1/tenants", listed, answers={200: "Tenant[]"}),
        Route("POST", "/api/v1/tenants", create, body="NewTenant", answers={201: "", 409: "", 422: ""}),
        Route("GET", "/api/v1/tenants/{tenant}", show, answers={200: "Tenant"}),
    ]
