"""Many rows in few statements: the same rows as one after the other."""

from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from broker.stores.sqlite import bulk
from broker.stores.sqlite.names import Names, number_of

COUNTS = st.integers(0, 700)
TEXTS = st.lists(st.text(), max_size=300, unique=True)


def table() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE pair (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID")
    return connection


@given(COUNTS, COUNTS)
def test_all_rows_are_inserted_and_those_named_deleted(count: int, gone: int) -> None:
    connection = table()
    rows = [(number % 7, number * 0.5) for number in range(count)]
    bulk.insert(connection, "pair (a, b)", rows)
    assert set(connection.execute("SELECT a, b FROM pair")) == set(rows)
    bulk.delete(connection, "pair", ("a", "b"), [*rows[:gone], (99, 99)])
    assert set(connection.execute("SELECT a, b FROM pair")) == set(rows[gone:])


@given(COUNTS)
def test_values_are_joined_and_each_statement_gives_one_value(count: int) -> None:
    connection = table()
    rows = [(number, number) for number in range(count)]
    bulk.insert(connection, "pair (a, b)", rows)
    sums = bulk.with_values(
        connection, "SELECT sum(p.b) FROM", rows, "AS v CROSS JOIN pair p ON p.a = v.column1 AND p.b = v.column2"
    )
    assert sum(sums) == sum(range(count))


@given(TEXTS, TEXTS, TEXTS)
def test_names_keep_their_numbers_and_those_of_a_transaction_undone_are_given_anew(
    first: list[str], undone: list[str], then: list[str]
) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE name (n INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)")
    names = Names(connection)
    names.learn(first)
    names.committed()
    given_first = {text: names.number(text) for text in first}
    connection.execute("BEGIN")
    names.learn(undone)
    connection.execute("ROLLBACK")
    names.rolled_back()
    for writer in (names, Names(connection)):
        writer.learn(then)
        numbers = given_first | {text: writer.number(text) for text in then}
        writer.committed()
        assert {text: number_of(connection, text) for text in numbers} == numbers
        assert len(set(numbers.values())) == len(numbers)
