"""What commits changed of the kinds that are followed, by epoch: whoever is behind reads what it missed, and not all.

A move is written in the transaction that moves the epoch on. Moves are a help, not data: where one is missing (forgotten, or
an older version committed), everything is read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from pymongo import ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import CollectionInvalid

from broker.stores.base import FOLLOWED_KINDS, MOVES_KEPT, RecordKind, RecordWrite
from broker.stores.mongo.documents import Document

COLLECTION: Final = "moves"


async def prepare(database: AsyncDatabase[Document]) -> None:
    """Make the collection, as making it within a transaction would be a conflict for every other process."""
    if COLLECTION not in await database.list_collection_names():
        with suppress(CollectionInvalid):  # another process was first
            await database.create_collection(COLLECTION)


def followed(records: Iterable[RecordWrite]) -> dict[RecordKind, list[str]]:
    """Kind -> ids, of what is written of followed kinds."""
    moved: dict[RecordKind, list[str]] = {}
    for write in records:
        if write.kind in FOLLOWED_KINDS:
            moved.setdefault(write.kind, []).append(write.id)
    return moved


async def write(
    database: AsyncDatabase[Document], moved: dict[RecordKind, list[str]], session: AsyncClientSession
) -> None:
    """Keep what a commit moved, behind its write of the epochs, and forget what is old."""
    epochs = {
        row["_id"]: row["epoch"]
        async for row in database["epochs"].find({"_id": {"$in": list(moved)}}, session=session)
    }
    await database[COLLECTION].bulk_write(
        [ReplaceOne({"_id": _id(kind, epochs[kind])}, {"ids": ids}, upsert=True) for kind, ids in moved.items()],
        session=session,
    )
    for kind in moved:
        old = epochs[kind] - MOVES_KEPT
        if old > 0:
            await database[COLLECTION].delete_one({"_id": _id(kind, old)}, session=session)


async def read(database: AsyncDatabase[Document], kind: RecordKind, since: int) -> tuple[int, set[str]] | None:
    """See TenantStore.moved."""
    ids: set[str] = set()
    epoch = since
    found = database[COLLECTION].find({"_id": {"$gt": _id(kind, since), "$lt": f"{kind};"}}).sort("_id", 1)
    async for row in found:
        if row["_id"] != _id(kind, epoch + 1):
            return None
        epoch += 1
        ids.update(row["ids"])
    now = await database["epochs"].find_one({"_id": kind})
    # One more may have come since: it is for the next time. Fewer are there than were, or none was written: unknown.
    return (epoch, ids) if epoch > since or (now["epoch"] if now is not None else 0) == since else None


def _id(kind: RecordKind, epoch: int) -> str:
    # ':' sorts before ';', so moves of a kind are one range of ids, in the order of the epochs.
    return f"{kind}:{epoch:016d}"
