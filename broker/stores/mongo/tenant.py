"""One tenant's database: what is read, and the one way to write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import suppress
from typing import Any, Final

from pymongo import AsyncMongoClient, ReadPreference, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from broker.clock import Clock, Micros, id_floor
from broker.jsonio import dumps, loads
from broker.ngsild.model import Entity, Iri
from broker.query.ast import EntityQuery
from broker.stores.base import (
    BYTES_DROPPED,
    AttributeInfo,
    Backlog,
    ChangeSet,
    Conflict,
    HistoryRow,
    Latest,
    Needs,
    OutboxRow,
    Page,
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
    plausible,
)
from broker.stores.mongo import discovery, leases, moves
from broker.stores.mongo.change_set import Plan
from broker.stores.mongo.documents import (
    Document,
    entity_from,
    history_from,
    outbox_from,
    record_from,
    record_id,
    uplink_from,
)
from broker.stores.mongo.entity_query import find_page, stream
from broker.stores.mongo.failures import UNKNOWN_RESULT, translated
from broker.stores.mongo.feed import MongoTail
from broker.stores.mongo.sessions import CommitSession

MAJORITY: Final = WriteConcern("majority", j=True)
"""Durable: in the journal of most members, so that no failover undoes it."""

COMMIT_PATIENCE_SECONDS: Final = 30.0
"""How long a commit whose result is unknown is tried again, as MongoDB asks of drivers' callers."""
COMMIT_PAUSE_SECONDS: Final = 0.05


class MongoTenant:
    """A `broker.stores.base.TenantStore` on one MongoDB database."""

    def __init__(self, client: AsyncMongoClient[Document], name: str, clock: Clock) -> None:
        self._client = client
        self.database: AsyncDatabase[Document] = client.get_database(
            name,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
            write_concern=MAJORITY,
        )
        self._entities = self.database["entities"]
        self._records = self.database["records"]
        self._uplinks = self.database["uplinks"]
        self._session = CommitSession(client, self.database, clock)
        self._turn = asyncio.Lock()  # first come, first served

    # --- the writer's ---

    async def load(self, needs: Needs) -> Snapshot:
        """See TenantStore.

        Epochs are read first: should records change meanwhile, the commit that relies on the epochs is a conflict.
        Entities are held by their versions, frames by their index.
        """
        snapshot = Snapshot(epochs=await self.epochs())
        with translated():
            try:
                async with asyncio.TaskGroup() as group:
                    if needs.entities:
                        group.create_task(self._load_entities(needs.entities, snapshot))
                    if needs.records:
                        group.create_task(self._load_records(needs.records, snapshot))
                    for kind in {kind for kind, _ in needs.found}:
                        keys = {key for of, key in needs.found if of == kind}
                        group.create_task(self._load_found(kind, keys, snapshot))
                    if needs.frames:
                        group.create_task(self._load_frames(needs.frames, snapshot))
                    if needs.brought:
                        group.create_task(self._load_brought(needs.brought, snapshot))
                    for wanted in needs.latest:
                        group.create_task(self._load_latest(wanted, snapshot))
            except BaseExceptionGroup as failed:
                raise failed.exceptions[0] from None
        return snapshot

    async def commit(self, changes: ChangeSet) -> None:
        """See TenantStore. One transaction; waiting callers are served first come, first served."""
        if not changes and not changes.epochs:
            return
        plan = Plan(changes)
        async with self._turn:
            try:
                with translated():
                    await self._run(plan)
            except Conflict:
                with suppress(PyMongoError):
                    await self._session.sweep()
                raise

    async def _run(self, plan: Plan) -> None:
        """The transaction. When it fails in any way, cancellation included, its session goes, and the transaction with it."""
        session = await self._session.use()
        done = False
        try:
            await session.start_transaction(
                read_concern=ReadConcern("snapshot"), write_concern=MAJORITY, read_preference=ReadPreference.PRIMARY
            )
            await plan.run(self.database, session)
            await _commit(session)
            done = True
        finally:
            if not done:
                with suppress(PyMongoError):
                    await self._session.drop()

    async def close(self) -> None:
        """Give the session back."""
        async with self._turn:
            with suppress(PyMongoError):
                await self._session.drop()

    async def epochs(self) -> dict[RecordKind, int]:
        """See TenantStore."""
        with translated():
            return {row["_id"]: row["epoch"] async for row in self.database["epochs"].find()}

    async def moved(self, kind: RecordKind, since: int) -> tuple[int, set[str]] | None:
        """See TenantStore."""
        with translated():
            return await moves.read(self.database, kind, since)

    async def _load_entities(self, ids: set[str], snapshot: Snapshot) -> None:
        async for row in self._entities.find({"_id": {"$in": list(ids)}}, {"doc": 1, "version": 1}):
            snapshot.entities[row["_id"]] = entity_from(row)

    async def _load_records(self, wanted: set[tuple[RecordKind, str]], snapshot: Snapshot) -> None:
        async for row in self._records.find({"_id": {"$in": [record_id(*each) for each in wanted]}}):
            record = record_from(row)
            snapshot.records[record.kind, record.id] = record

    async def _load_found(self, kind: RecordKind, keys: set[str], snapshot: Snapshot) -> None:
        found: dict[str, list[Record]] = {}
        async for row in self._records.find({"kind": kind, "keys": {"$in": list(keys)}}).sort("_id", 1):
            record = record_from(row)
            for key in keys.intersection(record.keys):
                found.setdefault(key, []).append(record)
        snapshot.found |= {(kind, key): tuple(records) for key, records in found.items()}

    async def _load_frames(self, frames: set[str], snapshot: Snapshot) -> None:
        async for row in self._uplinks.find({"frame": {"$in": list(frames)}}, {"_id": 0, "frame": 1}):
            snapshot.frames.add(row["frame"])

    async def _load_latest(self, wanted: Latest, snapshot: Snapshot) -> None:
        where: Document = {
            "entity": wanted.entity_id,
            "attribute": wanted.attribute,
            "dataset": "",
            "superseded": None,
            "$or": [{"binding": {"$ne": wanted.binding_id}}, {"observed": {"$lt": wanted.since}}],
        }
        newest = [("observed", -1), ("version", -1)]
        async for document in self.database["history"].find(where, sort=newest):
            if plausible(row := history_from(document)):
                snapshot.latest[wanted] = row
                return

    async def _load_brought(self, uplinks: set[str], snapshot: Snapshot) -> None:
        found: dict[str, list[HistoryRow]] = {uplink_id: [] for uplink_id in uplinks}
        where: Document = {"uplink": {"$in": list(uplinks)}, "superseded": None}
        async for document in self.database["history"].find(where):
            found[document["uplink"]].append(history_from(document))
        snapshot.brought |= {uplink_id: tuple(rows) for uplink_id, rows in found.items()}

    # --- entities, records, history ---

    async def entity(self, entity_id: str) -> StoredEntity | None:
        """See TenantStore."""
        with translated():
            row = await self._entities.find_one({"_id": entity_id}, {"doc": 1, "version": 1})
        return entity_from(row) if row is not None else None

    async def query(self, query: EntityQuery) -> Page:
        """See TenantStore."""
        with translated():
            return await find_page(self._entities, query)

    async def stream(self, query: EntityQuery) -> AsyncIterator[list[Entity]]:
        """See TenantStore."""
        with translated():
            async for batch in stream(self._entities, query):
                yield batch

    async def expiring(self, before: Micros, limit: int) -> list[str]:
        """See TenantStore."""
        if limit <= 0:
            return []
        with translated():
            found = self._entities.find({"expires": {"$lt": before}}, {"_id": 1}).sort("expires", 1).limit(limit)
            return [row["_id"] async for row in found]

    async def entity_types(self) -> list[Iri]:
        """See TenantStore."""
        with translated():
            return await discovery.read_types(self._entities)

    async def attributes(self) -> list[Iri]:
        """See TenantStore."""
        with translated():
            return await discovery.read_attributes(self._entities)

    async def type_details(self, entity_type: Iri | None = None) -> list[TypeInfo]:
        """See TenantStore."""
        with translated():
            return await discovery.read_type_details(self._entities, entity_type)

    async def attribute_details(self, attribute: Iri | None = None) -> list[AttributeInfo]:
        """See TenantStore."""
        with translated():
            return await discovery.read_attribute_details(self._entities, attribute)

    async def record(self, kind: RecordKind, record_id_: str) -> Record | None:
        """See TenantStore."""
        with translated():
            row = await self._records.find_one({"_id": record_id(kind, record_id_)})
        return record_from(row) if row is not None else None

    async def records(
        self, kind: RecordKind, *, key: str | None = None, after: str = "", limit: int | None = None
    ) -> list[Record]:
        """See TenantStore."""
        # ';' is the character behind ':'. A kind's records are one range of ids.
        where: Document = {"_id": {"$gt": record_id(kind, after), "$lt": f"{kind};"}}
        if key is not None:
            where |= {"kind": kind, "keys": key}
        if limit == 0:
            return []
        with translated():
            rows = await self._records.find(where).sort("_id", 1).limit(limit or 0).to_list()
        return [record_from(row) for row in rows]

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
        """See TenantStore."""
        if limit <= 0:
            return []
        where: Document = {"entity": entity_id}
        if not superseded:
            where["superseded"] = None
        if attribute is not None:
            where["attribute"] = attribute
        period = {operator: at for operator, at in (("$gte", since), ("$lt", until)) if at is not None}
        if period:
            where["observed"] = period
        way = -1 if newest_first else 1
        with translated():
            found = self.database["history"].find(where).sort([("observed", way), ("version", way)]).limit(limit)
            return [history_from(row) async for row in found]

    async def history_attributes(self, entity_id: str) -> list[Iri]:
        """See TenantStore."""
        with translated():
            return sorted(await self.database["history"].distinct("attribute", {"entity": entity_id}))

    # --- uplinks ---

    async def uplink(self, uplink_id: str) -> UplinkRow | None:
        """See TenantStore."""
        with translated():
            row = await self._uplinks.find_one({"_id": uplink_id})
        return uplink_from(row) if row is not None else None

    async def uplinks(
        self,
        *,
        status: UplinkStatus | None = None,
        device_id: str | None = None,
        after: str = "",
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[UplinkRow]:
        """See TenantStore."""
        if limit <= 0:
            return []
        where: Document = {}
        if after:
            where["_id"] = {"$lt" if newest_first else "$gt": after}
        if status is not None:
            where["status"] = status
        if device_id is not None:
            where["device"] = device_id
        with translated():
            found = self._uplinks.find(where).sort("_id", -1 if newest_first else 1).limit(limit)
            return [uplink_from(row) async for row in found]

    async def quarantine(self) -> list[QuarantineGroup]:
        """See TenantStore."""
        stages: list[dict[str, Any]] = [
            {"$match": {"status": "quarantined"}},
            {"$project": {"device": 1, "received": 1, "reason": 1}},
            {"$sort": {"received": 1, "_id": 1}},
            {
                "$group": {
                    "_id": "$device",
                    "count": {"$sum": 1},
                    "first": {"$first": "$received"},
                    "last": {"$last": "$received"},
                    "reason": {"$last": "$reason"},
                }
            },
            {"$sort": {"last": -1, "_id": 1}},
        ]
        with translated():
            rows = await (await self._uplinks.aggregate(stages)).to_list()
        return [
            QuarantineGroup(row["_id"], row["count"], int(row["first"]), int(row["last"]), row["reason"])
            for row in rows
        ]

    # --- the outbox ---

    async def outbox_owed(self) -> dict[str, int]:
        """See TenantStore."""
        # Sorted, so that MongoDB counts along the index and reads no row.
        stages: list[dict[str, Any]] = [
            {"$sort": {"subscription": 1}},
            {"$group": {"_id": "$subscription", "count": {"$sum": 1}}},
        ]
        with translated():
            return {row["_id"]: row["count"] async for row in await self.database["outbox"].aggregate(stages)}

    async def outbox(self, subscription_id: str, *, after: str = "", limit: int = 100) -> list[OutboxRow]:
        """See TenantStore."""
        if limit <= 0:
            return []
        where: Document = {"subscription": subscription_id, "_id": {"$gt": after}}
        with translated():
            return [outbox_from(row) async for row in self.database["outbox"].find(where).sort("_id", 1).limit(limit)]

    async def dead_letters(
        self, subscription_id: str, *, after: str = "", limit: int = 1000
    ) -> list[tuple[OutboxRow, str]]:
        """See TenantStore."""
        if limit <= 0:
            return []
        where = {"subscription": subscription_id, "_id": {"$gt": after}}
        with translated():
            found = self.database["dead_letters"].find(where).sort("_id", 1).limit(limit)
            return [(outbox_from(row), row["reason"]) async for row in found]

    async def backlogs(self, subscription_ids: Collection[str] | None = None) -> dict[str, Backlog]:
        """See TenantStore."""
        with translated():
            owed = await self._count("outbox", subscription_ids)
            dead = await self._count("dead_letters", subscription_ids)
            firsts = {first: name for name, (_, first) in owed.items()}
            found = self.database["outbox"].find({"_id": {"$in": list(firsts)}}, {"at": 1})
            oldest = {firsts[row["_id"]]: int(row["at"]) async for row in found}
        none = (0, "")
        return {
            name: Backlog(owed.get(name, none)[0], oldest.get(name), dead.get(name, none)[0])
            for name in {**owed, **dead}
        }

    async def _count(self, collection: str, subscription_ids: Collection[str] | None) -> dict[str, tuple[int, str]]:
        """Subscription id -> (how many rows, the id of the first). MongoDB counts along the index and reads no row."""
        stages: list[dict[str, Any]] = [
            {"$sort": {"subscription": 1, "_id": 1}},
            {"$project": {"subscription": 1}},
            {"$group": {"_id": "$subscription", "count": {"$sum": 1}, "first": {"$first": "$_id"}}},
        ]
        if subscription_ids is not None:
            stages.insert(0, {"$match": {"subscription": {"$in": list(subscription_ids)}}})
        rows = await self.database[collection].aggregate(stages)
        return {row["_id"]: (int(row["count"]), row["first"]) async for row in rows}

    async def history_between(self, since: int, until: int, limit: int) -> list[HistoryRow]:
        """See TenantStore."""
        order = [("version", 1), ("_id", 1)]
        rows = self.database["history"]
        with translated():
            where: Document = {"version": {"$gte": since, "$lt": until}, "superseded": None}
            found = [history_from(row) async for row in rows.find(where).sort(order).limit(limit)]
            if len(found) == limit:
                last = found[-1].version
                whole = rows.find({"version": last, "superseded": None}).sort(order)
                found = [row for row in found if row.version != last] + [history_from(row) async for row in whole]
        return found

    async def tail(self, position: str | None) -> Tail:
        """See TenantStore."""
        with translated():
            return await MongoTail.open(self.database["feed"], position)

    async def forget_feed(self, before: Micros, limit: int) -> int:
        """See TenantStore."""
        return await self._forget("feed", {"at": {"$lt": before}}, limit)

    async def told(self, entity_id: str, version: int) -> list[Told]:
        """See TenantStore."""
        start = f"{version:016x}-"
        where = {"entity": entity_id, "_id": {"$gte": start, "$lt": start + "~"}}
        with translated():
            found = self.database["told"].find(where).sort([("delivered", 1), ("_id", 1)])
            return [Told(row["subscription"], int(row["at"]), int(row["delivered"])) async for row in found]

    async def forget_told(self, before: Micros) -> int:
        """See TenantStore."""
        with translated():
            return (await self.database["told"].delete_many({"delivered": {"$lt": before}})).deleted_count

    # --- what is deleted for good ---

    async def forget_history(
        self, entity_id: str, attribute: Iri | None, since: Micros, before: Micros, limit: int
    ) -> int:
        """See TenantStore."""
        where: Document = {"entity": entity_id, "observed": {"$gte": since, "$lt": before}}
        if attribute is not None:
            where["attribute"] = attribute
        return await self._forget("history", where, limit)

    async def forget_uplinks(self, device_id: str, since: Micros, before: Micros, limit: int) -> int:
        """See TenantStore."""
        return await self._forget("uplinks", {"device": device_id, "received": {"$gte": since, "$lt": before}}, limit)

    async def drop_bytes(self, after: str, before: Micros, limit: int) -> tuple[int, str]:
        """See TenantStore."""
        where: Document = {"_id": {"$gt": after, "$lt": id_floor(before)}}
        with translated():
            rows = await self._uplinks.find(where).sort("_id", 1).limit(limit).to_list() if limit > 0 else []
            changes = [
                UpdateOne(
                    {"_id": row["_id"], "status": "applied"},
                    {"$set": {"raw": b"", "doc": dumps({**loads(row["doc"]), BYTES_DROPPED: True}).decode()}},
                )
                for row in rows
                if row["status"] == "applied" and row["raw"]
            ]
            if changes:
                await self._uplinks.bulk_write(changes, ordered=False)
        return len(changes), rows[-1]["_id"] if rows else ""

    async def forget_letters(self, entity_ids: Collection[str], before: Micros) -> int:
        """See TenantStore."""
        where = {"entity": {"$in": list(entity_ids)}, "at": {"$lt": before}}
        with translated():
            gone = [
                (await self.database[name].delete_many(where)).deleted_count
                for name in ("outbox", "dead_letters", "feed")
            ]
        return sum(gone)

    async def _forget(self, collection: str, where: Document, limit: int) -> int:
        rows = self.database[collection]
        with translated():
            ids = [row["_id"] async for row in rows.find(where, {"_id": 1}).limit(limit)] if limit > 0 else []
            return (await rows.delete_many({"_id": {"$in": ids}})).deleted_count if ids else 0

    # --- leases ---

    async def lease(self, name: str, owner: str, seconds: float) -> bool:
        """See TenantStore."""
        with translated():
            return await leases.take(self.database, name, owner, seconds)

    async def release(self, names: Iterable[str], owner: str) -> None:
        """See TenantStore."""
        with translated():
            await leases.give_back(self.database, names, owner)

    async def lease_holders(self, names: Collection[str]) -> dict[str, str]:
        """See TenantStore."""
        with translated():
            return await leases.holders(self.database, names)


async def _commit(session: AsyncClientSession) -> None:
    """Commit, again while its result is unknown: committing once more is safe and tells which it was."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + COMMIT_PATIENCE_SECONDS
    while True:
        try:
            await session.commit_transaction()
        except PyMongoError as error:
            if not error.has_error_label(UNKNOWN_RESULT) or loop.time() > deadline:
                raise
            await asyncio.sleep(COMMIT_PAUSE_SECONDS)
        else:
            return
