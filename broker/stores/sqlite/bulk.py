"""Many rows in few steps of SQLite.

Each step lets go of the interpreter's lock and must win it back from the event loop, which takes up to 5 ms where that is
busy: `executemany` does so for each row. Measured on 100 entities a commit, that was half of a busy broker's time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

Row = Sequence[Any]

BLOCKS: Final = (256, 64, 16, 4, 1)
"""Rows in one statement, count: a few sizes, so that few statements are prepared."""

LARGEST_CHOICE: Final = 64
"""Rows that one DELETE names, count: SQLite searches its index once for each."""


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[Row], then: str = "") -> None:
    """`INSERT INTO {into} VALUES (…), … {then}` for all rows."""
    for block in _blocks(rows, BLOCKS[0]):
        connection.execute(_insert(into, len(block[0]), len(block), then), list(chain.from_iterable(block)))


def delete(connection: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
    """Delete the rows of `table` that have the values of one of `rows` in `columns`."""
    for block in _blocks(rows, LARGEST_CHOICE):
        connection.execute(_delete(table, columns, len(block)), list(chain.from_iterable(block)))


def with_values(
    connection: sqlite3.Connection, before: str, rows: Sequence[Row], after: str, most: int = BLOCKS[0]
) -> list[Any]:
    """`{before} (VALUES (…), …) {after}` for all rows, `most` a statement; gives the one value of each that gives one."""
    found = []
    for block in _blocks(rows, most):
        statement = _with_values(before, len(block[0]), len(block), after)
        row = connection.execute(statement, list(chain.from_iterable(block))).fetchone()
        if row is not None and row[0] is not None:
            found.append(row[0])
    return found


def _blocks(rows: Sequence[Row], most: int) -> Iterator[Sequence[Row]]:
    start, count = 0, len(rows)
    for size in BLOCKS:
        if size > most:
            continue
        while count - start >= size:
            yield rows[start : start + size]
            start += size


@lru_cache(maxsize=256)
def _insert(into: str, width: int, count: int, then: str) -> str:
    return f"INSERT INTO {into} VALUES {_values(width, count)} {then}"  # noqa: S608 - made of constants


@lru_cache(maxsize=256)
def _delete(table: str, columns: tuple[str, ...], count: int) -> str:
    one = "(" + " AND ".join(f"{column} = ?" for column in columns) + ")"
    return f"DELETE FROM {table} WHERE {' OR '.join([one] * count)}"  # noqa: S608 - made of constants


@lru_cache(maxsize=256)
def _with_values(before: str, width: int, count: int, after: str) -> str:
    return f"{before} (VALUES {_values(width, count)}) {after}"


def _values(width: int, count: int) -> str:
    return ", ".join([f"({', '.join('?' * width)})"] * count)
