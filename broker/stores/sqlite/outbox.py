"""The outbox and the dead letters."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from broker.clock import Micros
from broker.stores.base import Backlog, ChangeSet, OutboxRow, Told


def write_outbox(connection: sqlite3.Connection, changes: ChangeSet) -> None:
    """Add what is owed, settle what is done, move what is given up on or revived."""
    if changes.outbox:
        connection.executemany(
            "INSERT INTO outbox (id, subscription, entity, created_at, body) VALUES (?, ?, ?, ?, ?)",
            [(row.id, row.subscription_id, row.entity_id, row.created_at, row.body) for row in changes.outbox],
        )
    if changes.given_up:
        connection.executemany(
            "INSERT INTO dead_letter (id, subscription, entity, created_at, body, reason)"
            " SELECT id, subscription, entity, created_at, body, ? FROM outbox WHERE id = ?",
            [(reason, row_id) for row_id, reason in changes.given_up],
        )
    if changes.delivered_at is not None:
        connection.executemany(
            "INSERT OR IGNORE INTO told (entity, id, subscription, owed_at, delivered_at)"
            " SELECT entity, id, subscription, created_at, ? FROM outbox WHERE id = ?",
            [(changes.delivered_at, row_id) for row_id in changes.delivered],
        )
    gone = [*changes.delivered, *(row_id for row_id, _ in changes.given_up)]
    if gone:
        connection.executemany("DELETE FROM outbox WHERE id = ?", [(row_id,) for row_id in gone])
    if changes.revived:
        revived = [(row_id,) for row_id in changes.revived]
        connection.executemany(
            "INSERT INTO outbox (id, subscription, entity, created_at, body)"
            " SELECT id, subscription, entity, created_at, body FROM dead_letter WHERE id = ?",
            revived,
        )
        connection.executemany("DELETE FROM dead_letter WHERE id = ?", revived)


def read_owed(connection: sqlite3.Connection) -> dict[str, int]:
    """Subscription id -> how many rows wait for it."""
    return dict(connection.execute("SELECT subscription, count(*) FROM outbox GROUP BY subscription"))


def read_outbox(connection: sqlite3.Connection, subscription_id: str, after: str, limit: int) -> list[OutboxRow]:
    """Rows owed to a subscription, in order."""
    rows = connection.execute(
        "SELECT id, subscription, entity, created_at, body FROM outbox WHERE subscription = ? AND id > ?"
        " ORDER BY id LIMIT ?",
        (subscription_id, after, limit),
    )
    return [OutboxRow(*row) for row in rows]


def read_dead_letters(
    connection: sqlite3.Connection, subscription_id: str, after: str, limit: int
) -> list[tuple[OutboxRow, str]]:
    """What was given up on for a subscription, in order, with the reason."""
    rows = connection.execute(
        "SELECT id, subscription, entity, created_at, body, reason FROM dead_letter WHERE subscription = ?"
        " AND id > ? ORDER BY id LIMIT ?",
        (subscription_id, after, limit),
    )
    return [(OutboxRow(*row[:5]), row[5]) for row in rows]


def read_backlogs(connection: sqlite3.Connection, subscription_ids: Collection[str] | None) -> dict[str, Backlog]:
    """What subscriptions are owed, and what was given up on: counted in the indexes."""
    if subscription_ids is None:
        subscription_ids = [
            name
            for (name,) in connection.execute(
                "SELECT DISTINCT subscription FROM outbox UNION SELECT DISTINCT subscription FROM dead_letter"
            )
        ]
    found: dict[str, Backlog] = {}
    for name in subscription_ids:
        (owed,) = connection.execute("SELECT count(*) FROM outbox WHERE subscription = ?", (name,)).fetchone()
        (dead,) = connection.execute("SELECT count(*) FROM dead_letter WHERE subscription = ?", (name,)).fetchone()
        first = connection.execute(
            "SELECT created_at FROM outbox WHERE subscription = ? ORDER BY id LIMIT 1", (name,)
        ).fetchone()
        if owed or dead:
            found[name] = Backlog(owed, first[0] if first is not None else None, dead)
    return found


def read_told(connection: sqlite3.Connection, entity_id: str, version: int) -> list[Told]:
    """Who was told of a change: ids of the rows begin with its version."""
    start = f"{version:016x}-"
    rows = connection.execute(
        "SELECT subscription, owed_at, delivered_at FROM told WHERE entity = ? AND id >= ? AND id < ?"
        " ORDER BY delivered_at, id",
        (entity_id, start, start + "~"),
    )
    return [Told(*row) for row in rows]


def forget_told(connection: sqlite3.Connection, before: Micros) -> int:
    """Forget what was delivered before a time."""
    return connection.execute("DELETE FROM told WHERE delivered_at < ?", (before,)).rowcount
