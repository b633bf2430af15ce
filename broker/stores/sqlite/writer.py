"""The writing side of one tenant: a thread of its own, the connection that writes, one transaction a change set."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from broker.clock import Micros
from broker.stores.base import ChangeSet, Conflict, Record, RecordKind, changed_kinds
from broker.stores.sqlite.connection import writing
from broker.stores.sqlite.entities import Kept, last_number, read_entities, write_entities
from broker.stores.sqlite.feed import forget_feed, write_feed
from broker.stores.sqlite.history import supersede, write_history
from broker.stores.sqlite.memory import Memory
from broker.stores.sqlite.names import Names
from broker.stores.sqlite.outbox import forget_told, write_outbox
from broker.stores.sqlite.records import read_record, write_epochs, write_records
from broker.stores.sqlite.uplinks import write_uplinks


class Writer:
    """Commits change sets, one after another; all calls come from one thread."""

    def __init__(self, connection: sqlite3.Connection, memory: Memory) -> None:
        self._connection = connection
        self._memory = memory
        self._names = Names(connection)
        self._last = last_number(connection)

    def commit(self, changes: ChangeSet) -> None:
        """Write all of it durably, or nothing. Raises Conflict, StoreUnavailable."""
        epochs = self._memory.epochs
        for kind, seen in changes.epochs.items():
            if epochs.get(kind, 0) != seen:
                raise Conflict(f"Records of kind '{kind}' changed: epoch {epochs.get(kind, 0)}, expected {seen}.")
        if not changes:
            return
        moved = changed_kinds(changes.records)
        if moved:
            epochs = epochs | {kind: epochs.get(kind, 0) + 1 for kind in moved}
        connection = self._connection
        try:
            with writing(connection):
                entities = write_entities(connection, self._names, changes.entities, self._current(changes), self._last)
                records = write_records(connection, changes.records, self._record)
                write_epochs(connection, epochs, moved)
                if changes.history:
                    write_history(connection, self._names, changes.history)
                supersede(connection, changes.superseded)
                write_uplinks(connection, changes.uplinks, changes.uplink_updates)
                write_outbox(connection, changes)
                if changes.feed:
                    write_feed(connection, changes.feed)
        except BaseException:
            self._names.rolled_back()
            raise
        self._names.committed()
        self._last = max([self._last, *(kept.n for kept in entities.values() if kept is not None)])
        self._memory.committed(entities, changes.records, records, epochs)

    def forget_told(self, before: Micros) -> int:
        """Forget who was told before a time."""
        with writing(self._connection):
            return forget_told(self._connection, before)

    def forget_feed(self, before: Micros, limit: int) -> int:
        """Delete the feed's first rows from before a time."""
        with writing(self._connection):
            return forget_feed(self._connection, before, limit)

    def forget(self, work: Callable[[sqlite3.Connection], int]) -> int:
        """Delete for good: what stood there is overwritten in the file, which otherwise keeps it until the room is needed."""
        connection = self._connection
        connection.execute("PRAGMA secure_delete = ON")
        try:
            with writing(connection):
                return work(connection)
        finally:
            connection.execute("PRAGMA secure_delete = FAST")

    def _current(self, changes: ChangeSet) -> dict[str, Kept | None]:
        current: dict[str, Kept | None] = {}
        missing: list[str] = []
        for write in changes.entities:
            known = self._memory.entity(write.id)
            if known is None:
                missing.append(write.id)
            else:
                current[write.id] = known[0]
        found = read_entities(self._connection, missing)
        return current | {entity_id: found.get(entity_id) for entity_id in missing}

    def _record(self, kind: RecordKind, record_id: str) -> Record | None:
        known = self._memory.record((kind, record_id))
        return known[0] if known is not None else read_record(self._connection, kind, record_id)
