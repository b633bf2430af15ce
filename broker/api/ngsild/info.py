"""Resource info/sourceIdentity: who this broker is to other brokers (ETSI GS CIM 009 v1.9.1, 5.15, 5.2.40 and 6.33)."""

from __future__ import annotations

import time
from typing import Final

from aiohttp import web

from broker.api.answer import answer
from broker.api.context import request_context
from broker.api.negotiation import DATA, negotiate
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.api.tenant import HEADER, tenant_of
from broker.clock import iso
from broker.entities.records import PutRecord
from broker.errors import AlreadyExists, NonexistentTenant
from broker.stores.base import TenantStore

IDENTITY: Final = "/ngsi-ld/v1/info/sourceIdentity"
RECORD: Final = "source"


def routes(services: Services) -> list[Route]:
    """The identity."""
    started = time.monotonic()

    async def identity(request: web.Request) -> web.Response:
        """Retrieve Context Source Identity Information (6.33.3.1, 5.15.1)."""
        media_type = negotiate(request.headers.get("Accept"), DATA)
        parameters(request, frozenset())
        tenant = await named_tenant(request)
        names = await request_context(request, services)
        alias = await source_alias(services)
        if tenant:
            alias = f"{alias}-{tenant}"
        body = {
            "id": f"urn:ngsi-ld:ContextSourceIdentity:{alias}",
            "type": "ContextSourceIdentity",
            "contextSourceAlias": alias,
            "contextSourceUptime": duration(int(time.monotonic() - started)),
            "contextSourceTimeAt": iso(services.clock.now()),
        }
        return answer(request, body, names, media_type)

    async def named_tenant(request: web.Request) -> str:
        """The name of the request's tenant. One that the first write would create has its identity already: other brokers
        register it before they write to it, and 6.33.3.1 knows no answer that says it is not there.
        """
        try:
            return (await tenant_of(request, services)).name
        except NonexistentTenant:
            if services.settings.tenants.creation == "explicit":
                raise
            return request.headers[HEADER]

    return [Route("GET", IDENTITY, identity, answers={200: "ContextSourceIdentity"}, media=DATA)]


async def source_alias(services: Services) -> str:
    """What tells this broker from all others, a pseudonym for the header Via (RFC 9110, 7.6.3). Made once a store: all
    processes on it, and the next start, are the same Context Source. A tenant's is `f"{alias}-{tenant}"`.
    """
    here = services.tenants.default
    alias = await _kept(here.store)
    if alias is None:
        made = "knutpunkt-" + services.clock.new_id().replace("-", "")
        try:
            await here.writer.execute(PutRecord("identity", RECORD, {"alias": made}, when="absent"))
        except AlreadyExists:
            made = await _kept(here.store) or made
        return made
    return alias


async def _kept(store: TenantStore) -> str | None:
    record = await store.record("identity", RECORD)
    return str(record.body["alias"]) if record is not None else None


def duration(seconds: int) -> str:
    """Seconds as an ISO 8601 duration: 93784 -> 'P1DT2H3M4S', 0 -> 'PT0S'."""
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if number]
    day = f"{days}D" if days else ""
    return f"P{day}T{''.join(parts)}" if parts else f"P{day or 'T0S'}"
