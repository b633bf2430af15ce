"""One tenant's store: a file, a thread that writes, threads that read, and a memory that answers without either."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from typing import Final, TypeVar

from broker.clock import Micros
from broker.config import StoreSettings
from broker.errors import StoreUnavailable
from broker.ngsild.model import Entity, Iri
from broker.query.ast import EntityQuery
from broker.stores.base import (
    AttributeInfo,
    Backlog,
    ChangeSet,
    HistoryRow,
    Needs,
    OutboxRow,
    Page,
    PositionGone,
    QuarantineGroup,
    Record,
    RecordKind,
    Snapshot,
    StoredEntity,
    Tail,
    Told,
    TypeInfo,
    UplinkRow,
    UplinkStatus,
)
from broker.stores.sqlite import discovery, forgetting, history, outbox, records, uplinks
from broker.stores.sqlite.connection import open_reader, open_writer, reading
from broker.stores.sqlite.entities import Kept, read_entities
from broker.stores.sqlite.feed import SqliteTail, read_last, read_position
from broker.stores.sqlite.memory import Memory
from broker.stores.sqlite.migrations import migrate
from broker.stores.sqlite.query import run_query
from broker.stores.sqlite.stream import Snapshots
from broker.stores.sqlite.writer import Writer

T = TypeVar("T")

STREAMS: Final = 8
"""Streams at once, count: each has a connection of its own. Others wait."""


class SqliteTenant:
    """A `TenantStore` on one file. Made by `SqliteStore`, which holds the lock that lets it be the only process."""

    def __init__(self, path: Path, settings: StoreSettings) -> None:
        self._path = path
        self._settings = settings
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._reading = ThreadPoolExecutor(settings.readers, thread_name_prefix="store-reader")
        self._own = local()
        self._streams = asyncio.Semaphore(STREAMS)
        self._connections: list[sqlite3.Connection] = []
        self._fed = asyncio.Event()
        """Set and replaced when the feed has grown."""

    async def open(self) -> None:
        """Open and migrate the file. Raises StoreTooNew, StoreUnavailable."""
        await asyncio.get_running_loop().run_in_executor(self._writing, self._open)

    def _open(self) -> None:
        try:
            connection = open_writer(self._path)
            self._connections.append(connection)
            migrate(connection, str(self._path))
            connection.execute(
                "SELECT 1 FROM box LIMIT 1"
            )  # fails where this SQLite lacks the R*Tree that the file has
            self._memory = Memory(self._settings.entity_cache, records.read_epochs(connection))
            self._writer = Writer(connection, self._memory)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"The store file '{self._path}' cannot be opened: {error}.") from error

    async def close(self) -> None:
        """Finish what was begun, then let go of the file: readers first, so that the writer folds the log in."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reading.shutdown()
        self._writing.shutdown()
        while self._connections:
            self._connections.pop().close()

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
            if connection is None:
                try:
                    connection = self._own.connection = open_reader(self._path)
                except sqlite3.Error as error:
                    raise StoreUnavailable("The store cannot be read just now.") from error
                self._connections.append(connection)
            with reading(connection):
                return work(connection)

        return await self._in(self._reading, run)

    async def _in(self, executor: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            future = asyncio.get_running_loop().run_in_executor(executor, work)
        except RuntimeError as error:  # shut down
            raise StoreUnavailable("The store is closed.") from error
        return await future

    # --- the protocol -------------------------------------------------------------------------------------------------

    async def load(self, needs: Needs) -> Snapshot:
        """All that `needs` names; at once when all of it is remembered."""
        snapshot, missing, commits = self._memory.answer(needs)
        if not missing:
            return snapshot
        rest, entities = await self._read(lambda connection: _load(connection, missing))
        self._memory.learn(missing, entities, rest, commits)
        if self._memory.epochs is not snapshot.epochs:
            return await self._load_whole(needs)
        rest.epochs = snapshot.epochs
        snapshot.add(rest)
        return snapshot

    async def _load_whole(self, needs: Needs) -> Snapshot:
        """All from the file: the registry changed while the memory and the file were asked one after the other."""

        def whole(connection: sqlite3.Connection) -> Snapshot:
            snapshot, _ = _load(connection, needs)
            snapshot.epochs = records.read_epochs(connection)
            return snapshot

        return await self._read(whole)

    async def commit(self, changes: ChangeSet) -> None:
        """Write all of it durably, or nothing; cancelled, it is either written whole or never begun."""
        await self._in(self._writing, lambda: self._writer.commit(changes))
        if changes.feed:
            self._fed.set()
            self._fed = asyncio.Event()

    async def epochs(self) -> dict[RecordKind, int]:
        """The epochs as they are now."""
        return self._memory.epochs

    async def moved(self, kind: RecordKind, since: int) -> tuple[int, set[str]] | None:
        """What was written of a followed kind since an epoch."""
        return self._memory.moved(kind, since)

    async def entity(self, entity_id: str) -> StoredEntity | None:
        """One entity by id."""
        known = self._memory.entity(entity_id)
        if known is not None:
            return known[0].stored if known[0] is not None else None
        return (await self.load(Needs(entities={entity_id}))).entities.get(entity_id)

    async def query(self, query: EntityQuery) -> Page:
        """The entities that `query` selects."""
        return await self._read(lambda connection: run_query(connection, query))

    async def stream(self, query: EntityQuery) -> AsyncIterator[list[Entity]]:
        """All that `query` selects, in batches; as of one moment unless the reader takes long."""
        async with self._streams:
            snapshot = Snapshots(self._path)
            try:
                while batch := await self._in(self._reading, lambda: snapshot.batch(query)):
                    yield batch
            finally:
                await asyncio.to_thread(snapshot.close)

    async def expiring(self, before: Micros, limit: int) -> list[str]:
        """Ids of entities of which something expires before the moment, soonest first."""
        return await self._read(lambda connection: discovery.read_expiring(connection, before, limit))

    async def entity_types(self) -> list[Iri]:
        """The types in use, in order."""
        return await self._read(discovery.read_types)

    async def attributes(self) -> list[Iri]:
        """The attributes in use, in order."""
        return await self._read(discovery.read_attributes)

    async def type_details(self, entity_type: Iri | None = None) -> list[TypeInfo]:
        """All types in order, or one."""
        return await self._read(lambda connection: discovery.read_type_details(connection, entity_type))

    async def attribute_details(self, attribute: Iri | None = None) -> list[AttributeInfo]:
        """All attributes in order, or one."""
        return await self._read(lambda connection: discovery.read_attribute_details(connection, attribute))

    async def record(self, kind: RecordKind, record_id: str) -> Record | None:
        """One record."""
        return (await self.load(Needs(records={(kind, record_id)}))).records.get((kind, record_id))

    async def records(
        self, kind: RecordKind, *, key: str | None = None, after: str = "", limit: int | None = None
    ) -> list[Record]:
        """Records of a kind in id order."""
        return await self._read(lambda connection: records.read_records(connection, kind, key, after, limit))

    async def history(
        self,
        entity_id: str,
        attribute: Iri | None = None,
        *,
        since: Micros | None = None,
        until: Micros | None = None,
        limit: int = 1000,
        newest_first: bool = False,
        superseded: bool = False,
    ) -> list[HistoryRow]:
        """History rows of an entity in order of (observed_at, version)."""
        return await self._read(
            lambda connection: history.read_history(
                connection, entity_id, attribute, since, until, limit, newest_first, superseded
            )
        )

    async def history_attributes(self, entity_id: str) -> list[Iri]:
        """The attributes that an entity has a history of, in order."""
        return await self._read(lambda connection: history.read_attributes(connection, entity_id))

    async def uplink(self, uplink_id: str) -> UplinkRow | None:
        """One raw uplink."""
        return await self._read(lambda connection: uplinks.read_uplink(connection, uplink_id))

    async def uplinks(
        self,
        *,
        status: UplinkStatus | None = None,
        device_id: str | None = None,
        after: str = "",
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[UplinkRow]:
        """Raw uplinks in id order, filtered."""
        return await self._read(
            lambda connection: uplinks.read_uplinks(connection, status, device_id, after, limit, newest_first)
        )

    async def quarantine(self) -> list[QuarantineGroup]:
        """The quarantine by device, the most recently heard first."""
        return await self._read(uplinks.read_quarantine)

    async def outbox_owed(self) -> dict[str, int]:
        """Subscription id -> how many rows wait for it."""
        return await self._read(outbox.read_owed)

    async def outbox(self, subscription_id: str, *, after: str = "", limit: int = 100) -> list[OutboxRow]:
        """Rows owed to a subscription, in order."""
        return await self._read(lambda connection: outbox.read_outbox(connection, subscription_id, after, limit))

    async def dead_letters(
        self, subscription_id: str, *, after: str = "", limit: int = 1000
    ) -> list[tuple[OutboxRow, str]]:
        """What was given up on for a subscription, in order, with the reason."""
        return await self._read(lambda connection: outbox.read_dead_letters(connection, subscription_id, after, limit))

    async def backlogs(self, subscription_ids: Collection[str] | None = None) -> dict[str, Backlog]:
        """What subscriptions are owed, and what was given up on."""
        return await self._read(lambda connection: outbox.read_backlogs(connection, subscription_ids))

    async def history_between(self, since: int, until: int, limit: int) -> list[HistoryRow]:
        """History rows of all entities in order of version."""
        return await self._read(lambda connection: history.read_between(connection, since, until, limit))

    async def tail(self, position: str | None) -> Tail:
        """The feed from a position on."""
        last = await self._read(read_last)
        start = last if position is None else read_position(position)
        if start > last:
            raise PositionGone("The position is of another store.")
        return SqliteTail(start, self._read, lambda: self._fed)

    async def forget_feed(self, before: Micros, limit: int) -> int:
        """Delete the feed's first rows from before a time."""
        return await self._in(self._writing, lambda: self._writer.forget_feed(before, limit))

    async def told(self, entity_id: str, version: int) -> list[Told]:
        """Who was told of a change of an entity."""
        return await self._read(lambda connection: outbox.read_told(connection, entity_id, version))

    async def forget_told(self, before: Micros) -> int:
        """Forget who was told before a time."""
        return await self._in(self._writing, lambda: self._writer.forget_told(before))

    async def forget_history(
        self, entity_id: str, attribute: Iri | None, since: Micros, before: Micros, limit: int
    ) -> int:
        """Delete history rows for good."""
        return await self._in(
            self._writing,
            lambda: self._writer.forget(lambda on: forgetting.history(on, entity_id, attribute, since, before, limit)),
        )

    async def forget_uplinks(self, device_id: str, since: Micros, before: Micros, limit: int) -> int:
        """Delete raw uplinks for good."""
        return await self._in(
            self._writing,
            lambda: self._writer.forget(lambda on: forgetting.uplinks(on, device_id, since, before, limit)),
        )

    async def drop_bytes(self, after: str, before: Micros, limit: int) -> tuple[int, str]:
        """Drop the bytes of applied uplinks for good."""
        last = ""

        def drop(on: sqlite3.Connection) -> int:
            nonlocal last
            dropped, last = forgetting.uplink_bytes(on, after, before, limit)
            return dropped

        return await self._in(self._writing, lambda: self._writer.forget(drop)), last

    async def forget_letters(self, entity_ids: Collection[str], before: Micros) -> int:
        """Delete notifications that wait for good."""
        return await self._in(
            self._writing, lambda: self._writer.forget(lambda on: forgetting.letters(on, entity_ids, before))
        )

    async def lease(self, name: str, owner: str, seconds: float) -> bool:
        """True: no other process has the file."""
        return True

    async def release(self, names: Iterable[str], owner: str) -> None:
        """Nothing to give back."""

    async def lease_holders(self, names: Collection[str]) -> dict[str, str]:
        """None: no other process has the file."""
        return {}


def _load(connection: sqlite3.Connection, needs: Needs) -> tuple[Snapshot, dict[str, Kept]]:
    entities = read_entities(connection, needs.entities)
    snapshot = Snapshot(entities={entity_id: kept.stored for entity_id, kept in entities.items()})
    for kind, record_id in needs.records:
        record = records.read_record(connection, kind, record_id)
        if record is not None:
            snapshot.records[(kind, record_id)] = record
    for kind, key in needs.found:
        snapshot.found[(kind, key)] = tuple(records.read_records(connection, kind, key, "", None))
    snapshot.frames = uplinks.read_frames(connection, needs.frames)
    for wanted in needs.latest:
        row = history.read_latest(connection, wanted)
        if row is not None:
            snapshot.latest[wanted] = row
    for uplink_id in needs.brought:
        snapshot.brought[uplink_id] = history.read_brought(connection, uplink_id)
    return snapshot, entities
