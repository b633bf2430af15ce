"""Resource entities/, method DELETE: Purge Entities (ETSI GS CIM 009 v1.9.1, 6.4.3.3 and 5.6.21)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from aiohttp import web

from broker.api.context import request_context
from broker.api.ngsild.entities import ALL
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.api.tenant import tenant_of
from broker.config import Limits
from broker.entities.batch import CHUNK
from broker.entities.purge import PurgeEntities
from broker.errors import BadRequestData
from broker.ngsild.model import Iri
from broker.ngsild.names import Names
from broker.query.builder import entity_query, names_of
from broker.query.match import compile_query
from broker.query.q import parse_q

PURGE = frozenset(
    {
        "attrs",
        "coordinates",
        "csf",
        "drop",
        "expandValues",
        "geometry",
        "geometryProperty",
        "geoproperty",
        "georel",
        "id",
        "idPattern",
        "jsonKeys",
        "keep",
        "local",
        "q",
        "scopeQ",
        "type",
    }
)
ALWAYS_THERE = frozenset({"id", "type", "@id", "@type"})
"""Members that no entity can be without."""


def routes(services: Services) -> list[Route]:
    """Purge."""
    limits = services.settings.limits

    async def purge(request: web.Request) -> web.Response:
        """Purge Entities (6.4.3.3, 5.6.21).

        `CHUNK` entities are found and purged at a time, each part durable before the next is sought. A request that fails
        between two may be sent again: what is gone is not found any more.
        """
        tenant = await tenant_of(request, services)
        given = parameters(request, PURGE)
        names = await request_context(request, services)
        asked = entity_query(given, names.expand, limits)
        if "csf" in given:
            parse_q(given["csf"], names.expand, limits)  # which sources: this broker is the only one
        drop, keep = _attributes(given, "drop", names, limits), _attributes(given, "keep", names, limits)
        if drop is not None and keep is not None:
            raise BadRequestData("The parameters 'keep' and 'drop' must not be given together.")
        selected = compile_query(asked)
        page = replace(asked, limit=CHUNK)
        while True:
            found = await tenant.store.query(page)
            ids = tuple([entity["id"] for entity in found.entities])
            if ids:
                command = PurgeEntities(ids, selected, drop, keep)
                await tenant.writer.execute(command, wait=page.after is not None, weight=len(ids))
            if found.next is None:
                return web.Response(status=204)
            page = replace(page, after=found.next)

    return [Route("DELETE", ALL, purge, parameters=PURGE, answers={204: ""})]


def _attributes(given: Mapping[str, str], name: str, names: Names, limits: Limits) -> frozenset[Iri] | None:
    """The attributes of `drop` or `keep`. Raises BadRequestData."""
    if name not in given:
        return None
    terms = names_of(given[name], name, limits)
    if name == "drop" and not ALWAYS_THERE.isdisjoint(terms):
        raise BadRequestData("The parameter 'drop' must not have 'id' or 'type': an entity is deleted without 'drop'.")
    return frozenset([names.expand(term) for term in terms if term not in ALWAYS_THERE])
