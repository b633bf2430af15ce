"""Names that repeat, as small numbers: each text stands once in the file."""

from __future__ import annotations

import sqlite3

CACHED_NAMES = 200_000
"""Count; some 20 MB. A city's entities, attributes and devices fit; when there are more, all are learnt anew."""


class Names:
    """Text -> number, for the writer's thread. Numbers given in a transaction are forgotten unless it is committed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[str, int] = {}
        self._new: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The number of `text`, given now if it has none."""
        number = self._known.get(text) or self._new.get(text)
        if number is None:
            statement = "INSERT INTO name (text) VALUES (?) ON CONFLICT DO NOTHING"
            added = self._connection.execute(statement, (text,))
            if added.rowcount:
                number = added.lastrowid
                assert number is not None
                self._new[text] = number
            else:
                number = number_of(self._connection, text)
                assert number is not None
                self._known[text] = number
        return number

    def number_or_none(self, text: str | None) -> int | None:
        """The same, None and '' staying None."""
        return self.number(text) if text else None

    def committed(self) -> None:
        """The transaction stands: so do the numbers it gave."""
        if len(self._known) + len(self._new) > CACHED_NAMES:
            self._known.clear()
        self._known.update(self._new)
        self._new.clear()

    def rolled_back(self) -> None:
        """The transaction is gone: so are the numbers it gave."""
        self._new.clear()


def number_of(connection: sqlite3.Connection, text: str) -> int | None:
    """The number of `text`, or None when it has none; for readers."""
    row = connection.execute("SELECT n FROM name WHERE text = ?", (text,)).fetchone()
    return None if row is None else int(row[0])
