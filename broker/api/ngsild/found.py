"""Entities that were found, as an answer: linked ones beside or within them, in any representation, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from broker.api.answer import answer
from broker.api.context import shared_url
from broker.api.form import JOIN, PARAMETERS, Shows, geometry_property, read_form, read_join
from broker.api.negotiation import ENTITIES, GEO_JSON, JSON, negotiate
from broker.api.paging import COUNT_HEADER, page_links
from broker.api.preference import as_preferred
from broker.api.services import Services, Tenant
from broker.errors import BadRequestData
from broker.jsonld.context import Context
from broker.ngsild.expired import living
from broker.ngsild.joined import form_of, with_linked
from broker.ngsild.linked import Join, Shown, linked_entities
from broker.ngsild.model import Entity, Iri
from broker.ngsild.projection import MEMBERS
from broker.ngsild.render import Form, render_entity, render_feature, render_features
from broker.query.ast import EntityQuery, EntitySelector
from broker.query.builder import entity_query, flag
from broker.query.linked import depth_of, without_links
from broker.query.q import parse_q
from broker.stores.base import Needs, TenantStore

READ = PARAMETERS | JOIN | {"entityMap", "entityMapLifetime", "local", "type"}
"""Parameters of retrieval, and of a query."""

QUERY = READ | {
    "after",
    "collation",
    "coordinates",
    "count",
    "csf",
    "expandValues",
    "geometry",
    "geoproperty",
    "georel",
    "id",
    "idPattern",
    "jsonKeys",
    "limit",
    "offset",
    "orderBy",
    "orderFrom",
    "orderGeometry",
    "q",
    "scopeQ",
    "splitEntities",
}
"""Parameters of a query. `after` is ours: where the page begins, as the 'next' link says it."""


class Answering:
    """How one request wants entities."""

    def __init__(
        self, request: web.Request, services: Services, tenant: Tenant, given: Mapping[str, str], names: Context
    ) -> None:
        """Raises NotAcceptable, BadRequestData, InvalidRequest."""
        self.request, self.services, self.tenant, self.given, self.names = request, services, tenant, given, names
        limits = services.settings.limits
        self.media_type = negotiate(request.headers.get("Accept"), ENTITIES)
        self.form: Form = read_form(given, names, limits)
        self.geometry: Iri = geometry_property(given, names, geojson=self.media_type == GEO_JSON)
        self.join: Join | None
        self.shows: Shows
        self.join, self.shows = read_join(given, names, limits)
        # With one broker there is nobody to map entities to, and no entity is split: said, and of no effect (5.7.1, 5.7.2).
        flag(given, "entityMap")
        flag(given, "splitEntities")

    async def body(self, entities: list[Entity]) -> tuple[list[dict[str, Any]], bool]:
        """What is shown of `entities` and of those they link to, and whether any was altered for an older version."""
        if self.join is None:
            return self._rendered(entities)
        start = [self.shows(entity) for entity in entities]
        most = self.services.settings.limits.join_entities
        found = await linked_entities(start, self.join, self._load, most)
        if self.join.kind == "inline":
            return self._inline(start, {shown.entity["id"]: shown.entity for shown in (*start, *found)}), False
        flat: dict[str, Shown] = {}
        for shown in (*start, *found):
            flat.setdefault(shown.entity["id"], shown)
        items = [self._one(shown.entity, form_of(self.form, shown)) for shown in flat.values()]
        return [item for item in items if item], False

    def answer(self, body: Any, *, altered: bool, url: str | None = None) -> web.Response:
        """The response. `url` names an @context that the request had inline."""
        if self.media_type == GEO_JSON and isinstance(body, list):
            body = render_features(body)
        return answer(self.request, body, self.names, self.media_type, url=url, altered=altered)

    def _rendered(self, entities: list[Entity]) -> tuple[list[dict[str, Any]], bool]:
        form = self.form
        if self.media_type == GEO_JSON:
            return [self._one(entity, form) for entity in entities], False
        return as_preferred(self.request, entities, self.names, lambda entity: render_entity(entity, self.names, form))

    def _one(self, entity: Entity, form: Form) -> dict[str, Any]:
        if self.media_type != GEO_JSON:
            return render_entity(entity, self.names, form)
        dataset = next(iter(form.datasets)) if len(form.datasets) == 1 else None
        return render_feature(entity, self.names, form, geometry=self.geometry, dataset_id=dataset)

    def _inline(self, start: list[Shown], known: Mapping[str, Entity]) -> list[dict[str, Any]]:
        assert self.join is not None
        return [
            with_linked(
                shown, self._one(shown.entity, form_of(self.form, shown)), known, self.names, self.form, self.join
            )
            for shown in start
        ]

    async def _load(self, ids: set[str]) -> dict[str, Entity]:
        found = await self.tenant.store.load(Needs(entities=ids))
        now = self.services.clock.now()
        entities = {entity_id: living(stored.entity, now) for entity_id, stored in found.entities.items()}
        return {entity_id: entity for entity_id, entity in entities.items() if entity is not None}


async def answer_query(
    request: web.Request,
    services: Services,
    tenant: Tenant,
    given: Mapping[str, str],
    names: Context,
    *,
    path: str,
    linked: Mapping[str, str],
    selectors: tuple[EntitySelector, ...] = (),
    source: Any = None,
) -> web.Response:
    """Query Entities (5.7.2): `given` are all parameters, `linked` those that links to other pages repeat.

    `source` is the @context as the body had it.
    """
    limits = services.settings.limits
    wanted = Answering(request, services, tenant, given, names)
    asked = entity_query(given, names.expand, limits, selectors=selectors, linked=True)
    if depth_of(asked.q) > (wanted.join.level if wanted.join is not None else 0):
        raise BadRequestData("'q' asks for linked entities deeper than 'join' and 'joinLevel' retrieve them.")
    if "csf" in given:
        parse_q(given["csf"], names.expand, limits)  # which sources: this broker is the only one
    now = services.clock.now()
    asked = _with_picked(replace(asked, now=now, after=given.get("after")), wanted.form)
    asked = await without_links(asked, lambda query: _ids(tenant.store, query), limits.query_linked)
    page = await tenant.store.query(asked)
    body, altered = await wanted.body([alive for entity in page.entities if (alive := living(entity, now))])
    url = None
    if names.url is None and source is not None and wanted.media_type == JSON:
        url = await shared_url(request, services, source, tenant.name)
    response = wanted.answer(body, altered=altered, url=url)
    links = page_links(
        path,
        linked,
        limit=asked.limit,
        offset=asked.offset,
        more=page.more,
        media_type=wanted.media_type,
        after=page.next,
    )
    for link in links:
        response.headers.add("Link", link)
    if page.total is not None:
        response.headers[COUNT_HEADER] = str(page.total)
    return response


def _with_picked(asked: EntityQuery, form: Form) -> EntityQuery:
    """Where only attributes are picked, an entity that has none of them would have nothing to show (4.21)."""
    if form.pick is None or not MEMBERS.isdisjoint(form.pick) or asked.attributes:
        return asked
    return replace(asked, attributes=tuple(sorted(form.pick)))


async def _ids(store: TenantStore, query: EntityQuery) -> list[str]:
    return [entity["id"] for entity in (await store.query(query)).entities]
