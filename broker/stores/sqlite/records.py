"""Records, the keys that find them, and the epochs of their kinds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from broker.stores.base import Conflict, Record, RecordKind, RecordWrite

RecordId = tuple[RecordKind, str]


def _record(kind: RecordKind, row: tuple[Any, ...]) -> Record:
    return Record(kind, row[0], orjson.loads(row[3]), row[1], tuple(orjson.loads(row[2])))


def read_record(connection: sqlite3.Connection, kind: RecordKind, record_id: str) -> Record | None:
    """One record."""
    statement = "SELECT id, version, keys, body FROM record WHERE kind = ? AND id = ?"
    row = connection.execute(statement, (kind, record_id)).fetchone()
    return None if row is None else _record(kind, row)


def read_records(
    connection: sqlite3.Connection, kind: RecordKind, key: str | None, after: str, limit: int | None
) -> list[Record]:
    """Records of a kind in id order."""
    most = -1 if limit is None else limit
    if key is None:
        rows = connection.execute(
            "SELECT id, version, keys, body FROM record WHERE kind = ? AND id > ? ORDER BY id LIMIT ?",
            (kind, after, most),
        )
    else:
        rows = connection.execute(
            "SELECT r.id, r.version, r.keys, r.body FROM record_key k"
            " CROSS JOIN record r ON r.kind = k.kind AND r.id = k.id"
            " WHERE k.kind = ? AND k.key = ? AND k.id > ? ORDER BY k.id LIMIT ?",
            (kind, key, after, most),
        )
    return [_record(kind, row) for row in rows]


def read_epochs(connection: sqlite3.Connection) -> dict[RecordKind, int]:
    """All epochs."""
    return dict(connection.execute("SELECT kind, n FROM epoch"))


def write_epochs(connection: sqlite3.Connection, epochs: dict[RecordKind, int], kinds: Iterable[RecordKind]) -> None:
    """Keep the epochs of the kinds that moved."""
    connection.executemany(
        "INSERT INTO epoch (kind, n) VALUES (?, ?) ON CONFLICT (kind) DO UPDATE SET n = excluded.n",
        [(kind, epochs[kind]) for kind in kinds],
    )


def write_records(
    connection: sqlite3.Connection, writes: list[RecordWrite], current: Callable[[RecordKind, str], Record | None]
) -> dict[RecordId, Record | None]:
    """Write the next states; gives what is kept of each afterwards. `current` tells what is kept now. Raises Conflict."""
    kept: dict[RecordId, Record | None] = {}
    put: list[tuple[str, str, int, bytes, bytes]] = []
    for write in writes:
        name = (write.kind, write.id)
        before = kept[name] if name in kept else current(*name)
        version = before.version if before is not None else 0
        if write.expected is not None and write.expected != version:
            raise Conflict(f"Record '{write.kind}' '{write.id}' is at version {version}, expected {write.expected}.")
        old_keys = set(before.keys) if before is not None else set()
        new_keys = set(write.keys) if write.body is not None else set()
        if old_keys != new_keys:
            connection.executemany(
                "DELETE FROM record_key WHERE kind = ? AND key = ? AND id = ?",
                [(write.kind, key, write.id) for key in old_keys - new_keys],
            )
            connection.executemany(
                "INSERT INTO record_key (kind, key, id) VALUES (?, ?, ?)",
                [(write.kind, key, write.id) for key in new_keys - old_keys],
            )
        if write.body is None:
            _put(connection, put)
            put.clear()
            connection.execute("DELETE FROM record WHERE kind = ? AND id = ?", name)
            kept[name] = None
        else:
            put.append((write.kind, write.id, write.version, orjson.dumps(write.keys), orjson.dumps(write.body)))
            kept[name] = Record(write.kind, write.id, write.body, write.version, write.keys)
    _put(connection, put)
    return kept


def _put(connection: sqlite3.Connection, rows: list[tuple[str, str, int, bytes, bytes]]) -> None:
    if rows:
        connection.executemany(
            "INSERT INTO record (kind, id, version, keys, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, id)"
            " DO UPDATE SET version = excluded.version, keys = excluded.keys, body = excluded.body",
            rows,
        )
