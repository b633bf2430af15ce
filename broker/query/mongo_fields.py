"""What of an entity MongoDB indexes, and how `mongo.py` looks it up: both sides of each index stand here together.

    types   the types
    names   the attributes that it has
    values  one {n, v} for each scalar of each attribute (the attribute pattern: one index serves every attribute)
    scopes  each scope, and for each level above and itself 'scope/#': '/a/b' gives '/a/b', '/a/b/#', '/a/#', '/#'
    cells   'geoproperty square' for the squares of the map that its geometries touch (`broker.query.cells`)
    since   when it was created, ends: when it expires itself, expires: when the first of it and its attributes does
            (microseconds; without an expiresAt there are none)
    shapes  'type attribute' for each instance of each attribute, as 'Property https://…': counted, not looked up

The name `n` is the attribute's IRI, with '@' before it when the scalar is a DateTime (then `v` is microseconds), and '>'
before that when it is the object of a relationship (which q never orders). The entity itself stays opaque JSON text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from broker.clock import parse_iso
from broker.ngsild.model import Entity, Instance, Iri
from broker.query import cells
from broker.query.ast import Path
from broker.query.geometry import Box, bounds
from broker.query.targets import targets
from broker.query.values import Comparable, comparable

STRING_CHARACTERS: Final = 512
"""How much of a string is indexed, characters; where that does not decide, the matcher does."""

_INT64: Final = 1 << 63

PLACES_CACHED: Final = 8192
"""Boxes whose squares are kept, count: most things stay where they are."""

IndexFields = dict[str, Any]

ALL: Final = ("types", "names", "values", "scopes", "cells", "since", "ends", "expires", "shapes")


def index_fields(entity: Entity, fields: tuple[str, ...] = ALL) -> IndexFields:
    """The indexed fields of an entity's document, or some of them; those that would be empty are left out."""
    made = {field: _MAKERS[field](entity) for field in fields}
    return {field: entries for field, entries in made.items() if entries is not None and entries != []}


def touched_fields(entity: Entity, touched: frozenset[Iri] | None) -> tuple[str, ...]:
    """The fields that may differ after a change of the attributes `touched` (None: of anything).

    Squares of what was a place and is none any more may stay behind: the matcher has the last word on places anyway.
    """
    if touched is None:
        return ALL
    attributes = entity["attrs"]
    moved = any(_is_place(instance) for name in touched for instance in attributes.get(name, ()))
    always = ("names", "values", "ends", "expires", "shapes")
    return (*always, "cells") if moved else always


def value_name(attribute: Iri, kind: str, *, related: bool = False) -> str:
    """The `n` of an attribute's scalars of a kind."""
    name = "@" + attribute if kind == "instant" else attribute
    return ">" + name if related else name


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


def _names(entity: Entity) -> list[str]:
    return [name for name, instances in entity["attrs"].items() if instances]


def _values(entity: Entity) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for attribute, instances in entity["attrs"].items():
        # Nearly every attribute is one instance with one scalar: the short way.
        if len(instances) == 1 and instances[0]["type"] == "Property":
            value = instances[0].get("value")
            if not isinstance(value, (list, dict)):
                found = comparable(value)
                if found is not None:
                    entries.append({"n": value_name(attribute, found[0]), "v": value_key(found)[0]})
                continue
        entries += _bag(attribute, entity)
    return entries


def _bag(attribute: Iri, entity: Entity) -> Iterable[dict[str, Any]]:
    """One entry for each different scalar of an attribute."""
    entries: dict[tuple[str, str, Any], dict[str, Any]] = {}
    for scalars, related in targets(Path(attribute), entity):
        for scalar in scalars:
            found = comparable(scalar)
            if found is not None:
                name, (key, _) = value_name(attribute, found[0], related=related), value_key(found)
                entries[name, found[0], key] = {"n": name, "v": key}
    return entries.values()


def _scopes(entity: Entity) -> list[str]:
    return sorted({name for scope in entity.get("scope", ()) for name in _scope_names(scope)})


def _scope_names(scope: str) -> list[str]:
    levels = tuple(scope.strip("/").split("/"))
    return [scope_name(levels), *(scope_name((*levels[:depth], "#")) for depth in range(len(levels) + 1))]


def _cells(entity: Entity) -> list[str]:
    names: set[str] = set()
    for attribute, instances in entity["attrs"].items():
        for instance in instances:
            if _is_place(instance) and (box := bounds(instance.get("value"))) is not None:
                names.update(_stored_names(attribute, box))
    return sorted(names)


@lru_cache(PLACES_CACHED)
def _stored_names(geoproperty: Iri, box: Box) -> list[str]:
    return cell_names(geoproperty, cells.stored(box))


def _ends(entity: Entity) -> int | None:
    return parse_iso(entity["expiresAt"]) if "expiresAt" in entity else None


def _expires(entity: Entity) -> int | None:
    texts = [entity["expiresAt"]] if "expiresAt" in entity else []
    for instances in entity["attrs"].values():
        texts += [instance["expiresAt"] for instance in instances if "expiresAt" in instance]
    return min((at for text in texts if (at := parse_iso(text)) is not None), default=None)


def _shapes(entity: Entity) -> list[str]:
    return [f"{each['type']} {name}" for name, instances in entity["attrs"].items() for each in instances]


def _is_place(instance: Instance) -> bool:
    return instance["type"] == "GeoProperty"


_MAKERS: Final[dict[str, Callable[[Entity], Any]]] = {
    "types": lambda entity: entity["type"],
    "names": _names,
    "values": _values,
    "scopes": _scopes,
    "cells": _cells,
    "since": lambda entity: parse_iso(entity["createdAt"]),
    "ends": _ends,
    "expires": _expires,
    "shapes": _shapes,
}
