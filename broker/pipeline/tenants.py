"""All tenants of a process: which there are, and the tasks that serve each (ETSI GS CIM 009 v1.9.1, 5.5.10).

Each has a store, a writer, and a delivery of its own; nothing of one is seen by another. Which tenants there are stands
in records of the default tenant's store, so that all processes and the next start know them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from broker.clock import Clock
from broker.config import Tenancy
from broker.entities.records import PutRecord
from broker.errors import (
    AlreadyExists,
    BadRequestData,
    NonexistentTenant,
    OperationNotSupported,
    Overloaded,
    StoreUnavailable,
)
from broker.pipeline.expiry import Expiry
from broker.pipeline.feed import Feed
from broker.pipeline.personal import PersonalData
from broker.pipeline.replays import Replays
from broker.pipeline.writer import Writer
from broker.stores.base import Record, TenantStore
from broker.subscriptions.delivery import Delivery

log = structlog.get_logger(__name__)

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", re.ASCII)
"""What a tenant may be called: it becomes a part of a file's or a database's name."""

DEFAULT: Final = "-"
"""What stands for the default tenant where it must have a name: no other can be called so."""

LOOK_SECONDS: Final = 10.0
"""How often it is looked for tenants that another process created, which may be owed notifications."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant's parts."""

    name: str
    """'' for the default tenant."""
    store: TenantStore
    writer: Writer
    delivery: Delivery
    expiry: Expiry
    personal: PersonalData
    replays: Replays
    feed: Feed

    async def serve(self) -> None:
        """Run its parts until they have ended (see `Tenants.close`)."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.writer.run(), name=f"writer {self.name}")
            tasks.create_task(self.delivery.run(), name=f"delivery {self.name}")
            tasks.create_task(self.expiry.run(), name=f"expiry {self.name}")
            tasks.create_task(self.replays.run(), name=f"replays {self.name}")
            tasks.create_task(self.feed.run(), name=f"feed {self.name}")


class Tenants:
    """The tenants. `run` must be running (in a TaskGroup) for any but the default one to be opened."""

    def __init__(
        self, default: Tenant, make: Callable[[str], Awaitable[Tenant]], settings: Tenancy, clock: Clock
    ) -> None:
        """`make` opens a tenant's store, creating it if it is not there, and builds its parts."""
        self.default = default
        self._make = make
        self._settings = settings
        self._clock = clock
        self._open: dict[str, Tenant] = {"": default}
        self._opening = asyncio.Lock()
        self._group: asyncio.TaskGroup | None = None
        self._closing = asyncio.Event()
        self._look = asyncio.Event()

    async def run(self) -> None:
        """Serve the default tenant and all that are on record, until `close`."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self.default.serve())
                while not self._closing.is_set():
                    self._look.clear()  # first: whoever sets it meanwhile is heard
                    await self._open_recorded()
                    try:
                        async with asyncio.timeout(LOOK_SECONDS):
                            await self._look.wait()
                    except TimeoutError:
                        continue
        finally:
            self._group = None

    async def find(self, name: str, *, create: bool = False) -> Tenant:
        """The tenant of a name. `create`: make it if it is not there, where the settings allow that.

        Raises BadRequestData for a name that cannot be one, NonexistentTenant, OperationNotSupported when there are too many.
        """
        tenant = self._open.get(name)
        if tenant is not None:
            return tenant
        _check(name)
        if await self.default.store.record("tenant", name) is None:
            if not create or self._settings.creation == "explicit":
                raise NonexistentTenant(f"There is no tenant '{name}'.")
            await self._record(name)
        return await self._opened(name)

    def moved(self, name: str) -> None:
        """Another process may have changed a tenant's registry; the default one's says which tenants there are, too."""
        tenant = self._open.get(name)
        if tenant is not None:
            tenant.writer.look()
        if not name:
            self._look.set()

    async def create(self, name: str) -> Tenant:
        """A new tenant. Raises AlreadyExists, and what `find` raises but NonexistentTenant."""
        _check(name)
        if await self.default.store.record("tenant", name) is not None:
            raise AlreadyExists(f"The tenant '{name}' exists already.")
        await self._record(name)
        return await self._opened(name)

    async def recorded(self) -> list[Record]:
        """All but the default one, in order of their names; `body` has createdAt."""
        return [record for record in await self.default.store.records("tenant") if record.id != DEFAULT]

    async def record_of(self, name: str) -> Record | None:
        """What is said of a tenant ('' for the default one); None when nothing is, or it is not there."""
        return await self.default.store.record("tenant", name or DEFAULT)

    async def keep_raw(self, name: str, keep_days: str | int | None) -> None:
        """Say how long a tenant's raw uplinks are kept; None: as the settings have it. Raises NonexistentTenant."""
        record = await self.record_of(name)
        if record is None and name:
            raise NonexistentTenant(f"There is no tenant '{name[:100]}'.")
        body = dict(record.body) if record is not None else {}
        body.pop("rawUplinks", None)
        if keep_days is not None:
            body["rawUplinks"] = {"keepDays": keep_days}
        await self.default.writer.execute(PutRecord("tenant", name or DEFAULT, body))
        log.info("tenant.keeps_raw", tenant=name, keep_days=keep_days)

    async def stores(self) -> list[tuple[str, TenantStore]]:
        """(name, store) of all that are open here, the default one ('') first."""
        return [(name, tenant.store) for name, tenant in self._open.items()]

    async def close(self, drain_seconds: float, delivery_seconds: float) -> None:
        """Stop in order: the writers end what they admitted, then what is on its way to endpoints ends."""
        self._closing.set()
        self._look.set()
        async with self._opening:
            tenants = list(self._open.values())
        for tenant in tenants:
            tenant.expiry.stop()
            tenant.replays.stop()
            tenant.feed.close()
            tenant.writer.close()
        try:
            async with asyncio.timeout(drain_seconds):
                await asyncio.gather(*(tenant.writer.drained() for tenant in tenants))
        except TimeoutError:
            log.warning("tenants.not_drained")
        await asyncio.gather(*(tenant.delivery.stop(delivery_seconds) for tenant in tenants))

    def end_streams(self) -> None:
        """Tell all who follow changes that the broker is stopping."""
        for tenant in self._open.values():
            tenant.feed.close()

    async def _record(self, name: str) -> None:
        # Two that are created at once may both pass: the limit guards against clients gone wild, not against one more.
        if len(await self.recorded()) >= self._settings.most:
            raise OperationNotSupported(
                f"The tenant '{name}' cannot be created: there are as many as the limit 'tenants.most' of "
                f"{self._settings.most} allows."
            )
        await self.default.writer.execute(PutRecord("tenant", name, {"createdAt": self._clock.stamp().text}))
        log.info("tenant.created", tenant=name)

    async def _opened(self, name: str) -> Tenant:
        async with self._opening:
            tenant = self._open.get(name)
            if tenant is None:
                if self._group is None or self._closing.is_set():
                    raise Overloaded("The broker is stopping; nothing was applied. Try again later.")
                tenant = await self._make(name)
                self._open[name] = tenant
                self._group.create_task(tenant.serve())
            return tenant

    async def _open_recorded(self) -> None:
        try:
            for record in await self.recorded():
                await self._opened(record.id)
        except (StoreUnavailable, Overloaded) as error:
            log.warning("tenants.not_opened", reason=error.detail)


def _check(name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise BadRequestData(
            "A tenant's name must be 1 to 63 letters (a to z), digits, '_', '.' and '-', not beginning with '.' or '-', "
            f"got '{name[:100]}'."
        )
