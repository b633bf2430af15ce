"""What an entity must have in common with a subscription to match it: keys that can be looked up.

Many subscriptions of one type and attribute differ in the value they want, in the ids, in the scope or in the area. A *guard*
is a set of keys, chosen from what a selector asks for, such that every entity that it selects has at least one of them:

    | key                       | the entity has …                                                       | from           |
    | ("=", path, kind, value)  | that value where the path leads                                        | q: path==value |
    | (">", path, kind, bound)  | a value of that kind there that is no smaller ("<": no larger)         | q: path>bound  |
    | ("?", attribute)          | the attribute                                                          | any other q    |
    | ("^", n, text)            | an id that begins with the text, of n characters                       | idPattern      |
    | ("*", n, text)            | an id in which the text is found                                       | idPattern      |
    | ("/", n, segments)        | a scope that begins with the n segments                                | scopeQ         |
    | ("@", attribute, n, x, y) | an instance of the geoproperty that touches the cell x, y of n degrees | geoQ           |

All but the last one or two members of a key are its *shape*, which says how to find an entity's keys of that kind.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from itertools import product
from math import floor
from typing import Any, Final

from broker.ngsild.model import Entity, Iri
from broker.query.ast import (
    AllScopes,
    And,
    AnyScope,
    Comparison,
    EntityQuery,
    Exists,
    GeoQuery,
    Or,
    Path,
    Q,
    Range,
    ScopeIs,
    ScopeQuery,
)
from broker.query.geometry import Box, bounds, box_around
from broker.query.targets import ENTITY_MEMBERS, targets
from broker.query.values import comparable

Shape = tuple[Any, ...]
Key = tuple[Shape, Any]
Guard = frozenset[Key]

ALL: Final[Shape] = ("",)
ANYTHING: Final[Guard] = frozenset({(ALL, None)})
"""The guard of a selector that says nothing to look up: tested at every change that comes into its bucket."""

KEYS: Final = 64
"""A guard of more keys than this is none: the subscription would cost more memory than tests save."""
TEXT_CHARACTERS: Final = 48
"""Of a pattern, so many characters are looked up: enough to tell 'urn:ngsi-ld:Room:1' from 'urn:ngsi-ld:Room:2'."""
CELLS: Final = (0.004, 0.03, 0.25, 2.0, 16.0, 128.0)
"""Widths of cells, degrees: some 400 m, and eight times that, and so on. An area is filed where few cells hold it."""
AREA_CELLS: Final = 16
PLACE_CELLS: Final = 256
"""An entity that touches more cells than this is as if it touched all."""

_PLAIN: Final = frozenset(string.ascii_letters + string.digits + " !\"#%&',-/:;<=>@_`~")
"""Characters that stand for themselves in a regular expression."""
_UNSURE: Final = frozenset("*?{")
"""Behind one of these the character before it need not be there."""


def guard_of(query: EntityQuery) -> Guard:
    """The narrowest guard that the query's conditions give; `ANYTHING` when they give none."""
    guards = [
        *_of_q(query.q),
        _of_pattern(query.id_pattern),
        _of_scope(query.scope),
        _of_area(query.geo),
    ]
    best = min((guard for guard in guards if guard and len(guard) <= KEYS), key=_breadth, default=None)
    return best if best is not None else ANYTHING


def subject(shape: Shape) -> Iri:
    """The attribute that an entity must have to have keys of the shape; '' where there is none."""
    kind = shape[0]
    if kind in ("=", ">", "<"):
        path: Path = shape[1]
        return "" if _is_member(path) else path.attribute
    return shape[1] if kind in ("?", "@") else ""


def keys_of(entity: Entity, shape: Shape) -> Iterator[Key]:
    """The keys of one shape that the entity has. Of bounds ('>', '<') it is the value: it has all that are not beyond it.
    Of an area that is too wide for its cells it ends in None: all of them.
    """
    kind = shape[0]
    if kind == "=":
        for values, _ in targets(shape[1], entity):
            for value in values:
                yield shape, comparable(value)
    elif kind in (">", "<"):
        for values, _ in targets(shape[1], entity):
            for value in values:
                found = comparable(value)
                if found is not None and found[0] == shape[2]:
                    yield shape, found[1]
    elif kind == "^":
        yield shape, entity["id"][: shape[1]]
    elif kind == "*":
        size = shape[1]
        for start in range(len(entity["id"]) - size + 1):
            yield shape, entity["id"][start : start + size]
    elif kind == "/":
        for scope in entity.get("scope", ()):
            yield shape, tuple(scope.strip("/").split("/")[: shape[1]])
    elif kind == "@":
        for instance in entity["attrs"].get(shape[1], ()):
            box = bounds(instance.get("value"))
            if box is not None:
                cells = _cells(box, shape[2], PLACE_CELLS)
                yield from ((shape, cell) for cell in cells) if cells is not None else ((shape, None),)
    else:
        yield shape, None


def _breadth(guard: Guard) -> tuple[int, int]:
    """How much a guard is likely to let through: by its kind, then by how many keys it has."""
    breadth = 0
    for shape, value in guard:
        kind = shape[0]
        if kind == "=":
            breadth = max(breadth, 6 if value[0] == "boolean" else 1)
        elif kind in ("^", "*"):
            # What is common to all ids of a type narrows nothing: 'urn:ngsi-ld:Room:' does not, '…:Room:214' may.
            breadth = max(breadth, 2 if shape[1] > len("urn:ngsi-ld:") and value[-1] != ":" else 6)
        else:
            breadth = max(breadth, {"@": 3, "/": 4, ">": 5, "<": 5, "?": 7}[kind])
    return breadth, len(guard)


# --- q ----------------------------------------------------------------------------------------------------------------


def _of_q(q: Q | None) -> list[Guard]:
    """Guards of q: each of them holds for every entity that meets it."""
    match q:
        case None:
            return []
        case And(terms):
            return [guard for term in terms for guard in _of_q(term)]
        case Or(terms):
            each = [min(_of_q(term), key=_breadth, default=frozenset()) for term in terms]
            return [frozenset().union(*each)] if all(each) else []
        case Comparison(path, operator, values):
            found: list[Guard] = [frozenset({(("?", path.attribute), None)})] if not _is_member(path) else []
            wanted = {None if isinstance(value, Range) else comparable(value) for value in values}
            if None in wanted:
                return found
            if operator == "==":
                found.append(frozenset((("=", path), one) for one in wanted))
            elif operator[0] in "<>":
                found.append(frozenset(((operator[0], path, kind), bound) for kind, bound in filter(None, wanted)))
            return found
        case Exists(path):
            return [frozenset({(("?", path.attribute), None)})] if not _is_member(path) else []
    return []


def _is_member(path: Path) -> bool:
    """Whether the path names something of the entity's that is no attribute."""
    return not path.subattributes and not path.members and path.attribute in ENTITY_MEMBERS


# --- ids and scopes ---------------------------------------------------------------------------------------------------


def _of_pattern(pattern: str | None) -> Guard:
    """The text that a pattern begins with, anchored or not: every id it is found in has it."""
    if pattern is None or "|" in pattern:
        return frozenset()
    anchored = pattern.startswith("^")
    text, rest = "", pattern[1:] if anchored else pattern
    while not anchored and rest.startswith(".*"):
        rest = rest[2:]
    while rest:
        if rest[0] == "\\" and len(rest) > 1 and rest[1] in string.punctuation:
            character, rest = rest[1], rest[2:]
        elif rest[0] in _PLAIN:
            character, rest = rest[0], rest[1:]
        else:
            break
        if rest and rest[0] in _UNSURE:
            break
        text += character
        if rest and rest[0] == "+":
            break
    text = text[:TEXT_CHARACTERS]
    return frozenset({(("^" if anchored else "*", len(text)), text)}) if text else frozenset()


def _of_scope(scope: ScopeQuery | None) -> Guard:
    match scope:
        case ScopeIs(segments):
            plain = tuple(_until_wildcard(segments))
            return frozenset({(("/", len(plain)), plain)}) if plain else frozenset()
        case AnyScope(terms):
            each = [_of_scope(term) for term in terms]
            return frozenset().union(*each) if all(each) else frozenset()
        case AllScopes(terms):
            return min(filter(None, map(_of_scope, terms)), key=_breadth, default=frozenset())
    return frozenset()


def _until_wildcard(segments: Iterable[str]) -> Iterator[str]:
    for segment in segments:
        if segment in ("+", "#"):
            return
        yield segment


# --- areas ------------------------------------------------------------------------------------------------------------


def _of_area(geo: GeoQuery | None) -> Guard:
    """The cells of the smallest width of which few hold the area that the geoproperty must touch."""
    if geo is None or geo.relation == "disjoint":
        return frozenset()
    if geo.relation == "near":
        box = box_around(geo.geometry, geo.max_distance) if geo.max_distance is not None else None
    else:
        box = bounds(geo.geometry)
    if box is None:
        return frozenset()
    for width in CELLS:
        cells = _cells(box, width, AREA_CELLS)
        if cells is not None:
            return frozenset((("@", geo.geoproperty, width), cell) for cell in cells)
    return frozenset()


def _cells(box: Box, width: float, most: int) -> list[tuple[int, int]] | None:
    west, south, east, north = (floor(edge / width) for edge in box)
    if (east - west + 1) * (north - south + 1) > most:
        return None
    return list(product(range(west, east + 1), range(south, north + 1)))
