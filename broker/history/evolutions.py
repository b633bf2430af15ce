"""Which entities have an evolution, and what it is (ETSI GS CIM 009 v1.9.1, 5.7.3, 5.7.4).

An evolution is a current entity's, or one that only its record (`broker.entities.evolution`) and its history know of. It
has the types of both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Final

from broker.clock import Micros
from broker.errors import TooManyResults
from broker.ngsild.expired import living
from broker.ngsild.model import Entity, Iri
from broker.ngsild.temporal import Evolution
from broker.query.ast import AllTypes, AnyType, EntityQuery, HasType, TypeSelection
from broker.query.match import compile_query
from broker.stores.base import Needs, Record, Snapshot, TenantStore

PAGE: Final = 200
"""Entities, or records, of one read, count."""


async def known_evolution(store: TenantStore, entity_id: str, now: Micros) -> Evolution | None:
    """The evolution of an entity, without instances; None when nothing is known of it."""
    (found,) = await _known(store, [entity_id], now)
    return found


async def candidates(store: TenantStore, query: EntityQuery, now: Micros, most: int) -> AsyncIterator[Evolution]:
    """The evolutions that ids, id_pattern and types of `query` select, without instances: those of current entities in
    the order of their creation, then others in the order of their ids.

    Raises TooManyResults when more than `most` would have to be looked at.
    """
    seen: set[str] = set()
    looked = 0
    wanted = EntityQuery(ids=query.ids, id_pattern=query.id_pattern, types=query.types, limit=PAGE, now=now)
    async for entities in _current(store, wanted):
        looked += len(entities)
        _check(looked, most)
        found = await store.load(Needs(records={("evolution", entity["id"]) for entity in entities}))
        for entity in entities:
            seen.add(entity["id"])
            yield _evolution(entity["id"], entity, _record(found, entity["id"]))
    test = compile_query(replace(wanted, now=None))
    async for ids in _recorded(store, query):
        others = [entity_id for entity_id in ids if entity_id not in seen]
        looked += len(others)
        _check(looked, most)
        seen.update(others)
        for evolution in await _known(store, others, now):
            if evolution is not None and test(_as_entity(evolution)):
                yield evolution


def _check(looked: int, most: int) -> None:
    if looked > most:
        raise TooManyResults(
            f"The query would have to look at more than {most} entities (limits.temporal_entities): ask for fewer with "
            "'type', 'id' or 'idPattern'."
        )


async def _current(store: TenantStore, query: EntityQuery) -> AsyncIterator[list[Entity]]:
    while True:
        page = await store.query(query)
        yield page.entities
        if page.next is None:
            return
        query = replace(query, after=page.next)


async def _recorded(store: TenantStore, query: EntityQuery) -> AsyncIterator[list[str]]:
    """Ids of those that have a record and may be selected, some more than once."""
    if query.ids:
        for start in range(0, len(query.ids), PAGE):
            yield list(query.ids[start : start + PAGE])
        return
    keys: list[str | None] = [None]
    if query.types is not None:
        keys = [f"type:{name}" for name in _types(query.types)]
    for key in keys:
        after = ""
        while records := await store.records("evolution", key=key, after=after, limit=PAGE):
            yield [record.id for record in records]
            after = records[-1].id


def _types(selection: TypeSelection) -> Iterable[Iri]:
    if isinstance(selection, HasType):
        return (selection.type,)
    assert isinstance(selection, AllTypes | AnyType)
    return dict.fromkeys(name for term in selection.terms for name in _types(term))


async def _known(store: TenantStore, ids: list[str], now: Micros) -> list[Evolution | None]:
    if not ids:
        return []
    found = await store.load(Needs(entities=set(ids), records={("evolution", each) for each in ids}))
    made: list[Evolution | None] = []
    for entity_id in ids:
        stored = found.entities.get(entity_id)
        entity = living(stored.entity, now) if stored is not None else None
        record = _record(found, entity_id)
        made.append(_evolution(entity_id, entity, record) if entity is not None or record is not None else None)
    return made


def _record(found: Snapshot, entity_id: str) -> Record | None:
    return found.records.get(("evolution", entity_id))


def _evolution(entity_id: str, entity: Entity | None, record: Record | None) -> Evolution:
    types = [*(entity["type"] if entity is not None else ()), *(record.body["type"] if record is not None else ())]
    created = [
        *([entity["createdAt"]] if entity is not None else ()),
        *([record.body["createdAt"]] if record is not None else ()),
    ]
    return Evolution(
        entity_id,
        list(dict.fromkeys(types)),
        created_at=min(created, default=None),
        modified_at=entity["modifiedAt"] if entity is not None else None,
        expires_at=entity.get("expiresAt") if entity is not None else None,
    )


def _as_entity(evolution: Evolution) -> Entity:
    return {"id": evolution.id, "type": evolution.types, "attrs": {}, "createdAt": "", "modifiedAt": ""}
