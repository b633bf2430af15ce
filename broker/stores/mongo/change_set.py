"""A change set as bulk writes, one a collection, run within one transaction.

The writes are built before the transaction begins, so that it is short; each expectation is part of a write's filter
or a unique index, and what did not match is a Conflict, on which the caller aborts the transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from broker.clock import Micros
from broker.query.mongo_fields import touched_fields
from broker.stores.base import ChangeSet, Conflict, EntityWrite, RecordWrite, UplinkUpdate, changed_kinds
from broker.stores.mongo import moves
from broker.stores.mongo.documents import (
    Document,
    entity_document,
    feed_document,
    history_document,
    outbox_document,
    record_document,
    record_id,
    superseded_fields,
    superseded_filter,
    uplink_document,
)

Operation = InsertOne[Document] | UpdateOne | UpdateMany | ReplaceOne[Document] | DeleteOne
Operations = list[Operation]


class Plan:
    """What a change set writes, ready to be run."""

    def __init__(self, changes: ChangeSet) -> None:
        self._epochs = changes.epochs
        self._entities = _Expected("entities")
        self._records = _Expected("records")
        self._uplinks = _Expected("uplinks")
        for entity in changes.entities:
            self._add_entity(entity)
        for record in changes.records:
            self._add_record(record)
        for row in changes.uplinks:
            self._uplinks.insert(uplink_document(row))
        for update in changes.uplink_updates:
            self._add_uplink_update(update)
        self._history = [history_document(row) for row in changes.history]
        self._superseded: Operations = [
            UpdateMany(superseded_filter(mark), {"$set": superseded_fields(mark)}) for mark in changes.superseded
        ]
        self._feed = [feed_document(row) for row in changes.feed]
        self._outbox = [outbox_document(row) for row in changes.outbox]
        self._moved: Operations = [
            UpdateOne({"_id": kind}, {"$inc": {"epoch": 1}}, upsert=True)
            for kind in sorted(changed_kinds(changes.records))
        ]
        self._followed = moves.followed(changes.records)
        self._delivered = changes.delivered
        self._delivered_at = changes.delivered_at
        self._given_up = dict(changes.given_up)
        self._revived = changes.revived

    async def run(self, database: AsyncDatabase[Document], session: AsyncClientSession) -> None:
        """Write it all within the session's transaction. Raises Conflict, or what the driver raises."""
        if self._epochs:
            await _check_epochs(database, self._epochs, session)
        for expected in (self._entities, self._records, self._uplinks):
            await expected.run(database, session)
        if self._history:
            await database["history"].insert_many(self._history, session=session)
        if self._superseded:
            await database["history"].bulk_write(self._superseded, session=session)
        if self._outbox:
            await database["outbox"].insert_many(self._outbox, session=session)
        if self._feed:
            await database["feed"].insert_many(self._feed, session=session)
        if self._moved:
            await database["epochs"].bulk_write(self._moved, session=session, ordered=False)
        if self._followed:
            await moves.write(database, self._followed, session)
        if self._delivered and self._delivered_at is not None:
            await _remember(database, self._delivered, self._delivered_at, session)
        if self._delivered:
            await database["outbox"].delete_many({"_id": {"$in": self._delivered}}, session=session)
        if self._given_up:
            await _move(database, "outbox", "dead_letters", self._given_up, session)
        if self._revived:
            await _move(database, "dead_letters", "outbox", dict.fromkeys(self._revived), session)

    def _add_entity(self, write: EntityWrite) -> None:
        where = {"_id": write.id, "version": write.expected}
        if write.entity is None:
            self._entities.delete(where, write.expected)
            return
        if write.expected == 0:
            document = entity_document(write.entity, write.version)
            self._entities.insert({"_id": write.id, "created": write.version, **document})
            return
        fields = touched_fields(write.entity, write.touched)
        document = entity_document(write.entity, write.version, fields)
        gone = {name: "" for name in fields if name not in document}
        self._entities.update(UpdateOne(where, {"$set": document, "$unset": gone} if gone else {"$set": document}))

    def _add_record(self, write: RecordWrite) -> None:
        where: Document = {"_id": record_id(write.kind, write.id)}
        if write.expected is not None:
            where["version"] = write.expected
        if write.body is None:
            self._records.delete(where, write.expected)
        elif write.expected == 0:
            self._records.insert(record_document(write))
        else:
            self._records.update(ReplaceOne(where, record_document(write), upsert=write.expected is None))

    def _add_uplink_update(self, update: UplinkUpdate) -> None:
        self._uplinks.update(
            UpdateOne(
                {"_id": update.id, "status": update.expected},
                {"$set": {"status": update.status, "reason": update.reason}},
            )
        )


class _Expected:
    """Writes of one collection that are counted: as many must have matched as were made."""

    def __init__(self, collection: str) -> None:
        self._collection = collection
        self._operations: Operations = []
        self._updates = 0
        self._deletes = 0
        self._absent: list[str] = []
        self._unconditional: list[str] = []

    def insert(self, document: Document) -> None:
        self._operations.append(InsertOne(document))

    def update(self, operation: UpdateOne | ReplaceOne[Document]) -> None:
        self._operations.append(operation)
        self._updates += 1

    def delete(self, where: Document, expected: int | None) -> None:
        if expected is None:
            self._unconditional.append(where["_id"])
        elif expected == 0:
            self._absent.append(where["_id"])
        else:
            self._operations.append(DeleteOne(where))
            self._deletes += 1

    async def run(self, database: AsyncDatabase[Document], session: AsyncClientSession) -> None:
        collection = database[self._collection]
        if self._absent and await collection.find_one({"_id": {"$in": self._absent}}, {"_id": 1}, session=session):
            raise Conflict(f"{self._collection}: something is there that was expected not to be.")
        if self._unconditional:
            await collection.delete_many({"_id": {"$in": self._unconditional}}, session=session)
        if not self._operations:
            return
        result = await collection.bulk_write(self._operations, session=session, ordered=False)
        written = result.matched_count + result.upserted_count
        if written != self._updates or result.deleted_count != self._deletes:
            raise Conflict(f"{self._collection}: something is not at the version expected.")


async def _check_epochs(
    database: AsyncDatabase[Document], wanted: Mapping[Any, int], session: AsyncClientSession
) -> None:
    found = {
        row["_id"]: row["epoch"]
        async for row in database["epochs"].find({"_id": {"$in": list(wanted)}}, session=session)
    }
    for kind, epoch in wanted.items():
        if found.get(kind, 0) != epoch:
            raise Conflict(f"The records of kind '{kind}' changed.")


async def _remember(
    database: AsyncDatabase[Document], delivered: Sequence[str], at: Micros, session: AsyncClientSession
) -> None:
    """Keep who was told, without what."""
    rows = await database["outbox"].find({"_id": {"$in": list(delivered)}}, {"body": 0}, session=session).to_list()
    if rows:
        await database["told"].insert_many([{**row, "delivered": at} for row in rows], session=session)


async def _move(
    database: AsyncDatabase[Document],
    source: str,
    target: str,
    reasons: Mapping[str, str | None],
    session: AsyncClientSession,
) -> None:
    """Move rows with these ids, with a reason or without; those that are not there are passed over."""
    where = {"_id": {"$in": list(reasons)}}
    rows: Sequence[Document] = await database[source].find(where, session=session).to_list()
    for row in rows:
        row.pop("reason", None)
        reason = reasons[row["_id"]]
        if reason is not None:
            row["reason"] = reason
    if rows:
        await database[source].delete_many(where, session=session)
        await database[target].insert_many(rows, session=session)
