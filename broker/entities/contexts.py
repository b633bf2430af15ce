"""Stored contexts as records (kinds 'context' and 'context_use'), in the default tenant's store for all tenants.

context      {"kind": "Cached", "context": …, "createdAt": µs, "url": "https://…", "expiresAt": µs, "tenants": ["", …]}
context_use  {"hits": 17, "last": µs}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from broker.clock import Stamp
from broker.entities.records import PutRecord
from broker.jsonld.stored import StoredContext, Use
from broker.stores.base import Needs, Record, RecordKind, RecordWrite, Snapshot, TenantStore
from broker.stores.command import Command, Effects, View

ResultT = TypeVar("ResultT")


class Executor(Protocol):
    """The writer of the store."""

    async def execute(self, command: Command[ResultT], *, wait: bool = False) -> ResultT:
        """The command's result once it is durable."""
        ...


@dataclass(frozen=True, slots=True)
class RemoveContext:
    """Remove a stored @context and its use. The result is whether it was there."""

    id: str

    def needs(self, seen: Snapshot) -> Needs:
        """Both records as they are."""
        return Needs(records={("context", self.id), ("context_use", self.id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[bool]:
        """Two record writes at most."""
        kinds: tuple[RecordKind, ...] = ("context", "context_use")
        found = [record for kind in kinds if (record := view.record(kind, self.id)) is not None]
        writes = [RecordWrite(record.kind, record.id, None, stamp.version, record.version) for record in found]
        return Effects(result=any(record.kind == "context" for record in found), records=writes)


@dataclass(frozen=True, slots=True)
class AddUses:
    """Count more uses, by id."""

    uses: Mapping[str, Use]

    def needs(self, seen: Snapshot) -> Needs:
        """What is counted so far."""
        return Needs(records={("context_use", name) for name in self.uses})

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """A record write for each."""
        writes = []
        for name, more in self.uses.items():
            present = view.record("context_use", name)
            before = read_use(present)
            body = {"hits": before.hits + more.hits, "last": max(before.last, more.last)}
            version = present.version if present is not None else 0
            writes.append(RecordWrite("context_use", name, body, stamp.version, version))
        return Effects(result=None, records=writes)


class ContextShelf:
    """Satisfies `broker.jsonld.stored.Shelf` with a tenant's store."""

    def __init__(self, store: TenantStore, writer: Executor) -> None:
        self._store = store
        self._writer = writer

    async def get(self, context_id: str) -> StoredContext | None:
        """One, or None."""
        record = await self._store.record("context", context_id)
        return read_context(record) if record is not None else None

    async def put(self, context: StoredContext) -> None:
        """Keep it, in place of what has its id."""
        await self._writer.execute(PutRecord("context", context.id, write_context(context)))

    async def remove(self, context_id: str) -> bool:
        """Remove it and its use; False when it was not there."""
        return await self._writer.execute(RemoveContext(context_id))

    async def page(self, after: str, limit: int) -> list[StoredContext]:
        """Those behind `after`, in order of ids."""
        return [read_context(record) for record in await self._store.records("context", after=after, limit=limit)]

    async def epoch(self) -> int:
        """The kind's epoch."""
        return (await self._store.epochs()).get("context", 0)

    async def used(self, context_id: str) -> Use:
        """What is written of its use."""
        return read_use(await self._store.record("context_use", context_id))

    async def add_uses(self, uses: dict[str, Use]) -> None:
        """Count more, in one commit."""
        await self._writer.execute(AddUses(uses))


def write_context(context: StoredContext) -> dict[str, Any]:
    """The body to store."""
    return {
        "kind": context.kind,
        "context": context.value,
        "createdAt": context.created_at,
        "url": context.url,
        "expiresAt": context.expires_at,
        "tenants": list(context.tenants),
    }


def read_context(record: Record) -> StoredContext:
    """What `write_context` wrote."""
    body = record.body
    return StoredContext(
        id=record.id,
        kind=body["kind"],
        value=body["context"],
        created_at=body["createdAt"],
        url=body["url"],
        expires_at=body["expiresAt"],
        tenants=tuple(body["tenants"]),
    )


def read_use(record: Record | None) -> Use:
    """A use record's content; none is no use."""
    return Use(record.body["hits"], record.body["last"]) if record is not None else Use()
