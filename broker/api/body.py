"""Bodies of requests, read and unpacked within their limits."""

from __future__ import annotations

import zlib
from typing import Any, Final

from aiohttp import web

from broker.api.layer import too_large
from broker.api.problem import UnsupportedCoding
from broker.config import Limits
from broker.errors import InvalidRequest, UnsupportedMediaType
from broker.jsonio import parse_json

_ZLIB: Final = 15
_GZIP: Final = 31
_NO_HEADER: Final = -15
"""zlib's windows, each with the header that the coding has (RFC 9110, 8.4.1); 'deflate' without one is common, too."""


async def read_long_body(request: web.Request, most: int, limit: str) -> bytes:
    """A body that may be longer than `limits.body_bytes`: `most` bytes, packed and unpacked. `limit` is the setting's name.

    Raises PayloadTooLarge, UnsupportedCoding.
    """
    length = request.content_length
    if length is not None and length > most:
        raise too_large(most, limit)
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > most:
            raise too_large(most, limit)
    if "Content-Encoding" in request.headers:
        return _unpacked(bytes(body), request.headers["Content-Encoding"].strip().lower(), most, limit)
    return bytes(body)


async def read_body(request: web.Request, limits: Limits) -> bytes:
    """The whole body. Raises PayloadTooLarge: at once when Content-Length says so, else as soon as it shows.

    A body without Content-Length is cut off at the limit by aiohttp (`client_max_size`). One that came packed is
    unpacked, within the same limit. Raises UnsupportedCoding for another packing than gzip and deflate.
    """
    length = request.content_length
    if length is not None and length > limits.body_bytes:
        raise too_large(limits.body_bytes)
    body = await request.read()
    if "Content-Encoding" in request.headers:
        return _unpacked(body, request.headers["Content-Encoding"].strip().lower(), limits.body_bytes)
    return body


async def read_json(request: web.Request, limits: Limits, *also: str) -> Any:
    """The JSON value of the body of a management request; `also`: other content types than application/json that it takes.

    Raises InvalidRequest, UnsupportedMediaType, PayloadTooLarge.
    """
    if request.content_type not in ("application/json", *also):
        kinds = " or ".join(("application/json", *also))
        raise UnsupportedMediaType(f"The content type must be {kinds}, got '{request.content_type}'.")
    return parse_json(await read_body(request, limits), max_depth=limits.json_depth)


def _unpacked(body: bytes, coding: str, most: int, limit: str = "limits.body_bytes") -> bytes:
    """`body` without its packing; never more than one byte over `most` is unpacked to see that it is too long."""
    if coding == "identity":
        return body
    if coding == "gzip":
        window = _GZIP
    elif coding == "deflate":
        window = _ZLIB if body[:1] and body[0] & 0x0F == zlib.DEFLATED else _NO_HEADER
    else:
        raise UnsupportedCoding(coding)
    unpacking = zlib.decompressobj(window)
    try:
        unpacked = unpacking.decompress(body, most + 1)
    except zlib.error:
        raise InvalidRequest(f"The body is not packed with {coding}, as the header Content-Encoding says.") from None
    if len(unpacked) > most:
        raise too_large(most, limit)
    if not unpacking.eof or unpacking.unused_data:
        raise InvalidRequest(f"The body is not one whole {coding} stream.")
    return unpacked
