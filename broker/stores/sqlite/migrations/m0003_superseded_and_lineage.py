"""History rows that do not hold any more are marked, those of devices say how their value was made, and who was told of
a change is remembered for a while.
"""

from __future__ import annotations

import sqlite3


def migrate(connection: sqlite3.Connection) -> None:
    """Two columns and a table."""
    # The version of the change since which a row does not hold.
    connection.execute("ALTER TABLE history ADD COLUMN superseded INTEGER")
    connection.execute("ALTER TABLE history ADD COLUMN lineage BLOB")
    connection.execute(
        "CREATE TABLE told (entity TEXT NOT NULL, id TEXT NOT NULL, subscription TEXT NOT NULL, owed_at INTEGER NOT NULL,"
        " delivered_at INTEGER NOT NULL, PRIMARY KEY (entity, id)) WITHOUT ROWID"
    )
    connection.execute("CREATE INDEX told_order ON told (delivered_at)")
