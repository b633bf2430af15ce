"""The feed as a change stream: in the order of the commits, those of other processes too.

A position is the change stream's resume token. It is good for as long as the replica set's oplog reaches back.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from pymongo.asynchronous.change_stream import AsyncCollectionChangeStream
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure, PyMongoError

from broker.ending import end
from broker.errors import StoreUnavailable
from broker.stores.base import FeedRow, PositionGone
from broker.stores.mongo.documents import Document, feed_from
from broker.stores.mongo.failures import translated

READ: Final = 500
"""Rows given at once, count."""
INSERTED: Final[list[dict[str, Any]]] = [{"$match": {"operationType": "insert"}}]
GONE: Final = frozenset({9, 50, 260, 280, 286, 10334, 40647, 50811})
"""Codes of MongoDB: not a resume token, one that the oplog does not reach back to, or a change too large to be told of."""
POSITION_CHARACTERS: Final = 2000
LOOK_SECONDS: Final = 0.5
"""How long the server is asked to wait for the next change."""


class MongoTail:
    """See `broker.stores.base.Tail`. A task of its own reads ahead, as far as the queue has room."""

    def __init__(self, stream: AsyncCollectionChangeStream[Document], position: str) -> None:
        """`stream` is open."""
        self._stream = stream
        self._position = position
        self._queue: asyncio.Queue[tuple[str, FeedRow | None]] = asyncio.Queue(READ)
        self._pump = asyncio.create_task(self._read_ahead(), name="feed tail")

    @classmethod
    async def open(cls, feed: AsyncCollection[Document], position: str | None) -> MongoTail:
        """From a position on, or from now on. Raises PositionGone."""
        after = None
        if position is not None:
            if not position or len(position) > POSITION_CHARACTERS:
                raise PositionGone("It is not a position in this store's feed.")
            after = {"_data": position}
        try:
            stream = await feed.watch(
                INSERTED, resume_after=after, max_await_time_ms=int(LOOK_SECONDS * 1000), batch_size=READ
            )
        except OperationFailure as error:
            raise _gone(error) from None
        return cls(stream, position or _token(stream))

    @property
    def position(self) -> str:
        """The token behind what was given."""
        return self._position

    async def read(self, seconds: float) -> list[tuple[str, FeedRow]]:
        """The next rows."""
        rows: list[tuple[str, FeedRow]] = []
        try:
            async with asyncio.timeout(seconds):
                while not rows:
                    self._took(await self._next(), rows)
        except TimeoutError:
            return []
        while len(rows) < READ and not self._queue.empty():
            self._took(self._queue.get_nowait(), rows)
        return rows

    def _took(self, one: tuple[str, FeedRow | None], rows: list[tuple[str, FeedRow]]) -> None:
        self._position, row = one
        if row is not None:
            rows.append((self._position, row))

    async def _next(self) -> tuple[str, FeedRow | None]:
        """What the task has read; raises what ended it."""
        taking = asyncio.ensure_future(self._queue.get())
        try:
            await asyncio.wait([taking, self._pump], return_when=asyncio.FIRST_COMPLETED)
            if taking.done():
                return taking.result()
        finally:
            taking.cancel()
        with translated():
            self._pump.result()
        raise StoreUnavailable("The store's changes cannot be followed just now.")

    async def _read_ahead(self) -> None:
        try:
            while self._stream.alive:
                event = await self._stream.try_next()
                if event is not None:
                    await self._queue.put((event["_id"]["_data"], feed_from(event["fullDocument"])))
                elif token := _token(self._stream):
                    # Nothing came: the position moves on all the same, so that the oplog is not outrun by it.
                    await self._queue.put((token, None))
        except OperationFailure as error:
            raise _gone(error) from None

    async def close(self) -> None:
        """Close the stream."""
        await end([self._pump])
        if not self._pump.cancelled():
            self._pump.exception()
        with suppress(PyMongoError):
            await self._stream.close()


def _token(stream: AsyncCollectionChangeStream[Document]) -> str:
    token = stream.resume_token
    return str(token["_data"]) if token is not None else ""


def _gone(error: OperationFailure) -> Exception:
    return PositionGone("The database cannot go back as far as that.") if error.code in GONE else error
