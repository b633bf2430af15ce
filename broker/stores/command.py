"""What a command is: a pure function from what is there to what shall be there. The writer gathers, applies, commits.

needs(seen) -> Needs          asked again, with what was found, until it wants nothing more
apply(view, stamp) -> Effects no I/O, no clock; raises BrokerError to refuse (nothing of it is applied)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from broker.clock import Stamp
from broker.ngsild.change import EntityChange
from broker.ngsild.model import Entity
from broker.stores.base import (
    EntityWrite,
    HistoryRow,
    Latest,
    Needs,
    Record,
    RecordKind,
    RecordWrite,
    Snapshot,
    Superseded,
    UplinkRow,
    UplinkUpdate,
)

ResultT = TypeVar("ResultT")


@dataclass(slots=True)
class Effects(Generic[ResultT]):
    """What a command wants done, all or nothing, and what to tell whoever sent it."""

    result: ResultT
    changes: list[EntityChange] = field(default_factory=list)
    history: list[HistoryRow] = field(default_factory=list)
    superseded: list[Superseded] = field(default_factory=list)
    records: list[RecordWrite] = field(default_factory=list)
    uplinks: list[UplinkRow] = field(default_factory=list)
    uplink_updates: list[UplinkUpdate] = field(default_factory=list)
    silent: bool = False
    """No subscriber is told of the changes."""


class View:
    """What a command sees: the snapshot, and over it what commands before it in the same group did."""

    def __init__(self, snapshot: Snapshot, new_id: Callable[[], str], below: View | None = None) -> None:
        """`below`: see `layer`."""
        self._snapshot = snapshot
        self._below = below
        self._entities: dict[str, EntityWrite] = {}
        self._records: dict[tuple[RecordKind, str], RecordWrite] = {}
        self._keyed: dict[tuple[RecordKind, str], dict[str, None]] = {}
        """(kind, key) -> ids of what was written with that key here: not all of it may have the key still."""
        self._frames: set[str] = set()
        self.new_id = new_id

    def layer(self) -> View:
        """A view over this one, for a command made of commands: what it absorbs is not seen here."""
        return View(self._snapshot, self.new_id, below=self)

    def entity(self, entity_id: str) -> Entity | None:
        """The entity as it is now, or None."""
        written = self._entities.get(entity_id)
        if written is not None:
            return written.entity
        if self._below is not None:
            return self._below.entity(entity_id)
        stored = self._snapshot.entities.get(entity_id)
        return stored.entity if stored is not None else None

    def wrote(self, entity_id: str) -> bool:
        """Whether a command before wrote the entity, or deleted it: then `entity` says what is there now."""
        return entity_id in self._entities or (self._below is not None and self._below.wrote(entity_id))

    def entity_version(self, entity_id: str) -> int:
        """The version of the entity's last change; 0 when it is not there."""
        written = self._entities.get(entity_id)
        if written is not None:
            return written.version if written.entity is not None else 0
        if self._below is not None:
            return self._below.entity_version(entity_id)
        stored = self._snapshot.entities.get(entity_id)
        return stored.version if stored is not None else 0

    def record(self, kind: RecordKind, record_id: str) -> Record | None:
        """A record as it is now, or None."""
        written = self._records.get((kind, record_id))
        if written is not None:
            return _as_record(written)
        if self._below is not None:
            return self._below.record(kind, record_id)
        return self._snapshot.records.get((kind, record_id))

    def found(self, kind: RecordKind, key: str) -> tuple[Record, ...]:
        """The records of a kind that carry `key`, as they are now."""
        below = self._below
        found = below.found(kind, key) if below is not None else self._snapshot.found.get((kind, key), ())
        if not self._records:
            return found
        now = {record.id: record for record in found}
        for record_id in [*now, *self._keyed.get((kind, key), ())]:
            written = self._records.get((kind, record_id))
            if written is None:
                continue
            now.pop(record_id, None)
            record = _as_record(written)
            if record is not None and key in record.keys:
                now[record_id] = record
        return tuple(now.values())

    def frame_applied(self, frame_key: str) -> bool:
        """Whether the frame was applied before, or by an earlier command of the group."""
        if frame_key in self._frames or frame_key in self._snapshot.frames:
            return True
        return self._below is not None and self._below.frame_applied(frame_key)

    def latest(self, wanted: Latest) -> HistoryRow | None:
        """The history row asked for, as the store has it: for commands that have their group to themselves."""
        return self._snapshot.latest.get(wanted)

    def brought(self, uplink_id: str) -> tuple[HistoryRow, ...]:
        """The rows that an uplink brought and that hold, as the store has them."""
        return self._snapshot.brought.get(uplink_id, ())

    # --- what the writer does with effects ---

    def absorb(self, effects: Effects[Any], stamp: Stamp) -> None:
        """Lay `effects` over the snapshot; several writes of one entity or record become one."""
        for change in effects.changes:
            earlier = self._entities.get(change.entity_id)
            stored = self._snapshot.entities.get(change.entity_id)
            whole = _touches_all(change) or (earlier is not None and earlier.touched is None)
            touched = frozenset(change.attributes)
            self._entities[change.entity_id] = EntityWrite(
                id=change.entity_id,
                entity=change.after,
                version=stamp.version,
                expected=stored.version if stored is not None else 0,
                touched=None if whole else (touched | earlier.touched if earlier and earlier.touched else touched),
            )
        for write in effects.records:
            first = self._records.get((write.kind, write.id))
            expected = first.expected if first is not None else write.expected
            self._records[write.kind, write.id] = RecordWrite(
                write.kind, write.id, write.body, write.version, expected, write.keys
            )
            for key in write.keys:
                self._keyed.setdefault((write.kind, key), {})[write.id] = None
        self._frames.update(row.frame_key for row in effects.uplinks if row.frame_key is not None)

    def entity_writes(self) -> list[EntityWrite]:
        """The net writes of entities: none for what was created and deleted within the group."""
        return [write for write in self._entities.values() if write.entity is not None or write.expected]

    def record_writes(self) -> list[RecordWrite]:
        """The net writes of records."""
        return list(self._records.values())


def _as_record(write: RecordWrite) -> Record | None:
    return Record(write.kind, write.id, write.body, write.version, write.keys) if write.body is not None else None


def _touches_all(change: EntityChange) -> bool:
    """Whether more than the named attributes' index entries may differ."""
    before, after = change.before, change.after
    return (
        before is None
        or after is None
        or before["type"] != after["type"]
        or before.get("scope") != after.get("scope")
        or before.get("expiresAt") != after.get("expiresAt")
    )


class Command(Protocol[ResultT]):
    """A unit of work for the writer."""

    def needs(self, seen: Snapshot) -> Needs:
        """What it must see before it can be applied, given what was found so far."""
        ...

    def apply(self, view: View, stamp: Stamp) -> Effects[ResultT]:
        """The effects. Raises BrokerError to refuse."""
        ...


class Alone:
    """Base of commands that ask for what commands before them in a group may change unseen: each is a group of its own."""

    __slots__ = ()
