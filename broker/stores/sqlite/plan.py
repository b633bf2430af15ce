"""How a query's candidates are found: which index leads the search, and which conditions SQL tests.

Three ways, the cheapest first:

- *few*: an index has fewer than TINY (or, after a short walk, FEW) rows for one of the conditions: these are gathered and
  sorted, the rest is tested.
- *walk*: entities are met in order of creation, by an index where one is ordered so, and tested one by one. A page is soon
  full when many match; after WALKED entities it is given up.
- *whole*: the smallest index leads however large it is, and SQL tests all it can. For counts, and after a walk.

What is not tested in SQL because it would gather too much is left to the matcher: the candidates are then not exact.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from broker.query.ast import EntityQuery
from broker.query.sql import ENDS, Condition, Select, conditions
from broker.stores.sqlite.names import number_of

TINY = 128
"""Rows of an index that are counted at first, count: some 5 µs."""
FEW = 2000
"""Entities, count: so many are gathered and sorted faster than they are met by walking all in order."""
WALKED = 1000
"""Entities a page may be sought among by walking, count: some 10 ms."""
MANY = 50_000
"""Rows of an index that are counted at most to find the smallest, count: some 2 ms."""


class _Names:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def number(self, text: str) -> int | None:
        return number_of(self._connection, text)

    def has_kind(self, name: int, kind: int) -> bool:
        statement = "SELECT 1 FROM value WHERE name = ? AND kind = ? LIMIT 1"
        return self._connection.execute(statement, (name, kind)).fetchone() is not None


@dataclass(frozen=True, slots=True)
class Candidates:
    """A superset of what is selected."""

    source: str
    """FROM and WHERE, with the entities as e and their numbers as `number`."""
    params: tuple[Any, ...]
    exact: bool
    """Every candidate is selected: the matcher has nothing to do."""
    number: str

    def bodies(self, after: int) -> tuple[str, tuple[Any, ...]]:
        """The statement that gives numbers and bodies of those behind a number, in order, and its parameters."""
        behind = f" AND {self.number} > ?" if after else ""
        params = (*self.params, after) if after else self.params
        return f"SELECT e.n, e.body {self.source}{behind} ORDER BY {self.number}", params


class Search:
    """A query's conditions, and how many rows their indexes have for them."""

    def __init__(self, connection: sqlite3.Connection, query: EntityQuery) -> None:
        self._connection = connection
        self.parts = conditions(query, _Names(connection))
        if query.now is not None and _any_ended(connection, query.now):
            ended = "e.n NOT IN (SELECT n FROM moment WHERE kind = ? AND at <= ?)"
            self.parts.append(Condition(ended, (ENDS, query.now)))
        self.exact = all(part.exact for part in self.parts)
        self._counted = TINY
        self._sizes = {at: self._size(part, TINY) for at, part in enumerate(self.parts) if part.selects}

    def look_closer(self) -> None:
        """Count up to FEW rows, which costs as much as a small page does."""
        for at, size in self._sizes.items():
            if size >= self._counted:
                self._sizes[at] = self._size(self.parts[at], FEW)
        self._counted = FEW

    @property
    def led(self) -> bool:
        """Whether an index can lead."""
        return bool(self._sizes)

    def few(self) -> Candidates | None:
        """Those that an index has few rows for, as far as was counted."""
        small = [(size, at) for at, size in self._sizes.items() if size < self._counted]
        return self._led(min(small)[1], whole=False) if small else None

    def walk(self) -> Candidates:
        """All that may match, in order of creation without sorting."""
        able = [at for at in self._sizes if self.parts[at].ordered]
        return self._led(able[0] if able else None, whole=False)

    def whole(self) -> Candidates:
        """All that may match, from the smallest index."""
        return self._led(self._smallest(), whole=True)

    def count(self) -> int:
        """How many there are, where the conditions are exact: counted on indexes, no entity is read.

        The few that are left out are counted on their own and taken off.
        """
        left_out = [at for at, part in enumerate(self.parts) if part.left_out is not None]
        if not left_out:
            return self._counted_all([])
        rows = self.parts[left_out[0]].left_out
        assert rows is not None
        return self._counted_all(left_out) - self._counted_among(rows, left_out)

    def _counted_all(self, passed_over: list[int]) -> int:
        parts = [part for at, part in enumerate(self.parts) if at not in passed_over]
        if not parts:
            return self._census(0)
        if len(parts) == 1 and parts[0].type_number is not None:
            return self._census(parts[0].type_number)
        lead = self._smallest()
        where, params, _ = self._tests(lead, whole=True, passed_over=passed_over)
        entities = "entity"
        if lead is not None:
            entities = f"(SELECT DISTINCT n FROM ({self.parts[lead].numbers()}))"  # noqa: S608
            params = [*self.parts[lead].select_params, *params]
        statement = f"SELECT count(*) FROM {entities} e WHERE {' AND '.join(where) or '1'}"  # noqa: S608
        return int(self._connection.execute(statement, params).fetchone()[0])

    def _counted_among(self, rows: Select, passed_over: list[int]) -> int:
        where, params, _ = self._tests(None, whole=True, passed_over=passed_over)
        statement = (
            f"SELECT count(*) FROM (SELECT DISTINCT n FROM ({rows.numbers()})) e WHERE {' AND '.join(where) or '1'}"  # noqa: S608
        )
        return int(self._connection.execute(statement, [*rows.params, *params]).fetchone()[0])

    def _smallest(self) -> int | None:
        sizes = [(self._size(self.parts[at], MANY), self.parts[at].ordered, at) for at in self._sizes]
        return min(sizes)[2] if sizes else None

    def _census(self, number: int) -> int:
        statement = "SELECT count FROM census WHERE type = ? AND name = 0 AND kind = 0"
        row = self._connection.execute(statement, (number,)).fetchone()
        return 0 if row is None else int(row[0])

    def by(self, table: str, condition: str, params: tuple[Any, ...], order: str) -> Candidates:
        """All that may match of those that a table's rows (as o) have, in the order of its index."""
        where, tested, exact = self._tests(None, whole=False)
        source = f"FROM {table} o CROSS JOIN entity e ON e.n = o.n WHERE {' AND '.join([condition, *where])}"
        return Candidates(source, (*params, *tested), exact, order)

    def _led(self, lead: int | None, *, whole: bool) -> Candidates:
        where, params, exact = self._tests(lead, whole=whole)
        source, number = "FROM entity e", "e.n"
        if lead is not None:
            led = self.parts[lead]
            exact = exact and led.exact
            if led.ordered:
                source, number = f"FROM ({led.numbers()}) d CROSS JOIN entity e ON e.n = d.n", "d.n"
            else:
                where.insert(0, f"e.n IN ({led.numbers()})")
            params = [*led.select_params, *params]
        return Candidates(f"{source} WHERE {' AND '.join(where) or '1'}", tuple(params), exact, number)

    def _tests(
        self, lead: int | None, *, whole: bool, passed_over: Sequence[int] = ()
    ) -> tuple[list[str], list[Any], bool]:
        """What SQL tests beside the lead, and whether that is all there is to test."""
        exact = True
        where: list[str] = []
        params: list[Any] = []
        for at, part in enumerate(self.parts):
            if at == lead or at in passed_over:
                continue
            kept = part
            if not (whole or part.probes or self._sizes.get(at, self._counted) < self._counted):
                if part.wider is None:
                    exact = False
                    continue
                kept = part.wider
            exact = exact and kept.exact
            if kept.sql != "1":
                where.append(kept.sql)
                params += kept.params
        return where, params, exact

    def _size(self, condition: Condition, most: int) -> int:
        """How many rows, counted no further than `most`."""
        rows = 0
        for select in condition.selects:
            statement = f"SELECT count(*) FROM ({select.numbers()} LIMIT {most - rows})"  # noqa: S608
            rows += int(self._connection.execute(statement, select.params).fetchone()[0])
            if rows >= most:
                break
        return rows


def _any_ended(connection: sqlite3.Connection, now: int) -> bool:
    statement = "SELECT 1 FROM moment WHERE kind = ? AND at <= ? LIMIT 1"
    return connection.execute(statement, (ENDS, now)).fetchone() is not None
