"""Resources entities/ and entities/{entityId} (ETSI GS CIM 009 v1.9.1, 6.4 and 6.5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from aiohttp import web

from broker.api.answer import answer
from broker.api.context import read_document, request_context
from broker.api.form import PARAMETERS, geometry_property, read_form
from broker.api.ids import entity_id
from broker.api.negotiation import ENTITIES, GEO_JSON, negotiate
from broker.api.paging import COUNT_HEADER, page_links
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.api.tenant import check_tenant, tenant_store
from broker.api.typed import check_type
from broker.entities.commands import CreateEntity, DeleteEntity
from broker.errors import ResourceNotFound
from broker.jsonld.context import Context
from broker.ngsild.model import Entity, Iri
from broker.ngsild.parse import Rules, parse_entity
from broker.ngsild.render import Form, render_entity, render_feature, render_features
from broker.query.builder import entity_query, flag

ALL = "/ngsi-ld/v1/entities"
ONE = "/ngsi-ld/v1/entities/{entity}"

CREATE = frozenset({"local"})
DELETE = frozenset({"type", "local"})
RETRIEVE = PARAMETERS | {"type", "local"}
QUERY = PARAMETERS | {
    "coordinates",
    "count",
    "expandValues",
    "geometry",
    "geoproperty",
    "georel",
    "id",
    "idPattern",
    "jsonKeys",
    "limit",
    "local",
    "offset",
    "q",
    "scopeQ",
    "type",
}


def routes(services: Services) -> list[Route]:
    """Create, query, retrieve, delete."""
    limits = services.settings.limits
    rules = Rules(geometry_vertices=limits.geometry_vertices)

    async def create(request: web.Request) -> web.Response:
        """Create Entity (6.4.3.1, 5.6.1)."""
        check_tenant(request)
        flag(parameters(request, CREATE), "local")
        sent = await read_document(request, services)
        fragment = parse_entity(sent.value, sent.names, rules)
        await services.writer.execute(CreateEntity(fragment))
        return web.Response(status=201, headers={"Location": f"{ALL}/{quote(fragment.id or '', safe=':@,;=+$')}"})

    async def query(request: web.Request) -> web.Response:
        """Query Entities (6.4.3.2, 5.7.2)."""
        store = tenant_store(request, services)
        media_type = negotiate(request.headers.get("Accept"), ENTITIES)
        given = parameters(request, QUERY)
        names = await request_context(request, services)
        asked = entity_query(given, names.expand, limits)
        form = read_form(given, names, limits)
        geometry = geometry_property(given, names, geojson=media_type == GEO_JSON)
        # One more than asked for tells whether another page follows.
        page = await store.query(replace(asked, limit=asked.limit + 1) if asked.limit else asked)
        entities = page.entities[: asked.limit]
        links = page_links(
            ALL,
            given,
            limit=asked.limit,
            offset=asked.offset,
            more=len(page.entities) > asked.limit,
            media_type=media_type,
        )
        response = answer(request, _rendered(entities, names, form, geometry, media_type), names, media_type)
        for link in links:
            response.headers.add("Link", link)
        if page.total is not None:
            response.headers[COUNT_HEADER] = str(page.total)
        return response

    async def retrieve(request: web.Request) -> web.Response:
        """Retrieve Entity (6.5.3.1, 5.7.1)."""
        store = tenant_store(request, services)
        media_type = negotiate(request.headers.get("Accept"), ENTITIES)
        given = parameters(request, RETRIEVE)
        wanted = entity_id(request)
        names = await request_context(request, services)
        form = read_form(given, names, limits)
        geometry = geometry_property(given, names, geojson=media_type == GEO_JSON)
        flag(given, "local")
        stored = await store.entity(wanted)
        if stored is None:
            raise ResourceNotFound(f"There is no entity '{wanted}'.")
        entity = stored.entity
        check_type(entity, given.get("type"), names, limits)
        if form.attrs is not None and form.attrs.isdisjoint(entity["attrs"]):
            raise ResourceNotFound(f"The entity '{wanted}' has none of the attributes '{given['attrs'][:200]}'.")
        body = _feature(entity, names, form, geometry) if media_type == GEO_JSON else render_entity(entity, names, form)
        return answer(request, body, names, media_type)

    async def delete(request: web.Request) -> web.Response:
        """Delete Entity (6.5.3.2, 5.6.6)."""
        store = tenant_store(request, services)
        given = parameters(request, DELETE)
        wanted = entity_id(request)
        flag(given, "local")
        if "type" in given:
            names = await request_context(request, services)
            stored = await store.entity(wanted)
            if stored is not None:
                check_type(stored.entity, given["type"], names, limits)
        await services.writer.execute(DeleteEntity(wanted))
        return web.Response(status=204)

    return [
        Route("POST", ALL, create),
        Route("GET", ALL, query),
        Route("GET", ONE, retrieve),
        Route("DELETE", ONE, delete),
    ]


def _rendered(entities: list[Entity], names: Context, form: Form, geometry: Iri, media_type: str) -> Any:
    if media_type == GEO_JSON:
        return render_features([_feature(entity, names, form, geometry) for entity in entities])
    return [render_entity(entity, names, form) for entity in entities]


def _feature(entity: Entity, names: Context, form: Form, geometry: Iri) -> dict[str, Any]:
    dataset = next(iter(form.datasets)) if len(form.datasets) == 1 else None
    return render_feature(entity, names, form, geometry=geometry, dataset_id=dataset)
