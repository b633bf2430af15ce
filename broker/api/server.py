"""The HTTP server: every resource's routes on aiohttp."""

from __future__ import annotations

import logging

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from broker.api import health, published, uplinks
from broker.api.live import routes as live
from broker.api.management import (
    actuation,
    alarms,
    bindings,
    bulk,
    delivery,
    devices,
    keys,
    lineage,
    model_check,
    models,
    places,
    places_import,
    quarantine,
    received,
    receivers,
    reprocessings,
    sensor_state,
    signing,
    swaps,
    tenants,
    virtual_sensors,
)
from broker.api.ngsild import (
    attributes,
    batch,
    contexts,
    discovery,
    entities,
    info,
    provision,
    purge,
    query,
    subscriptions,
    temporal,
)
from broker.api.openapi import docs
from broker.api.route import Route
from broker.api.routing import with_routes
from broker.api.services import Services

log = structlog.get_logger(__name__)

HEADER_BYTES = 32 * 1024
"""Longest request line and header field, bytes: room for q at its limit, percent-encoded."""


def build_app(services: Services) -> web.Application:
    """The application with all routes."""
    return with_routes(services.settings, all_routes(services))


def all_routes(services: Services) -> list[Route]:
    """The routes of all resources."""
    table = [
        *entities.routes(services),
        *query.routes(services),
        *provision.routes(services),
        *purge.routes(services),
        *attributes.routes(services),
        *batch.routes(services),
        *temporal.routes(services),
        *subscriptions.routes(services),
        *contexts.routes(services),
        *discovery.routes(services),
        *info.routes(services),
        *uplinks.routes(services),
        *models.routes(services),
        *devices.routes(services),
        *keys.routes(services),
        *virtual_sensors.routes(services),
        *bindings.routes(services),
        *bulk.routes(services),
        *sensor_state.routes(services),
        *places_import.routes(services),
        *places.routes(services),
        *reprocessings.routes(services),
        *swaps.routes(services),
        *quarantine.routes(services),
        *actuation.routes(services),
        *received.routes(services),
        *lineage.routes(services),
        *model_check.routes(services),
        *alarms.routes(services),
        *delivery.routes(services),
        *live.routes(services),
        *signing.routes(services),
        *receivers.routes(services),
        *tenants.routes(services),
        *published.routes(services),
        *health.routes(services),
    ]
    return [*table, *docs.routes(services, table)]


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
        logger=_quiet_logger(),
        handle_signals=False,
        auto_decompress=False,  # `read_body` unpacks within the limit, and says in our words what it cannot
        shutdown_timeout=services.settings.shutdown_seconds / 3,
    )


class _NoTraceback(logging.Filter):
    """What is not HTTP (scanners, TLS on this port) is answered 400 by aiohttp and is one line here, not a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        log.info("http_message_refused", status=error.code, reason=error.message.split("\n")[0][:200])
        return False


def _quiet_logger() -> logging.Logger:
    logger = logging.getLogger(__name__)
    if not logger.filters:
        logger.addFilter(_NoTraceback())
    return logger
