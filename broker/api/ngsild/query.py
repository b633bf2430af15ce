"""Resource entityOperations/query: Query Entities by POST (ETSI GS CIM 009 v1.9.1, 6.23, 5.7.2, 5.2.23)."""

from __future__ import annotations

from aiohttp import web

from broker.api.context import read_document
from broker.api.form import OPTIONS
from broker.api.negotiation import ENTITIES
from broker.api.ngsild.found import QUERY, answer_query
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.api.tenant import tenant_of
from broker.errors import BadRequestData
from broker.query.body import read_query

QUERY_BY_POST = "/ngsi-ld/v1/entityOperations/query"


def routes(services: Services) -> list[Route]:
    """Query by POST."""
    limits = services.settings.limits

    async def query(request: web.Request) -> web.Response:
        """Query Entities (6.23.3.1, 5.7.2)."""
        tenant = await tenant_of(request, services)
        linked = parameters(request, QUERY)
        sent = await read_document(request, services)
        given, selectors = read_query(sent.value, sent.names.expand, limits)
        for name in given.keys() & linked.keys():
            raise BadRequestData(f"'{name}' must be said once, in the body or in the URL.")
        return await answer_query(
            request,
            services,
            tenant,
            {**linked, **given},
            sent.names,
            path=QUERY_BY_POST,
            linked=linked,
            selectors=selectors,
            source=sent.source,
        )

    return [
        Route(
            "POST",
            QUERY_BY_POST,
            query,
            parameters=QUERY,
            options=OPTIONS,
            headers=("Prefer",),
            body="Query",
            answers={200: "EntityShown[]", 203: "EntityShown[]"},
            media=ENTITIES,
        )
    ]
