"""From an @context as sent to a compiled `Context`, with a bounded cache of them.

Source: ETSI GS CIM 009 v1.9.1, 4.4, 5.5.5, 5.5.6, 5.5.7.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Final
from weakref import WeakValueDictionary

import orjson
import structlog

from broker.clock import SECOND, Clock, Micros
from broker.config import Limits
from broker.errors import BadRequestData, BrokerError, LdContextNotAvailable
from broker.jsonld.compile import Terms, compile_terms
from broker.jsonld.context import Context
from broker.jsonld.core import core_definitions, is_core_url
from broker.jsonld.documents import check_size, flatten, inline_parts, without_core
from broker.jsonld.library import FOREVER, Held, Library
from broker.jsonld.remote import Fetch
from broker.jsonld.stored import StoredContext

log = structlog.get_logger(__name__)

RETRY: Final[Micros] = 60 * SECOND
"""How long a stale @context is served before it is fetched again, when it could not be refreshed."""

_LOOK: Final[Micros] = 1 * SECOND
"""How long a context with a document that is being refreshed is served before that is looked at again."""

# From this many term definitions on, compiling takes milliseconds and goes to a thread.
_LARGE: Final = 300


@dataclass(slots=True)
class _Entry:
    context: Context
    user: Any
    """The user's @context that it was made of."""
    documents: tuple[Held, ...]
    fresh_until: Micros


class ContextResolver:
    """All contexts in use. `fetch` gets what is at a URL and raises whatever it likes when it cannot."""

    def __init__(self, fetch: Fetch, clock: Clock, limits: Limits) -> None:
        self.library = Library(fetch, clock, limits)
        self._clock = clock
        self._limits = limits
        self._core_terms = compile_terms([core_definitions()], "The core @context")
        self._core = Context(Terms(), self._core_terms)
        self._entries: OrderedDict[str | bytes, _Entry] = OrderedDict()
        self._locks: WeakValueDictionary[str | bytes, asyncio.Lock] = WeakValueDictionary()
        self._compiling = asyncio.Lock()

    @property
    def core(self) -> Context:
        """The core @context alone."""
        return self._core

    def cached(self, value: Any) -> Context | None:
        """The context of `value` when nothing needs to be fetched or compiled for it, else None: `resolve` it.

        One that is stale is given too, and refreshed in the background.
        """
        if value is None:
            return self._core
        key = value if type(value) is str else _key(value)
        entry = self._entries.get(key)
        if entry is None:
            return self._core if type(value) is str and is_core_url(value) else None
        self._entries.move_to_end(key)
        return self._used(entry)

    async def resolve(self, value: Any) -> Context:
        """The context of an '@context' value: None, a URL, an object, or a list of those.

        Raises BadRequestData when it is not valid, LdContextNotAvailable when a remote one cannot be had. One that was
        there before is served on, whether or not it can be refreshed.
        """
        found = self.cached(value)
        if found is not None:
            return found
        user = without_core(value)
        if user is None:
            return self._core
        key = _key(user)
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with lock:
            entry = self._entries.get(key)
            if entry is None:
                entry = await self._made(user)
                self._remember(key, entry)
        # The same @context with and without the core is one entry under two keys.
        self._remember(_key(value), entry)
        return self._used(entry)

    def check(self, value: Any) -> None:
        """Whether `value` may be hosted (5.13.2.4): valid as far as can be said without fetching what it refers to.

        Raises BadRequestData.
        """
        user = without_core(value)
        if user is None:
            return
        definitions, names_documents = inline_parts(user)
        check_size(definitions)
        # Terms may rest on those of a document that is named: then only its use tells.
        if not names_documents:
            compile_terms(definitions, "The '@context'")

    async def reload(self, stored: StoredContext) -> None:
        """Fetch a cached @context anew and use it from now on (5.13.5.4).

        Raises LdContextNotAvailable when it cannot be had or is not valid any more; then the old one stays.
        """
        try:
            fresh = await self.library.download(stored)
            await self._compiled(fresh.value, fresh.url)
        except BadRequestData as error:
            raise LdContextNotAvailable(error.detail) from None
        changed = fresh.value != stored.value
        await self.library.replaced(fresh)
        if changed:
            await self.renewed({stored.id})

    async def refresh(self, held: Held) -> None:
        """Fetch a stale document anew, in the background: when that fails, the old one is served on."""
        stored = held.stored
        try:
            fresh = await self.library.download(stored)
            if self.library.held.get(stored.id) is not held:
                # Removed, or out of memory: whoever uses it next looks for it again.
                self.forget(stored.id)
                return
            if fresh.value == stored.value:
                held.stored = replace(stored, expires_at=fresh.expires_at)
                held.fresh_until = fresh.expires_at or 0
                return
            await self._compiled(fresh.value, fresh.url)
        except BrokerError as error:
            held.fresh_until = self._clock.now() + RETRY
            log.info("context.not_refreshed", url=stored.url, reason=error.detail)
            return
        await self.library.replaced(fresh)
        await self.renewed({stored.id})
        log.info("context.refreshed", url=stored.url)

    async def renewed(self, ids: set[str]) -> None:
        """Compile anew what was made of these stored contexts; meanwhile the old ones serve."""
        for entry in {id(entry): entry for entry in self._entries.values()}.values():
            if ids.isdisjoint(held.stored.id for held in entry.documents):
                continue
            try:
                made = await self._made(entry.user)
            except BrokerError as error:
                log.info("context.not_compiled", reason=error.detail)
                continue
            entry.context, entry.documents, entry.fresh_until = made.context, made.documents, made.fresh_until

    def forget(self, context_id: str) -> None:
        """Drop what was made of a stored @context, so that its next use looks for it again."""
        for key, entry in list(self._entries.items()):
            if any(held.stored.id == context_id for held in entry.documents):
                del self._entries[key]

    def _used(self, entry: _Entry) -> Context:
        now = self._clock.now()
        for held in entry.documents:
            use = held.use
            use.hits += 1
            use.last = now
        if entry.fresh_until <= now:
            # Others go on with the old one while the new one is looked for.
            for held in entry.documents:
                if held.fresh_until <= now:
                    self.library.stale(held)
            fresh_until = min((held.fresh_until for held in entry.documents), default=FOREVER)
            entry.fresh_until = max(fresh_until, now + _LOOK)
        return entry.context

    def _remember(self, key: str | bytes, entry: _Entry) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._limits.contexts_cached:
            self._entries.popitem(last=False)

    async def _made(self, user: Any) -> _Entry:
        terms, documents, core = await self._compiled(user, "")
        fresh_until = min((held.fresh_until for held in documents), default=FOREVER)
        return _Entry(Context(terms, self._core_terms, user, names_core=core), user, documents, fresh_until)

    async def _compiled(self, value: Any, base: str) -> tuple[Terms, tuple[Held, ...], bool]:
        """The terms of an @context value, the documents it led to, whether one of them names the core @context.

        `base` is the URL it stands at, '' inline.
        """
        documents: dict[str, Held] = {}

        async def load(url: str) -> Any:
            held = await self.library.document(url)
            documents[held.stored.id] = held
            return held.stored.value

        definitions, core = await flatten(value, load, base)
        url = base or (value if isinstance(value, str) else "")
        label = f"The @context '{url[:200]}'" if url else "The '@context'"
        async with self._compiling:
            if sum(map(len, definitions)) < _LARGE:
                terms = compile_terms(definitions, label)
            else:
                terms = await asyncio.to_thread(compile_terms, definitions, label)
        return terms, tuple(documents.values()), core


def _key(value: Any) -> str | bytes:
    """A URL is its own key; anything else has its canonical text."""
    if type(value) is str:
        return value
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return b""
