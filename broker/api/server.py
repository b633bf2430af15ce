"""The HTTP server: every resource's routes on aiohttp."""

from __future__ import annotations

from aiohttp import web

from broker.api import attributes, entities, health, subscriptions, uplinks
from broker.api.management import devices, received, sensors
from broker.api.route import Route
from broker.api.routing import with_routes
from broker.api.services import Services

HEADER_BYTES = 32 * 1024
"""Longest request line and header field, bytes: room for q at its limit, percent-encoded."""


def build_app(services: Services) -> web.Application:
    """The application with all routes."""
    return with_routes(services.settings, all_routes(services))


def all_routes(services: Services) -> list[Route]:
    """The routes of all resources."""
    return [
        *entities.routes(services),
        *attributes.routes(services),
        *subscriptions.routes(services),
        *uplinks.routes(services),
        *devices.routes(services),
        *sensors.routes(services),
        *received.routes(services),
        *health.routes(services),
    ]


def make_runner(app: web.Application, services: Services) -> web.AppRunner:
    """The runner to serve `app` with: no access log (metrics and the request id serve), limits on headers.

    At the end, requests under way get a third of the time that an orderly stop may take; the writer needs the rest.
    """
    return web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=services.settings.http.keepalive_seconds,
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
        handle_signals=False,
        shutdown_timeout=services.settings.shutdown_seconds / 3,
    )
