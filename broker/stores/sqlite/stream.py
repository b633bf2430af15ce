"""A query's whole answer in batches, on a connection of its own that keeps one view of the file."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Final

from broker.errors import StoreUnavailable
from broker.ngsild.model import Entity
from broker.query.ast import EntityQuery
from broker.stores.sqlite.connection import open_reader
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

    def batch(self, query: EntityQuery) -> list[Entity]:
        """The next entities; none at the end."""
        with self._lock:
            if self._ended:
                return []
            try:
                page = run_query(self._view(), replace(query, limit=BATCH, offset=0, count=False, after=self._after))
            except sqlite3.Error as error:
                raise StoreUnavailable("The store cannot be read just now.") from error
            self._after, self._ended = page.next, page.next is None
            return page.entities

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
