"""Which tenant a request is for (ETSI GS CIM 009 v1.9.1, 5.5.10 and 6.3.14)."""

from __future__ import annotations

from aiohttp import web

from broker.api.services import Services
from broker.errors import NonexistentTenant
from broker.stores.base import TenantStore

HEADER = "NGSILD-Tenant"


def check_tenant(request: web.Request) -> None:
    """Raises NonexistentTenant unless the request is for the default tenant, the only one there is."""
    name = request.headers.get(HEADER)
    if name:
        raise NonexistentTenant(
            f"There is no tenant '{name[:100]}'; leave the header {HEADER} out for the default one."
        )


def tenant_store(request: web.Request, services: Services) -> TenantStore:
    """The store of the request's tenant. Raises NonexistentTenant."""
    check_tenant(request)
    return services.store
