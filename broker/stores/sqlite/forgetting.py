"""What is deleted for good: personal data beyond its retention."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Any

from broker.clock import Micros, id_floor
from broker.jsonio import dumps, loads
from broker.ngsild.model import Iri
from broker.stores.base import BYTES_DROPPED
from broker.stores.sqlite.names import number_of


def history(
    connection: sqlite3.Connection,
    entity_id: str,
    attribute: Iri | None,
    since: Micros,
    before: Micros,
    limit: int,
) -> int:
    """Rows of an entity observed in a period, found by the index that reads them."""
    entity = number_of(connection, entity_id)
    where, params = "entity = ? AND observed_at >= ? AND observed_at < ?", list[Any]((entity, since, before))
    if attribute is not None:
        where += " AND name = ?"
        params.append(number_of(connection, attribute))
    rows = f"SELECT row FROM history WHERE {where} LIMIT ?"  # noqa: S608 - made of constants
    return connection.execute(f"DELETE FROM history WHERE row IN ({rows})", (*params, limit)).rowcount  # noqa: S608


def uplinks(connection: sqlite3.Connection, device_id: str, since: Micros, before: Micros, limit: int) -> int:
    """Raw uplinks of a device received in a period, from the first on."""
    rows = "SELECT row FROM uplink WHERE device = ? AND received_at >= ? AND received_at < ? ORDER BY id LIMIT ?"
    statement = f"DELETE FROM uplink WHERE row IN ({rows})"  # noqa: S608 - made of constants
    return connection.execute(statement, (device_id, since, before, limit)).rowcount


def uplink_bytes(connection: sqlite3.Connection, after: str, before: Micros, limit: int) -> tuple[int, str]:
    """The bytes of applied uplinks behind an id and before a time: (how many, the last id looked at)."""
    found = connection.execute(
        "SELECT id, status, length(raw), meta FROM uplink WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
        (after, id_floor(before), limit),
    ).fetchall()
    kept = [
        (dumps({**loads(meta), BYTES_DROPPED: True}), uplink_id)
        for uplink_id, status, length, meta in found
        if status == "applied" and length
    ]
    connection.executemany("UPDATE uplink SET raw = x'', meta = ? WHERE id = ?", kept)
    return len(kept), found[-1][0] if found else ""


def letters(connection: sqlite3.Connection, entity_ids: Collection[str], before: Micros) -> int:
    """Notifications of changes of these entities, whether they wait or were given up on."""
    ids = dumps(sorted(entity_ids)).decode()
    count = 0
    for table in ("outbox", "dead_letter"):
        where = "created_at < ? AND entity IN (SELECT value FROM json_each(?))"
        count += connection.execute(f"DELETE FROM {table} WHERE {where}", (before, ids)).rowcount  # noqa: S608
    where = "at < ? AND entity IN (SELECT value FROM json_each(?))"
    return count + connection.execute(f"DELETE FROM feed WHERE {where}", (before, ids)).rowcount  # noqa: S608
