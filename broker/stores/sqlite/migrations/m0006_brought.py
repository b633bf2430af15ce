"""History rows are found by the uplink that brought them, and say which reprocessing superseded them."""

from __future__ import annotations

import sqlite3


def migrate(connection: sqlite3.Connection) -> None:
    """A column and an index; ids of uplinks are in order of time, so that the index grows at its end."""
    connection.execute("ALTER TABLE history ADD COLUMN superseded_by TEXT")
    connection.execute("CREATE INDEX history_uplink ON history (uplink) WHERE uplink IS NOT NULL")
