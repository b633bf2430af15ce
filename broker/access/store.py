"""A tenant's store as whoever asks may see it: every read of the API goes through here, so that none can forget to.

Without the grant, what is personal is not there; with it, each read of it is logged (who, what, by which route; no values).
The broker's own work passes. What types and attributes there are, and how many of each, is told as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from dataclasses import replace
from typing import Final

import structlog

from broker.access.personal import ACCESS, Access, Personal
from broker.clock import Micros
from broker.ngsild.model import Entity, Iri
from broker.query.ast import EntityQuery
from broker.stores.base import (
    AttributeInfo,
    Backlog,
    ChangeSet,
    FeedRow,
    HistoryRow,
    Needs,
    OutboxRow,
    Page,
    QuarantineGroup,
    Record,
    RecordKind,
    Snapshot,
    StoredEntity,
    Tail,
    TenantStore,
    Told,
    TypeInfo,
    UplinkRow,
    UplinkStatus,
)

log = structlog.get_logger(__name__)

PAGE: Final = 1000
"""Records or uplinks read at once, at most, to fill a page some of which is passed over."""


class GuardedStore:
    """A `TenantStore` for the API. What is committed is not its concern: see `broker.pipeline.guard`."""

    def __init__(self, store: TenantStore, personal: Callable[[], Awaitable[Personal]]) -> None:
        """`personal` says what is personal now."""
        self._store = store
        self._personal = personal

    async def _hidden(self) -> Personal | None:
        """What whoever asks must not see; None when that is nothing."""
        access = ACCESS.get()
        if access is None or access.granted:
            return None
        return await self._personal() or None

    async def _note(self, entities: Iterable[str] = (), devices: Iterable[str | None] = ()) -> None:
        """Log what of this is personal, where it is read by a grant."""
        access = ACCESS.get()
        if access is not None and access.granted:
            personal = await self._personal()
            _log(access, personal.among(entities), sorted({one for one in devices if one and personal.device(one)}))

    # --- entities -----------------------------------------------------------------------------------------------------

    async def load(self, needs: Needs) -> Snapshot:
        """See TenantStore."""
        found = await self._store.load(needs)
        hidden = await self._hidden()
        if hidden is None:
            await self._note(found.entities)
            return found
        return Snapshot(
            {key: one for key, one in found.entities.items() if not hidden.entity(key)},
            {key: one for key, one in found.records.items() if not hidden.record(one)},
            {key: tuple(one for one in some if not hidden.record(one)) for key, some in found.found.items()},
            found.frames,
            {key: row for key, row in found.latest.items() if not hidden.entity(key.entity_id)},
            {
                key: tuple(row for row in rows if not hidden.entity(row.entity_id))
                for key, rows in found.brought.items()
            },
            found.epochs,
        )

    async def entity(self, entity_id: str) -> StoredEntity | None:
        """See TenantStore."""
        hidden = await self._hidden()
        if hidden is not None and hidden.entity(entity_id):
            return None
        found = await self._store.entity(entity_id)
        if found is not None:
            await self._note((entity_id,))
        return found

    async def query(self, query: EntityQuery) -> Page:
        """See TenantStore."""
        hidden = await self._hidden()
        page = await self._store.query(replace(query, excluded=hidden.excluded) if hidden is not None else query)
        await self._note(entity["id"] for entity in page.entities)
        return page

    async def stream(self, query: EntityQuery) -> AsyncIterator[list[Entity]]:
        """See TenantStore."""
        hidden = await self._hidden()
        asked = replace(query, excluded=hidden.excluded) if hidden is not None else query
        async for batch in self._store.stream(asked):
            await self._note(entity["id"] for entity in batch)
            yield batch

    async def expiring(self, before: Micros, limit: int) -> list[str]:
        """See TenantStore."""
        found, hidden = await self._store.expiring(before, limit), await self._hidden()
        return found if hidden is None else [one for one in found if not hidden.entity(one)]

    async def entity_types(self) -> list[Iri]:
        """See TenantStore."""
        return await self._store.entity_types()

    async def attributes(self) -> list[Iri]:
        """See TenantStore."""
        return await self._store.attributes()

    async def type_details(self, entity_type: Iri | None = None) -> list[TypeInfo]:
        """See TenantStore."""
        return await self._store.type_details(entity_type)

    async def attribute_details(self, attribute: Iri | None = None) -> list[AttributeInfo]:
        """See TenantStore."""
        return await self._store.attribute_details(attribute)

    # --- records ------------------------------------------------------------------------------------------------------

    async def record(self, kind: RecordKind, record_id: str) -> Record | None:
        """See TenantStore."""
        found = await self._store.record(kind, record_id)
        hidden = await self._hidden()
        return None if found is not None and hidden is not None and hidden.record(found) else found

    async def records(
        self, kind: RecordKind, *, key: str | None = None, after: str = "", limit: int | None = None
    ) -> list[Record]:
        """See TenantStore. A page is full where more follow."""
        hidden = await self._hidden()
        if hidden is None:
            return await self._store.records(kind, key=key, after=after, limit=limit)
        if limit is None:
            return [one for one in await self._store.records(kind, key=key, after=after) if not hidden.record(one)]
        shown: list[Record] = []
        while len(shown) < limit:
            page = await self._store.records(kind, key=key, after=after, limit=min(limit, PAGE))
            shown += [one for one in page if not hidden.record(one)]
            if len(page) < min(limit, PAGE):
                break
            after = page[-1].id
        return shown[:limit]

    # --- history and uplinks ------------------------------------------------------------------------------------------

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
        hidden = await self._hidden()
        if hidden is not None and hidden.entity(entity_id):
            return []
        await self._note((entity_id,))
        return await self._store.history(
            entity_id,
            attribute,
            since=since,
            until=until,
            limit=limit,
            newest_first=newest_first,
            superseded=superseded,
        )

    async def history_attributes(self, entity_id: str) -> list[Iri]:
        """See TenantStore."""
        hidden = await self._hidden()
        if hidden is not None and hidden.entity(entity_id):
            return []
        return await self._store.history_attributes(entity_id)

    async def uplink(self, uplink_id: str) -> UplinkRow | None:
        """See TenantStore."""
        found = await self._store.uplink(uplink_id)
        hidden = await self._hidden()
        if found is None or (hidden is not None and hidden.device(found.device_id)):
            return None
        await self._note(devices=(found.device_id,))
        return found

    async def uplinks(
        self,
        *,
        status: UplinkStatus | None = None,
        device_id: str | None = None,
        after: str = "",
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[UplinkRow]:
        """See TenantStore. A page is full where more follow."""
        hidden = await self._hidden()
        if hidden is not None and hidden.device(device_id):
            return []
        shown: list[UplinkRow] = []
        while len(shown) < limit:
            most = min(limit, PAGE)
            page = await self._store.uplinks(
                status=status, device_id=device_id, after=after, limit=most, newest_first=newest_first
            )
            shown += [row for row in page if hidden is None or not hidden.device(row.device_id)]
            if len(page) < most:
                break
            after = page[-1].id
        await self._note(devices=(row.device_id for row in shown))
        return shown[:limit]

    async def quarantine(self) -> list[QuarantineGroup]:
        """See TenantStore."""
        found, hidden = await self._store.quarantine(), await self._hidden()
        return found if hidden is None else [group for group in found if not hidden.device(group.device_id)]

    # --- notifications ------------------------------------------------------------------------------------------------

    async def outbox(self, subscription_id: str, *, after: str = "", limit: int = 100) -> list[OutboxRow]:
        """See TenantStore. Some may be left out of a page."""
        found, hidden = await self._store.outbox(subscription_id, after=after, limit=limit), await self._hidden()
        return found if hidden is None else [row for row in found if not hidden.entity(row.entity_id)]

    async def dead_letters(
        self, subscription_id: str, *, after: str = "", limit: int = 1000
    ) -> list[tuple[OutboxRow, str]]:
        """See TenantStore. Some may be left out of a page."""
        found = await self._store.dead_letters(subscription_id, after=after, limit=limit)
        hidden = await self._hidden()
        await self._note(row.entity_id for row, _ in found)
        return found if hidden is None else [one for one in found if not hidden.entity(one[0].entity_id)]

    async def backlogs(self, subscription_ids: Collection[str] | None = None) -> dict[str, Backlog]:
        """See TenantStore."""
        return await self._store.backlogs(subscription_ids)

    async def history_between(self, since: int, until: int, limit: int) -> list[HistoryRow]:
        """See TenantStore. Some may be left out."""
        found, hidden = await self._store.history_between(since, until, limit), await self._hidden()
        await self._note({row.entity_id for row in found})
        return found if hidden is None else [row for row in found if not hidden.entity(row.entity_id)]

    async def tail(self, position: str | None) -> Tail:
        """See TenantStore."""
        return _GuardedTail(await self._store.tail(position), self)

    async def seen(self, rows: list[tuple[str, FeedRow]]) -> list[tuple[str, FeedRow]]:
        """Those rows of the feed that whoever asks may see."""
        hidden = await self._hidden()
        kept = rows if hidden is None else [one for one in rows if not hidden.entity(one[1].entity_id)]
        await self._note({row.entity_id for _, row in kept})
        return kept

    async def forget_feed(self, before: Micros, limit: int) -> int:
        """See TenantStore."""
        return await self._store.forget_feed(before, limit)

    async def told(self, entity_id: str, version: int) -> list[Told]:
        """See TenantStore."""
        hidden = await self._hidden()
        return [] if hidden is not None and hidden.entity(entity_id) else await self._store.told(entity_id, version)

    # --- what tells nothing -------------------------------------------------------------------------------------------

    async def commit(self, changes: ChangeSet) -> None:
        """See TenantStore."""
        await self._store.commit(changes)

    async def epochs(self) -> dict[RecordKind, int]:
        """See TenantStore."""
        return await self._store.epochs()

    async def moved(self, kind: RecordKind, since: int) -> tuple[int, set[str]] | None:
        """See TenantStore."""
        return await self._store.moved(kind, since)

    async def outbox_owed(self) -> dict[str, int]:
        """See TenantStore."""
        return await self._store.outbox_owed()

    async def forget_told(self, before: Micros) -> int:
        """See TenantStore."""
        return await self._store.forget_told(before)

    async def forget_history(
        self, entity_id: str, attribute: Iri | None, since: Micros, before: Micros, limit: int
    ) -> int:
        """See TenantStore."""
        return await self._store.forget_history(entity_id, attribute, since, before, limit)

    async def forget_uplinks(self, device_id: str, since: Micros, before: Micros, limit: int) -> int:
        """See TenantStore."""
        return await self._store.forget_uplinks(device_id, since, before, limit)

    async def drop_bytes(self, after: str, before: Micros, limit: int) -> tuple[int, str]:
        """See TenantStore."""
        return await self._store.drop_bytes(after, before, limit)

    async def forget_letters(self, entity_ids: Collection[str], before: Micros) -> int:
        """See TenantStore."""
        return await self._store.forget_letters(entity_ids, before)

    async def lease(self, name: str, owner: str, seconds: float) -> bool:
        """See TenantStore."""
        return await self._store.lease(name, owner, seconds)

    async def release(self, names: Iterable[str], owner: str) -> None:
        """See TenantStore."""
        await self._store.release(names, owner)

    async def lease_holders(self, names: Collection[str]) -> dict[str, str]:
        """See TenantStore."""
        return await self._store.lease_holders(names)


class _GuardedTail:
    """The feed for whoever asks."""

    def __init__(self, tail: Tail, guard: GuardedStore) -> None:
        self._tail = tail
        self._guard = guard

    @property
    def position(self) -> str:
        """See Tail."""
        return self._tail.position

    async def read(self, seconds: float) -> list[tuple[str, FeedRow]]:
        """See Tail. None may be left of those that came."""
        return await self._guard.seen(await self._tail.read(seconds))

    async def close(self) -> None:
        """See Tail."""
        await self._tail.close()


def _log(access: Access, entities: list[str], devices: list[str]) -> None:
    if entities:
        log.info("personal.read", route=access.route, entities=entities)
    if devices:
        log.info("personal.uplinks_read", route=access.route, devices=devices)
