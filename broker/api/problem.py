"""Errors as answers: ProblemDetails (ETSI GS CIM 009 v1.9.1, 5.5.3 and 6.3.3; RFC 7807)."""

from __future__ import annotations

from aiohttp import web

from broker.errors import (
    KNUTPUNKT_ERRORS,
    BrokerError,
    MethodNotAllowed,
    Overloaded,
    ResourceNotFound,
    Unauthorized,
    UnsupportedMediaType,
)
from broker.jsonio import dumps

JSON = "application/json"
WITHOUT_BODY = frozenset({411, 415})
"""6.3.4 wants these answered by the status alone."""


class LengthRequired(BrokerError):
    """A body came without Content-Length (6.3.4)."""

    type = KNUTPUNKT_ERRORS + "LengthRequired"
    title = "Length required"
    status = 411


class NotAllowed(MethodNotAllowed):
    """405, with the methods that the resource has (RFC 9110, 15.5.6)."""

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"The method {method} does not apply to this resource; it has {allowed}.")
        self.allowed = allowed


class NoSuchRoute(ResourceNotFound):
    """404 for a path that nothing is at."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is nothing at '{path[:200]}'.")


class UnsupportedCoding(UnsupportedMediaType):
    """415 for a body that is packed in a way that we do not unpack; the answer says which there are (RFC 9110, 15.5.16)."""

    accepted = "gzip, deflate"

    def __init__(self, coding: str) -> None:
        super().__init__(f"The header Content-Encoding must be one of {self.accepted}, got '{coding[:100]}'.")


def problem_response(error: BrokerError, *, standard: bool = False) -> web.Response:
    """The answer to a request that failed with `error`. `standard`: on a route of NGSI-LD, to its letter.

    The body is JSON under application/json, as 5.5.3 says, not application/problem+json.
    """
    if standard and error.status in WITHOUT_BODY:
        response = web.Response(status=error.status)
        if isinstance(error, UnsupportedCoding):
            response.headers["Accept-Encoding"] = error.accepted
        return response
    body = error.problem()
    if not error.detail.isascii():
        # It may quote a header that is no UTF-8, of which aiohttp makes characters that JSON has not.
        body["detail"] = error.detail.encode("utf-8", "backslashreplace").decode("utf-8")
    response = web.Response(status=error.status, body=dumps(body), content_type=JSON)
    if isinstance(error, Overloaded):
        response.headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = 'Bearer realm="knutpunkt"'
    elif isinstance(error, NotAllowed):
        response.headers["Allow"] = error.allowed
    elif isinstance(error, UnsupportedCoding):
        response.headers["Accept-Encoding"] = error.accepted
    return response
