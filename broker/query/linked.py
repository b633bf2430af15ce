"""Conditions on linked entities (`a{b}==1`; ETSI GS CIM 009 v1.9.1, 4.9): looked up before a store is asked, or evaluated
in memory with the entities at hand.

For a store: which entities meet what stands between the braces is a query of its own; the relationship then must point to one of
those. The two are asked one after the other: an entity that changes between them is as it was when it was asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from broker.clock import Micros
from broker.errors import TooComplexQuery
from broker.ngsild.model import Entity, Iri
from broker.query.ast import And, AnyType, Comparison, EntityQuery, HasType, Linked, Or, Path, Q, TypeSelection
from broker.query.match import compile_q
from broker.query.targets import targets

Find = Callable[[EntityQuery], Awaitable[list[str]]]
"""The ids of the entities that a query selects, as many as its limit."""

Lookup = Callable[[str], Entity | None]
"""The entity with an id, if there is one."""

LinkedMatcher = Callable[[Entity, Lookup], bool]


async def without_links(query: EntityQuery, find: Find, most: int) -> EntityQuery:
    """`query` with conditions on linked entities as conditions on relationships.

    Raises TooComplexQuery when more than `most` entities meet one of them.
    """
    if query.q is None or not _has_links(query.q):
        return query
    return replace(query, q=await _resolved(query.q, find, most, query.now))


def depth_of(q: Q | None) -> int:
    """How many relationships `q` follows one after the other."""
    if isinstance(q, And | Or):
        return max(map(depth_of, q.terms), default=0)
    return 1 + depth_of(q.q) if isinstance(q, Linked) else 0


def _has_links(q: Q) -> bool:
    if isinstance(q, And | Or):
        return any(map(_has_links, q.terms))
    return isinstance(q, Linked)


async def _resolved(q: Q, find: Find, most: int, now: Micros | None) -> Q:
    match q:
        case And(terms):
            return And(tuple([await _resolved(term, find, most, now) for term in terms]))
        case Or(terms):
            return Or(tuple([await _resolved(term, find, most, now) for term in terms]))
        case Linked(relationship, types, inner):
            condition = await _resolved(inner, find, most, now)
            ids = await find(EntityQuery(types=_any_of(types), q=condition, limit=most + 1, now=now))
            if len(ids) > most:
                raise TooComplexQuery(
                    f"'q' asks for linked entities of which more than {most} (limits.query_linked) meet the condition; "
                    "narrow it, for example by a type."
                )
            return Comparison(Path(relationship), "==", tuple(ids)) if ids else Or(())
        case _:
            return q


def _any_of(types: tuple[Iri, ...]) -> TypeSelection | None:
    if not types:
        return None
    return HasType(types[0]) if len(types) == 1 else AnyType(tuple(map(HasType, types)))


def compile_linked(q: Q) -> LinkedMatcher:
    """`q` as a function on an entity and a way to those it links to."""
    match q:
        case And(terms):
            both = [compile_linked(term) for term in terms]
            return lambda entity, lookup: all(test(entity, lookup) for test in both)
        case Or(terms):
            either = [compile_linked(term) for term in terms]
            return lambda entity, lookup: any(test(entity, lookup) for test in either)
        case Linked(relationship, types, inner):
            return _linked(Path(relationship), frozenset(types), compile_linked(inner))
        case _:
            plain = compile_q(q)
            return lambda entity, lookup: plain(entity)


def _linked(path: Path, types: frozenset[Iri], condition: LinkedMatcher) -> LinkedMatcher:
    def matches(entity: Entity, lookup: Lookup) -> bool:
        for bag, _ in targets(path, entity):
            for target in bag:
                other = lookup(target) if isinstance(target, str) else None
                if (
                    other is not None
                    and (not types or not types.isdisjoint(other["type"]))
                    and condition(other, lookup)
                ):
                    return True
        return False

    return matches
