"""Types and attributes in use, from the census; what expires, from the moments."""

from __future__ import annotations

import sqlite3
from collections import defaultdict

from broker.clock import Micros
from broker.ngsild.model import Iri
from broker.query.sql import EXPIRES
from broker.stores.base import AttributeInfo, TypeInfo
from broker.stores.sqlite.census import ATTRIBUTE_TYPES

_COUNTS = (
    "SELECT t.text, a.text, c.kind, c.count FROM census c"
    " LEFT JOIN name t ON t.n = c.type LEFT JOIN name a ON a.n = c.name WHERE "
)
EXPIRING = "SELECT e.id FROM moment m CROSS JOIN entity e ON e.n = m.n WHERE m.kind = ? AND m.at < ? ORDER BY m.at, m.n LIMIT ?"


def read_types(connection: sqlite3.Connection) -> list[Iri]:
    """The types in use, in order."""
    statement = "SELECT t.text FROM census c JOIN name t ON t.n = c.type WHERE c.name = 0 AND c.type > 0"
    return sorted(text for (text,) in connection.execute(statement))


def read_attributes(connection: sqlite3.Connection) -> list[Iri]:
    """The attributes in use, in order."""
    statement = "SELECT DISTINCT a.text FROM census c JOIN name a ON a.n = c.name WHERE c.type = 0 AND c.name > 0"
    return sorted(text for (text,) in connection.execute(statement))


def read_type_details(connection: sqlite3.Connection, entity_type: Iri | None) -> list[TypeInfo]:
    """All types in order, or one."""
    if entity_type is None:
        rows = connection.execute(f"{_COUNTS} c.type > 0")
    else:
        rows = connection.execute(f"{_COUNTS} c.type = (SELECT n FROM name WHERE text = ?)", (entity_type,))  # noqa: S608
    counts: dict[Iri, int] = {}
    attributes: dict[Iri, dict[Iri, set[str]]] = defaultdict(lambda: defaultdict(set))
    for type_, attribute, kind, count in rows:
        if attribute is None:
            counts[type_] = count
        else:
            attributes[type_][attribute].add(ATTRIBUTE_TYPES[kind - 1])
    return [
        TypeInfo(type_, counts[type_], {name: frozenset(found) for name, found in sorted(attributes[type_].items())})
        for type_ in sorted(counts)
    ]


def read_attribute_details(connection: sqlite3.Connection, attribute: Iri | None) -> list[AttributeInfo]:
    """All attributes in order, or one."""
    if attribute is None:
        rows = connection.execute(f"{_COUNTS} c.name > 0")
    else:
        rows = connection.execute(f"{_COUNTS} c.name = (SELECT n FROM name WHERE text = ?)", (attribute,))  # noqa: S608
    counts: dict[Iri, int] = defaultdict(int)
    kinds: dict[Iri, set[str]] = defaultdict(set)
    types: dict[Iri, set[Iri]] = defaultdict(set)
    for type_, name, kind, count in rows:
        if type_ is None:
            counts[name] += count
            kinds[name].add(ATTRIBUTE_TYPES[kind - 1])
        else:
            types[name].add(type_)
    return [
        AttributeInfo(name, counts[name], frozenset(kinds[name]), frozenset(types[name])) for name in sorted(counts)
    ]


def read_expiring(connection: sqlite3.Connection, before: Micros, limit: int) -> list[str]:
    """Ids of entities of which something expires before the moment, soonest first."""
    rows = connection.execute(EXPIRING, (EXPIRES, before, limit))
    return [entity_id for (entity_id,) in rows]
