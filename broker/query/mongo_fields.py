"""What of an entity MongoDB indexes, and how `mongo.py` looks it up: both sides of each index stand here together.

    types   the types
    names   the attributes that it has
    values  one {n, v} for each scalar of each attribute (the attribute pattern: one index serves every attribute)
    scopes  each scope, and for each level above and itself 'scope/#': '/a/b' gives '/a/b', '/a/b/#', '/a/#', '/#'
    cells   'geoproperty square' for the squares of the map that its geometries touch (`broker.query.cells`)

The name `n` is the attribute's IRI, with '@' before it when the scalar is a DateTime (then `v` is microseconds), and '>'
before that when it is the object of a relationship (which q never orders). The entity itself stays opaque JSON text.
"""

from __future__ import annotations

from typing import Any, Final

from broker.ngsild.model import Entity, Iri
from broker.query import cells
from broker.query.ast import Path
from broker.query.geometry import bounds
from broker.query.targets import targets
from broker.query.values import Comparable, comparable

STRING_CHARACTERS: Final = 512
"""How much of a string is indexed, characters; where that does not decide, the matcher does."""

_INT64: Final = 1 << 63

IndexFields = dict[str, list[Any]]


def index_fields(entity: Entity) -> IndexFields:
    """The indexed fields of an entity's document; those that would be empty are left out."""
    attributes = entity["attrs"]
    fields: IndexFields = {
        "types": entity["type"],
        "names": [name for name, instances in attributes.items() if instances],
        "values": [entry for name in attributes for entry in _values(name, entity)],
        "scopes": sorted({name for scope in entity.get("scope", ()) for name in _scope_names(scope)}),
        "cells": _cells(entity),
    }
    return {name: entries for name, entries in fields.items() if entries}


def value_name(attribute: Iri, kind: str, *, related: bool = False) -> str:
    """The `n` of an attribute's scalars of a kind."""
    return f"{'>' if related else ''}{'@' if kind == 'instant' else ''}{attribute}"


def value_key(value: Comparable) -> tuple[Any, bool]:
    """The `v` of a scalar, and whether it says all: false when it was cut to 512 characters or to a double."""
    kind, key = value
    if kind == "string":
        return (key, True) if len(key) < STRING_CHARACTERS else (key[:STRING_CHARACTERS], False)
    if kind == "number" and not -_INT64 < key < _INT64:
        return _double(key), False
    return key, True


def scope_name(levels: tuple[str, ...]) -> str:
    """The name of a scope or, when the last level is '#', of what lies in it."""
    return "/" + "/".join(levels)


def cell_names(geoproperty: Iri, squares: list[str] | set[str]) -> list[str]:
    """The names of a geoproperty's squares."""
    return [f"{geoproperty} {square}" for square in squares]


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _values(attribute: Iri, entity: Entity) -> list[dict[str, Any]]:
    entries: dict[tuple[str, str, Any], dict[str, Any]] = {}
    for scalars, related in targets(Path(attribute), entity):
        for scalar in scalars:
            found = comparable(scalar)
            if found is not None:
                name, (key, _) = value_name(attribute, found[0], related=related), value_key(found)
                entries[name, found[0], key] = {"n": name, "v": key}
    return list(entries.values())


def _scope_names(scope: str) -> list[str]:
    levels = tuple(scope.strip("/").split("/"))
    return [scope_name(levels), *(scope_name((*levels[:depth], "#")) for depth in range(len(levels) + 1))]


def _cells(entity: Entity) -> list[str]:
    names: list[str] = []
    for attribute, instances in entity["attrs"].items():
        squares: set[str] = set()
        for instance in instances:
            if instance["type"] == "GeoProperty" and (box := bounds(instance.get("value"))) is not None:
                squares |= cells.stored(box)
        names += cell_names(attribute, sorted(squares))
    return names
