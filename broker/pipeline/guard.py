"""A tenant as whoever asks may see and change it: for every handler of the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from broker.access.personal import ACCESS, Personal, check_needs, denied
from broker.access.store import GuardedStore
from broker.clock import Stamp
from broker.devices.revisions import PERSONAL
from broker.entities.batch import Batch, Element
from broker.errors import Conflict
from broker.pipeline.feed import Feed, Listener
from broker.pipeline.feed_event import FeedEvent
from broker.pipeline.personal import PersonalData
from broker.pipeline.tenants import Tenant, Tenants
from broker.stores.base import Needs, Record, Snapshot, TenantStore
from broker.stores.command import Alone, Command, Effects, View
from broker.subscriptions.state import DeliveryState

ResultT = TypeVar("ResultT")


class Executor(Protocol):
    """The writer."""

    def check_admits(self, *, wait: bool) -> None:
        """Raises what `execute` would raise now, whatever the command."""
        ...

    async def execute(self, command: Command[ResultT], *, wait: bool = False, weight: int = 1) -> ResultT:
        """The command's result once it is durable."""
        ...


class GuardedWriter:
    """Refuses commands on personal data that come without the grant, before they are looked at: AccessDenied."""

    def __init__(self, writer: Executor, personal: PersonalData) -> None:
        self._writer = writer
        self._personal = personal

    async def execute(self, command: Command[ResultT], *, wait: bool = False, weight: int = 1) -> ResultT:
        """See the writer."""
        self._writer.check_admits(wait=wait)
        access = ACCESS.get()
        if access is not None:
            command = self._guarded(command, await self._personal.now(), granted=access.granted)
        return await self._writer.execute(command, wait=wait, weight=weight)

    def _guarded(self, command: Any, personal: Personal, *, granted: bool) -> Command[Any]:
        if isinstance(command, Batch):
            return command if granted else _allowed(command, personal)
        kind = _GuardedAlone if isinstance(command, Alone) else _Guarded
        return kind(command, self._personal, granted=granted)


class _Guarded:
    """A command that must not touch what is personal without the grant, nor with it make public what was personal."""

    def __init__(self, command: Command[Any], personal: PersonalData, *, granted: bool) -> None:
        self._command = command
        self._personal = personal
        self._granted = granted
        self._needed = Needs()

    def needs(self, seen: Snapshot) -> Needs:
        """What the command needs; kept, as it says what the command is about."""
        needs = self._command.needs(seen)
        self._needed.add(needs)
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Any]:
        """What the command does. Raises AccessDenied, Conflict."""
        personal = self._personal.known
        if self._granted:
            effects = self._command.apply(view, stamp)
            _check_stays(effects, personal)
            return effects
        check_needs(self._needed, personal)
        for kind, record_id in self._needed.records:
            record = view.record(kind, record_id)
            if record is not None and personal.record(record):
                raise denied()
        effects = self._command.apply(view, stamp)
        if any(personal.entity(change.entity_id) for change in effects.changes):
            raise denied()
        for write in effects.records:
            if write.kind == "revision" and PERSONAL in write.keys:
                raise denied()  # who marks a virtual sensor would not find it afterwards
            if write.kind == "virtual_sensor" and any(personal.entity(urn) for urn in _entities(write.keys)):
                raise denied()  # what it is heard of would be written there
        return effects


def _entities(keys: Iterable[str]) -> list[str]:
    """The entities that a virtual sensor writes, by the keys of its record."""
    return [key.removeprefix("entity:") for key in keys if key.startswith("entity:")]


def _check_stays(effects: Effects[Any], personal: Personal) -> None:
    """Raises Conflict where a virtual sensor that was personal, perhaps deleted since, is defined as one that is not."""
    for write in effects.records:
        if write.kind == "revision" and PERSONAL not in write.keys and write.body is not None:
            thing = write.body
            if thing["of"] == "virtual_sensor" and thing["body"] is not None and thing["id"] in personal.sensors:
                raise Conflict(
                    f"The virtual sensor '{thing['id']}' is personal data and stays so: keep 'personal', or define another "
                    "virtual sensor that writes another entity."
                )


class _GuardedAlone(_Guarded, Alone):
    """One that has its group to itself."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """An element of a batch that is refused; the others are not."""

    def apply(self, view: View, stamp: Stamp) -> Effects[Any]:
        """Raises AccessDenied."""
        raise denied()


def _allowed(batch: Batch, personal: Personal) -> Batch:
    if not any(personal.entity(element.entity_id) for element in batch.elements):
        return batch
    refused = _Refused()
    return Batch(
        [
            Element(element.entity_id, refused) if personal.entity(element.entity_id) else element
            for element in batch.elements
        ]
    )


@dataclass(frozen=True, slots=True)
class GuardedTenant:
    """A tenant for the API."""

    name: str
    store: TenantStore
    writer: GuardedWriter
    feed: GuardedFeed
    process: str = ""
    """What this process is called in leases; '' where it is the only one."""
    unwritten: Callable[[str], DeliveryState | None] = lambda _: None
    """How a subscription's delivery stands in this process, where that is newer than what the store says."""


class GuardedListener:
    """A listener of the feed, for whoever asks."""

    def __init__(self, listener: Listener, store: GuardedStore) -> None:
        self._listener = listener
        self._store = store

    @property
    def id(self) -> str:
        """See Listener."""
        return self._listener.id

    @property
    def closed(self) -> bool:
        """See Listener."""
        return self._listener.closed

    async def next(self, seconds: float) -> list[FeedEvent]:
        """See Listener: what is personal is left out where it is not granted."""
        events = await self._listener.next(seconds)
        if not events:
            return events
        seen = {position for position, _ in await self._store.seen([(event.position, event.row) for event in events])}
        return [event for event in events if event.position in seen]

    async def close(self) -> None:
        """See Listener."""
        await self._listener.close()


class GuardedFeed:
    """All changes, for whoever asks."""

    def __init__(self, feed: Feed, store: GuardedStore) -> None:
        self._feed = feed
        self._store = store

    async def listen(self, last_id: str | None) -> GuardedListener:
        """See Feed."""
        return GuardedListener(await self._feed.listen(last_id), self._store)


class GuardedTenants:
    """All tenants for the API."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants
        self.default = guarded(tenants.default)

    async def find(self, name: str, *, create: bool = False) -> GuardedTenant:
        """See Tenants."""
        found = await self._tenants.find(name, create=create)
        return self.default if found is self._tenants.default else guarded(found)

    async def create(self, name: str) -> GuardedTenant:
        """See Tenants."""
        return guarded(await self._tenants.create(name))

    async def recorded(self) -> list[Record]:
        """See Tenants."""
        return await self._tenants.recorded()

    async def record_of(self, name: str) -> Record | None:
        """See Tenants."""
        return await self._tenants.record_of(name)

    async def keep_raw(self, name: str, keep_days: str | int | None) -> None:
        """See Tenants."""
        await self._tenants.keep_raw(name, keep_days)


def guarded(tenant: Tenant) -> GuardedTenant:
    """A tenant as the API has it."""
    store = GuardedStore(tenant.store, tenant.personal.now)
    return GuardedTenant(
        tenant.name,
        store,
        GuardedWriter(tenant.writer, tenant.personal),
        GuardedFeed(tenant.feed, store),
        tenant.delivery.lease_owner,
        unwritten=tenant.delivery.unwritten,
    )
