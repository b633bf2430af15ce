"""What is stored of an @context, how it is named, and where it is kept (ETSI GS CIM 009 v1.9.1, 5.13.1).

Three kinds: 'Cached' (a copy of the document at a URL), 'Hosted' (a client gave it to us), 'ImplicitlyCreated' (made for
an inline @context that needs a URL). Their ids are URNs, 'urn:uuid:…'; those of cached and implicitly created ones follow
from their URL or content, so that two processes that store the same thing store it once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Literal, Protocol
from uuid import UUID

import orjson

from broker.clock import Micros

Kind = Literal["Cached", "Hosted", "ImplicitlyCreated"]
KINDS: Final[tuple[Kind, ...]] = ("Cached", "Hosted", "ImplicitlyCreated")

PATH: Final = "/ngsi-ld/v1/jsonldContexts"
"""The resource that lists and serves them (6.29, 6.30)."""

_OWN = re.compile(r"(?:https?://[^?#]+)?" + PATH + r"/(urn(?::|%3[aA])uuid(?::|%3[aA])[0-9a-f-]{36})", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredContext:
    """One stored @context."""

    id: str
    """Its local identifier (5.13.2.5)."""
    kind: Kind
    value: Any
    """What stands behind '@context' in the document."""
    created_at: Micros
    """When it was added or last downloaded."""
    url: str = ""
    """Where a cached one came from; '' for the others."""
    expires_at: Micros | None = None
    """Until when a cached one is taken as it is."""
    tenants: tuple[str, ...] = ()
    """Whose it is ('' is the default tenant); cached ones are everyone's."""

    def url_at(self, base: str) -> str:
        """Its URL: where it came from, or where it is served when this broker is reached at `base` ('http://host:port')."""
        return self.url or f"{base}{PATH}/{self.id}"

    def is_for(self, tenant: str) -> bool:
        """Whether a tenant may see it."""
        return self.kind == "Cached" or tenant in self.tenants


@dataclass(slots=True)
class Use:
    """How often an @context was used, and when last."""

    hits: int = 0
    last: Micros = 0


class Shelf(Protocol):
    """Where stored contexts outlive the process. All methods raise BrokerError when it cannot be reached."""

    async def get(self, context_id: str) -> StoredContext | None:
        """One, or None when it is not there."""
        ...

    async def put(self, context: StoredContext) -> None:
        """Keep it, in place of what has its id."""
        ...

    async def remove(self, context_id: str) -> bool:
        """Remove it and what is known of its use; False when it was not there."""
        ...

    async def page(self, after: str, limit: int) -> list[StoredContext]:
        """Those with ids behind `after`, in order of ids, at most `limit`."""
        ...

    async def epoch(self) -> int:
        """A number that every change of any of them moves on, whichever process makes it."""
        ...

    async def used(self, context_id: str) -> Use:
        """Its use, as written so far."""
        ...

    async def add_uses(self, uses: dict[str, Use]) -> None:
        """Count more uses, by id."""
        ...


def cached_id(url: str) -> str:
    """The id of the copy of the document at `url`."""
    return _urn(b"cached:" + url.encode())


def implicit_id(value: Any) -> str:
    """The id of the @context made for an inline one; equal values have equal ids."""
    return _urn(b"implicit:" + orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def hosted_id(uuid: str) -> str:
    """The id of a hosted @context, from a new UUID."""
    return f"urn:uuid:{uuid}"


def own_id(url: str) -> str | None:
    """The id in a URL of the form that this broker serves contexts at, whatever its host; None for any other URL.

    The path alone, as the Location header has it, will do. Ids are unique wherever they were made, so the host, which is called differently inside and outside, says nothing.
    """
    found = _OWN.fullmatch(url)
    return found[1].replace("%3A", ":").replace("%3a", ":") if found is not None else None


def _urn(data: bytes) -> str:
    value = int.from_bytes(blake2b(data, digest_size=16).digest(), "big")
    # RFC 9562, 5.8: version 8, for digests of one's own choice.
    value = value & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62
    return UUID(int=value).urn
