"""History rows that do not hold any more are marked, and those of devices say how their value was made."""

from __future__ import annotations

import sqlite3


def migrate(connection: sqlite3.Connection) -> None:
    """Two columns."""
    # The version of the change since which a row does not hold.
    connection.execute("ALTER TABLE history ADD COLUMN superseded INTEGER")
    connection.execute("ALTER TABLE history ADD COLUMN lineage BLOB")
