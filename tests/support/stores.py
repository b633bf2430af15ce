"""What tests of stores share: small makers of entities, rows and change sets, and how to open each kind of store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from broker.clock import Clock, Micros, iso
from broker.config import StoreSettings
from broker.ngsild.model import LOCATION, Attributes, Entity, Instance
from broker.stores.base import ChangeSet, EntityWrite, HistoryRow, OutboxRow, RecordKind, RecordWrite, Store, UplinkRow
from broker.stores.open import create_store

VOCAB = "https://example.org/"
MOMENT: Micros = 1_790_000_000_000_000
"""Microseconds since the epoch; when the tests' things happen."""
NEWER = 999
"""A schema version that no release of ours has reached."""


def iri(term: str) -> str:
    """The tests' own expansion of a term."""
    return term if ":" in term else VOCAB + term


def prop(value: Any, **members: Any) -> Instance:
    """A Property instance."""
    made: dict[str, Any] = {"type": "Property", "value": value, "createdAt": iso(MOMENT), "modifiedAt": iso(MOMENT)}
    return made | members  # type: ignore[return-value]


def relationship(target: str | list[str], **members: Any) -> Instance:
    """A Relationship instance."""
    made: dict[str, Any] = {"type": "Relationship", "object": target, "createdAt": iso(MOMENT)}
    return made | members  # type: ignore[return-value]


def geo(geometry: dict[str, Any]) -> Instance:
    """A GeoProperty instance."""
    return {"type": "GeoProperty", "value": geometry, "createdAt": iso(MOMENT), "modifiedAt": iso(MOMENT)}


def point(longitude: float, latitude: float) -> Instance:
    """A GeoProperty instance at a place, degrees."""
    return geo({"type": "Point", "coordinates": [longitude, latitude]})


def entity(
    entity_id: str,
    *types: str,
    scope: list[str] | None = None,
    location: tuple[float, float] | None = None,
    attrs: Attributes | None = None,
    **values: Any,
) -> Entity:
    """An entity with a Property for each keyword."""
    attributes: Attributes = {iri(name): [prop(value)] for name, value in values.items()} | (attrs or {})
    if location is not None:
        attributes[LOCATION] = [point(*location)]
    made: Entity = {
        "id": entity_id,
        "type": [iri(type_) for type_ in types] or [iri("Thing")],
        "attrs": attributes,
        "createdAt": iso(MOMENT),
        "modifiedAt": iso(MOMENT),
    }
    if scope is not None:
        made["scope"] = scope
    return made


def put(made: Entity, version: int, expected: int = 0, touched: Iterable[str] | None = None) -> EntityWrite:
    """The write of an entity's next state."""
    names = None if touched is None else frozenset(iri(name) for name in touched)
    return EntityWrite(made["id"], made, version, expected, names)


def drop(entity_id: str, version: int, expected: int) -> EntityWrite:
    """The write that deletes an entity."""
    return EntityWrite(entity_id, None, version, expected)


def history_row(entity_id: str, attribute: str, at: Micros, version: int, value: Any = 1, **more: Any) -> HistoryRow:
    """A history row `at` microseconds after MOMENT."""
    return HistoryRow(entity_id, iri(attribute), "", MOMENT + at, MOMENT + at, version, prop(value), **more)


def outbox_row(version: int, subscription_id: str = "urn:sub:1", entity_id: str = "urn:e:1") -> OutboxRow:
    """A notification that is owed."""
    return OutboxRow(f"{version:016x}-{subscription_id}", subscription_id, entity_id, MOMENT + version, b'{"n":1}')


def record(
    kind: RecordKind,
    record_id: str,
    version: int = 1,
    *,
    body: dict[str, Any] | None = None,
    expected: int | None = None,
    keys: tuple[str, ...] = (),
) -> RecordWrite:
    """The write of a record's next state."""
    return RecordWrite(kind, record_id, body if body is not None else {"id": record_id}, version, expected, keys)


def uplink_row(uplink_id: str, **members: Any) -> UplinkRow:
    """A raw uplink, applied unless told otherwise."""
    defaults: dict[str, Any] = {
        "id": uplink_id,
        "status": "applied",
        "reason": "",
        "source": "mqtt:chirpstack",
        "received_at": MOMENT,
        "device_id": "a81758fffe000001",
        "frame_key": f"frame:{uplink_id}",
        "raw": b"\x00\xff{}",
        "meta": {"topic": "a/b"},
    }
    return UplinkRow(**(defaults | members))


def entities_of(*made: Entity) -> ChangeSet:
    """A change set that creates entities, in this order of versions."""
    return ChangeSet(entities=[put(each, version) for version, each in enumerate(made, start=1)])


def make_store(url: str, **settings: Any) -> Store:
    """A store, not opened yet."""
    return create_store(StoreSettings(url=url, **settings), Clock())


async def make_newer(url: str) -> None:
    """Let the (closed) store at `url` look as if version NEWER of the schema had written it."""
    if url.startswith("sqlite"):
        await asyncio.to_thread(_make_sqlite_newer, Path(url.removeprefix("sqlite:///")))
    else:
        from tests.support.mongo import make_newer as make_mongo_newer

        await make_mongo_newer(url, NEWER)


def _make_sqlite_newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {NEWER}")
    connection.close()
