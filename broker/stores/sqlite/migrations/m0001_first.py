"""The first schema.

Names that repeat (attributes, types, devices, entities in the history) stand once in `name`; indexes hold their numbers.
What an index over entities holds is derived from the entity: rows of `entity_type`, `entity_scope`, `attribute`, `value`
and `place` are those of `index_rows`, so the one b-tree each that queries need is enough to find the rows to remove.
"""

from __future__ import annotations

import sqlite3

SCHEMA = (
    "CREATE TABLE name (n INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    # n: order of creation.
    "CREATE TABLE entity (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE entity_type (type INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (type, n)) WITHOUT ROWID",
    "CREATE TABLE entity_scope (scope TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (scope, n)) WITHOUT ROWID",
    "CREATE TABLE attribute (name INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (name, n)) WITHOUT ROWID",
    # kind: broker.query.sql.KINDS. v has no affinity: it keeps what it is given.
    (
        "CREATE TABLE value (name INTEGER NOT NULL, kind INTEGER NOT NULL, v, n INTEGER NOT NULL,"
        " PRIMARY KEY (name, kind, v, n)) WITHOUT ROWID"
    ),
    # One box around all geometries that an entity has under a name; `box` holds it under the same id.
    "CREATE TABLE place (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, name INTEGER NOT NULL, UNIQUE (n, name))",
    (
        "CREATE TABLE history (row INTEGER PRIMARY KEY, entity INTEGER NOT NULL, name INTEGER NOT NULL,"
        " observed_at INTEGER NOT NULL, version INTEGER NOT NULL, recorded_at INTEGER NOT NULL, dataset INTEGER,"
        " uplink TEXT, device INTEGER, binding INTEGER, instance BLOB)"
    ),
    "CREATE INDEX history_order ON history (entity, name, observed_at, version)",
    (
        "CREATE TABLE outbox (id TEXT NOT NULL UNIQUE, subscription TEXT NOT NULL, entity TEXT NOT NULL,"
        " created_at INTEGER NOT NULL, body BLOB NOT NULL)"
    ),
    "CREATE INDEX outbox_order ON outbox (subscription, id)",
    (
        "CREATE TABLE dead_letter (id TEXT NOT NULL UNIQUE, subscription TEXT NOT NULL, entity TEXT NOT NULL,"
        " created_at INTEGER NOT NULL, body BLOB NOT NULL, reason TEXT NOT NULL)"
    ),
    "CREATE INDEX dead_letter_order ON dead_letter (subscription, id)",
    (
        "CREATE TABLE record (kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, keys BLOB NOT NULL,"
        " body BLOB NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE record_key (kind TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL,"
        " PRIMARY KEY (kind, key, id)) WITHOUT ROWID"
    ),
    "CREATE TABLE epoch (kind TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID",
    (
        "CREATE TABLE uplink (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL, reason TEXT NOT NULL,"
        " source TEXT NOT NULL, received_at INTEGER NOT NULL, device TEXT, frame TEXT, raw BLOB NOT NULL,"
        " meta BLOB NOT NULL)"
    ),
    "CREATE UNIQUE INDEX uplink_frame ON uplink (frame) WHERE frame IS NOT NULL",
    "CREATE INDEX uplink_device ON uplink (device, id)",
    # Nearly all are applied, and those are listed by id: the index is for the few that are not.
    "CREATE INDEX uplink_status ON uplink (status, id) WHERE status <> 'applied'",
)
BOX = "CREATE VIRTUAL TABLE box USING rtree(id, west, east, south, north)"
# Where SQLite was built without R*Trees: the same columns, one dimension indexed.
PLAIN_BOX = (
    "CREATE TABLE box (id INTEGER PRIMARY KEY, west REAL, east REAL, south REAL, north REAL)",
    "CREATE INDEX box_south ON box (south, north)",
)


def migrate(connection: sqlite3.Connection) -> None:
    """Create all tables."""
    for statement in SCHEMA:
        connection.execute(statement)
    (has_rtree,) = connection.execute("SELECT sqlite_compileoption_used('ENABLE_RTREE')").fetchone()
    for statement in (BOX,) if has_rtree else PLAIN_BOX:
        connection.execute(statement)
