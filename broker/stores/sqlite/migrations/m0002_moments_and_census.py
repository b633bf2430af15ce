"""When entities were created and when they expire, as an index; how many there are of what, counted; which values are plain.

It fills the tables from the entities that are there, by the rules of `index_rows` and `census`. Should those rules change,
the migration that comes with the change fills them anew.
"""

from __future__ import annotations

import sqlite3

import orjson

from broker.query.sql import OTHER
from broker.stores.sqlite.census import Census
from broker.stores.sqlite.index_rows import moment_rows, value_rows
from broker.stores.sqlite.names import Names

SCHEMA = (
    # kind: broker.query.sql.CREATED and the others. at: microseconds.
    (
        "CREATE TABLE moment (kind INTEGER NOT NULL, at INTEGER NOT NULL, n INTEGER NOT NULL,"
        " PRIMARY KEY (kind, at, n)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE census (type INTEGER NOT NULL, name INTEGER NOT NULL, kind INTEGER NOT NULL, count INTEGER NOT NULL,"
        " PRIMARY KEY (type, name, kind)) WITHOUT ROWID"
    ),
    "CREATE INDEX census_attribute ON census (name, type)",
)
BATCH = 500
"""Entities whose rows are written at once, count."""


def migrate(connection: sqlite3.Connection) -> None:
    """Create the tables and fill them."""
    for statement in SCHEMA:
        connection.execute(statement)
    names = Names(connection)
    entities = connection.execute("SELECT n, body FROM entity")
    while rows := entities.fetchmany(BATCH):
        _fill(connection, names, rows)


def _fill(connection: sqlite3.Connection, names: Names, entities: list[tuple[int, bytes]]) -> None:
    census = Census()
    moments: list[tuple[int, int, int]] = []
    values: list[tuple[int, int, int, int]] = []
    for n, body in entities:
        entity = orjson.loads(body)
        census.change(None, entity)
        moments += [(kind, at, n) for kind, at in moment_rows(None, entity, None)[1]]
        values += [
            (names.number(attribute), OTHER, 0, n)
            for attribute in entity["attrs"]
            if (OTHER, 0) in value_rows(entity, attribute)
        ]
    connection.executemany("INSERT INTO moment (kind, at, n) VALUES (?, ?, ?)", moments)
    connection.executemany("INSERT INTO value (name, kind, v, n) VALUES (?, ?, ?, ?)", values)
    census.write(connection, names)
