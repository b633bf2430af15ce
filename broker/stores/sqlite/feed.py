"""The feed: changes in the order of their commits, numbered."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from broker.clock import Micros
from broker.stores.base import FeedRow, PositionGone

T = TypeVar("T")

READ: Final = 500
"""Rows read at once, count."""


def write_feed(connection: sqlite3.Connection, rows: list[FeedRow]) -> None:
    """Append rows."""
    connection.executemany(
        "INSERT INTO feed (version, entity, at, body) VALUES (?, ?, ?, ?)",
        [(row.version, row.entity_id, row.at, row.body) for row in rows],
    )


def forget_feed(connection: sqlite3.Connection, before: Micros, limit: int) -> int:
    """Delete the first rows, as far as they are from before a time."""
    rows = "SELECT n FROM (SELECT n, at FROM feed ORDER BY n LIMIT ?) WHERE at < ?"
    return connection.execute(f"DELETE FROM feed WHERE n IN ({rows})", (limit, before)).rowcount  # noqa: S608 - constant


def read_last(connection: sqlite3.Connection) -> int:
    """The number of the last row that was ever written."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'feed'").fetchone()
    return int(found[0]) if found is not None else 0


class SqliteTail:
    """See `broker.stores.base.Tail`."""

    def __init__(
        self,
        last: int,
        read: Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]],
        committed: Callable[[], asyncio.Event],
    ) -> None:
        """`read` runs work on a reading connection; `committed` gives what is set when the feed has grown."""
        self._last = last
        self._read = read
        self._committed = committed

    @property
    def position(self) -> str:
        """The number of the last row given."""
        return str(self._last)

    async def read(self, seconds: float) -> list[tuple[str, FeedRow]]:
        """The next rows."""
        grown = self._committed()
        rows = await self._next()
        if not rows:
            try:
                async with asyncio.timeout(seconds):
                    await grown.wait()
            except TimeoutError:
                return []
            rows = await self._next()
        return rows

    async def _next(self) -> list[tuple[str, FeedRow]]:
        last = self._last
        rows = await self._read(
            lambda connection: connection.execute(
                "SELECT n, version, entity, at, body FROM feed WHERE n > ? ORDER BY n LIMIT ?", (last, READ)
            ).fetchall()
        )
        if rows:
            self._last = rows[-1][0]
        return [(str(row[0]), FeedRow(*row[1:])) for row in rows]

    async def close(self) -> None:
        """Nothing is held."""


def read_position(position: str) -> int:
    """The number in a position. Raises PositionGone for what is none."""
    if not (position.isascii() and position.isdigit() and len(position) < 19):
        raise PositionGone(f"'{position[:60]}' is not a position in this store's feed.")
    return int(position)
