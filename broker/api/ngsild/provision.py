"""Provision of whole entities: create, delete (ETSI GS CIM 009 v1.9.1, 5.6.1, 5.6.6, 6.4.3.1, 6.5.3.2)."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from broker.api.context import read_document, request_context
from broker.api.ids import entity_id
from broker.api.ngsild.entities import ALL, ONE
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.api.tenant import tenant_of
from broker.api.typed import check_type
from broker.entities.commands import CreateEntity, DeleteEntity
from broker.ngsild.parse import Rules, parse_entity
from broker.query.builder import flag

CREATE = frozenset({"local"})
DELETE = frozenset({"type", "local"})


def routes(services: Services) -> list[Route]:
    """Create, delete."""
    limits = services.settings.limits
    rules = Rules(geometry_vertices=limits.geometry_vertices)

    async def create(request: web.Request) -> web.Response:
        """Create Entity (6.4.3.1, 5.6.1)."""
        flag(parameters(request, CREATE), "local")
        sent = await read_document(request, services)
        fragment = parse_entity(sent.value, sent.names, rules)
        # Last, so that a request which is refused brings no tenant into being.
        tenant = await tenant_of(request, services, create=True)
        await tenant.writer.execute(CreateEntity(fragment))
        return web.Response(status=201, headers={"Location": f"{ALL}/{quote(fragment.id or '', safe=':@,;=+$')}"})

    async def delete(request: web.Request) -> web.Response:
        """Delete Entity (6.5.3.2, 5.6.6)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, DELETE)
        wanted = entity_id(request)
        flag(given, "local")
        if "type" in given:
            names = await request_context(request, services)
            stored = await tenant.store.entity(wanted)
            if stored is not None:
                check_type(stored.entity, given["type"], names, limits)
        await tenant.writer.execute(DeleteEntity(wanted))
        return web.Response(status=204)

    return [
        Route("POST", ALL, create),
        Route("DELETE", ONE, delete),
    ]
