"""All stored contexts of a process: found by URL without network where possible, fetched once where not.

A document that was fetched once is served for ever after; when it is older than its server said, it is still served, and
fetched again in the background (`broker.jsonld.upkeep`). It outlives the process on a shelf, from where other
processes take it too. Source: ETSI GS CIM 009 v1.9.1, 5.13.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, Final
from weakref import WeakValueDictionary

import structlog

from broker.clock import SECOND, Clock, Micros
from broker.config import Limits
from broker.errors import BadRequestData, BrokerError
from broker.jsonld.core import CORE_URL, is_core_url
from broker.jsonld.memory_shelf import MemoryShelf
from broker.jsonld.own import published_name, published_terms
from broker.jsonld.remote import Fetch, Remote, RemoteDocument
from broker.jsonld.stored import (
    Kind,
    Shelf,
    StoredContext,
    Use,
    cached_id,
    hosted_id,
    implicit_id,
    own_id,
)

log = structlog.get_logger(__name__)

PAGE: Final = 50
FOREVER: Final[Micros] = 1 << 62


@dataclass(slots=True)
class Held:
    """A stored context in memory."""

    stored: StoredContext
    fresh_until: Micros
    use: Use = field(default_factory=Use)
    """What is not written yet."""
    kept: bool = True
    """Whether the shelf has it."""


class Library:
    """The stored contexts. One event loop owns it."""

    def __init__(self, fetch: Fetch, clock: Clock, limits: Limits) -> None:
        self.shelf: Shelf = MemoryShelf()
        self.held: OrderedDict[str, Held] = OrderedDict()
        """By id, the least recently asked for first."""
        self.due: dict[str, Held] = {}
        """By id: to be fetched again."""
        self.stirred = asyncio.Event()
        """Set when something is due."""
        self._remote = Remote(fetch, clock, limits)
        self._clock = clock
        self._limits = limits
        self._started = clock.now()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._writing = asyncio.Lock()
        self._counts: dict[Kind, int] | None = None

    # --- by URL, for the resolver -------------------------------------------------------------------------------------

    async def document(self, url: str) -> Held:
        """The @context that a URL names: one of ours, a copy, or one fetched now.

        Raises LdContextNotAvailable, BadRequestData (5.5.6).
        """
        published = published_name(url)
        if published is not None:
            return self._published(published, url)
        own = own_id(url)
        if own is not None:
            # A URL of this form that is not ours is another broker's.
            found = await self._held(own)
            if found is not None:
                return found
        name = cached_id(url)
        known = self.held.get(name)
        if known is not None:
            self.held.move_to_end(name)
            return known
        lock = self._locks.get(url)
        if lock is None:
            lock = self._locks[url] = asyncio.Lock()
        async with lock:
            return await self._held(name) or await self._fetched(url)

    def stale(self, held: Held) -> None:
        """Have a document fetched again in the background."""
        self.due[held.stored.id] = held
        self.stirred.set()

    # --- by id, for clients -------------------------------------------------------------------------------------------

    async def find(self, identifier: str) -> StoredContext | None:
        """The one that an id or, for a cached one, its URL names (5.13.4.3)."""
        if is_core_url(identifier):
            return self._core(identifier)
        name = identifier if identifier.startswith("urn:") else own_id(identifier) or cached_id(identifier)
        if name == self.core.id:
            return self.core
        stored = await self.shelf.get(name)
        if stored is not None:
            return self._as_held(stored)
        held = self.held.get(name)
        return held.stored if held is not None and not held.kept else None

    @property
    def core(self) -> StoredContext:
        """The core @context, which is always there."""
        return self._core(CORE_URL)

    async def listed(self) -> AsyncIterator[StoredContext]:
        """All, the core @context first."""
        yield self.core
        seen = set()
        async for stored in self._all():
            seen.add(stored.id)
            yield self._as_held(stored)
        for held in list(self.held.values()):
            if held.stored.id not in seen and not held.kept:
                yield held.stored

    async def use_of(self, context_id: str) -> Use:
        """How often it was used, and when last: what is written and what is not yet."""
        written = await self.shelf.used(context_id)
        held = self.held.get(context_id)
        if held is None:
            return written
        return Use(written.hits + held.use.hits, max(written.last, held.use.last))

    async def host(self, value: Any, tenant: str) -> StoredContext:
        """Store an @context that a client gives (5.13.2). Raises BadRequestData when there are too many."""
        async with self._writing:
            limit = self._limits.contexts_stored
            if (await self._count())["Hosted"] >= limit:
                raise BadRequestData(
                    f"There are as many hosted @contexts as the limit 'limits.contexts_stored' of {limit} allows; "
                    "delete one first."
                )
            name = hosted_id(self._clock.new_id())
            stored = StoredContext(name, "Hosted", value, self._clock.now(), tenants=(tenant,))
            await self._put(stored)
        self._hold(Held(stored, FOREVER))
        return stored

    async def share(self, value: Any, tenant: str) -> StoredContext:
        """The stored form of an inline @context, made if it is not there (kind 'ImplicitlyCreated').

        Asking for it is using it.
        """
        name = implicit_id(value)
        stored = await self.shelf.get(name)
        if stored is None or tenant not in stored.tenants:
            async with self._writing:
                stored = await self.shelf.get(name)
                if stored is None:
                    await self._make_room("ImplicitlyCreated")
                    stored = StoredContext(name, "ImplicitlyCreated", value, self._clock.now())
                if tenant not in stored.tenants:
                    stored = replace(stored, tenants=(*stored.tenants, tenant))
                    await self._put(stored)
        held = self.held.get(name)
        if held is None:
            held = Held(stored, FOREVER)
            self._hold(held)
        held.stored = stored
        held.use.hits += 1
        held.use.last = self._clock.now()
        return stored

    async def remove(self, stored: StoredContext, tenant: str) -> bool:
        """Remove one (5.13.5); one that several tenants made stays for the others. Whether it is gone for everyone."""
        async with self._writing:
            others = tuple(name for name in stored.tenants if name != tenant)
            if others:
                await self._put(replace(stored, tenants=others))
                self.held.pop(stored.id, None)
                return False
            if await self.shelf.remove(stored.id) and self._counts is not None:
                self._counts[stored.kind] -= 1
        self.held.pop(stored.id, None)
        self.due.pop(stored.id, None)
        return True

    # --- keeping what is fetched --------------------------------------------------------------------------------------

    async def download(self, stored: StoredContext) -> StoredContext:
        """A cached one as it is on the network now; nothing is kept of it yet. Raises as `document` does."""
        return self._downloaded(stored, await self._remote.document(stored.url))

    async def replaced(self, stored: StoredContext) -> None:
        """Keep a cached one that was downloaded, in place of the one before."""
        held = self.held.get(stored.id)
        if held is None:
            held = Held(stored, 0)
            self._hold(held)
        held.stored, held.fresh_until = stored, stored.expires_at or 0
        await self._keep(held)

    async def keep_rest(self) -> None:
        """Put on the shelf what could not be put there before."""
        for held in [held for held in self.held.values() if not held.kept]:
            await self._keep(held)

    async def in_step(self) -> list[str]:
        """Take over what other processes changed of what is in memory; the ids of what changed or went."""
        changed = []
        for name, held in list(self.held.items()):
            if not held.kept:
                continue
            stored = await self.shelf.get(name)
            if stored is None:
                self.held.pop(name, None)
                changed.append(name)
            elif replace(stored, expires_at=held.stored.expires_at) != held.stored:
                if stored.value != held.stored.value:
                    changed.append(name)
                held.stored = stored
                held.fresh_until = stored.expires_at or FOREVER
        self._counts = None
        return changed

    def _published(self, name: str, url: str) -> Held:
        """One of the product's own: part of this broker, so neither fetched nor put on the shelf."""
        stored = StoredContext(cached_id(url), "Cached", published_terms(name), self._started, url=url)
        return Held(stored, FOREVER)

    async def _held(self, name: str) -> Held | None:
        held = self.held.get(name)
        if held is not None:
            self.held.move_to_end(name)
            return held
        stored = await self.shelf.get(name)
        if stored is None:
            return None
        held = self.held.get(name)
        if held is None:
            held = Held(stored, stored.expires_at or FOREVER)
            self._hold(held)
        return held

    async def _fetched(self, url: str) -> Held:
        blank = StoredContext(cached_id(url), "Cached", None, 0, url=url)
        stored = self._downloaded(blank, await self._remote.document_for_many(url))
        held = Held(stored, stored.expires_at or 0, kept=False)
        self._hold(held)
        await self._keep(held)
        return held

    def _downloaded(self, stored: StoredContext, found: RemoteDocument) -> StoredContext:
        now = self._clock.now()
        return replace(stored, value=found.value, created_at=now, expires_at=now + found.fresh_seconds * SECOND)

    async def _keep(self, held: Held) -> None:
        """Put it on the shelf; that this fails is no reason to refuse a request, it is tried again later."""
        held.kept = False
        try:
            async with self._writing:
                if await self.shelf.get(held.stored.id) is None:
                    await self._make_room(held.stored.kind)
                await self._put(held.stored)
            held.kept = True
        except BrokerError as error:
            log.info("context.not_kept", url=held.stored.url, reason=error.detail)

    def _hold(self, held: Held) -> None:
        self.held[held.stored.id] = held
        while len(self.held) > self._limits.contexts_cached:
            self.held.popitem(last=False)

    async def _put(self, stored: StoredContext) -> None:
        known = await self.shelf.get(stored.id) is not None
        await self.shelf.put(stored)
        if self._counts is not None and not known:
            self._counts[stored.kind] += 1

    async def _count(self) -> dict[Kind, int]:
        if self._counts is None:
            counts: dict[Kind, int] = {"Cached": 0, "Hosted": 0, "ImplicitlyCreated": 0}
            async for stored in self._all():
                counts[stored.kind] += 1
            self._counts = counts
        return self._counts

    async def _make_room(self, kind: Kind) -> None:
        """Remove a tenth of a kind, the least recently used first, when there are as many as the limit allows."""
        if (await self._count())[kind] < self._limits.contexts_stored:
            return
        ages: list[tuple[Micros, str]] = []
        async for stored in self._all():
            if stored.kind == kind:
                use = await self.use_of(stored.id)
                ages.append((use.last or stored.created_at, stored.id))
        for _, name in sorted(ages)[: 1 + len(ages) // 10]:
            await self.shelf.remove(name)
            self.held.pop(name, None)
        self._counts = None
        log.info("context.room_made", kind=kind)

    async def _all(self) -> AsyncIterator[StoredContext]:
        after = ""
        while True:
            page = await self.shelf.page(after, PAGE)
            for stored in page:
                yield stored
            if len(page) < PAGE:
                return
            after = page[-1].id

    def _as_held(self, stored: StoredContext) -> StoredContext:
        """What was refreshed without a change is not written anew: memory knows how long it is fresh."""
        held = self.held.get(stored.id)
        if held is None or held.stored.created_at != stored.created_at:
            return stored
        return replace(stored, expires_at=held.stored.expires_at)

    def _core(self, url: str) -> StoredContext:
        return StoredContext(cached_id(url), "Cached", url, self._started, url=url)
