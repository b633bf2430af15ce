"""The embedded store: a file a tenant, held by one process."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from broker.config import StoreSettings
from broker.errors import StoreUnavailable
from broker.stores.sqlite.tenant import SqliteTenant

LONGEST_NAME = 120
"""Characters of a tenant's name in a file's name; file systems take 255 bytes. A longer one is told by its hash."""


class SqliteStore:
    """A `Store`: `path` is the default tenant's file, the others' stand beside it, and so does the lock."""

    def __init__(self, path: Path, settings: StoreSettings) -> None:
        self._path = path
        self._settings = settings
        self._lock: int | None = None
        self._tenants: dict[str, SqliteTenant] = {}
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Take the lock, open and migrate the default tenant. Raises StoreTooNew, StoreUnavailable."""
        self._lock = await asyncio.to_thread(_take_lock, self._path)
        try:
            await self.tenant()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what was committed, let go of the files, then of the lock."""
        async with self._opening:
            while self._tenants:
                _, tenant = self._tenants.popitem()
                await tenant.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    async def ping(self) -> None:
        """Raises StoreUnavailable when the store is not open or its file does not answer."""
        await (await self.tenant()).outbox("", limit=1)

    async def follow(self, moved: Callable[[str], None], alive: Callable[[], None]) -> None:
        """Nobody else has the files."""

    async def tenant(self, name: str = "") -> SqliteTenant:
        """The tenant's store, its file created if it is not there."""
        tenant = self._tenants.get(name)
        if tenant is not None:
            return tenant
        async with self._opening:
            if self._lock is None:
                raise StoreUnavailable("The store is not open.")
            if name not in self._tenants:
                tenant = SqliteTenant(tenant_path(self._path, name), self._settings)
                try:
                    await tenant.open()
                except BaseException:
                    await tenant.close()
                    raise
                self._tenants[name] = tenant
            return self._tenants[name]


def tenant_path(path: Path, name: str) -> Path:
    """The file of a tenant: 'knutpunkt.db' of the default one, 'knutpunkt@NAME.db' of others, NAME percent-encoded."""
    if not name:
        return path
    encoded = quote(name, safe="")
    if len(encoded) > LONGEST_NAME:
        encoded = "sha256-" + hashlib.sha256(name.encode()).hexdigest()
    return path.with_name(f"{path.stem}@{encoded}{path.suffix}")


def _take_lock(path: Path) -> int:
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"The store file '{path}' cannot be opened: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreUnavailable(
            f"The store file '{path}' is open in another Knutpunkt; a SQLite store serves one process. "
            "Stop the other one, or use MongoDB for several."
        ) from error
    return descriptor
