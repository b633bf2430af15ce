"""A page in another order than that of creation: along an index where one has it, else sorted by keys in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from heapq import nsmallest
from typing import Any

import orjson

from broker.errors import BadRequestData, TooManyResults
from broker.ngsild.model import Entity
from broker.query.ast import EntityQuery
from broker.query.match import compile_query
from broker.query.order import sort_key
from broker.stores.base import MOST_SORTED, Page
from broker.stores.position import read_position, write_position
from broker.stores.sqlite.ordered import KINDS, Ordered, Place, index_order
from broker.stores.sqlite.plan import WALKED, Candidates, Search

Found = list[tuple[Any, int]]
"""Keys and numbers of entities, in order."""


def run_ordered(connection: sqlite3.Connection, query: EntityQuery) -> Page:
    """The page that `query` asks for, in its order. Raises BadRequestData, TooManyResults."""
    search = Search(connection, query)
    search.look_closer()
    order = index_order(connection, query)
    if order is None:
        if query.after is not None:
            raise BadRequestData("This order has no positions to go on from: use 'offset'.")
        found, total = sort(connection, query, search, query.offset + query.limit + 1)
        return _page(connection, query, found[query.offset :], total, None)
    given = read_position(query, KINDS)
    after: Place | None = None if given is None else (given[0], given[1], given[2])
    skip = query.offset if after is None else 0
    few = search.few()
    walked = _walk(connection, query, search, order, after, skip) if few is None else None
    if walked is None or (query.count and not search.exact):
        key = order.place
        sorted_, total = _sorted(connection, query, few or search.whole(), key, skip + query.limit + 1, after)
        return _page(connection, query, sorted_[skip:], total, order)
    return _page(connection, query, walked, search.count() if query.count else None, order)


def sort(connection: sqlite3.Connection, query: EntityQuery, search: Search, most: int) -> tuple[Found, int]:
    """The first `most` of all that `query` selects, by the keys of its order, and how many there are."""
    key = sort_key(query.order, query.collation)
    candidates = search.few() or search.whole()
    return _sorted(connection, query, candidates, lambda entity, n: (key(entity), n), most, None)


def read_bodies(connection: sqlite3.Connection, found: Found) -> list[Entity]:
    """Those of the entities that are there, in this order."""
    statement = "SELECT body FROM entity WHERE n = ?"
    rows = (connection.execute(statement, (n,)).fetchone() for _, n in found)
    return [orjson.loads(row[0]) for row in rows if row is not None]


def _walk(
    connection: sqlite3.Connection,
    query: EntityQuery,
    search: Search,
    order: Ordered,
    after: Place | None,
    skip: int,
) -> Found | None:
    """The page and what is behind it along the index; None when it is long in coming."""
    test = compile_query(query)
    wanted = query.limit + 1
    found: Found = []
    read = 0
    for candidates, statement, params in order.walk(search, after):
        for n, body in connection.execute(statement, params):
            read += 1
            if not candidates.exact and read > WALKED + skip + wanted and search.led:
                return None
            if skip and candidates.exact:
                skip -= 1
                continue
            entity: Entity = orjson.loads(body)
            if not candidates.exact and not test(entity):
                continue
            if skip:
                skip -= 1
                continue
            found.append((order.place(entity, n), n))
            if len(found) == wanted:
                return found
    return found


def _sorted(
    connection: sqlite3.Connection,
    query: EntityQuery,
    candidates: Candidates,
    key: Callable[[Entity, int], Any],
    most: int,
    after: Place | None,
) -> tuple[Found, int]:
    """The first `most` behind a place by their keys, which are all that is kept of them, and how many are selected."""
    if most > MOST_SORTED:
        raise TooManyResults(
            f"In this order 'offset' and 'limit' may come to {MOST_SORTED - 1} together, got {most - 1}: ask for less, or "
            "order by createdAt."
        )
    test = None if candidates.exact else compile_query(query)
    total = 0

    def keys() -> Iterator[tuple[Any, int]]:
        nonlocal total
        for n, body in connection.execute(*candidates.bodies(0)):
            entity: Entity = orjson.loads(body)
            if test is None or test(entity):
                total += 1
                made = key(entity, n)
                if after is None or made > after:
                    yield made, n

    return nsmallest(most, keys()), total


def _page(
    connection: sqlite3.Connection, query: EntityQuery, found: Found, total: int | None, order: Ordered | None
) -> Page:
    more = 0 < query.limit < len(found)
    found = found[: query.limit]
    following = write_position(query, found[-1][0]) if more and found and order is not None else None
    return Page(read_bodies(connection, found), total if query.count else None, more, following)
