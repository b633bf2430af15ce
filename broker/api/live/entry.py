"""Who may open a stream: by a token in a header, or by a ticket in the URL, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from broker.access.personal import ACCESS, Access
from broker.access.ticket import SECONDS, Ticket, Tickets, new_ticket
from broker.access.token import BearerTokens
from broker.api.context import request_context
from broker.api.services import Services, Tenant
from broker.api.tenant import HEADER, tenant_of
from broker.clock import SECOND, Micros
from broker.errors import BadRequestData, Unauthorized
from broker.jsonld.context import Context
from broker.jsonld.link import parse_context_link

LEASE_SECONDS: Final = SECONDS + 60.0
"""How long it is remembered in the store that a ticket was used: longer than it holds."""


class Entry:
    """The doorkeeper of one process."""

    def __init__(self, services: Services) -> None:
        http = services.settings.http
        self._services = services
        self._tickets = Tickets(http.token, http.personal_token)
        self._tokens = BearerTokens(http.token, http.personal_token)
        self._used: dict[str, tuple[Micros, str, Tenant]] = {}
        """Name of the lease of a ticket that was used here -> until when it must be remembered, its owner and place."""

    async def sell(self, request: web.Request) -> tuple[str, Ticket]:
        """A ticket with what the request is granted."""
        tenant = await tenant_of(request, self._services)
        link = parse_context_link(request.headers.getall("Link")) if "Link" in request.headers else None
        if link is not None:
            await self._services.contexts.resolve(link)  # one that cannot be had is said now
        access = ACCESS.get()
        ticket = new_ticket(
            self._services.clock.new_id(),
            self._services.clock.now(),
            tenant=tenant.name,
            granted=access is not None and access.granted,
            context=link,
        )
        return self._tickets.write(ticket), ticket

    async def admit(self, request: web.Request, given: Mapping[str, str], route: str) -> tuple[Tenant, Context]:
        """(the tenant, the @context to read and write names in); what is read from here on is read on behalf of who asks.

        Raises Unauthorized.
        """
        services = self._services
        text = given.get("ticket")
        if text is None:
            ACCESS.set(Access(granted=self._tokens.check(request.headers.get("Authorization")), route=route))
            return await tenant_of(request, services), await request_context(request, services)
        ticket = self._tickets.read(text, services.clock.now())
        for header in (HEADER, "Link"):
            if header in request.headers:
                raise BadRequestData(f"The ticket says the tenant and the @context: do not send the header {header}.")
        tenant = await services.tenants.find(ticket.tenant) if ticket.tenant else services.tenants.default
        context = services.contexts.core
        if ticket.context is not None:
            context = await services.contexts.resolve(ticket.context)
        if request.method != "HEAD":
            await self._use(ticket, tenant)
        ACCESS.set(Access(granted=ticket.granted, route=route))
        return tenant, context

    async def _use(self, ticket: Ticket, tenant: Tenant) -> None:
        """Once: in this process it is known here, among several by a lease."""
        now = self._services.clock.now()
        name = f"ticket:{ticket.id}"
        if name in self._used:
            raise Unauthorized("The ticket was used already: ask for another one.")
        owner = self._services.clock.new_id()  # of its own, so that not even this process takes it twice
        self._used[name] = (now + int(LEASE_SECONDS * SECOND), owner, tenant)
        if not await tenant.store.lease(name, owner, LEASE_SECONDS):
            raise Unauthorized("The ticket was used already: ask for another one.")
        for each, (until, holder, where) in list(self._used.items()):
            if until <= now:
                del self._used[each]
                await where.store.release([each], holder)
