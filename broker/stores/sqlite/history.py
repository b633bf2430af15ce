"""The history: rows of attribute instances, append-only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import Any

import orjson

from broker.clock import Micros
from broker.ngsild.model import Iri
from broker.stores.base import HistoryRow, Latest, Superseded, plausible
from broker.stores.sqlite import bulk
from broker.stores.sqlite.names import Names, number_of

LATEST: Micros = (1 << 63) - 1

_SELECT = (
    "SELECT h.observed_at, h.version, a.text, d.text, h.recorded_at, h.instance, h.uplink, v.text, b.text, h.lineage,"
    " h.superseded, h.superseded_by, e.text FROM history h JOIN name e ON e.n = h.entity JOIN name a ON a.n = h.name LEFT JOIN name d ON d.n = h.dataset"
    " LEFT JOIN name v ON v.n = h.device LEFT JOIN name b ON b.n = h.binding"
)


def write_history(connection: sqlite3.Connection, names: Names, rows: list[HistoryRow]) -> None:
    """Append rows."""
    names.learn([row.entity_id for row in rows])
    number, dumps = names.number, orjson.dumps
    bulk.insert(
        connection,
        "history (entity, name, observed_at, version, recorded_at, dataset, uplink, device, binding, instance, lineage)",
        [
            (
                number(row.entity_id),
                number(row.attribute),
                row.observed_at,
                row.version,
                row.recorded_at,
                number(row.dataset_id) if row.dataset_id else None,
                row.uplink_id,
                number(row.device_id) if row.device_id else None,
                number(row.binding_id) if row.binding_id else None,
                None if row.instance is None else dumps(row.instance),
                None if row.lineage is None else dumps(row.lineage),
            )
            for row in rows
        ],
    )


def read_history(
    connection: sqlite3.Connection,
    entity_id: str,
    attribute: Iri | None,
    since: Micros | None,
    until: Micros | None,
    limit: int,
    newest_first: bool,
    superseded: bool,
) -> list[HistoryRow]:
    """Rows in order of (observed_at, version): of one attribute by its index, of all by merging what each gives."""
    entity = number_of(connection, entity_id)
    if entity is None:
        return []
    if attribute is None:
        names = _attributes(connection, entity)
    else:
        number = number_of(connection, attribute)
        names = [] if number is None else [number]
    direction = "DESC" if newest_first else "ASC"
    held = "" if superseded else " AND h.superseded IS NULL"
    statement = (
        f"{_SELECT} WHERE h.entity = ? AND h.name = ? AND h.observed_at >= ? AND h.observed_at < ?{held}"
        f" ORDER BY h.observed_at {direction}, h.version {direction} LIMIT ?"
    )
    period = (-LATEST if since is None else since, LATEST if until is None else until)
    cursors: list[Iterator[tuple[Any, ...]]] = [
        connection.execute(statement, (entity, name, *period, limit)) for name in names
    ]
    rows = cursors[0] if len(cursors) == 1 else merge(*cursors, key=lambda row: row[:2], reverse=newest_first)
    return [_row(entity_id, row) for row in islice(rows, limit)]


def read_between(connection: sqlite3.Connection, since: int, until: int, limit: int) -> list[HistoryRow]:
    """Rows of all entities in order of version, from version `since` on, before version `until`.

    Rows were appended in order of version, so no index is needed: the first one is found by halving.
    """
    held = "h.version < ? AND h.superseded IS NULL ORDER BY h.row"
    first = _first_row(connection, since)
    rows = connection.execute(
        f"{_SELECT} WHERE h.row >= ? AND h.version >= ? AND {held} LIMIT ?", (first, since, until, limit)
    ).fetchall()
    if len(rows) == limit:
        last = rows[-1][1]
        whole = connection.execute(
            f"{_SELECT} WHERE h.row >= ? AND h.version >= ? AND {held}", (_first_row(connection, last), last, last + 1)
        ).fetchall()
        rows = [row for row in rows if row[1] != last] + whole
    return [_row(row[12], row) for row in rows]


def _first_row(connection: sqlite3.Connection, version: int) -> int:
    """The number of the first row of this version or a later one; one behind the last where there is none."""
    low, high = 0, (connection.execute("SELECT max(row) FROM history").fetchone()[0] or 0) + 1
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(
            "SELECT row, version FROM history WHERE row >= ? ORDER BY row LIMIT 1", (middle,)
        ).fetchone()
        if found is None or found[1] >= version:
            high = middle
        else:
            low = found[0] + 1
    return low


def read_latest(connection: sqlite3.Connection, wanted: Latest) -> HistoryRow | None:
    """The newest row that would be left (see `Latest`)."""
    entity, name = number_of(connection, wanted.entity_id), number_of(connection, wanted.attribute)
    if entity is None or name is None:
        return None
    # A binding without a number has no rows: -1 is nobody's.
    binding = number_of(connection, wanted.binding_id)
    rows = connection.execute(
        f"{_SELECT} WHERE h.entity = ? AND h.name = ? AND h.dataset IS NULL AND h.superseded IS NULL"
        " AND NOT (ifnull(h.binding, -2) = ? AND h.observed_at >= ?)"
        " ORDER BY h.observed_at DESC, h.version DESC",
        (entity, name, -1 if binding is None else binding, wanted.since),
    )
    return next((row for found in rows if plausible(row := _row(wanted.entity_id, found))), None)


def read_brought(connection: sqlite3.Connection, uplink_id: str) -> tuple[HistoryRow, ...]:
    """The rows that an uplink brought and that hold."""
    rows = connection.execute(f"{_SELECT} WHERE h.uplink = ? AND h.superseded IS NULL", (uplink_id,))
    return tuple(_row(row[12], row) for row in rows)


def supersede(connection: sqlite3.Connection, marks: list[Superseded]) -> None:
    """Mark rows that do not hold any more."""
    for mark in marks:
        entity = number_of(connection, mark.entity_id)
        binding = None if mark.binding_id is None else number_of(connection, mark.binding_id)
        if entity is None or (mark.binding_id is not None and binding is None):
            continue
        where, params = "", list[Any]()
        if binding is not None:
            where += " AND binding = ?"
            params.append(binding)
        if mark.uplink_id is not None:
            where += " AND uplink = ?"
            params.append(mark.uplink_id)
        since, until = (-LATEST if mark.since is None else mark.since), (LATEST if mark.until is None else mark.until)
        names = _attributes(connection, entity) if mark.attribute is None else [number_of(connection, mark.attribute)]
        for name in names:
            connection.execute(
                "UPDATE history SET superseded = ?, superseded_by = ? WHERE entity = ? AND name = ? AND observed_at >= ? AND observed_at < ?"  # noqa: S608
                f" AND superseded IS NULL AND version < ?{where}",
                (mark.version, mark.by, entity, name, since, until, mark.version, *params),
            )


def _row(entity_id: str, row: tuple[Any, ...]) -> HistoryRow:
    """The history row of a row of `_SELECT`."""
    return HistoryRow(
        entity_id=entity_id,
        attribute=row[2],
        dataset_id=row[3] or "",
        observed_at=row[0],
        recorded_at=row[4],
        version=row[1],
        instance=None if row[5] is None else orjson.loads(row[5]),
        uplink_id=row[6],
        device_id=row[7],
        binding_id=row[8],
        lineage=None if row[9] is None else orjson.loads(row[9]),
        superseded=row[10],
        superseded_by=row[11],
    )


def read_attributes(connection: sqlite3.Connection, entity_id: str) -> list[Iri]:
    """The attributes that an entity has a history of, in order."""
    entity = number_of(connection, entity_id)
    if entity is None:
        return []
    texts = "SELECT text FROM name WHERE n = ?"
    return sorted(connection.execute(texts, (name,)).fetchone()[0] for name in _attributes(connection, entity))


def _attributes(connection: sqlite3.Connection, entity: int) -> list[int]:
    """The attributes that an entity has a history of, each found by one step in the index."""
    return [
        name
        for (name,) in connection.execute(
            "WITH RECURSIVE found (name) AS ("
            " SELECT (SELECT min(name) FROM history WHERE entity = :entity)"
            " UNION ALL SELECT (SELECT min(h.name) FROM history h WHERE h.entity = :entity AND h.name > found.name)"
            " FROM found WHERE found.name IS NOT NULL)"
            " SELECT name FROM found WHERE name IS NOT NULL",
            {"entity": entity},
        )
    ]
