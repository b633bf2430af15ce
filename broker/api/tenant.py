"""Which tenant a request is for (ETSI GS CIM 009 v1.9.1, 5.5.10 and 6.3.14)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from broker.api.services import Services, Tenant

HEADER: Final = "NGSILD-Tenant"


async def tenant_of(request: web.Request, services: Services, *, create: bool = False) -> Tenant:
    """The request's tenant. `create`: the operation is one of those that may bring a tenant into being (5.5.10).

    Raises BadRequestData for a name that cannot be one, NonexistentTenant.
    """
    name = request.headers.get(HEADER)
    return await services.tenants.find(name, create=create) if name else services.tenants.default
