"""Consumption of entities: query and retrieve (ETSI GS CIM 009 v1.9.1, 5.7.1, 5.7.2, 6.4.3.2, 6.5.3.1)."""

from __future__ import annotations

from aiohttp import web

from broker.api.answer import answer
from broker.api.conditional import tagged
from broker.api.context import request_context
from broker.api.form import OPTIONS
from broker.api.ids import entity_id
from broker.api.negotiation import ENTITIES, GEO_JSON, negotiate
from broker.api.ngsild.found import QUERY, READ, Answering, answer_query
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services, Tenant
from broker.api.tenant import tenant_of
from broker.api.typed import check_type
from broker.errors import ResourceNotFound
from broker.ngsild.expired import living
from broker.ngsild.model import Entity
from broker.ngsild.render import render_entity
from broker.query.builder import flag

ALL = "/ngsi-ld/v1/entities"
ONE = "/ngsi-ld/v1/entities/{entity}"


def routes(services: Services) -> list[Route]:
    """Query, retrieve."""
    limits = services.settings.limits

    async def held(tenant: Tenant, wanted: str) -> tuple[Entity, int]:
        """The entity without what has expired of it, and its version."""
        stored = await tenant.store.entity(wanted)
        entity = living(stored.entity, services.clock.now()) if stored is not None else None
        if stored is None or entity is None:
            raise ResourceNotFound(f"There is no entity '{wanted}'.")
        return entity, stored.version

    async def query(request: web.Request) -> web.Response:
        """Query Entities (6.4.3.2, 5.7.2)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, QUERY)
        names = await request_context(request, services)
        return await answer_query(request, services, tenant, given, names, path=ALL, linked=given)

    async def retrieve(request: web.Request) -> web.Response:
        """Retrieve Entity (6.5.3.1, 5.7.1)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, READ)
        wanted = entity_id(request)
        names = await request_context(request, services)
        if not given and "Prefer" not in request.headers:
            media_type = negotiate(request.headers.get("Accept"), ENTITIES)
            if media_type != GEO_JSON:
                # Most retrievals: nothing has to be read of how the answer shall be.
                entity, version = await held(tenant, wanted)
                return tagged(request, answer(request, render_entity(entity, names), names, media_type), version)
        answering = Answering(request, services, tenant, given, names)
        flag(given, "local")
        entity, version = await held(tenant, wanted)
        check_type(entity, given.get("type"), names, limits)
        form = answering.form
        if form.attrs is not None and form.attrs.isdisjoint(entity["attrs"]):
            raise ResourceNotFound(f"The entity '{wanted}' has none of the attributes '{given['attrs'][:200]}'.")
        body, altered = await answering.body([entity])
        if (form.pick is not None or form.omit) and not body[0]:
            raise ResourceNotFound(f"The entity '{wanted}' has nothing of what 'pick' and 'omit' leave.")
        if answering.join is not None:
            return answering.answer(body if answering.join.kind == "flat" else body[0], altered=altered)
        return tagged(request, answering.answer(body[0], altered=altered), version)

    return [
        Route(
            "GET",
            ALL,
            query,
            parameters=QUERY,
            options=OPTIONS,
            headers=("Prefer",),
            answers={200: "EntityShown[]", 203: "EntityShown[]"},
            media=ENTITIES,
        ),
        Route(
            "GET",
            ONE,
            retrieve,
            parameters=READ,
            options=OPTIONS,
            headers=("If-None-Match", "Prefer"),
            answers={200: "EntityShown", 203: "EntityShown", 304: ""},
            media=ENTITIES,
        ),
    ]
