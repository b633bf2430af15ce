"""The MongoDB store: one client, a database a tenant."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError

from broker.clock import Clock
from broker.config import InvalidSetting, StoreSettings
from broker.errors import StoreUnavailable
from broker.stores.mongo import following, moves
from broker.stores.mongo.documents import Document
from broker.stores.mongo.failures import translated
from broker.stores.mongo.migrations import migrate
from broker.stores.mongo.tenant import MongoTenant

DEFAULT_DATABASE: Final = "knutpunkt"

DATABASE_NAME_BYTES: Final = 63
"""MongoDB's limit of a database's name, bytes."""

# Unless the URL says otherwise: how long a server that answers is looked for, and how long one may stay silent.
_TIMEOUTS: Final = {"serverSelectionTimeoutMS": 5_000, "connectTimeoutMS": 5_000, "socketTimeoutMS": 60_000}
_PLAIN: Final = re.compile(rb"[^a-z0-9_-]")


class MongoStore:
    """A `broker.stores.base.Store` on a MongoDB replica set or sharded cluster, version 6.0 or later."""

    def __init__(self, url: str, settings: StoreSettings, clock: Clock) -> None:
        self._url = url
        self._settings = settings
        self._clock = clock
        self._client: AsyncMongoClient[Document] | None = None
        self._database = DEFAULT_DATABASE
        self._tenants: dict[str, MongoTenant] = {}
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """See Store. Raises InvalidSetting when the URL is not one that MongoDB takes."""
        self._client = client = self._make_client()
        try:
            with translated():
                self._database = client.get_default_database(DEFAULT_DATABASE).name
                await _require_transactions(client)
            await self.tenant()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """See Store."""
        client, self._client = self._client, None
        for tenant in self._tenants.values():
            await tenant.close()
        self._tenants.clear()
        if client is not None:
            await client.close()

    async def ping(self) -> None:
        """See Store."""
        with translated():
            await self._connected().admin.command("ping")

    async def follow(self, moved: Callable[[str], None], alive: Callable[[], None]) -> None:
        """See Store."""

        def databases() -> dict[str, tuple[str, following.Epochs]]:
            return {tenant.database.name: (name, tenant.epochs) for name, tenant in self._tenants.items()}

        await following.follow(self._connected(), databases, moved, alive)

    async def tenant(self, name: str = "") -> MongoTenant:
        """See Store. Any name will do: what a database's name cannot have in it is written otherwise."""
        known = self._tenants.get(name)
        if known is not None:
            return known
        async with self._opening:
            if name not in self._tenants:
                tenant = MongoTenant(self._connected(), database_name(self._database, name), self._clock)
                with translated():
                    await migrate(tenant.database, self._clock)
                    await moves.prepare(tenant.database)
                self._tenants[name] = tenant
            return self._tenants[name]

    def _connected(self) -> AsyncMongoClient[Document]:
        if self._client is None:
            raise StoreUnavailable("The store is not open.")
        return self._client

    def _make_client(self) -> AsyncMongoClient[Document]:
        options: dict[str, Any] = {
            name: value for name, value in _TIMEOUTS.items() if name.lower() not in self._url.lower()
        }
        try:
            return AsyncMongoClient(self._url, appname="knutpunkt", **options)
        except (ConfigurationError, ValueError) as error:
            raise InvalidSetting(f"store.url is not a MongoDB URL: {error}") from None


def database_name(base: str, tenant: str) -> str:
    """The database of a tenant: `base`, or `base_tenant` with the tenant's name in MongoDB's alphabet, in lower case.

    Other bytes are written as '=' and two digits, so that 'Umea' and 'umea' differ also where MongoDB tells databases
    apart without regard to case. A name that gets too long is its hash instead (behind '~').
    """
    if not tenant:
        return base
    written = _PLAIN.sub(lambda found: b"=%02x" % found[0][0], tenant.encode("utf-8", "surrogatepass")).decode()
    name = f"{base}_{written}"
    if len(name.encode()) <= DATABASE_NAME_BYTES:
        return name
    return f"{base}_~{hashlib.blake2b(tenant.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


async def _require_transactions(client: AsyncMongoClient[Document]) -> None:
    hello = await client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise StoreUnavailable(
            "The MongoDB server stands alone, but change sets need transactions: make it a replica set, of one member at "
            "least (mongod --replSet rs0, then rs.initiate())."
        )
