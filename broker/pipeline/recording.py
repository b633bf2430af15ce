"""Whether changes are written to the feed: only while somebody follows them, or did so lately.

A record says until when. The writer relies on its epoch as it does on that of the subscriptions, so no change of any process
is committed by a writer that does not know of it: what is to be recorded is, from the record's commit on.

    {"since": micros, "until": micros}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from broker.clock import Micros, Stamp
from broker.jsonio import dumps
from broker.ngsild.change import EntityChange
from broker.stores.base import FeedRow, Needs, RecordKind, RecordWrite, Snapshot, TenantStore
from broker.stores.command import Effects, View

KIND: Final[RecordKind] = "stream_use"
NAME: Final = "stream"


class Recording:
    """One writer's view of it."""

    def __init__(self, store: TenantStore) -> None:
        self._store = store
        self._epoch = 0
        self._until: Micros = 0

    async def in_step(self, epochs: dict[RecordKind, int]) -> None:
        """Look again where the record has changed."""
        epoch = epochs.get(KIND, 0)
        if epoch != self._epoch:
            record = await self._store.record(KIND, NAME)
            self._until = record.body["until"] if record is not None else 0
            self._epoch = epoch

    def rows(self, changes: list[EntityChange], stamp: Stamp) -> list[FeedRow]:
        """What to write of changes; nothing where nobody follows."""
        if stamp.now >= self._until:
            return []
        return [
            FeedRow(
                stamp.version,
                change.entity_id,
                stamp.now,
                dumps({"entity": change.entity, "attributes": change.attributes, "trigger": change.trigger}),
            )
            for change in changes
        ]


@dataclass(frozen=True, slots=True)
class Record:
    """Record for so long from now on, microseconds. The result: since when all is recorded."""

    keep: Micros

    def needs(self, seen: Snapshot) -> Needs:
        """What is recorded now."""
        return Needs(records={(KIND, NAME)})

    def apply(self, view: View, stamp: Stamp) -> Effects[Micros]:
        """The record, where less than half of the time is left."""
        present = view.record(KIND, NAME)
        since, until = (present.body["since"], present.body["until"]) if present is not None else (0, 0)
        if until - stamp.now > self.keep:
            return Effects(since)
        if until <= stamp.now:
            since = stamp.now
        body = {"since": since, "until": stamp.now + 2 * self.keep}
        expected = present.version if present is not None else 0
        return Effects(since, records=[RecordWrite(KIND, NAME, body, stamp.version, expected)])
