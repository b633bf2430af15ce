"""In which order entities are: the parser of orderBy, and the key that Python sorts entities by.

    orderBy = Term *("," Term)                                 ; ETSI GS CIM 009 v1.9.1, 4.23
    Term    = Path [";" ("asc" / "desc" / "dist-asc" / "dist-desc")]

Values of several kinds come in this order: numbers, texts, objects, arrays, Booleans, times, dates, DateTimes. Descending
turns that round. JSON null, and then what is not there, is last in either direction. By distance, places come first, then
what is no place, by value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import total_ordering
from typing import Any, Final, Literal

import orjson

from broker.clock import parse_iso
from broker.config import Limits
from broker.errors import BadRequestData, TooComplexQuery
from broker.ngsild.model import VALUE_MEMBER, Entity, Instance
from broker.query.ast import OrderTerm, Path
from broker.query.collation import CollationKey, collation
from broker.query.geometry import distance, shape_of
from broker.query.q import parse_path
from broker.query.targets import INSTANCE_MEMBERS

MEMBERS: Final = frozenset({"id", "type", "scope", "createdAt", "modifiedAt", "expiresAt"})
"""Names that, alone and unexpanded, are members of the entity."""

MOST_TERMS: Final = 16

Direction = Literal["asc", "desc", "dist-asc", "dist-desc"]
_DIRECTIONS: Final = ("asc", "desc", "dist-asc", "dist-desc")
_TERM = re.compile(r"((?:[^,;\[\]]|\[[^\]]*\])+)(?:;([^,]*))?")
_TIME = re.compile(r"\d\d:\d\d:\d\d(?:[.,]\d{1,6})?Z?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUMBER, _TEXT, _OBJECT, _ARRAY, _BOOLEAN, _CLOCK, _DAY, _INSTANT = range(8)

SortKey = Callable[[Entity], Any]


def parse_order(
    text: str, reference: dict[str, Any] | None, expand: Callable[[str], str], limits: Limits
) -> tuple[OrderTerm, ...]:
    """The terms of `orderBy`; `reference` is the geometry (validated) that distances are measured from, if one is given.

    Raises BadRequestData, TooComplexQuery.
    """
    if len(text) > limits.query_characters:
        raise TooComplexQuery(f"'orderBy' has {len(text)} characters; the limit is {limits.query_characters}.")
    terms: list[OrderTerm] = []
    at = 0
    while True:
        found = _TERM.match(text, at)
        if found is None:
            raise BadRequestData(
                f"'orderBy' must have an attribute's name at position {at + 1}, got '{text[at : at + 20]}'."
            )
        terms.append(_term(found[1], found[2], reference, expand, limits))
        at = found.end()
        if at == len(text):
            break
        at += 1
    if len(terms) > MOST_TERMS:
        raise TooComplexQuery(f"'orderBy' has {len(terms)} terms; {MOST_TERMS} are possible.")
    return tuple(terms)


def _term(
    name: str, direction: str | None, reference: dict[str, Any] | None, expand: Callable[[str], str], limits: Limits
) -> OrderTerm:
    way = "asc" if direction is None else direction
    if way not in _DIRECTIONS:
        raise BadRequestData(f"'orderBy' must say a direction of {', '.join(_DIRECTIONS)}, got '{way[:60]}'.")
    try:
        path = Path(name) if name in MEMBERS else parse_path(name, expand, limits)
    except BadRequestData as error:
        raise BadRequestData(error.detail.replace("'q'", f"In 'orderBy', '{name[:60]}'", 1)) from None
    if not way.startswith("dist-"):
        return OrderTerm(path, way == "desc")
    if reference is None:
        raise BadRequestData("'orderFrom' must be given when 'orderBy' asks for an order by distance.")
    return OrderTerm(path, way == "dist-desc", reference)


def sort_key(terms: tuple[OrderTerm, ...], collation_name: str | None = None) -> SortKey:
    """What Python sorts entities by: entities with equal keys keep the order that they come in. Raises BadRequestData."""
    text_key = collation(collation_name)
    keys = [_term_key(term, text_key) for term in terms]
    if len(keys) == 1:
        return keys[0]
    return lambda entity: tuple(key(entity) for key in keys)


def value_at(path: Path, entity: Entity) -> Any:
    """The value that `path` leads to in the default instance, or else the first; ABSENT when there is none."""
    if not path.subattributes and not path.members and path.attribute in MEMBERS:
        value: Any = entity.get(path.attribute, ABSENT)
        return value[0] if path.attribute in ("type", "scope") and isinstance(value, list) and value else value
    instance = _chosen(entity["attrs"].get(path.attribute))
    names = path.subattributes
    while instance is not None and names:
        if len(names) == 1 and names[0] in INSTANCE_MEMBERS and not path.members:
            return instance.get(names[0], ABSENT)
        instance = _chosen(instance.get("attrs", {}).get(names[0]))
        names = names[1:]
    if instance is None:
        return ABSENT
    value = instance.get(VALUE_MEMBER[instance["type"]], ABSENT)
    for member in path.members:
        value = value.get(member, ABSENT) if isinstance(value, dict) else ABSENT
    return value


class _Absent:
    """What is not there."""


ABSENT: Final = _Absent()


def _chosen(instances: list[Instance] | None) -> Instance | None:
    if not instances:
        return None
    return next((instance for instance in instances if "datasetId" not in instance), instances[0])


def _term_key(term: OrderTerm, text_key: CollationKey) -> SortKey:
    path, descending = term.path, term.descending
    origin = shape_of(term.reference) if term.reference is not None else None

    def key(entity: Entity) -> Any:
        value = value_at(path, entity)
        if value is ABSENT:
            return (3,)
        if value is None:
            return (2,)
        if origin is not None:
            place = shape_of(value) if isinstance(value, dict) and "coordinates" in value else None
            if place is not None:
                metres = distance(origin, place)
                return 0, -metres if descending else metres
        compared = _comparable(value, text_key)
        return 1, _Turned(compared) if descending else compared

    return key


def _comparable(value: Any, text_key: CollationKey) -> tuple[int, Any]:
    if isinstance(value, bool):
        return _BOOLEAN, value
    if isinstance(value, (int, float)):
        return _NUMBER, value
    if isinstance(value, str):
        if len(value) >= 20 and value[10] == "T" and (at := parse_iso(value)) is not None:
            return _INSTANT, at
        if _DATE.fullmatch(value):
            return _DAY, value
        if _TIME.fullmatch(value):
            return _CLOCK, value
        return _TEXT, text_key(value)
    if isinstance(value, list):
        return _ARRAY, orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if "@value" in value and not isinstance(value["@value"], (dict, list)) and value["@value"] is not None:
        return _comparable(value["@value"], text_key)
    return _OBJECT, orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@total_ordering
class _Turned:
    """What comes before when it is greater."""

    __slots__ = ("key",)

    def __init__(self, key: tuple[int, Any]) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Turned) and self.key == other.key

    def __lt__(self, other: _Turned) -> bool:
        return other.key < self.key

    __hash__ = None  # type: ignore[assignment]
