"""Is it alive, is it ready, what does it count. For supervisors and Prometheus; health needs no token, metrics do."""

from __future__ import annotations

import asyncio

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from broker.api.problem import JSON
from broker.api.route import Route
from broker.api.services import Services
from broker.jsonio import dumps

READY_SECONDS = 5.0
"""How long the components may take to say how they are; supervisors commonly wait ten."""


def routes(services: Services) -> list[Route]:
    """Liveness, readiness, metrics."""

    async def live(request: web.Request) -> web.Response:
        """Is it alive? 200 as long as the process serves requests."""
        return _json(200, {"status": "ok"})

    async def ready(request: web.Request) -> web.Response:
        """Is it ready? 200 when every component is 'ok', else 503; the body says which is not, and why."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                components = await services.ready()
        except TimeoutError:
            components = {"readiness": f"no answer within {READY_SECONDS:.0f} s"}
        well = all(state == "ok" for state in components.values())
        return _json(200 if well else 503, {"status": "ok" if well else "not ready", "components": components})

    async def metrics(request: web.Request) -> web.Response:
        """Read the metrics. Everything that is counted, in Prometheus' text format."""
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [
        Route("GET", "/health/live", live, public=True, answers={200: "Alive"}),
        Route("GET", "/health/ready", ready, public=True, answers={200: "Readiness", 503: "Readiness"}),
        Route("GET", "/metrics", metrics, answers={200: "Text"}, media=("text/plain",)),
    ]


def _json(status: int, body: dict[str, object]) -> web.Response:
    return web.Response(status=status, body=dumps(body), content_type=JSON, headers={"Cache-Control": "no-store"})
