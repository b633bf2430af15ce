"""Entities and the rows of their indexes, written by comparing what was with what is to be."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from broker.ngsild.model import Entity, Iri
from broker.query.geometry import Box
from broker.stores.base import Conflict, EntityWrite, StoredEntity
from broker.stores.sqlite import bulk
from broker.stores.sqlite.census import Census, same_census
from broker.stores.sqlite.index_rows import box_of, moment_rows, same_rows, scopes_of, types_of, value_rows
from broker.stores.sqlite.names import Names

Row = tuple[Any, ...]

_COLUMNS = {
    "entity_type": ("type", "n"),
    "entity_scope": ("scope", "n"),
    "attribute": ("name", "n"),
    "value": ("name", "kind", "v", "n"),
    "moment": ("kind", "at", "n"),
}
_THEIR_PLACES = "AS v CROSS JOIN place p ON p.n = v.column1 AND p.name = v.column2"

READ_AT_ONCE = 64
"""Entities read by one statement, count: what it gives must not become longer than SQLite allows (1 GB)."""


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
    """Rows to remove and to add, by table, so that each table is written in few statements."""

    removed: defaultdict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    added: defaultdict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    census: Census = field(default_factory=Census)
    moved: list[tuple[int, int, Box | None, Box | None]] = field(default_factory=list)
    """Number of the entity, of the attribute's name, the box as it was and as it is to be."""

    def write(self, connection: sqlite3.Connection, names: Names) -> None:
        for table, rows in self.removed.items():
            bulk.delete(connection, table, _COLUMNS[table], rows)
        for table, rows in self.added.items():
            bulk.insert(connection, f"{table} ({', '.join(_COLUMNS[table])})", rows)
        if self.moved:
            self._move(connection)
        self.census.write(connection, names)

    def _move(self, connection: sqlite3.Connection) -> None:
        """Boxes are known by numbers that `place` gives: one for each entity and attribute that has geometries."""
        had = [(n, name) for n, name, before, _ in self.moved if before is not None]
        gone = [(n, name) for n, name, before, after in self.moved if before is not None and after is None]
        new = [(n, name) for n, name, before, after in self.moved if before is None and after is not None]
        boxes = [(n, name, *after) for n, name, _, after in self.moved if after is not None]
        bulk.with_values(
            connection, "DELETE FROM box WHERE id IN (SELECT p.id FROM", had, f"{_THEIR_PLACES})", bulk.LARGEST_CHOICE
        )
        bulk.delete(connection, "place", ("n", "name"), gone)
        bulk.insert(connection, "place (n, name)", new)
        bulk.with_values(
            connection,
            "INSERT INTO box (id, west, east, south, north)"
            " SELECT p.id, v.column3, v.column5, v.column4, v.column6 FROM",
            boxes,
            _THEIR_PLACES,
        )


def read_entities(connection: sqlite3.Connection, ids: Iterable[str]) -> dict[str, Kept]:
    """Those of the entities that are there. Many are read as one text, a line each: that is one step of SQLite."""
    found: dict[str, Kept] = {}
    texts = bulk.with_values(
        connection,
        "SELECT group_concat(e.n || ' ' || e.version || ' ' || CAST(e.body AS TEXT), char(10)) FROM",
        [(entity_id,) for entity_id in ids],
        "AS v CROSS JOIN entity e ON e.id = v.column1",
        READ_AT_ONCE,
    )
    for text in texts:
        for line in text.split("\n"):
            n, version, body = line.split(" ", 2)
            entity: Entity = orjson.loads(body)
            found[entity["id"]] = Kept(int(n), StoredEntity(entity, int(version)))
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
                _index(names, before.n, before.stored.entity, None, None, rows)
            kept[entity_id] = None
            continue
        body = orjson.dumps(now.entity)
        if before is None:
            last += 1
            number = last
            inserted.append((number, entity_id, now.version, body))
            _index_new(names, number, now.entity, rows)
        else:
            number = before.n
            updated.append((number, entity_id, now.version, body))
            _index(names, number, before.stored.entity, now.entity, change.touched, rows)
        kept[entity_id] = Kept(number, now)
    bulk.delete(connection, "entity", ("n",), deleted)
    bulk.insert(connection, "entity (n, id, version, body)", inserted)
    bulk.insert(
        connection,
        "entity (n, id, version, body)",
        updated,
        "ON CONFLICT (n) DO UPDATE SET version = excluded.version, body = excluded.body",
    )
    rows.write(connection, names)
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


def _index_new(names: Names, n: int, entity: Entity, rows: _Rows) -> None:
    """Collect the index rows of an entity that was not there: what `_index` gives without a state before."""
    number, added = names.number, rows.added
    added["entity_type"] += [(number(text), n) for text in types_of(entity)]
    if "scope" in entity:
        added["entity_scope"] += [(text, n) for text in scopes_of(entity)]
    added["moment"] += [(kind, at, n) for kind, at in moment_rows(None, entity, None)[1]]
    rows.census.change(None, entity)
    attributes, values = added["attribute"], added["value"]
    for attribute in entity["attrs"]:
        name = number(attribute)
        attributes.append((name, n))
        for kind, key in value_rows(entity, attribute):
            values.append((name, kind, key, n))
        box = box_of(entity, attribute)
        if box is not None:
            rows.moved.append((n, name, None, box))


def _index(
    names: Names, n: int, before: Entity, after: Entity | None, touched: frozenset[Iri] | None, rows: _Rows
) -> None:
    """Collect the index rows that change."""
    old = before["attrs"]
    new = after["attrs"] if after is not None else {}
    removed, added = rows.removed, rows.added
    moments_before, moments_after = moment_rows(before, after, touched)
    if moments_before != moments_after:
        removed["moment"] += [(kind, at, n) for kind, at in moments_before - moments_after]
        added["moment"] += [(kind, at, n) for kind, at in moments_after - moments_before]
    if not same_census(before, after, touched):
        rows.census.change(before, after)
    if touched is None:
        types, next_types = types_of(before), types_of(after)
        if types != next_types:
            removed["entity_type"] += [(names.number(text), n) for text in types - next_types]
            added["entity_type"] += [(names.number(text), n) for text in next_types - types]
        scopes, next_scopes = scopes_of(before), scopes_of(after)
        if scopes != next_scopes:
            removed["entity_scope"] += [(text, n) for text in scopes - next_scopes]
            added["entity_scope"] += [(text, n) for text in next_scopes - scopes]
    for attribute in touched if touched is not None else old.keys() | new.keys():
        was, now = old.get(attribute), new.get(attribute)
        if was is now or not (was or now) or (was and now and same_rows(was, now)):
            continue
        name = names.number(attribute)
        if not was:
            added["attribute"].append((name, n))
        elif not now:
            removed["attribute"].append((name, n))
        values_before, values_after = value_rows(before, attribute), value_rows(after, attribute)
        if values_before != values_after:
            removed["value"] += [(name, kind, key, n) for kind, key in values_before - values_after]
            added["value"] += [(name, kind, key, n) for kind, key in values_after - values_before]
        box_before, box_after = box_of(before, attribute), box_of(after, attribute)
        if box_before != box_after:
            rows.moved.append((n, name, box_before, box_after))
