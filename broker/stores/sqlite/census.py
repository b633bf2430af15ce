"""How many entities have a type, and how many instances an attribute has: counted as entities change, for discovery.

`census` has a row for each combination that is in use: type, attribute and attribute type, as numbers (the first two those
of `name`). Attribute 0: the row counts entities. Type 0: it counts over all entities, as one with two types is one.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from typing import Final

from broker.ngsild.model import VALUE_MEMBER, Entity, Iri
from broker.stores.sqlite import bulk
from broker.stores.sqlite.names import Names

ATTRIBUTE_TYPES: Final = tuple(VALUE_MEMBER)
"""Their numbers are their places, from 1. Files have these numbers: new ones go to the end."""
_NUMBERS: Final = {name: number for number, name in enumerate(ATTRIBUTE_TYPES, start=1)}

Counted = tuple[Iri | None, Iri | None, int]
"""Type or None, attribute or None, number of the attribute type or 0."""

Shape = tuple[tuple[Iri, ...], tuple[tuple[Iri, int], ...]]
"""An entity's types, and for each attribute instance the attribute and the number of its type. Few differ in a city."""


def shape_of(entity: Entity) -> Shape:
    """What of an entity is counted."""
    return tuple(entity["type"]), tuple(
        [(name, _NUMBERS[instance["type"]]) for name, instances in entity["attrs"].items() for instance in instances]
    )


def counted(shape: Shape) -> Counter[Counted]:
    """What an entity of the shape adds."""
    types, instances = shape
    found: Counter[Counted] = Counter()
    groups: tuple[Iri | None, ...] = (None, *set(types))
    for group in groups:
        found[group, None, 0] += 1
        for attribute, number in instances:
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

    __slots__ = ("_shapes",)

    def __init__(self) -> None:
        self._shapes: defaultdict[Shape, int] = defaultdict(int)

    def change(self, before: Entity | None, after: Entity | None) -> None:
        """An entity becomes another, comes or goes."""
        if after is not None:
            self._shapes[shape_of(after)] += 1
        if before is not None:
            self._shapes[shape_of(before)] -= 1

    def write(self, connection: sqlite3.Connection, names: Names) -> None:
        """Add up; what is in use no more has no row."""
        changes: defaultdict[Counted, int] = defaultdict(int)
        for shape, entities in self._shapes.items():
            if entities:
                for what, count in counted(shape).items():
                    changes[what] += count * entities
        rows = [
            (_number(names, group), _number(names, attribute), kind, change)
            for (group, attribute, kind), change in changes.items()
            if change
        ]
        if not rows:
            return
        bulk.insert(
            connection,
            "census (type, name, kind, count)",
            rows,
            "ON CONFLICT DO UPDATE SET count = count + excluded.count",
        )
        gone = [row[:3] for row in rows if row[3] < 0]
        if gone:
            connection.executemany("DELETE FROM census WHERE type = ? AND name = ? AND kind = ? AND count = 0", gone)


def _number(names: Names, text: str | None) -> int:
    return 0 if text is None else names.number(text)
