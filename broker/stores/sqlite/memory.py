"""What the one process that has the file open remembers of it, always as last committed.

Absence is remembered too. The writer's thread puts in what it committed; a reader's find is put in only if nothing was
committed since its read began, so that nothing old replaces what is newer.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Final

from broker.stores.base import (
    FOLLOWED_KINDS,
    MOVES_KEPT,
    UNCOUNTED_KINDS,
    Needs,
    Record,
    RecordKind,
    RecordWrite,
    Snapshot,
    changed_kinds,
)
from broker.stores.sqlite.entities import Kept
from broker.stores.sqlite.lru import Lru
from broker.stores.sqlite.records import RecordId

RECORDS: Final = 50_000
"""Records remembered, count: the states of a city's devices and what they are bound to."""
FOUND: Final = 50_000
"""Keys whose records are remembered, count."""

KEPT_KINDS: Final[frozenset[RecordKind]] = UNCOUNTED_KINDS
"""Kinds that are written all the time; their keys are not remembered."""


class Memory:
    """Entities, records and found keys of one tenant; safe to use from several threads."""

    def __init__(self, entities: int, epochs: dict[RecordKind, int]) -> None:
        self._lock = Lock()
        self._commits = 0
        self._entities: Lru[str, tuple[Kept | None]] = Lru(entities)
        self._records: Lru[RecordId, tuple[Record | None]] = Lru(RECORDS)
        self._found: Lru[tuple[RecordKind, str], tuple[Record, ...]] = Lru(FOUND)
        self.epochs = epochs
        """Replaced, never changed, by a commit."""
        self._moves: dict[RecordKind, deque[tuple[int, set[str]]]] = {}
        """Of followed kinds: (epoch, ids) of each commit since the start."""

    def answer(self, needs: Needs) -> tuple[Snapshot, Needs, int]:
        """What is remembered of the needs, what is not, and the number of commits so far (for `learn`)."""
        snapshot, missing = Snapshot(), Needs(frames=needs.frames, latest=needs.latest, brought=needs.brought)
        with self._lock:
            snapshot.epochs = self.epochs
            for entity_id in needs.entities:
                entity = self._entities.get(entity_id)
                if entity is None:
                    missing.entities.add(entity_id)
                elif entity[0] is not None:
                    snapshot.entities[entity_id] = entity[0].stored
            for name in needs.records:
                record = self._records.get(name)
                if record is None:
                    missing.records.add(name)
                elif record[0] is not None:
                    snapshot.records[name] = record[0]
            for key in needs.found:
                found = self._found.get(key)
                if found is None:
                    missing.found.add(key)
                else:
                    snapshot.found[key] = found
            return snapshot, missing, self._commits

    def entity(self, entity_id: str) -> tuple[Kept | None] | None:
        """What is remembered of an entity: (None,) when it is known not to be there."""
        with self._lock:
            return self._entities.get(entity_id)

    def record(self, name: RecordId) -> tuple[Record | None] | None:
        """What is remembered of a record: (None,) when it is known not to be there."""
        with self._lock:
            return self._records.get(name)

    def moved(self, kind: RecordKind, since: int) -> tuple[int, set[str]] | None:
        """See TenantStore. What was committed before the start is not known."""
        with self._lock:
            epoch = self.epochs.get(kind, 0)
            if epoch == since:
                return epoch, set()
            moves = self._moves.get(kind, ())
            if not moves or moves[0][0] > since + 1 or epoch < since:
                return None
            return epoch, {record_id for at, ids in moves if at > since for record_id in ids}

    def learn(self, needs: Needs, entities: dict[str, Kept], snapshot: Snapshot, commits: int) -> None:
        """Remember what a read found of its needs, unless there was a commit since it began."""
        with self._lock:
            if commits != self._commits:
                return
            for entity_id in needs.entities:
                self._entities.put(entity_id, (entities.get(entity_id),))
            for name in needs.records:
                self._records.put(name, (snapshot.records.get(name),))
            for key in needs.found:
                if key[0] not in KEPT_KINDS:
                    self._found.put(key, snapshot.found.get(key, ()))

    def committed(
        self,
        entities: dict[str, Kept | None],
        writes: list[RecordWrite],
        records: dict[RecordId, Record | None],
        epochs: dict[RecordKind, int],
    ) -> None:
        """Take over what was committed."""
        with self._lock:
            self._commits += 1
            for entity_id, kept in entities.items():
                self._entities.put(entity_id, (kept,))
            for name, record in records.items():
                self._records.put(name, (record,))
            for kind in FOLLOWED_KINDS.intersection(write.kind for write in writes):
                ids = {write.id for write in writes if write.kind == kind}
                self._moves.setdefault(kind, deque(maxlen=MOVES_KEPT)).append((epochs[kind], ids))
            if changed_kinds(writes):
                self._found.clear()  # the registry changes seldom
            self.epochs = epochs
