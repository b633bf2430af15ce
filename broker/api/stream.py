"""Long lists, written to the client as they are put into JSON: never whole in memory, and never long in others' way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from aiohttp.payload import AsyncIterablePayload

from broker.jsonio import dumps

STREAM_ITEMS: Final = 200
"""Lists longer than this are streamed, items: below it, a body of known length costs less."""

PIECE_ITEMS: Final = 100
"""Items put into JSON at once: entities of a kilobyte take about 0.2 ms, and other requests wait no longer."""


class Stream(AsyncIterablePayload):
    """A body that is made piece by piece; for `web.Response(body=…)`, which sends it chunked (RFC 9112, 7.1)."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        super().__init__(pieces)
        self.pieces = pieces


def json_array(items: Sequence[Any], finish: Callable[[Any], Any] | None = None) -> Stream:
    """The items, each as `finish` makes it, as one JSON array."""

    async def pieces() -> AsyncIterator[bytes]:
        opening = b"["
        for start in range(0, len(items), PIECE_ITEMS):
            piece = items[start : start + PIECE_ITEMS]
            yield opening + dumps([finish(item) for item in piece] if finish is not None else piece)[1:-1]
            opening = b","
            await asyncio.sleep(0)
        yield b"]" if items else b"[]"

    return Stream(pieces())
