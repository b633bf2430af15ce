"""A query run on the file: the smallest index leads the search, the others test, and the matcher finishes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from broker.ngsild.model import Entity
from broker.query.ast import EntityQuery
from broker.query.match import compile_query
from broker.query.sql import Condition, conditions
from broker.stores.base import Page
from broker.stores.sqlite.names import number_of

FEW = 2000
"""Entities, count: so many are gathered and sorted faster than they are met by walking all in order."""


class _Names:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def number(self, text: str) -> int | None:
        return number_of(self._connection, text)

    def has_kind(self, name: int, kind: int) -> bool:
        statement = "SELECT 1 FROM value WHERE name = ? AND kind = ? LIMIT 1"
        return self._connection.execute(statement, (name, kind)).fetchone() is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """How the candidates are found, in order."""

    source: str
    """FROM and WHERE."""
    params: tuple[object, ...]
    exact: bool
    """Every candidate is selected: the matcher has nothing to do."""
    order: str

    @property
    def bodies(self) -> str:
        """The statement that gives the candidates."""
        return f"SELECT e.body {self.source} ORDER BY {self.order}"


def run_query(connection: sqlite3.Connection, query: EntityQuery) -> Page:
    """The page that `query` asks for."""
    made = plan(connection, query)
    if not made.exact:
        return _finished(connection.execute(made.bodies, made.params), query)
    entities: list[Entity] = []
    if query.limit:
        bodies = connection.execute(f"{made.bodies} LIMIT ? OFFSET ?", (*made.params, query.limit, query.offset))
        entities = [orjson.loads(body) for (body,) in bodies]
    total = None
    if query.count:
        counted = connection.execute(f"SELECT count(*) {made.source}", made.params)
        total = int(counted.fetchone()[0])
    return Page(entities, total)


def _finished(bodies: Iterator[tuple[bytes]], query: EntityQuery) -> Page:
    """The page, from candidates in order."""
    test = compile_query(query)
    entities: list[Entity] = []
    found = 0
    end = query.offset + query.limit
    for (body,) in bodies:
        if found >= end and not query.count:
            break
        entity: Entity = orjson.loads(body)
        if test(entity):
            if query.offset <= found < end:
                entities.append(entity)
            found += 1
    return Page(entities, found if query.count else None)


def plan(connection: sqlite3.Connection, query: EntityQuery) -> Plan:
    """How to find what `query` selects: by the smallest index, or in order by one that is ordered."""
    parts = conditions(query, _Names(connection))
    exact = all(part.exact for part in parts)
    sizes: dict[int, int] = {}
    for at, part in enumerate(parts):
        sizes[at] = _size(connection, part) if part.selects else FEW
        if sizes[at] == FEW and not part.ordered and part.wider is not None and _soon_full(query):
            parts[at], exact = part.wider, False
    able = [(sizes[at], at) for at, part in enumerate(parts) if part.selects and (part.ordered or sizes[at] < FEW)]
    lead = min(able)[1] if able else None
    tests = [part for at, part in enumerate(parts) if at != lead and part.sql != "1"]
    where = [part.sql for part in tests]
    params = tuple(param for part in tests for param in part.params)
    source, order = "FROM entity e", "e.n"
    if lead is not None:
        if parts[lead].ordered:
            source, order = f"FROM ({parts[lead].numbers()}) d CROSS JOIN entity e ON e.n = d.n", "d.n"
        else:
            where.insert(0, f"e.n IN ({parts[lead].numbers()})")
        params = (*parts[lead].select_params, *params)
    return Plan(f"{source} WHERE {' AND '.join(where) or '1'}", params, exact, order)


def _soon_full(query: EntityQuery) -> bool:
    """Whether a page is full after a few matches, so that gathering all of them first is a waste."""
    return not query.count and query.offset + query.limit <= FEW


def _size(connection: sqlite3.Connection, condition: Condition) -> int:
    """How many rows, counted no further than FEW."""
    statement = f"SELECT count(*) FROM ({condition.numbers()} LIMIT {FEW})"  # noqa: S608
    return int(connection.execute(statement, condition.select_params).fetchone()[0])
