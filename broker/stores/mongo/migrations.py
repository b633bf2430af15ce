"""The schema of a tenant's database, by versions: each migration runs once, under a lease, and is then recorded.

A migration must bear being run again, as the process that runs it may die: creating what is there already is no error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from pymongo import IndexModel, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from broker.clock import Clock
from broker.errors import StoreUnavailable
from broker.jsonio import loads
from broker.query.mongo_fields import index_fields
from broker.stores.base import StoreTooNew
from broker.stores.mongo import leases
from broker.stores.mongo.documents import Document, record_from
from broker.stores.registry_keys import KINDS, keys_of_4

LEASE: Final = "migration"
LEASE_SECONDS: Final = 60.0
"""Longer than a migration is silent: it renews its lease three times in this."""
WAIT_SECONDS: Final = 0.2
"""Between looks at a migration that another process runs."""
PATIENCE_SECONDS: Final = 600.0
"""How long another process's migration is waited for."""

Migration = Callable[[AsyncDatabase[Document]], Awaitable[None]]


async def migrate(database: AsyncDatabase[Document], clock: Clock) -> None:
    """Bring the database to SCHEMA_VERSION. Raises StoreTooNew when it is beyond it."""
    if await _found_version(database) == SCHEMA_VERSION:
        return
    owner = clock.new_id()
    await _take_lease(database, owner)
    try:
        renewing = asyncio.create_task(_renew(database, owner))
        try:
            await _run_missing(database, clock)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
    finally:
        await leases.give_back(database, [LEASE], owner)


async def _take_lease(database: AsyncDatabase[Document], owner: str) -> None:
    for _ in range(int(PATIENCE_SECONDS / WAIT_SECONDS)):
        if await leases.take(database, LEASE, owner, LEASE_SECONDS):
            return
        await asyncio.sleep(WAIT_SECONDS)
    raise StoreUnavailable(f"Another process has been migrating the database '{database.name}' for too long.")


async def _run_missing(database: AsyncDatabase[Document], clock: Clock) -> None:
    found = await _found_version(database)
    for version, migration in sorted(MIGRATIONS.items()):
        if version > found:
            await migration(database)
            recorded = {"version": version, "at": clock.now()}
            await database["meta"].update_one({"_id": "schema"}, {"$set": recorded}, upsert=True)


async def _found_version(database: AsyncDatabase[Document]) -> int:
    """The schema's version, 0 for an empty database."""
    found = await database["meta"].find_one({"_id": "schema"})
    version: int = found["version"] if found is not None else 0
    if version > SCHEMA_VERSION:
        raise StoreTooNew(
            f"The database '{database.name}' has schema version {version}; this Knutpunkt knows versions up to "
            f"{SCHEMA_VERSION}. Start the newer Knutpunkt that wrote it, or restore a backup from before."
        )
    return version


async def _renew(database: AsyncDatabase[Document], owner: str) -> None:
    while True:
        await asyncio.sleep(LEASE_SECONDS / 3)
        if not await leases.take(database, LEASE, owner, LEASE_SECONDS):
            raise StoreUnavailable(f"The lease to migrate the database '{database.name}' was lost.")


# Order of creation, the order of every query's answer, ends the indexes by which entities are found most.
INDEXES_1: Final[Mapping[str, list[IndexModel]]] = {
    "entities": [
        IndexModel([("created", 1), ("_id", 1)], name="created"),
        IndexModel([("types", 1), ("created", 1), ("_id", 1)], name="types"),
        IndexModel([("names", 1), ("created", 1), ("_id", 1)], name="names"),
        IndexModel([("values.n", 1), ("values.v", 1)], name="values"),
        IndexModel([("scopes", 1)], name="scopes", sparse=True),
        IndexModel([("cells", 1)], name="cells", sparse=True),
    ],
    "history": [
        IndexModel([("entity", 1), ("observed", 1), ("version", 1)], name="entity"),
        IndexModel([("entity", 1), ("attribute", 1), ("observed", 1), ("version", 1)], name="attribute"),
    ],
    "outbox": [IndexModel([("subscription", 1), ("_id", 1)], name="subscription")],
    "dead_letters": [IndexModel([("subscription", 1), ("_id", 1)], name="subscription")],
    "records": [IndexModel([("kind", 1), ("keys", 1), ("_id", 1)], name="keys")],
    "uplinks": [
        IndexModel([("frame", 1)], name="frame", unique=True, sparse=True),
        IndexModel([("status", 1), ("_id", 1)], name="status"),
        IndexModel([("device", 1), ("_id", 1)], name="device"),
    ],
}


async def _create_collections(database: AsyncDatabase[Document]) -> None:
    """Collections are made here, as making one within a transaction would be a conflict for every other process."""
    present = set(await database.list_collection_names())
    for name in ("epochs", *INDEXES_1):
        if name not in present:
            await database.create_collection(name)
    for name, indexes in INDEXES_1.items():
        await database[name].create_indexes(indexes)


INDEXES_2: Final[list[IndexModel]] = [
    IndexModel([("since", 1), ("created", 1), ("_id", 1)], name="since"),
    IndexModel([("since", -1), ("created", 1), ("_id", 1)], name="newest"),
    IndexModel([("ends", 1)], name="ends", sparse=True),
    IndexModel([("expires", 1)], name="expires", sparse=True),
]
FIELDS_2: Final = ("since", "ends", "expires", "shapes")
FILLED_AT_ONCE: Final = 500
"""Entities, count."""


async def _add_moments(database: AsyncDatabase[Document]) -> None:
    """When entities were created and expire, and what attributes they have; filled for the entities that are there."""
    entities = database["entities"]
    await entities.create_indexes(INDEXES_2)
    last = ""
    while rows := await _next_rows(entities, last):
        changes = [
            UpdateOne(
                {"_id": row["_id"], "version": row["version"]}, {"$set": index_fields(loads(row["doc"]), FIELDS_2)}
            )
            for row in rows
        ]
        await entities.bulk_write(changes, ordered=False)
        last = rows[-1]["_id"]


async def _next_rows(entities: AsyncCollection[Document], last: str) -> list[Document]:
    found = entities.find({"_id": {"$gt": last}}, {"doc": 1, "version": 1}).sort("_id", 1).limit(FILLED_AT_ONCE)
    return await found.to_list()


INDEXES_3: Final[list[IndexModel]] = [
    IndexModel([("entity", 1), ("_id", 1)], name="entity"),
    IndexModel([("delivered", 1)], name="delivered"),
]


async def _remember_told(database: AsyncDatabase[Document]) -> None:
    """Who was told of a change. From here on history rows may be superseded, too, which older versions would pass over."""
    if "told" not in await database.list_collection_names():
        await database.create_collection("told")
    await database["told"].create_indexes(INDEXES_3)


async def _add_registry_keys(database: AsyncDatabase[Document]) -> None:
    """Devices are found by their model, virtual sensors by their entity type; filled for those that are there."""
    records = database["records"]
    changes: list[UpdateOne] = []
    async for row in records.find({"kind": {"$in": list(KINDS)}}):
        record = record_from(row)
        keys = keys_of_4(record.kind, record.body, record.keys)
        changes.append(UpdateOne({"_id": row["_id"], "version": row["version"]}, {"$set": {"keys": keys}}))
        if len(changes) == FILLED_AT_ONCE:
            await records.bulk_write(changes, ordered=False)
            changes = []
    if changes:
        await records.bulk_write(changes, ordered=False)


async def _add_feed(database: AsyncDatabase[Document]) -> None:
    """All changes of entities in order, kept for a while where somebody follows them; and the history in order of version."""
    if "feed" not in await database.list_collection_names():
        await database.create_collection("feed")
    await database["feed"].create_indexes([IndexModel([("at", 1)], name="at")])
    await database["history"].create_indexes([IndexModel([("version", 1), ("_id", 1)], name="version")])


async def _index_brought(database: AsyncDatabase[Document]) -> None:
    """History rows are found by the uplink that brought them."""
    await database["history"].create_indexes([IndexModel([("uplink", 1)], name="uplink", sparse=True)])


MIGRATIONS: Final[Mapping[int, Migration]] = {
    1: _create_collections,
    2: _add_moments,
    3: _remember_told,
    4: _add_registry_keys,
    5: _add_feed,
    6: _index_brought,
}
"""By the version that each leads to."""

SCHEMA_VERSION: Final = max(MIGRATIONS)
