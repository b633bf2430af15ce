"""Raw uplinks, the frames that were applied, and the quarantine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import orjson

from broker.stores.base import Conflict, QuarantineGroup, UplinkRow, UplinkStatus, UplinkUpdate

_COLUMNS = "id, status, reason, source, received_at, device, frame, raw, meta"


def _uplink(row: tuple[Any, ...]) -> UplinkRow:
    uplink_id, status, reason, source, received_at, device, frame, raw, meta = row
    return UplinkRow(uplink_id, status, reason, source, received_at, device, frame, raw, orjson.loads(meta))


def write_uplinks(connection: sqlite3.Connection, rows: list[UplinkRow], updates: list[UplinkUpdate]) -> None:
    """Keep raw uplinks and change the status of those that waited. Raises Conflict."""
    if rows:
        connection.executemany(
            f"INSERT INTO uplink ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
            [
                (
                    row.id,
                    row.status,
                    row.reason,
                    row.source,
                    row.received_at,
                    row.device_id,
                    row.frame_key,
                    row.raw,
                    orjson.dumps(row.meta),
                )
                for row in rows
            ],
        )
    for update in updates:
        changed = connection.execute(
            "UPDATE uplink SET status = ?, reason = ? WHERE id = ? AND status = ?",
            (update.status, update.reason, update.id, update.expected),
        )
        if changed.rowcount != 1:
            raise Conflict(f"Uplink '{update.id}' is not {update.expected}.")


def read_frames(connection: sqlite3.Connection, frames: Iterable[str]) -> set[str]:
    """Those of the frame keys that some uplink has."""
    statement = "SELECT 1 FROM uplink WHERE frame = ?"
    return {frame for frame in frames if connection.execute(statement, (frame,)).fetchone() is not None}


def read_uplink(connection: sqlite3.Connection, uplink_id: str) -> UplinkRow | None:
    """One raw uplink."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM uplink WHERE id = ?", (uplink_id,)).fetchone()  # noqa: S608
    return None if row is None else _uplink(row)


def read_uplinks(
    connection: sqlite3.Connection,
    status: UplinkStatus | None,
    device_id: str | None,
    after: str,
    limit: int,
    newest_first: bool,
) -> list[UplinkRow]:
    """Raw uplinks in id order, filtered."""
    where, params = ["1"], list[Any]()
    if status is not None:
        where.append("status = ?")
        params.append(status)
        if status != "applied":
            where.append("status <> 'applied'")  # lets the partial index serve
    if device_id is not None:
        where.append("device = ?")
        params.append(device_id)
    if after:
        where.append("id < ?" if newest_first else "id > ?")
        params.append(after)
    direction = "DESC" if newest_first else "ASC"
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM uplink WHERE {' AND '.join(where)} ORDER BY id {direction} LIMIT ?",  # noqa: S608
        (*params, limit),
    )
    return [_uplink(row) for row in rows]


def read_quarantine(connection: sqlite3.Connection) -> list[QuarantineGroup]:
    """The quarantine by device."""
    rows = connection.execute(
        "SELECT device, count, first, last, reason FROM ("
        " SELECT device, reason, count(*) OVER whole AS count, min(received_at) OVER whole AS first,"
        " max(received_at) OVER whole AS last,"
        " row_number() OVER (PARTITION BY device ORDER BY received_at DESC, id DESC) AS place"
        " FROM uplink WHERE status = 'quarantined' AND status <> 'applied' WINDOW whole AS (PARTITION BY device))"
        " WHERE place = 1 ORDER BY last DESC"
    )
    return [QuarantineGroup(*row) for row in rows]
