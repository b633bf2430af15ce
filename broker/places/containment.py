"""What is within what: entities that relationships tie to a place, level by level; and the places around one.

Each level is found by the index of the relationships' objects: what it costs does not depend on what else is in the
store. An entity is met once, wherever relationships lead: a circle of them ends where it began.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from broker.clock import Micros
from broker.config import Places
from broker.devices.placing import objects
from broker.ngsild.expired import living
from broker.ngsild.model import Entity, Iri
from broker.ngsild.names import Names
from broker.query.ast import Comparison, EntityQuery, Or, Path
from broker.stores.base import Needs, TenantStore

ASKED_AT_ONCE: Final = 200
"""Places whose contents one query asks for, count: MongoDB plans some hundreds of alternatives well."""
PAGE: Final = 2_000
"""Entities that one query gives, count."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The settings `places.relationships` and `places.types`, expanded."""

    relationships: tuple[Iri, ...]
    types: frozenset[Iri]

    def parents(self, entity: Entity) -> list[tuple[Iri, str]]:
        """(relationship, id) of all that the entity is within, its place first; each id once."""
        found: dict[str, Iri] = {}
        for name in self.relationships:
            for instance in entity["attrs"].get(name, ()):
                for target in objects(instance):
                    found.setdefault(target, name)
        return [(name, target) for target, name in found.items()]

    def is_place(self, entity: Entity) -> bool:
        """Whether its type says that it is a place."""
        return not self.types.isdisjoint(entity["type"])


def vocabulary(settings: Places, names: Names) -> Vocabulary:
    """What the settings name, as IRIs."""
    return Vocabulary(tuple(_listed(settings.relationships, names)), frozenset(_listed(settings.types, names)))


def _listed(text: str, names: Names) -> Iterator[Iri]:
    return (names.expand(name.strip()) for name in text.split(",") if name.strip())


@dataclass(frozen=True, slots=True)
class Node:
    """One entity within a place."""

    entity: Entity
    parent: str
    """What it is directly within, on the way from the place."""
    via: Iri
    """The relationship that says so."""
    level: int
    """1: directly within the place."""


@dataclass(slots=True)
class Contained:
    """All that a place contains, from above to below."""

    root: str
    nodes: dict[str, Node] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)
    """Id -> those directly within it."""
    complete: bool = True
    """Whether that is all: neither limit was met."""


async def contained(
    store: TenantStore, root: str, words: Vocabulary, *, levels: int, most: int, now: Micros
) -> Contained:
    """What is within `root`, at most `most` entities and `levels` deep. `root` itself need not be there."""
    found = Contained(root)
    level, depth = [root], 0
    while level and depth < levels:
        depth += 1
        below: list[str] = []
        frontier = frozenset(level)
        async with aclosing(_tied(store, level, words, now)) as tied:
            async for entity in tied:
                entity_id = entity["id"]
                if entity_id == root or entity_id in found.nodes:
                    continue
                # What tied it may be gone with what has expired of it.
                way = next(((via, to) for via, to in words.parents(entity) if to in frontier), None)
                if way is None:
                    continue
                if len(found.nodes) == most:
                    found.complete = False
                    return found
                found.nodes[entity_id] = Node(entity, way[1], way[0], depth)
                found.children.setdefault(way[1], []).append(entity_id)
                below.append(entity_id)
        level = below
    async with aclosing(_tied(store, level, words, now)) as tied:
        async for entity in tied:
            if entity["id"] != root and entity["id"] not in found.nodes:
                found.complete = False
                break
    return found


def directly_within(places: tuple[str, ...], words: Vocabulary, now: Micros) -> EntityQuery:
    """What relationships tie to any of `places`."""
    condition = Or(tuple(Comparison(Path(name), "==", places) for name in words.relationships))
    # Counting first lets SQLite choose by how many there are, instead of looking among the oldest entities.
    return EntityQuery(q=condition, limit=PAGE, count=True, now=now)


async def _tied(
    store: TenantStore, places: Sequence[str], words: Vocabulary, now: Micros
) -> AsyncGenerator[Entity, None]:
    """The entities that are directly within any of `places`."""
    for start in range(0, len(places), ASKED_AT_ONCE):
        ids = tuple(places[start : start + ASKED_AT_ONCE])
        query = directly_within(ids, words, now)
        after: str | None = None
        while True:
            page = await store.query(replace(query, after=after))
            for entity in page.entities:
                alive = living(entity, now)
                if alive is not None:
                    yield alive
            after = page.next
            if after is None:
                break


@dataclass(frozen=True, slots=True)
class Around:
    """A place that another is within."""

    id: str
    entity: Entity | None
    """None: a relationship leads to it, and it is not there."""
    via: Iri
    """The relationship that leads to it, from what is within it."""


async def ancestors(store: TenantStore, entity: Entity, words: Vocabulary, *, levels: int, now: Micros) -> list[Around]:
    """The places that `entity` is within, the outermost first. Of several that one is within, the way is the first's."""
    met = {entity["id"]}
    way: list[Around] = []
    at: Entity | None = entity
    while at is not None and len(way) < levels:
        outward = next(((via, to) for via, to in words.parents(at) if to not in met), None)
        if outward is None:
            break
        via, target = outward
        met.add(target)
        stored = await store.entity(target)
        at = living(stored.entity, now) if stored is not None else None
        way.append(Around(target, at, via))
    return way[::-1]


async def entities_of(store: TenantStore, ids: Iterable[str], now: Micros) -> dict[str, Entity]:
    """Those of the ids that there are."""
    snapshot = await store.load(Needs(entities=set(ids)))
    alive = {entity_id: living(stored.entity, now) for entity_id, stored in snapshot.entities.items()}
    return {entity_id: entity for entity_id, entity in alive.items() if entity is not None}
