"""Names that repeat, as small numbers: each text stands once in the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import orjson

from broker.stores.sqlite import bulk

CACHED_NAMES = 200_000
"""Count; some 20 MB. A city's entities, attributes and devices fit; when there are more, all are learnt anew."""


class Names:
    """Text -> number, for the writer's thread. Numbers given in a transaction are forgotten unless it is committed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[str, int] = {}
        self._new: dict[str, int] = {}
        self._last = int(connection.execute("SELECT coalesce(max(n), 0) FROM name").fetchone()[0])

    def number(self, text: str) -> int:
        """The number of `text`, given now if it has none."""
        number = self._known.get(text) or self._new.get(text)
        if number is None:
            self.learn((text,))
            number = self._known.get(text) or self._new[text]
        return number

    def learn(self, texts: Iterable[str]) -> None:
        """Have a number for each of `texts`, which saves `number` asking for one after the other."""
        known, new = self._known, self._new
        unknown = [text for text in dict.fromkeys(texts) if text not in known and text not in new]
        for found in bulk.with_values(
            self._connection,
            "SELECT json_group_array(json_array(v.column1, t.n)) FROM",
            list(enumerate(unknown)),
            "AS v CROSS JOIN name t ON t.text = v.column2",
        ):
            known.update((unknown[position], number) for position, number in orjson.loads(found))
        start = self._last + len(new) + 1
        given = {text: number for number, text in enumerate((t for t in unknown if t not in known), start)}
        bulk.insert(self._connection, "name (text, n)", list(given.items()))
        new.update(given)

    def committed(self) -> None:
        """The transaction stands: so do the numbers it gave."""
        if len(self._known) + len(self._new) > CACHED_NAMES:
            self._known.clear()
        self._known.update(self._new)
        self._last += len(self._new)
        self._new.clear()

    def rolled_back(self) -> None:
        """The transaction is gone: so are the numbers it gave."""
        self._new.clear()


def number_of(connection: sqlite3.Connection, text: str) -> int | None:
    """The number of `text`, or None when it has none; for readers."""
    row = connection.execute("SELECT n FROM name WHERE text = ?", (text,)).fetchone()
    return None if row is None else int(row[0])
