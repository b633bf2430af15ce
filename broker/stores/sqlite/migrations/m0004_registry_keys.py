"""Devices are found by their model, virtual sensors by their entity type; filled for those that are there."""

from __future__ import annotations

import sqlite3

import orjson

from broker.stores.registry_keys import KINDS, keys_of_4


def migrate(connection: sqlite3.Connection) -> None:
    """Give the records their keys."""
    for kind in KINDS:
        rows = connection.execute("SELECT id, keys, body FROM record WHERE kind = ?", (kind,)).fetchall()
        for record_id, keys, body in rows:
            now = keys_of_4(kind, orjson.loads(body), orjson.loads(keys))
            connection.execute(
                "UPDATE record SET keys = ? WHERE kind = ? AND id = ?", (orjson.dumps(now), kind, record_id)
            )
            connection.executemany(
                "INSERT OR IGNORE INTO record_key (kind, key, id) VALUES (?, ?, ?)",
                [(kind, key, record_id) for key in now],
            )
