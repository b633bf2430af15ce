"""A query's whole answer in batches, on a connection of its own that keeps one view of the file."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Final

from broker.errors import StoreUnavailable, TooManyResults
from broker.ngsild.model import Entity
from broker.query.ast import EntityQuery
from broker.stores.base import MOST_SORTED
from broker.stores.sqlite.connection import open_reader
from broker.stores.sqlite.order import Found, read_bodies, sort
from broker.stores.sqlite.ordered import index_order
from broker.stores.sqlite.plan import Search
from broker.stores.sqlite.query import run_query

BATCH: Final = 500
"""Entities in a batch, count."""
VIEW_SECONDS: Final = 10.0
"""How long one view of the file is kept: the log cannot be folded in meanwhile. A slower reader gets a newer view, from
where it stands."""


class Snapshots:
    """One stream; its calls come one after the other, from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()  # whoever waits for a batch may be cancelled, and closes while it is still read
        self._connection: sqlite3.Connection | None = None
        self._since = 0.0
        self._after: str | None = None
        self._ended = False
        self._found: Found | None = None

    def batch(self, query: EntityQuery) -> list[Entity]:
        """The next entities; none at the end."""
        with self._lock:
            if self._ended:
                return []
            try:
                if query.order and self._after is None and index_order(self._view(), query) is None:
                    return self._sorted(self._view(), query)
                page = run_query(self._view(), replace(query, limit=BATCH, offset=0, count=False, after=self._after))
            except sqlite3.Error as error:
                raise StoreUnavailable("The store cannot be read just now.") from error
            self._after, self._ended = page.next, page.next is None
            return page.entities

    def _sorted(self, connection: sqlite3.Connection, query: EntityQuery) -> list[Entity]:
        """The next of those that were sorted before the first batch; what was deleted since is passed over."""
        if self._found is None:
            self._found, total = sort(connection, query, Search(connection, query), MOST_SORTED)
            if total > MOST_SORTED:
                raise TooManyResults(
                    f"In this order at most {MOST_SORTED} entities can be had at once, got {total}: ask for less, or order "
                    "by createdAt."
                )
        batch, self._found = self._found[:BATCH], self._found[BATCH:]
        self._ended = not self._found
        return read_bodies(connection, batch)

    def _view(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_reader(self._path)
        if time.monotonic() - self._since > VIEW_SECONDS:
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
            self._connection.execute("BEGIN")
            self._since = time.monotonic()
        return self._connection

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._ended = True
            if self._connection is not None:
                self._connection.close()
