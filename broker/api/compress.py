"""Answers packed with gzip where the client takes that and it is worth it (RFC 9110, 8.4 and 12.5.3)."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from broker.api.stream import Stream

LEVEL: Final = 1
"""JSON shrinks to about a sixth at zlib's fastest level; its slowest takes ten times as long to gain another fifth."""

GZIP_BITS: Final = 31
"""zlib's window of 32 KiB, with a gzip header."""

THREAD_BYTES: Final = 128 * 1024
"""From here on, other requests would wait for longer than a thread costs: about 1 ms."""

TAG_END: Final = '-gz"'
"""How the entity tag of a packed representation ends: it is not the same bytes, so it must not be the same tag."""


async def compress(request: web.Request, response: web.Response, body: bytes | Stream) -> None:
    """Pack `body`, which is the response's, if the request takes gzip. The answer varies by that either way."""
    headers = response.headers
    if "Content-Encoding" in headers:
        return
    vary_by(headers, "Accept-Encoding")
    if not takes_gzip(",".join(request.headers.getall("Accept-Encoding", ()))):
        return
    if isinstance(body, Stream):
        response.body = Stream(_packed_pieces(body.pieces))
    else:
        response.body = await asyncio.to_thread(_packed, body) if len(body) >= THREAD_BYTES else _packed(body)
    headers["Content-Encoding"] = "gzip"
    tag = headers.get("ETag")
    if tag is not None:
        headers["ETag"] = tag[:-1] + TAG_END


def vary_by(headers: CIMultiDict[str], name: str) -> None:
    """Say in Vary that the answer depends on a header of the request, too."""
    said = headers.get("Vary")
    if said is None:
        headers["Vary"] = name
    elif name.lower() not in said.lower().replace(" ", "").split(","):
        headers["Vary"] = f"{said}, {name}"


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether a client that sends this Accept-Encoding takes gzip, and does not like it less than no packing."""
    weights = {}
    for part in accept_encoding.lower().split(","):
        coding, *rest = (piece.strip() for piece in part.split(";"))
        weights[coding] = _weight(rest)
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _packed(body: bytes) -> bytes:
    return zlib.compress(body, LEVEL, GZIP_BITS)


async def _packed_pieces(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    packing = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_BITS)
    async for piece in pieces:
        packed = (
            await asyncio.to_thread(packing.compress, piece) if len(piece) >= THREAD_BYTES else packing.compress(piece)
        )
        if packed:
            yield packed
    yield packing.flush()
