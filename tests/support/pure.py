"""A store for tests of commands: plain dictionaries, no I/O, and a clock that stands where the test puts it.

It does what the writer does with one command at a time, and holds every write against the version that it expects.
"""

from __future__ import annotations

import itertools
from typing import TypeVar

from broker.clock import Micros, Stamp, iso
from broker.stores.base import (
    HistoryRow,
    Needs,
    Record,
    RecordKind,
    RecordWrite,
    Snapshot,
    StoredEntity,
)
from broker.stores.command import Command, Effects, View

ResultT = TypeVar("ResultT")


class Pure:
    """Entities, records and history, changed by commands."""

    def __init__(self, now: Micros) -> None:
        self.now = now
        self.entities: dict[str, StoredEntity] = {}
        self.records: dict[tuple[RecordKind, str], Record] = {}
        self.history: list[HistoryRow] = []
        self.read: set[tuple[RecordKind, str]] = set()
        """Records that the last command asked for."""
        self._version = itertools.count(now)
        self._id = itertools.count(1)

    def new_id(self) -> str:
        """In order, like those of the clock."""
        return f"{next(self._id):08d}"

    def run(self, command: Command[ResultT]) -> Effects[ResultT]:
        """What the command did. Raises what it raises; AssertionError when a write expects another version."""
        snapshot, asked = Snapshot(), Needs()
        while missing := command.needs(snapshot).minus(asked):
            snapshot.add(self._load(missing))
            asked.add(missing)
        self.read = asked.records
        stamp = Stamp(self.now, iso(self.now), max(self.now, next(self._version)))
        effects = command.apply(View(snapshot, self.new_id), stamp)
        for change in effects.changes:
            assert change.before is self._entity(change.entity_id), f"{change.entity_id} was not read"
            if change.after is None:
                del self.entities[change.entity_id]
            else:
                self.entities[change.entity_id] = StoredEntity(change.after, stamp.version)
        for write in effects.records:
            self.put(write)
        self.history += effects.history
        return effects

    def put(self, write: RecordWrite) -> None:
        """A record's next state."""
        present = self.records.get((write.kind, write.id))
        version = present.version if present is not None else 0
        assert write.expected in (None, version), f"{write.kind} '{write.id}': {write.expected}, is {version}"
        if write.body is None:
            self.records.pop((write.kind, write.id), None)
        else:
            self.records[write.kind, write.id] = Record(write.kind, write.id, write.body, write.version, write.keys)

    def found(self, kind: RecordKind, key: str) -> tuple[Record, ...]:
        """Records of a kind that carry a key, in order of ids."""
        found = [record for record in self.records.values() if record.kind == kind and key in record.keys]
        return tuple(sorted(found, key=lambda record: record.id))

    def all(self, kind: RecordKind) -> list[Record]:
        """All records of a kind."""
        return [record for record in self.records.values() if record.kind == kind]

    def _entity(self, entity_id: str) -> object:
        stored = self.entities.get(entity_id)
        return stored.entity if stored is not None else None

    def _load(self, needs: Needs) -> Snapshot:
        return Snapshot(
            entities={name: self.entities[name] for name in needs.entities if name in self.entities},
            records={name: self.records[name] for name in needs.records if name in self.records},
            found={name: found for name in needs.found if (found := self.found(*name))},
        )
