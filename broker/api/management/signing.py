"""/api/v1/subscriptions/{id}/signing: the secret that a subscription's notifications are signed with. It is never shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from broker.api.ids import subscription_id
from broker.api.management.common import answer, body, members
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.api.tenant import tenant_of
from broker.errors import ResourceNotFound
from broker.subscriptions.signing import Secret, SetSecret, check_secret, hours, read_secrets

ONE = "/api/v1/subscriptions/{subscription}/signing"
TENANT = ("NGSILD-Tenant",)


def routes(services: Services) -> list[Route]:
    """Set, show without the secret, end."""

    async def put(request: web.Request) -> web.Response:
        """Sign a subscription's notifications. With a secret of yours, from now on; the one before may go on for a while, so
        that receivers can change over: meanwhile there is a signature by each.
        """
        parameters(request, frozenset())
        given = members(await body(request, services), ("secret", "keepPreviousHours"))
        secret = check_secret(given.get("secret"))
        keep = hours(given.get("keepPreviousHours", 0), "keepPreviousHours")
        tenant = await tenant_of(request, services)
        secrets = await tenant.writer.execute(SetSecret(subscription_id(request), secret, keep))
        return answer(shown(secrets))

    async def show(request: web.Request) -> web.Response:
        """Show since when a subscription's notifications are signed. Not with what."""
        parameters(request, frozenset())
        wanted = subscription_id(request)
        record = await (await tenant_of(request, services)).store.record("subscription", wanted)
        if record is None:
            raise ResourceNotFound(f"There is no subscription '{wanted[:200]}'.")
        now = services.clock.now()
        return answer(shown(one for one in read_secrets(record.body) if one.holds(now)))

    async def end(request: web.Request) -> web.Response:
        """Sign a subscription's notifications no more. At once, whatever secrets there were."""
        parameters(request, frozenset())
        tenant = await tenant_of(request, services)
        await tenant.writer.execute(SetSecret(subscription_id(request), None))
        return web.Response(status=204)

    return [
        Route("GET", ONE, show, headers=TENANT, answers={200: "Signing"}),
        Route("PUT", ONE, put, headers=TENANT, body="NewSigning", answers={200: "Signing"}),
        Route("DELETE", ONE, end, headers=TENANT, answers={204: ""}),
    ]


def shown(secrets: Iterable[Secret]) -> dict[str, Any]:
    """What is told of them."""
    return {"secrets": [one.shown() for one in secrets]}
