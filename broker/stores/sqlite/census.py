"""How many entities have a type, and how many instances an attribute has: counted as entities change, for discovery.

`census` has a row for each combination that is in use: type, attribute and attribute type, as numbers (the first two those
of `name`). Attribute 0: the row counts entities. Type 0: it counts over all entities, as one with two types is one.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Final

from broker.ngsild.model import VALUE_MEMBER, Entity, Iri
from broker.stores.sqlite.names import Names

ATTRIBUTE_TYPES: Final = tuple(VALUE_MEMBER)
"""Their numbers are their places, from 1. Files have these numbers: new ones go to the end."""
_NUMBERS: Final = {name: number for number, name in enumerate(ATTRIBUTE_TYPES, start=1)}

Counted = tuple[Iri | None, Iri | None, int]
"""Type or None, attribute or None, number of the attribute type or 0."""


def counted(entity: Entity | None) -> Counter[Counted]:
    """What an entity adds."""
    found: Counter[Counted] = Counter()
    if entity is None:
        return found
    groups: tuple[Iri | None, ...] = (None, *set(entity["type"]))
    for group in groups:
        found[group, None, 0] += 1
    for attribute, instances in entity["attrs"].items():
        for instance in instances:
            number = _NUMBERS[instance["type"]]
            for group in groups:
                found[group, attribute, number] += 1
    return found


def same_census(before: Entity | None, after: Entity | None, touched: frozenset[Iri] | None) -> bool:
    """Whether a change surely leaves all counts as they are; found out without counting."""
    if before is None or after is None:
        return before is after
    old, new = before["attrs"], after["attrs"]
    if touched is None and before["type"] != after["type"]:
        return False
    for attribute in touched if touched is not None else old.keys() | new.keys():
        was, now = old.get(attribute), new.get(attribute)
        if was is now:
            continue
        if not was or not now or len(was) != 1 or len(now) != 1 or was[0]["type"] != now[0]["type"]:
            return False
    return True


class Census:
    """Changes of counts, gathered over a change set."""

    __slots__ = ("_changes",)

    def __init__(self) -> None:
        self._changes: Counter[Counted] = Counter()

    def change(self, before: Entity | None, after: Entity | None) -> None:
        """An entity becomes another, comes or goes."""
        self._changes.update(counted(after))
        self._changes.subtract(counted(before))

    def write(self, connection: sqlite3.Connection, names: Names) -> None:
        """Add up; what is in use no more has no row."""
        rows = [
            (_number(names, group), _number(names, attribute), kind, change)
            for (group, attribute, kind), change in self._changes.items()
            if change
        ]
        if not rows:
            return
        connection.executemany(
            "INSERT INTO census (type, name, kind, count) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET count = count + excluded.count",
            rows,
        )
        gone = [row[:3] for row in rows if row[3] < 0]
        if gone:
            connection.executemany("DELETE FROM census WHERE type = ? AND name = ? AND kind = ? AND count = 0", gone)


def _number(names: Names, text: str | None) -> int:
    return 0 if text is None else names.number(text)
