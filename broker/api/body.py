"""Bodies of requests, read within their limits."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broker.api.layer import too_large
from broker.config import Limits
from broker.errors import UnsupportedMediaType
from broker.jsonio import parse_json


async def read_body(request: web.Request, limits: Limits) -> bytes:
    """The whole body. Raises PayloadTooLarge: at once when Content-Length says so, else as soon as it shows.

    A body without Content-Length, or one that unpacks to more, is cut off at the limit by aiohttp (`client_max_size`).
    """
    length = request.content_length
    if length is not None and length > limits.body_bytes:
        raise too_large(limits.body_bytes)
    return await request.read()


async def read_json(request: web.Request, limits: Limits) -> Any:
    """The JSON value of the body of a management request. Raises InvalidRequest, UnsupportedMediaType, PayloadTooLarge."""
    if request.content_type != "application/json":
        raise UnsupportedMediaType(f"The content type must be application/json, got '{request.content_type}'.")
    return parse_json(await read_body(request, limits), max_depth=limits.json_depth)
