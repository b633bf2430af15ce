"""Bodies of requests, read within their limits."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from broker.api.layer import too_large
from broker.config import Limits
from broker.errors import UnsupportedMediaType
from broker.jsonio import parse_json

CODINGS: Final = frozenset({"gzip", "deflate", "identity"})
"""What a body may be packed with (RFC 9110, 8.4.1)."""


async def read_body(request: web.Request, limits: Limits) -> bytes:
    """The whole body. Raises PayloadTooLarge: at once when Content-Length says so, else as soon as it shows.

    A body without Content-Length, or one that unpacks to more, is cut off at the limit by aiohttp (`client_max_size`).
    Raises UnsupportedMediaType for a body packed in a way that aiohttp did not unpack.
    """
    if "Content-Encoding" in request.headers:
        _check_coding(request.headers["Content-Encoding"])
    length = request.content_length
    if length is not None and length > limits.body_bytes:
        raise too_large(limits.body_bytes)
    return await request.read()


def _check_coding(coding: str) -> None:
    if coding.lower() not in CODINGS:
        raise UnsupportedMediaType(f"The content coding must be gzip or deflate, got '{coding[:100]}'.")


async def read_json(request: web.Request, limits: Limits) -> Any:
    """The JSON value of the body of a management request. Raises InvalidRequest, UnsupportedMediaType, PayloadTooLarge."""
    if request.content_type != "application/json":
        raise UnsupportedMediaType(f"The content type must be application/json, got '{request.content_type}'.")
    return parse_json(await read_body(request, limits), max_depth=limits.json_depth)
