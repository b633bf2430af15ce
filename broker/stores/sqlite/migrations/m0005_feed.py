"""The feed: all changes of entities in order, kept for a while where somebody follows them."""

from __future__ import annotations

import sqlite3


def migrate(connection: sqlite3.Connection) -> None:
    """A table. AUTOINCREMENT: a position is never given twice."""
    connection.execute(
        "CREATE TABLE feed (n INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL, entity TEXT NOT NULL,"
        " at INTEGER NOT NULL, body BLOB NOT NULL)"
    )
