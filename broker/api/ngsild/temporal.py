"""Temporal evolutions of entities: create or add to, query, retrieve (ETSI GS CIM 009 v1.9.1, 5.6.11, 5.7.3, 5.7.4, 6.18, 6.19)."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from broker.api.context import read_document, request_context
from broker.api.ids import entity_id
from broker.api.negotiation import DATA
from broker.api.ngsild.evolved import OPTIONS, QUERY, READ, Answering, check_filters
from broker.api.paging import COUNT_HEADER, page_links
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.api.tenant import tenant_of
from broker.entities.evolution import UpsertEvolution
from broker.errors import BadRequestData, OperationNotSupported, ResourceNotFound
from broker.history.page import find_one, find_page
from broker.ngsild.parse import Rules
from broker.ngsild.temporal import parse_evolution
from broker.query.builder import entity_query, flag

ALL = "/ngsi-ld/v1/temporal/entities"
ONE = "/ngsi-ld/v1/temporal/entities/{entity}"
CREATE = frozenset({"local"})


def routes(services: Services) -> list[Route]:
    """Create or update, query, retrieve."""
    limits = services.settings.limits
    rules = Rules(geometry_vertices=limits.geometry_vertices)

    async def upsert(request: web.Request) -> web.Response:
        """Create or Update Temporal Evolution of an Entity (6.18.3.1, 5.6.11). Instances are added to its history; the
        entity as it is now stays as it is.
        """
        flag(parameters(request, CREATE), "local")
        sent = await read_document(request, services)
        fragment = parse_evolution(sent.value, sent.names, rules)
        if fragment.expires_at is not None:
            raise OperationNotSupported(
                "'expiresAt' of a temporal evolution is not supported: leave it out. Instances may have it."
            )
        # Last, so that a request which is refused brings no tenant into being.
        tenant = await tenant_of(request, services, create=True)
        if not await tenant.writer.execute(UpsertEvolution(fragment)):
            return web.Response(status=204)
        return web.Response(status=201, headers={"Location": f"{ALL}/{quote(fragment.id, safe=':@,;=+$')}"})

    async def query(request: web.Request) -> web.Response:
        """Query Temporal Evolution of Entities (6.18.3.2, 5.7.4)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, QUERY)
        names = await request_context(request, services)
        wanted = Answering(request, services, given, names, required=True)
        asked = entity_query(given, names.expand, limits)
        check_filters(given, asked, names, limits)
        if asked.order:
            if not flag(given, "local"):
                raise BadRequestData("'orderBy' must be given with 'local=true' only (5.7.4.4).")
            if len(asked.order) > 1 or asked.order[0].path.attribute != "id":
                raise BadRequestData(
                    f"'orderBy' must be 'id', which alone orders evolutions, got '{given['orderBy']}'."
                )
        found = await find_page(
            tenant.store,
            asked,
            wanted.instances,
            services.clock.now(),
            most=limits.temporal_entities,
            instances=wanted.shows_attributes,
        )
        response = wanted.answer(found, [wanted.rendered(each) for each in found.evolutions])
        for link in page_links(
            ALL, given, limit=asked.limit, offset=asked.offset, more=found.more, media_type=wanted.media_type
        ):
            response.headers.add("Link", link)
        if found.total is not None:
            response.headers[COUNT_HEADER] = str(found.total)
        return response

    async def retrieve(request: web.Request) -> web.Response:
        """Retrieve Temporal Evolution of an Entity (6.19.3.1, 5.7.3)."""
        tenant = await tenant_of(request, services)
        given = parameters(request, READ)
        entity = entity_id(request)
        names = await request_context(request, services)
        wanted = Answering(request, services, given, names)
        flag(given, "local")
        found, known = await find_one(
            tenant.store, entity, wanted.instances, services.clock.now(), instances=wanted.shows_attributes
        )
        if not known:
            raise ResourceNotFound(f"Nothing is known of an entity '{entity}'.")
        if found is None:
            raise ResourceNotFound(f"The evolution of '{entity}' has no instance that the request means.")
        body = wanted.rendered(found.evolutions[0])
        if not body[0]:
            raise ResourceNotFound(f"The evolution of '{entity}' has nothing of what 'pick' and 'omit' leave.")
        return wanted.answer(found, body)

    return [
        Route(
            "POST",
            ALL,
            upsert,
            parameters=CREATE,
            body="NewEvolution",
            answers={201: "", 204: "", 422: ""},
        ),
        Route(
            "GET",
            ALL,
            query,
            parameters=QUERY,
            options=OPTIONS,
            headers=("Prefer",),
            answers={200: "Evolution[]", 203: "Evolution[]", 206: "Evolution[]", 422: ""},
            media=DATA,
        ),
        Route(
            "GET",
            ONE,
            retrieve,
            parameters=READ,
            options=OPTIONS,
            headers=("Prefer",),
            answers={200: "Evolution", 203: "Evolution", 206: "Evolution", 403: "", 422: ""},
            media=DATA,
        ),
    ]
