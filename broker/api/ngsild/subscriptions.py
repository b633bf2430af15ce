"""Resources subscriptions/ and subscriptions/{subscriptionId} (ETSI GS CIM 009 v1.9.1, 6.10 and 6.11)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from aiohttp import web

from broker.access.personal import is_granted
from broker.api.answer import answer
from broker.api.context import Document, read_document, request_context, shared_url
from broker.api.ids import subscription_id
from broker.api.negotiation import DATA, negotiate
from broker.api.paging import COUNT_HEADER, page_links
from broker.api.parameters import options, parameters
from broker.api.route import Route
from broker.api.services import Services, Tenant
from broker.api.tenant import tenant_of
from broker.entities.records import PutRecord
from broker.errors import BadRequestData, ResourceNotFound
from broker.query.builder import entity_query, flag
from broker.subscriptions.commands import UpdateSubscription
from broker.subscriptions.model import keys_of, parse_subscription, render_subscription
from broker.subscriptions.receivers.model import PREFIX, is_receiver
from broker.subscriptions.state import read_state
from broker.subscriptions.steering import DeleteSubscription

ALL = "/ngsi-ld/v1/subscriptions"
ONE = "/ngsi-ld/v1/subscriptions/{subscription}"

WRITE = frozenset({"local"})
RETRIEVE = frozenset({"local", "options"})
OPTIONS = frozenset({"sysAttrs"})
QUERY = RETRIEVE | {"count", "limit", "offset"}
"""`offset` and `count`: 5.5.9.2, 6.3.13."""


def routes(services: Services) -> list[Route]:
    """Create, query, retrieve, update, delete."""
    limits = services.settings.limits

    async def create(request: web.Request) -> web.Response:
        """Create Subscription (6.10.3.1, 5.8.1)."""
        flag(parameters(request, WRITE), "local")
        sent = await _read(request, services)
        new_id = f"urn:ngsi-ld:Subscription:{services.clock.new_id()}"
        body = parse_subscription(sent.value, sent.names, sent.source, limits, services.clock.stamp(), new_id)
        if is_receiver(body["id"]):
            raise BadRequestData(f"'id' must not begin with '{PREFIX}': these are ready receivers (/api/v1/receivers).")
        tenant = await tenant_of(request, services, create=True)
        body["contextUrl"] = await _context_url(request, services, sent, tenant)
        if is_granted():
            body["granted"] = True
        await tenant.writer.execute(PutRecord("subscription", body["id"], body, keys_of(body), when="absent"))
        return web.Response(status=201, headers={"Location": f"{ALL}/{quote(body['id'], safe=':@,;=+$')}"})

    async def query(request: web.Request) -> web.Response:
        """Query Subscriptions (6.10.3.2, 5.8.4)."""
        tenant = await tenant_of(request, services)
        media_type = negotiate(request.headers.get("Accept"), DATA)
        given = parameters(request, QUERY)
        names = await request_context(request, services)
        sys_attrs = _sys_attrs(given)
        asked = entity_query(given, names.expand, limits, narrowed=False)
        # A city has hundreds of subscriptions, not millions: all are read, which also counts them.
        records = [each for each in await tenant.store.records("subscription") if not is_receiver(each.id)]
        page = records[asked.offset : asked.offset + asked.limit]
        states = {state.id: state.body for state in await tenant.store.records("delivery_state")} if page else {}
        now = services.clock.now()
        body = [
            render_subscription(
                record.body,
                tenant.unwritten(record.id) or read_state(states.get(record.id)),
                names,
                now,
                sys_attrs=sys_attrs,
            )
            for record in page
        ]
        response = answer(request, body, names, media_type)
        more = len(records) > asked.offset + asked.limit
        for link in page_links(ALL, given, limit=asked.limit, offset=asked.offset, more=more, media_type=media_type):
            response.headers.add("Link", link)
        if asked.count:
            response.headers[COUNT_HEADER] = str(len(records))
        return response

    async def retrieve(request: web.Request) -> web.Response:
        """Retrieve Subscription (6.11.3.1, 5.8.3)."""
        tenant = await tenant_of(request, services)
        media_type = negotiate(request.headers.get("Accept"), DATA)
        given = parameters(request, RETRIEVE)
        flag(given, "local")
        wanted = _wanted(request)
        names = await request_context(request, services)
        record = await tenant.store.record("subscription", wanted)
        if record is None:
            raise _unknown(wanted)
        state = await tenant.store.record("delivery_state", wanted)
        body = render_subscription(
            record.body,
            tenant.unwritten(wanted) or read_state(state.body if state is not None else None),
            names,
            services.clock.now(),
            sys_attrs=_sys_attrs(given),
        )
        return answer(request, body, names, media_type)

    async def update(request: web.Request) -> web.Response:
        """Update Subscription (6.11.3.2, 5.8.2)."""
        tenant = await tenant_of(request, services)
        flag(parameters(request, WRITE), "local")
        wanted = _wanted(request)
        sent = await _read(request, services)
        url = await _context_url(request, services, sent, tenant)
        await tenant.writer.execute(UpdateSubscription(wanted, sent.value, sent.names, sent.source, limits, url))
        return web.Response(status=204)

    async def delete(request: web.Request) -> web.Response:
        """Delete Subscription (6.11.3.3, 5.8.5)."""
        tenant = await tenant_of(request, services)
        flag(parameters(request, WRITE), "local")
        await tenant.writer.execute(DeleteSubscription(_wanted(request)))
        return web.Response(status=204)

    return [
        Route("POST", ALL, create, parameters=WRITE, body="Subscription", answers={201: "", 409: "", 422: ""}),
        Route("GET", ALL, query, parameters=QUERY, options=OPTIONS, answers={200: "Subscription[]"}, media=DATA),
        Route("GET", ONE, retrieve, parameters=RETRIEVE, options=OPTIONS, answers={200: "Subscription"}, media=DATA),
        Route("PATCH", ONE, update, parameters=WRITE, body="SubscriptionFragment", answers={204: "", 422: ""}),
        Route("DELETE", ONE, delete, parameters=WRITE, answers={204: ""}),
    ]


async def _read(request: web.Request, services: Services) -> Document:
    sent = await read_document(request, services)
    if not isinstance(sent.value, dict):
        raise BadRequestData("A subscription must be a JSON object.")
    context = sent.value.get("jsonldContext")
    if isinstance(context, str) and context.startswith(("http://", "https://")):
        # 5.8.1.4: one that cannot be had is said now, not at the first notification.
        await services.contexts.resolve(context)
    return sent


async def _context_url(request: web.Request, services: Services, sent: Document, tenant: Tenant) -> str | None:
    """What notifications name the subscription's @context with, in a Link header (5.13.1, 6.3.8); None: the core's."""
    return None if sent.source is None else await shared_url(request, services, sent.source, tenant.name)


def _sys_attrs(given: Mapping[str, str]) -> bool:
    return "sysAttrs" in options(given, OPTIONS)


def _wanted(request: web.Request) -> str:
    """The id in the path, of an app's subscription: ready receivers have routes of their own."""
    wanted = subscription_id(request)
    if is_receiver(wanted):
        raise _unknown(wanted)
    return wanted


def _unknown(subscription: str) -> ResourceNotFound:
    return ResourceNotFound(f"There is no subscription '{subscription}'.")
