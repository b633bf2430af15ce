"""A cache of the registry's records that knows whether it is in step with the store.

Devices, bindings, subscriptions and their like change seldom and are read with every uplink. Every commit that writes
records of a kind moves that kind's epoch on, so a cache filled at an epoch is right for as long as the epoch stands.

`await cache.get("device", id)` trusts what is cached, so call `in_step(await store.epochs())` as often as staleness
matters. `await cache.load(needs)` reads the epochs anew and drops what moved.

On SQLite all of it happens in memory. Not for several threads: one event loop owns a cache.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, TypeVar

from broker.stores.base import (
    UNCOUNTED_KINDS,
    Needs,
    Record,
    RecordKind,
    Snapshot,
    TenantStore,
)

ENTRIES: Final = 100_000
"""Records and keys kept, count."""


class NotCached:
    """What `peek` gives when only the store knows."""


NOT_CACHED: Final = NotCached()

_Entry = tuple[RecordKind, str]
V = TypeVar("V")


class RecordCache:
    """Records and found keys of the kinds that have an epoch; kinds without are always read from the store."""

    def __init__(self, store: TenantStore, entries: int = ENTRIES) -> None:
        self._store = store
        self._size = entries
        self._records: OrderedDict[_Entry, Record | None] = OrderedDict()
        self._found: OrderedDict[_Entry, tuple[Record, ...]] = OrderedDict()
        self.epochs: dict[RecordKind, int] = {}
        """The epochs that the cache is in step with."""

    # --- reading ------------------------------------------------------------------------------------------------------

    def peek(self, kind: RecordKind, record_id: str) -> Record | NotCached | None:
        """The record, None when it is known not to be there, NOT_CACHED when only the store knows."""
        entry = (kind, record_id)
        if entry not in self._records:
            return NOT_CACHED
        self._records.move_to_end(entry)
        return self._records[entry]

    async def get(self, kind: RecordKind, record_id: str) -> Record | None:
        """One record."""
        known = self.peek(kind, record_id)
        if not isinstance(known, NotCached):
            return known
        return (await self.load(Needs(records={(kind, record_id)}))).records.get((kind, record_id))

    async def load(self, needs: Needs) -> Snapshot:
        """What `TenantStore.load` gives, records from memory where it is in step; the store is read once, seldom twice."""
        known, missing = self._answer(needs)
        snapshot = await self._store.load(missing)
        if self.in_step(snapshot.epochs) & self._kinds(needs):
            # Something moved since it was cached, or while we read: what came from memory may be old.
            missing = needs
            known, snapshot = Snapshot(), await self._store.load(needs)
            self.in_step(snapshot.epochs)
        self._keep(missing, snapshot)
        known.add(snapshot)
        return known

    # --- keeping in step ----------------------------------------------------------------------------------------------

    def in_step(self, epochs: dict[RecordKind, int]) -> set[RecordKind]:
        """Drop the kinds whose epoch moved on, and say which did."""
        if epochs is self.epochs or epochs == self.epochs:
            return set()
        moved = {kind for kind in epochs.keys() | self.epochs.keys() if epochs.get(kind, 0) != self.epochs.get(kind, 0)}
        self._drop(moved)
        self.epochs = epochs
        return moved

    def _answer(self, needs: Needs) -> tuple[Snapshot, Needs]:
        known = Snapshot()
        missing = Needs(entities=needs.entities, frames=needs.frames)
        for kind, record_id in needs.records:
            record = self.peek(kind, record_id)
            if isinstance(record, NotCached):
                missing.records.add((kind, record_id))
            elif record is not None:
                known.records[(kind, record_id)] = record
        for kind, key in needs.found:
            found = self._found.get((kind, key))
            if found is None:
                missing.found.add((kind, key))
            else:
                self._found.move_to_end((kind, key))
                known.found[(kind, key)] = found
        return known, missing

    def _keep(self, asked: Needs, snapshot: Snapshot) -> None:
        for record in asked.records:
            if record[0] not in UNCOUNTED_KINDS:
                _put(self._records, record, snapshot.records.get(record), self._size)
        for key in asked.found:
            if key[0] not in UNCOUNTED_KINDS:
                _put(self._found, key, snapshot.found.get(key, ()), self._size)

    def _drop(self, kinds: Iterable[RecordKind]) -> None:
        dropped = frozenset(kinds)
        if not dropped:
            return
        for entries in (self._records, self._found):
            for entry in [entry for entry in entries if entry[0] in dropped]:
                del entries[entry]

    @staticmethod
    def _kinds(needs: Needs) -> set[RecordKind]:
        return {kind for kind, _ in needs.records | needs.found} - UNCOUNTED_KINDS


def _put(entries: OrderedDict[_Entry, V], entry: _Entry, value: V, size: int) -> None:
    entries[entry] = value
    entries.move_to_end(entry)
    if len(entries) > size:
        entries.popitem(last=False)
