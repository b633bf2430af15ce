"""Consumption of entities: query and retrieve (ETSI GS CIM 009 v1.9.1, 5.7.1, 5.7.2, 6.4.3.2, 6.5.3.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiohttp import web

from broker.api.answer import answer
from broker.api.conditional import tagged
from broker.api.context import request_context
from broker.api.form import PARAMETERS, geometry_property, read_form
from broker.api.ids import entity_id
from broker.api.negotiation import ENTITIES, GEO_JSON, negotiate
from broker.api.paging import COUNT_HEADER, page_links
from broker.api.parameters import parameters
from broker.api.preference import as_preferred
from broker.api.route import Route
from broker.api.services import Services
from broker.api.tenant import tenant_of
from broker.api.typed import check_type
from broker.errors import ResourceNotFound
from broker.jsonld.context import Context
from broker.ngsild.model import Entity, Iri
from broker.ngsild.render import Form, render_entity, render_feature, render_features
from broker.query.builder import entity_query, flag

ALL = "/ngsi-ld/v1/entities"
ONE = "/ngsi-ld/v1/entities/{entity}"

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
    """Query, retrieve."""
    limits = services.settings.limits

    async def query(request: web.Request) -> web.Response:
        """Query Entities (6.4.3.2, 5.7.2)."""
        tenant = await tenant_of(request, services)
        media_type = negotiate(request.headers.get("Accept"), ENTITIES)
        given = parameters(request, QUERY)
        names = await request_context(request, services)
        asked = entity_query(given, names.expand, limits)
        form = read_form(given, names, limits)
        geometry = geometry_property(given, names, geojson=media_type == GEO_JSON)
        # One more than asked for tells whether another page follows.
        page = await tenant.store.query(replace(asked, limit=asked.limit + 1) if asked.limit else asked)
        entities = page.entities[: asked.limit]
        links = page_links(
            ALL,
            given,
            limit=asked.limit,
            offset=asked.offset,
            more=len(page.entities) > asked.limit,
            media_type=media_type,
        )
        body, altered = rendered(request, entities, names, form, geometry, media_type)
        if media_type == GEO_JSON:
            body = render_features(body)
        response = answer(request, body, names, media_type, altered=altered)
        for link in links:
            response.headers.add("Link", link)
        if page.total is not None:
            response.headers[COUNT_HEADER] = str(page.total)
        return response

    async def retrieve(request: web.Request) -> web.Response:
        """Retrieve Entity (6.5.3.1, 5.7.1)."""
        tenant = await tenant_of(request, services)
        media_type = negotiate(request.headers.get("Accept"), ENTITIES)
        given = parameters(request, RETRIEVE)
        wanted = entity_id(request)
        names = await request_context(request, services)
        form = read_form(given, names, limits)
        geometry = geometry_property(given, names, geojson=media_type == GEO_JSON)
        flag(given, "local")
        stored = await tenant.store.entity(wanted)
        if stored is None:
            raise ResourceNotFound(f"There is no entity '{wanted}'.")
        entity = stored.entity
        check_type(entity, given.get("type"), names, limits)
        if form.attrs is not None and form.attrs.isdisjoint(entity["attrs"]):
            raise ResourceNotFound(f"The entity '{wanted}' has none of the attributes '{given['attrs'][:200]}'.")
        (body,), altered = rendered(request, [entity], names, form, geometry, media_type)
        return tagged(request, answer(request, body, names, media_type, altered=altered), stored.version)

    return [
        Route("GET", ALL, query),
        Route("GET", ONE, retrieve),
    ]


def rendered(
    request: web.Request, entities: list[Entity], names: Context, form: Form, geometry: Iri, media_type: str
) -> tuple[Any, bool]:
    """Each entity as the request wants it, and whether any was altered to conform to a version that it prefers."""
    if media_type == GEO_JSON:
        return [_feature(entity, names, form, geometry) for entity in entities], False
    return as_preferred(request, entities, names, lambda entity: render_entity(entity, names, form))


def _feature(entity: Entity, names: Context, form: Form, geometry: Iri) -> dict[str, Any]:
    dataset = next(iter(form.datasets)) if len(form.datasets) == 1 else None
    return render_feature(entity, names, form, geometry=geometry, dataset_id=dataset)
