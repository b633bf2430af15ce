"""Resources jsonldContexts/ and jsonldContexts/{contextId} (ETSI GS CIM 009 v1.9.1, 5.13, 6.29 and 6.30).

Contexts are one tenant's: another one neither lists, serves nor deletes them (5.5.10). But whoever has the URL of one may
read its content without naming a tenant: Link headers lead there, and JSON-LD processors that follow them know nothing of
tenants. The ids in such URLs cannot be guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from broker.api.context import base_url, read_json_document
from broker.api.negotiation import DATA, negotiate
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.api.tenant import HEADER, tenant_of
from broker.clock import iso
from broker.errors import BadRequestData, InvalidRequest, OperationNotSupported, ResourceNotFound
from broker.jsonio import dumps
from broker.jsonld.core import CORE_URL, is_core_url
from broker.jsonld.stored import KINDS, PATH, StoredContext
from broker.query.builder import flag

ALL = PATH
ONE = PATH + "/{context}"

LIST = frozenset({"details", "kind"})
SERVE = frozenset({"details"})
DELETE = frozenset({"reload"})
NO_PARAMETERS: frozenset[str] = frozenset()


def routes(services: Services) -> list[Route]:
    """Add, list, serve, delete and reload."""
    library = services.contexts.library
    limits = services.settings.limits

    async def add(request: web.Request) -> web.Response:
        """Add @context (6.29.3.1, 5.13.2)."""
        tenant = await tenant_of(request, services)
        parameters(request, NO_PARAMETERS)
        document = await read_json_document(request, services)
        if not isinstance(document, dict) or "@context" not in document:
            raise InvalidRequest("The body must be a JSON object with an '@context'.")
        value = document["@context"]
        services.contexts.check(value)
        size = len(dumps(value))
        if size > limits.context_bytes:
            raise BadRequestData(
                f"The '@context' of {size} bytes is longer than the limit 'limits.context_bytes' of {limits.context_bytes}."
            )
        stored = await library.host(value, tenant.name)
        return web.Response(status=201, headers={"Location": f"{ALL}/{stored.id}"})

    async def query(request: web.Request) -> web.Response:
        """List @contexts (6.29.3.2, 5.13.3)."""
        tenant = await tenant_of(request, services)
        media_type = negotiate(request.headers.get("Accept"), DATA)
        given = parameters(request, LIST)
        details = flag(given, "details")
        kind = _kind(given)
        base = base_url(request, services)
        answers = [
            await _details(stored, base) if details else stored.url_at(base)
            async for stored in library.listed()
            if stored.is_for(tenant.name) and kind in (None, stored.kind)
        ]
        return web.Response(body=dumps(answers), headers={"Content-Type": media_type})

    async def serve(request: web.Request) -> web.Response:
        """Serve @context (6.30.3.1, 5.13.4)."""
        tenant = await tenant_of(request, services)
        media_type = negotiate(request.headers.get("Accept"), DATA)
        details = flag(parameters(request, SERVE), "details")
        named = HEADER in request.headers
        stored = await _found(request, tenant.name if named or details else None)
        if details:
            body = await _details(stored, base_url(request, services))
        elif stored.kind == "Cached":
            raise OperationNotSupported(
                f"The @context '{stored.id}' is a copy of '{stored.url}', and copies are not served: get it from there."
            )
        else:
            body = {"@context": stored.value}
        return web.Response(body=dumps(body), headers={"Content-Type": media_type})

    async def delete(request: web.Request) -> web.Response:
        """Delete and Reload @context (6.30.3.2, 5.13.5)."""
        tenant = await tenant_of(request, services)
        reload = flag(parameters(request, DELETE), "reload")
        stored = await _found(request, tenant.name)
        core = is_core_url(stored.url)
        if reload:
            if stored.kind != "Cached":
                raise BadRequestData(f"Only a cached @context can be reloaded; '{stored.id}' is {stored.kind}.")
            if not core:  # it is what it is (4.4), and part of this broker: there is nothing newer
                await services.contexts.reload(stored)
        elif core:
            raise BadRequestData("The core @context cannot be deleted: it is always there (4.4).")
        elif await library.remove(stored, tenant.name):
            services.contexts.forget(stored.id)
        return web.Response(status=204)

    async def delete_none(request: web.Request) -> web.Response:
        """Delete @context without an identifier (5.13.5.4)."""
        raise BadRequestData(f"The identifier of the @context to delete is missing: it stands behind '{ALL}/'.")

    async def _found(request: web.Request, tenant: str | None) -> StoredContext:
        """The one that the path names; `tenant` None: whosever it is."""
        wanted = request.match_info["context"]
        stored = await library.find(wanted)
        if stored is None or not (tenant is None or stored.is_for(tenant)):
            raise ResourceNotFound(f"There is no @context '{wanted[:200]}'.")
        return stored

    async def _details(stored: StoredContext, base: str) -> dict[str, Any]:
        """What 5.13.3.5 lists."""
        body: dict[str, Any] = {
            "URL": stored.url_at(base),
            "localId": stored.id,
            "kind": stored.kind,
            "createdAt": iso(stored.created_at),
        }
        if stored.expires_at is not None:
            body["expiresAt"] = iso(stored.expires_at)
        if is_core_url(stored.url):
            if stored.url != CORE_URL:
                body["extraInfo"] = f"Answered with '{CORE_URL}', which has all its terms."
            return body
        use = await library.use_of(stored.id)
        if use.last:
            body["lastUsage"] = iso(use.last)
        body["numberOfHits"] = use.hits
        return body

    return [
        Route("POST", ALL, add, context=False, body="ContextDocument", answers={201: ""}),
        Route("GET", ALL, query, parameters=LIST, context=False, answers={200: "Contexts"}, media=DATA),
        Route("DELETE", ALL, delete_none, context=False),
        Route("GET", ONE, serve, parameters=SERVE, context=False, answers={200: "ServedContext", 422: ""}, media=DATA),
        Route("DELETE", ONE, delete, parameters=DELETE, context=False, answers={204: "", 504: ""}),
    ]


def _kind(given: Mapping[str, str]) -> str | None:
    kind = given.get("kind")
    if kind is not None and kind not in KINDS:
        raise BadRequestData(f"'kind' must be one of {', '.join(KINDS)}, got '{kind[:60]}'.")
    return kind
