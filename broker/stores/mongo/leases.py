"""Leases: who may do what only one process may do. Time is the server's, so that processes need not agree on theirs."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from broker.stores.mongo.documents import Document


async def take(database: AsyncDatabase[Document], name: str, owner: str, seconds: float) -> bool:
    """Take or renew a lease, in one atomic step; False when another owner holds it."""
    mine = {"$literal": owner}
    now = {"$toLong": "$$NOW"}  # milliseconds
    free = {"$or": [{"$eq": ["$owner", mine]}, {"$lte": [{"$ifNull": ["$until", 0]}, now]}]}
    until = {"$add": [now, int(seconds * 1000)]}
    step = {"$set": {"owner": {"$cond": [free, mine, "$owner"]}, "until": {"$cond": [free, until, "$until"]}}}
    try:
        held = await database["leases"].find_one_and_update(
            {"_id": name}, [step], upsert=True, return_document=ReturnDocument.AFTER
        )
    except DuplicateKeyError:  # another process made the same lease at the same moment
        return False
    return held is not None and bool(held["owner"] == owner)


async def give_back(database: AsyncDatabase[Document], names: Iterable[str], owner: str) -> None:
    """Give up those of the leases that `owner` holds."""
    await database["leases"].delete_many({"_id": {"$in": list(names)}, "owner": owner})


async def holders(database: AsyncDatabase[Document], names: Collection[str]) -> dict[str, str]:
    """Name -> owner, of those leases that are held now."""
    held = {"_id": {"$in": list(names)}, "$expr": {"$gt": ["$until", {"$toLong": "$$NOW"}]}}
    return {row["_id"]: row["owner"] async for row in database["leases"].find(held)}
