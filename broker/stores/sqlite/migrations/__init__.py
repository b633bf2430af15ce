"""Versions of the schema: each migration is a module with `migrate(connection)`, applied once, in this order.

`PRAGMA user_version` counts those applied. A migration that was released is never changed; the next one follows it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from broker.stores.base import StoreTooNew
from broker.stores.sqlite.migrations import (
    m0001_first,
    m0002_moments_and_census,
    m0003_superseded_and_lineage,
    m0004_registry_keys,
    m0005_feed,
    m0006_brought,
)

MIGRATIONS: Final[tuple[Callable[[sqlite3.Connection], None], ...]] = (
    m0001_first.migrate,
    m0002_moments_and_census.migrate,
    m0003_superseded_and_lineage.migrate,
    m0004_registry_keys.migrate,
    m0005_feed.migrate,
    m0006_brought.migrate,
)


def migrate(connection: sqlite3.Connection, file_name: str) -> None:
    """Bring the file up to this release, each step in a transaction of its own. Raises StoreTooNew."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreTooNew(
            f"The store '{file_name}' has schema version {version}, written by a newer Knutpunkt; "
            f"this one knows versions up to {len(MIGRATIONS)}. Start the newer one, or restore a backup."
        )
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            step(connection)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
