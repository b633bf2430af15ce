"""The one thin layer around every handler: request id, token, errors, the tenant's echo, compression, metrics.

A closure a route, made at registration, costs one call; a stack of middlewares would cost one call each.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count
from re import ASCII
from re import compile as pattern
from time import perf_counter

import structlog
from aiohttp import web
from prometheus_client import Counter

from broker import metrics
from broker.access.personal import ACCESS, Access
from broker.api.compress import compress
from broker.api.problem import problem_response
from broker.api.route import Handler, Route
from broker.api.stream import Stream
from broker.api.tenant import HEADER as TENANT
from broker.errors import BrokerError, InternalError, InvalidRequest, Overloaded, PayloadTooLarge
from broker.logs import TRACE

log = structlog.get_logger(__name__)

REQUEST_ID = "X-Request-Id"
_SANE_ID = pattern(r"[A-Za-z0-9._:/+=@-]{1,128}", ASCII)
NGSI_LD = "/ngsi-ld/"
SERVER = "knutpunkt"
"""Said in place of the names and versions of our libraries."""


def request_ids() -> Callable[[], str]:
    """Makes ids for requests that bring none: a random word of this process and a number (a UUID takes ten times longer)."""
    word, numbers = secrets.token_hex(6), count(1)
    return lambda: f"{word}-{next(numbers)}"


def wrapped(
    route: Route,
    *,
    new_id: Callable[[], str],
    check: Callable[[str | None], bool],
    body_bytes: int,
    compress_bytes: int = 0,
) -> Handler:
    """`route`'s handler with the layer around it. `check` says whether the Authorization header grants personal data, and
    raises Unauthorized for a wrong one.

    Answers of `compress_bytes` or more are packed for clients that take it; 0: none is.
    """
    handler, path, method = route.handler, route.path, route.method
    standard = path.startswith(NGSI_LD)
    plain, granted = Access(granted=False, route=path), Access(granted=True, route=path)
    public = route.public or route.own_check
    observe = metrics.http_seconds.labels(path).observe
    counters: dict[int, Counter] = {}

    async def endpoint(request: web.Request) -> web.StreamResponse:
        started = perf_counter()
        request_id = request.headers.get(REQUEST_ID)
        if request_id is None or _SANE_ID.fullmatch(request_id) is None:
            request_id = new_id()
        TRACE.set(request_id)
        response: web.StreamResponse
        try:
            ACCESS.set(plain)
            if not public and check(request.headers.get("Authorization")):
                ACCESS.set(granted)
            response = await handler(request)
        except BrokerError as error:
            # Being overloaded is counted where it arises; a line for each would add to the load.
            if error.status >= 500 and not isinstance(error, Overloaded):
                log.warning("http.request_failed", method=request.method, route=path, detail=error.detail)
            response = problem_response(error, standard=standard)
            if error.status == PayloadTooLarge.status:
                response.force_close()
        except web.HTTPRequestEntityTooLarge:
            response = problem_response(too_large(body_bytes))
            response.force_close()
        except web.RequestPayloadError:
            response = problem_response(InvalidRequest("The body ended early or is not encoded as its headers say."))
            response.force_close()
        except Exception:
            log.exception("http.request_crashed", method=request.method, route=path)
            response = problem_response(
                InternalError(f"Something failed here; the log has it under the request id '{request_id}'.")
            )
        if not response.prepared:
            headers = response.headers
            headers[REQUEST_ID] = request_id
            headers["Server"] = SERVER
            tenant = request.headers.get(TENANT)
            if tenant is not None and tenant.isascii() and tenant.isprintable():
                # In every answer to a request that had it, errors too (6.3.14).
                headers[TENANT] = tenant
            if compress_bytes and isinstance(response, web.Response):
                body = response.body
                if isinstance(body, Stream) or (isinstance(body, bytes) and len(body) >= compress_bytes):
                    await compress(request, response, body)
        counter = counters.get(response.status)
        if counter is None:
            counter = counters[response.status] = metrics.http_requests.labels(method, path, response.status)
        counter.inc()
        observe(perf_counter() - started)
        return response

    return endpoint


def too_large(body_bytes: int, limit: str = "limits.body_bytes") -> PayloadTooLarge:
    """The error for a body beyond the limit."""
    return PayloadTooLarge(f"The body is longer than the limit '{limit}' of {body_bytes} bytes.")
