"""A page of entities: found by the indexes (`plan`), finished by the matcher."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import orjson

from broker.ngsild.model import Entity
from broker.query.ast import EntityQuery
from broker.query.match import compile_query
from broker.stores.base import Page
from broker.stores.position import read_position, write_position
from broker.stores.sqlite.order import run_ordered
from broker.stores.sqlite.plan import WALKED, Candidates, Search

SHORT = 5
"""Entities that a page is first sought among, for each that is wanted, count: then most of the indexes need no look."""

Matcher = Callable[[Entity], bool]


def run_query(connection: sqlite3.Connection, query: EntityQuery) -> Page:
    """The page that `query` asks for."""
    return run_ordered(connection, query) if query.order else _run_created(connection, query)


def _run_created(connection: sqlite3.Connection, query: EntityQuery) -> Page:
    """The page in order of creation."""
    position = read_position(query, ((int,),))
    search = Search(connection, query)
    after = position[0] if position is not None else 0
    few = search.few()
    if few is None:
        if query.limit and not query.count:
            skip = query.offset if position is None else 0
            found = _page(connection, query, search.walk(), after, SHORT * (skip + query.limit + 1))
            if found is not None:
                return _made(query, found, None)
        search.look_closer()
        few = search.few()
    if query.count and not search.exact:
        return _counted(connection, query, few or search.whole(), position)
    total = None
    if query.count:
        # Few that are not told apart by SQL are counted as they are read.
        if few is not None and not few.exact:
            return _counted(connection, query, few, position)
        total = search.count()
    if not query.limit:
        return Page([], total)
    if few is not None:
        found = _page(connection, query, few, after, None)
    else:
        found = _page(connection, query, search.walk(), after, WALKED if search.led else None)
        if found is None:
            found = _page(connection, query, search.whole(), after, None)
    assert found is not None
    return _made(query, found, total)


def _page(
    connection: sqlite3.Connection, query: EntityQuery, candidates: Candidates, after: int, most: int | None
) -> list[tuple[int, Entity]] | None:
    """The page's entities and the one behind them; None when more than `most` candidates would have to be read."""
    statement, params = candidates.bodies(after)
    skip = 0 if query.after is not None else query.offset
    wanted = query.limit + 1
    found: list[tuple[int, Entity]] = []
    if candidates.exact:
        rows = connection.execute(f"{statement} LIMIT ? OFFSET ?", (*params, wanted, skip))
        return [(n, orjson.loads(body)) for n, body in rows]
    test = compile_query(query)
    for read, (n, body) in enumerate(connection.execute(statement, params)):
        if read == most:
            return None
        entity: Entity = orjson.loads(body)
        if not test(entity):
            continue
        if skip:
            skip -= 1
            continue
        found.append((n, entity))
        if len(found) == wanted:
            break
    return found


def _counted(
    connection: sqlite3.Connection, query: EntityQuery, candidates: Candidates, position: tuple[int, ...] | None
) -> Page:
    """The page and how many there are, all candidates being read."""
    test = compile_query(query)
    statement, params = candidates.bodies(0)
    after = position[0] if position is not None else 0
    skip = 0 if query.after is not None else query.offset
    found: list[tuple[int, Entity]] = []
    total = 0
    for n, body in connection.execute(statement, params):
        entity: Entity = orjson.loads(body)
        if not test(entity):
            continue
        total += 1
        if n > after and (skip := skip - 1) < 0 and len(found) <= query.limit:
            found.append((n, entity))
    return _made(query, found, total)


def _made(query: EntityQuery, found: list[tuple[int, Entity]], total: int | None) -> Page:
    more = 0 < query.limit < len(found)
    found = found[: query.limit]
    following = write_position(query, (found[-1][0],)) if more and found else None
    return Page([entity for _, entity in found], total, more, following)
