"""Entities and the rows of their indexes, written by comparing what was with what is to be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from broker.ngsild.model import Entity, Iri
from broker.stores.base import Conflict, EntityWrite, StoredEntity
from broker.stores.sqlite.census import Census, same_census
from broker.stores.sqlite.index_rows import box_of, moment_rows, scopes_of, types_of, value_rows
from broker.stores.sqlite.names import Names

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """An entity as kept, and its number: the order of creation."""

    n: int
    stored: StoredEntity


@dataclass(slots=True)
class _Change:
    before: Kept | None
    now: StoredEntity | None
    touched: frozenset[Iri] | None


@dataclass(slots=True)
class _Rows:
    """Rows to remove and to add, by table; each list goes to the store in one call."""

    removed: dict[str, list[Row]] = field(default_factory=dict)
    added: dict[str, list[Row]] = field(default_factory=dict)
    census: Census = field(default_factory=Census)

    def replace(self, table: str, before: set[Row], after: set[Row]) -> None:
        if before != after:
            self.removed.setdefault(table, []).extend(before - after)
            self.added.setdefault(table, []).extend(after - before)


_REMOVE = {
    "entity_type": "DELETE FROM entity_type WHERE type = ? AND n = ?",
    "entity_scope": "DELETE FROM entity_scope WHERE scope = ? AND n = ?",
    "attribute": "DELETE FROM attribute WHERE name = ? AND n = ?",
    "value": "DELETE FROM value WHERE name = ? AND kind = ? AND v = ? AND n = ?",
    "moment": "DELETE FROM moment WHERE kind = ? AND at = ? AND n = ?",
}
_ADD = {
    "entity_type": "INSERT INTO entity_type (type, n) VALUES (?, ?)",
    "entity_scope": "INSERT INTO entity_scope (scope, n) VALUES (?, ?)",
    "attribute": "INSERT INTO attribute (name, n) VALUES (?, ?)",
    "value": "INSERT INTO value (name, kind, v, n) VALUES (?, ?, ?, ?)",
    "moment": "INSERT INTO moment (kind, at, n) VALUES (?, ?, ?)",
}


def read_entities(connection: sqlite3.Connection, ids: Iterable[str]) -> dict[str, Kept]:
    """Those of the entities that are there."""
    found: dict[str, Kept] = {}
    for entity_id in ids:
        row = connection.execute("SELECT n, version, body FROM entity WHERE id = ?", (entity_id,)).fetchone()
        if row is not None:
            found[entity_id] = Kept(row[0], StoredEntity(orjson.loads(row[2]), row[1]))
    return found


def last_number(connection: sqlite3.Connection) -> int:
    """The number of the entity created last, 0 without any."""
    return int(connection.execute("SELECT coalesce(max(n), 0) FROM entity").fetchone()[0])


def write_entities(
    connection: sqlite3.Connection,
    names: Names,
    writes: list[EntityWrite],
    current: dict[str, Kept | None],
    last: int,
) -> dict[str, Kept | None]:
    """Write the next states and their index rows; gives what is kept of each afterwards.

    `current` has what is kept of each now, `last` the number given last. Raises Conflict.
    """
    kept: dict[str, Kept | None] = {}
    inserted: list[Row] = []
    updated: list[Row] = []
    deleted: list[Row] = []
    rows = _Rows()
    changes = _folded(writes, current)
    for entity_id, change in sorted(
        changes.items(), key=lambda item: (item[1].now.version if item[1].now else 0, item[0])
    ):
        before, now = change.before, change.now
        if now is None:
            if before is not None:
                deleted.append((before.n,))
                _index(connection, names, before.n, before.stored.entity, None, None, rows)
            kept[entity_id] = None
            continue
        body = orjson.dumps(now.entity)
        if before is None:
            last += 1
            number = last
            inserted.append((number, entity_id, now.version, body))
            _index(connection, names, number, None, now.entity, None, rows)
        else:
            number = before.n
            updated.append((now.version, body, number))
            _index(connection, names, number, before.stored.entity, now.entity, change.touched, rows)
        kept[entity_id] = Kept(number, now)
    if deleted:
        connection.executemany("DELETE FROM entity WHERE n = ?", deleted)
    if inserted:
        connection.executemany("INSERT INTO entity (n, id, version, body) VALUES (?, ?, ?, ?)", inserted)
    if updated:
        connection.executemany("UPDATE entity SET version = ?, body = ? WHERE n = ?", updated)
    for table, removed in rows.removed.items():
        connection.executemany(_REMOVE[table], removed)
    for table, added in rows.added.items():
        connection.executemany(_ADD[table], added)
    rows.census.write(connection, names)
    return kept


def _folded(writes: list[EntityWrite], current: dict[str, Kept | None]) -> dict[str, _Change]:
    """One change an entity, in order of the first write, having held each write against the state before it."""
    changes: dict[str, _Change] = {}
    for write in writes:
        change = changes.get(write.id)
        if change is None:
            before = current[write.id]
            version = before.stored.version if before is not None else 0
        else:
            before = change.before
            version = change.now.version if change.now is not None else 0
        if write.expected != version:
            raise Conflict(f"Entity '{write.id}' is at version {version}, expected {write.expected}.")
        touched = write.touched
        if change is not None:
            touched = None if touched is None or change.touched is None else touched | change.touched
        now = None if write.entity is None else StoredEntity(write.entity, write.version)
        changes[write.id] = _Change(before, now, touched)
    return changes


def _index(
    connection: sqlite3.Connection,
    names: Names,
    n: int,
    before: Entity | None,
    after: Entity | None,
    touched: frozenset[Iri] | None,
    rows: _Rows,
) -> None:
    """Collect the index rows that change; places, which seldom move, are written at once."""
    old = before["attrs"] if before is not None else {}
    new = after["attrs"] if after is not None else {}
    moments_before, moments_after = moment_rows(before, after, touched)
    if moments_before != moments_after:
        rows.replace(
            "moment", {(kind, at, n) for kind, at in moments_before}, {(kind, at, n) for kind, at in moments_after}
        )
    if not same_census(before, after, touched):
        rows.census.change(before, after)
    attributes: Iterable[Iri] = touched if touched is not None else old.keys() | new.keys()
    if touched is None:
        for table, texts, next_texts in (
            ("entity_type", types_of(before), types_of(after)),
            ("entity_scope", scopes_of(before), scopes_of(after)),
        ):
            if texts != next_texts:
                number = names.number if table == "entity_type" else str
                rows.replace(table, {(number(text), n) for text in texts}, {(number(text), n) for text in next_texts})
    for attribute in attributes:
        was, now = old.get(attribute), new.get(attribute)
        if was is now or not (was or now):
            continue
        name = names.number(attribute)
        if not was or not now:
            rows.replace("attribute", {(name, n)} if was else set(), {(name, n)} if now else set())
        values_before, values_after = value_rows(before, attribute), value_rows(after, attribute)
        if values_before != values_after:
            rows.replace(
                "value",
                {(name, kind, key, n) for kind, key in values_before},
                {(name, kind, key, n) for kind, key in values_after},
            )
        box_before, box_after = box_of(before, attribute), box_of(after, attribute)
        if box_before != box_after:
            _move(connection, n, name, box_after)


def _move(connection: sqlite3.Connection, n: int, name: int, box: tuple[float, float, float, float] | None) -> None:
    found = connection.execute("SELECT id FROM place WHERE n = ? AND name = ?", (n, name)).fetchone()
    if found is not None:
        connection.execute("DELETE FROM box WHERE id = ?", found)
        if box is None:
            connection.execute("DELETE FROM place WHERE id = ?", found)
    if box is None:
        return
    if found is not None:
        (place,) = found
    else:
        place = connection.execute("INSERT INTO place (n, name) VALUES (?, ?)", (n, name)).lastrowid
    west, south, east, north = box
    connection.execute(
        "INSERT INTO box (id, west, east, south, north) VALUES (?, ?, ?, ?, ?)", (place, west, east, south, north)
    )
