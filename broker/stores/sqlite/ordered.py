"""Orders that an index gives: by creation, by createdAt, by an attribute whose values are all plain numbers or moments.

An entity's place in such an order is three numbers that compare as the order does (a descending value is negated):
the segment (those that have the value, then those that do not), the value, and the entity's own number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final

from broker.clock import parse_iso
from broker.ngsild.model import Entity, Iri
from broker.query.ast import EntityQuery, Path
from broker.query.order import MEMBERS, value_at
from broker.query.sql import ANYTHING, BOOLEAN, CREATED, INSTANT, NUMBER, OTHER, REFERENCE, STRING
from broker.stores.sqlite.names import number_of
from broker.stores.sqlite.plan import Candidates, Search

Place = tuple[int, int | float, int]
KINDS: Final = ((int,), (int, float), (int,))
"""Of a place's members, for the reader of positions."""


class Ordered:
    """One term that an index serves."""

    def __init__(self, table: str, condition: str, params: tuple[Any, ...], column: str, descending: bool) -> None:
        self._table = table
        self._condition = condition
        self._params = params
        self._column = column
        self._sign = -1 if descending else 1
        self._absent: tuple[str, tuple[Any, ...]] | None = None
        self._value: Callable[[Entity], int | float | None] = lambda entity: parse_iso(entity["createdAt"])

    def of_attribute(self, attribute: Iri, number: int, kind: int) -> Ordered:
        """The same, for the values of an attribute: those without it come last."""
        path = Path(attribute)

        def value(entity: Entity) -> int | float | None:
            found = value_at(path, entity)
            if kind == INSTANT:
                return parse_iso(found) if isinstance(found, str) else None
            return found if isinstance(found, (int, float)) else None

        self._value = value
        self._absent = ("NOT EXISTS (SELECT 1 FROM attribute WHERE name = ? AND n = e.n)", (number,))
        return self

    def place(self, entity: Entity, n: int) -> Place:
        """Where an entity is."""
        value = self._value(entity)
        return (1, 0, n) if value is None else (0, self._sign * value, n)

    def walk(self, search: Search, after: Place | None) -> Iterator[tuple[Candidates, str, tuple[Any, ...]]]:
        """What may match behind a place, segment by segment: how it is found, the statement and its parameters."""
        if after is None or after[0] == 0:
            way, past = ("ASC", ">") if self._sign == 1 else ("DESC", "<")
            candidates = search.by(self._table, self._condition, self._params, f"o.{self._column} {way}, o.n")
            behind, params = "", candidates.params
            if after is not None:
                value = self._sign * after[1]
                # The first comparison is what the index begins at.
                behind = f" AND o.{self._column} {past}= ? AND (o.{self._column} {past} ? OR o.n > ?)"
                params = (*params, value, value, after[2])
            yield candidates, f"SELECT e.n, e.body {candidates.source}{behind} ORDER BY {candidates.number}", params
        if self._absent is not None:
            condition, given = self._absent
            candidates = search.walk()
            statement, params = candidates.bodies(after[2] if after is not None and after[0] == 1 else 0)
            head, _, tail = statement.rpartition(" ORDER BY ")
            yield candidates, f"{head} AND {condition} ORDER BY {tail}", (*params, *given)


def index_order(connection: sqlite3.Connection, query: EntityQuery) -> Ordered | None:
    """The order that the query asks for, where an index gives it."""
    if len(query.order) != 1:
        return None
    term = query.order[0]
    path = term.path
    if path.subattributes or path.members or term.reference is not None:
        return None
    if path.attribute == "createdAt":
        return Ordered("moment", "o.kind = ?", (CREATED,), "at", term.descending)
    if path.attribute in MEMBERS:
        return None
    number = number_of(connection, path.attribute)
    if number is None:
        return None
    kinds = [
        kind
        for kind in (ANYTHING, NUMBER, BOOLEAN, INSTANT, STRING, REFERENCE, OTHER)
        if _has(connection, number, kind)
    ]
    if kinds not in ([NUMBER], [INSTANT]):
        return None
    made = Ordered("value", "o.name = ? AND o.kind = ?", (number, kinds[0]), "v", term.descending)
    return made.of_attribute(path.attribute, number, kinds[0])


def _has(connection: sqlite3.Connection, name: int, kind: int) -> bool:
    statement = "SELECT 1 FROM value WHERE name = ? AND kind = ? LIMIT 1"
    return connection.execute(statement, (name, kind)).fetchone() is not None
