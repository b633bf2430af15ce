"""Safe edits: entity tags, If-Match and If-None-Match (RFC 9110, 8.8.3 and 13.1). Beyond NGSI-LD, which has no such thing.

A tag is the version of the last change of the entity, or the thing of the registry, and a hash of the representation: `"64f1c0ffee-3q2-7wAB"`. A client that
sends it back in If-Match changes that version or nothing; one that sends it in If-None-Match has that very
representation already.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b
from re import ASCII
from re import compile as pattern
from typing import Final, Generic, Protocol, TypeVar

from aiohttp import web

from broker.api.compress import TAG_END
from broker.clock import Stamp
from broker.errors import InvalidRequest, PreconditionFailed
from broker.stores.base import Needs, RecordKind, Snapshot
from broker.stores.command import Command, Effects, View

ResultT = TypeVar("ResultT")

_TAG = pattern(r'(W/)?("[^"]*")')
_OURS = pattern(r'"([0-9a-f]{1,16})-[A-Za-z0-9_-]+"', ASCII)

VARY: Final = "Accept, Accept-Encoding, Link, NGSILD-Tenant, Prefer"
"""Headers of a request that decide what represents an entity."""
VARY_PLAIN: Final = "Accept-Encoding"
"""Headers of a request that decide what represents a thing of the registry."""


def tagged(request: web.Request, response: web.Response, version: int, vary: str = VARY) -> web.Response:
    """`response`, which represents one thing at `version`, with its tag; 304 instead when the client has it already."""
    headers = response.headers
    tag = _tag(version, response)
    # Of anything but a retrieval the header is a condition, and the writer has looked at it.
    wanted = request.headers.get("If-None-Match") if request.method in ("GET", "HEAD") else None
    if wanted is not None:
        known = _known(",".join(request.headers.getall("If-None-Match")), tag)
        if known is not None:
            return web.Response(status=304, headers={"ETag": known, "Vary": vary})
    headers["ETag"] = tag
    headers["Vary"] = vary
    return response


def if_matching(request: web.Request, entity_id: str, command: Command[ResultT]) -> Command[ResultT]:
    """`command`, which changes one entity, refused with PreconditionFailed when the entity is not as If-Match or
    If-None-Match want it; looked at by the writer, so nothing comes between. Raises InvalidRequest for no list of tags.
    """
    return _if(request, OfEntity(entity_id), command)


def if_record_matches(
    request: web.Request, kind: RecordKind, record_id: str, word: str, command: Command[ResultT]
) -> Command[ResultT]:
    """`if_matching` for a thing of the registry, which people call `word`."""
    return _if(request, OfRecord(kind, record_id, word, request.method == "PUT"), command)


def _if(request: web.Request, subject: Subject, command: Command[ResultT]) -> Command[ResultT]:
    headers = request.headers
    if "If-Match" not in headers and "If-None-Match" not in headers:
        return command
    return IfMatching(
        command,
        subject,
        _versions(headers.getall("If-Match", None), "If-Match", weak=False),
        _versions(headers.getall("If-None-Match", None), "If-None-Match", weak=True),
    )


class Subject(Protocol):
    """What a condition is on."""

    @property
    def called(self) -> str:
        """What to call it in an error: "entity 'urn:…'"."""
        ...

    @property
    def may_be_new(self) -> bool:
        """Whether the command would make it if it is not there: then If-Match does not hold (RFC 9110, 13.1.1)."""
        ...

    def needs(self) -> Needs:
        """What it takes to know its version."""
        ...

    def version(self, view: View) -> int:
        """Its version; 0 when it is not there."""
        ...


@dataclass(frozen=True, slots=True)
class OfEntity:
    """One entity."""

    id: str
    may_be_new: bool = False

    @property
    def called(self) -> str:
        """See `Subject`."""
        return f"entity '{self.id}'"

    def needs(self) -> Needs:
        """The entity."""
        return Needs(entities={self.id})

    def version(self, view: View) -> int:
        """Of the entity's last change."""
        return view.entity_version(self.id)


@dataclass(frozen=True, slots=True)
class OfRecord:
    """One thing of the registry."""

    kind: RecordKind
    id: str
    word: str
    may_be_new: bool

    @property
    def called(self) -> str:
        """See `Subject`."""
        return f"{self.word} '{self.id}'"

    def needs(self) -> Needs:
        """The record."""
        return Needs(records={(self.kind, self.id)})

    def version(self, view: View) -> int:
        """Of the record's last change."""
        record = view.record(self.kind, self.id)
        return record.version if record is not None else 0


@dataclass(frozen=True, slots=True)
class Versions:
    """Versions that a header names; `any_`: '*', which is whatever there is."""

    any_: bool
    named: frozenset[int]

    def have(self, version: int) -> bool:
        """Whether the version is one of them."""
        return self.any_ or version in self.named


@dataclass(frozen=True, slots=True)
class IfMatching(Generic[ResultT]):
    """A command on one thing, and the condition that it is applied on."""

    command: Command[ResultT]
    subject: Subject
    match: Versions | None
    none_match: Versions | None

    def needs(self, seen: Snapshot) -> Needs:
        """What the command needs, and the subject."""
        needs = self.subject.needs()
        needs.add(self.command.needs(seen))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[ResultT]:
        """What the command does. That the subject is not there is most commands' to say (RFC 9110, 13.2.1)."""
        version, called = self.subject.version(view), self.subject.called
        if version:
            if self.match is not None and not self.match.have(version):
                raise PreconditionFailed(
                    f"The {called} has changed since: its ETag is not one that If-Match names. Retrieve it again."
                )
            if self.none_match is not None and self.none_match.have(version):
                raise PreconditionFailed(f"The {called} is as If-None-Match says that it must not be.")
        elif self.match is not None and self.subject.may_be_new:
            raise PreconditionFailed(f"There is no {called}, so its ETag is not one that If-Match names.")
        return self.command.apply(view, stamp)


def _tag(version: int, response: web.Response) -> str:
    # The bytes, not what was asked for: what they depend on may grow, and a hosted @context may change.
    body = response.body
    digest = blake2b(body if isinstance(body, bytes) else b"", digest_size=9)
    headers = response.headers
    digest.update(headers.get("Content-Type", "").encode())
    digest.update(headers.get("Link", "").encode())
    return f'"{version:x}-{urlsafe_b64encode(digest.digest()).decode()}"'


def _known(header: str, tag: str) -> str | None:
    """The tag of those in If-None-Match that means the same data as `tag`: itself, or its packed form. '*' means any."""
    if header.strip() == "*":
        return tag
    packed = tag[:-1] + TAG_END
    return next((found for _, found in _TAG.findall(header) if found in (tag, packed)), None)


def _versions(values: list[str] | None, name: str, *, weak: bool) -> Versions | None:
    """What the header names. `weak`: weak tags count too (RFC 9110, 8.8.3.2)."""
    if values is None:
        return None
    text = ",".join(values)
    if text.strip() == "*":
        return Versions(any_=True, named=frozenset())
    tags = _TAG.findall(text)
    if not tags or _TAG.sub("", text).strip(" \t,"):
        raise InvalidRequest(f"The header {name} must be '*' or ETags in double quotes, got '{text[:100]}'.")
    ours = (_OURS.fullmatch(tag) for prefix, tag in tags if weak or not prefix)
    return Versions(any_=False, named=frozenset(int(found[1], 16) for found in ours if found))
