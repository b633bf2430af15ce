"""Documents from the network: fetched, read, and for how long they may be taken as they are.

Source: ETSI GS CIM 009 v1.9.1, 5.5.6 (not available, or not valid), 5.13.1 (expiry); RFC 9111, 4.2.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from broker.clock import SECOND, Clock, Micros
from broker.config import Limits
from broker.errors import BadRequestData, BrokerError, InvalidRequest, LdContextNotAvailable
from broker.jsonio import parse_json
from broker.outbound import Fetched, OutboundError

REFRESH: Final = 3600
"""How long an @context is taken as it was fetched when its server does not say, seconds. They change rarely."""

SHORTEST: Final = 10
LONGEST: Final = 7 * 24 * 3600
"""Bounds of what a server may say, seconds: below, each use would fetch again; above, a correction would not arrive."""

FAILED: Final[Micros] = 1 * SECOND
"""How long a URL that could not be had is not asked again: requests that wait for the same one share its failure."""

_FAILURES: Final = 1000

Fetch = Callable[[str], Awaitable[Fetched]]


@dataclass(frozen=True, slots=True)
class RemoteDocument:
    """An @context as fetched."""

    value: Any
    """What stands behind '@context'."""
    fresh_seconds: int


class Remote:
    """Fetches. `fetch` raises whatever it likes when it cannot."""

    def __init__(self, fetch: Fetch, clock: Clock, limits: Limits) -> None:
        self._fetch = fetch
        self._clock = clock
        self._limits = limits
        self._failed: OrderedDict[str, tuple[Micros, BrokerError]] = OrderedDict()

    async def document(self, url: str) -> RemoteDocument:
        """The @context at `url`. Raises LdContextNotAvailable when it cannot be had, BadRequestData when it is none."""
        fetched = await self._fetched(url)
        if len(fetched.body) > self._limits.context_bytes:
            raise LdContextNotAvailable(
                f"The @context '{url[:200]}' is longer than the limit 'limits.context_bytes' of "
                f"{self._limits.context_bytes} bytes."
            )
        return RemoteDocument(self._value(fetched.body, url), fresh_seconds(fetched.headers))

    async def document_for_many(self, url: str) -> RemoteDocument:
        """As `document`; one that failed a moment ago fails again at once."""
        failed = self._failed.get(url)
        if failed is not None and failed[0] > self._clock.now():
            raise type(failed[1])(failed[1].detail)
        try:
            found = await self.document(url)
        except BrokerError as error:
            self._failed[url] = (self._clock.now() + FAILED, error)
            self._failed.move_to_end(url)
            if len(self._failed) > _FAILURES:
                self._failed.popitem(last=False)
            raise
        self._failed.pop(url, None)
        return found

    async def _fetched(self, url: str) -> Fetched:
        seconds = self._limits.context_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._fetch(url)
        except BrokerError:
            raise
        except TimeoutError:
            raise LdContextNotAvailable(
                f"The @context '{url[:200]}' could not be fetched within {seconds:g} s."
            ) from None
        except OutboundError as error:
            raise LdContextNotAvailable(f"The @context '{url[:200]}' could not be fetched: {error.reason}") from error
        except Exception as error:
            raise LdContextNotAvailable(f"The @context '{url[:200]}' could not be fetched.") from error

    def _value(self, body: bytes, url: str) -> Any:
        try:
            document = parse_json(body, max_depth=self._limits.json_depth, exact=False)
        except InvalidRequest:
            raise BadRequestData(f"The document at '{url[:200]}' is not a JSON-LD @context: it is not JSON.") from None
        if not isinstance(document, dict) or "@context" not in document:
            raise BadRequestData(f"The document at '{url[:200]}' is not a JSON-LD @context: it has no '@context'.")
        return document["@context"]


def fresh_seconds(headers: Mapping[str, str]) -> int:
    """For how long an answer with these headers may be taken as it is, within our bounds. Header names in lower case."""
    said = _said(headers)
    return REFRESH if said is None else min(max(said, SHORTEST), LONGEST)


def _said(headers: Mapping[str, str]) -> int | None:
    """What the server says (RFC 9111, 4.2.1), as a cache that many share; None when it says nothing that can be read."""
    directives = {}
    for part in headers.get("cache-control", "").split(","):
        name, _, value = part.strip().partition("=")
        directives[name.lower()] = value.strip('" ')
    if "no-store" in directives or "no-cache" in directives:
        return 0
    for name in ("s-maxage", "max-age"):
        seconds = directives.get(name, "")
        if seconds.isascii() and seconds.isdigit():
            age = headers.get("age", "")
            return int(seconds[:12]) - (int(age[:12]) if age.isascii() and age.isdigit() else 0)
    if "expires" in headers:
        try:
            expires = parsedate_to_datetime(headers["expires"])
            return int((expires - parsedate_to_datetime(headers["date"])).total_seconds())
        except (KeyError, ValueError, TypeError):
            return None
    return None
