"""From an @context as sent to a compiled `Context`, with a bounded cache; remote documents are fetched by what is passed in.

Source: ETSI GS CIM 009 v1.9.1, 4.4, 5.5.5, 5.5.7, 5.5.2 (LdContextNotAvailable).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

import orjson

from broker.clock import SECOND, Clock, Micros
from broker.config import Limits
from broker.errors import BadRequestData, BrokerError, InvalidRequest, LdContextNotAvailable
from broker.jsonio import parse_json
from broker.jsonld.compile import Terms, compile_terms
from broker.jsonld.context import Context
from broker.jsonld.core import core_definitions, is_core_url
from broker.jsonld.documents import context_of, flatten, without_core

REFRESH: Final[Micros] = 3600 * SECOND
"""How long a remote @context is taken as it was fetched. They change rarely, and a wrong one is worse than an old one."""

RETRY: Final[Micros] = 60 * SECOND
"""How long a stale @context is served before it is fetched again, when it could not be refreshed."""

# From this many term definitions on, compiling takes milliseconds and goes to a thread.
_LARGE: Final = 300


@dataclass(slots=True)
class _Entry:
    context: Context
    urls: frozenset[str]
    fresh_until: Micros


class ContextResolver:
    """All contexts in use. `fetch` gets the bytes at a URL and raises whatever it likes when it cannot."""

    def __init__(self, fetch: Callable[[str], Awaitable[bytes]], clock: Clock, limits: Limits) -> None:
        self._fetch = fetch
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
        """The context of `value` when nothing needs to be fetched or compiled for it, else None: `resolve` it."""
        if value is None:
            return self._core
        key = _key(value)
        entry = self._entries.get(key)
        if entry is None:
            return self._core if type(value) is str and is_core_url(value) else None
        if entry.fresh_until <= self._clock.now():
            return None
        self._entries.move_to_end(key)
        return entry.context

    async def resolve(self, value: Any) -> Context:
        """The context of an '@context' value: None, a URL, an object, or a list of those.

        Raises BadRequestData when it is not valid, LdContextNotAvailable when a remote one cannot be had. One that was
        there before is served on when it cannot be refreshed.
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
            entry = await self._fresh(key, user)
        # The same @context with and without the core is one entry under two keys.
        self._keep(_key(value), entry)
        return entry.context

    def forget(self, url: str) -> None:
        """Drop what was made of the document at `url`, so that it is fetched anew (5.13, reload)."""
        for key in [key for key, entry in self._entries.items() if url in entry.urls]:
            del self._entries[key]

    async def _fresh(self, key: str | bytes, user: Any) -> _Entry:
        entry = self._entries.get(key)
        now = self._clock.now()
        if entry is not None:
            if entry.fresh_until > now:
                return entry
            # Others go on with the old one while this request looks for the new one.
            entry.fresh_until = now + RETRY
        try:
            made = await self._make(user)
        except BrokerError:
            if entry is None:
                raise
            return entry
        self._keep(key, made)
        return made

    def _keep(self, key: str | bytes, entry: _Entry) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._limits.contexts_cached:
            self._entries.popitem(last=False)

    async def _make(self, value: Any) -> _Entry:
        definitions, urls = await flatten(value, self._load)
        label = f"The @context '{value[:200]}'" if isinstance(value, str) else "The '@context'"
        async with self._compiling:
            if sum(map(len, definitions)) < _LARGE:
                terms = compile_terms(definitions, label)
            else:
                terms = await asyncio.to_thread(compile_terms, definitions, label)
        # What names no document cannot go stale.
        fresh_until = self._clock.now() + REFRESH if urls else 1 << 62
        return _Entry(Context(terms, self._core_terms, value), frozenset(urls), fresh_until)

    async def _load(self, url: str) -> Any:
        limits = self._limits
        try:
            async with asyncio.timeout(limits.context_seconds):
                body = await self._fetch(url)
        except LdContextNotAvailable:
            raise
        except TimeoutError:
            raise LdContextNotAvailable(
                f"The @context '{url[:200]}' could not be fetched within {limits.context_seconds:g} s."
            ) from None
        except BadRequestData as error:
            # The guarded client refused the address: that is about the request, and says why.
            raise BadRequestData(f"The @context '{url[:200]}' cannot be fetched: {error.detail}") from None
        except Exception as error:
            raise LdContextNotAvailable(f"The @context '{url[:200]}' could not be fetched.") from error
        if len(body) > limits.context_bytes:
            raise LdContextNotAvailable(
                f"The @context '{url[:200]}' is longer than the limit of {limits.context_bytes} bytes."
            )
        try:
            document = parse_json(body, max_depth=limits.json_depth)
        except InvalidRequest:
            raise LdContextNotAvailable(f"The document at '{url[:200]}' is not JSON.") from None
        return context_of(document, url)


def _key(value: Any) -> str | bytes:
    """A URL is its own key; anything else has its canonical text."""
    if type(value) is str:
        return value
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return b""
