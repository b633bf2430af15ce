"""An entity query as a MongoDB filter, exact where it can be, else narrowing and to be finished by `broker.query.match`.

| condition                                            | index                | exact                                  |
| ids                                                  | _id                  | yes                                    |
| id_pattern                                           | _id, a '^' prefix    | no: the pattern is never run by MongoDB|
| types, attributes, q: an attribute alone             | types, names         | yes                                    |
| q: ==, >, >=, <, <= on an attribute                  | values (n, v)        | yes, but for very long values          |
| q: !=, ~=, !~=, sub-attributes and members of values | names                | no                                     |
| scope                                                | scopes               | without '+'                            |
| geo                                                  | cells                | no                                     |
| q: createdAt, expiresAt compared with moments        | since, ends          | yes                                    |
| q: modifiedAt, other uses of the three               | none                 | no                                     |
| now, excluded                                        | none: tested on what | yes                                    |
|                                                      | the others find      |                                        |

Values from users stand only where MongoDB takes data, never as names of fields or operators.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from broker.query import cells
from broker.query.ast import (
    AllScopes,
    AllTypes,
    And,
    AnyScope,
    AnyType,
    Comparison,
    EntityQuery,
    Excluded,
    Exists,
    GeoQuery,
    HasType,
    Linked,
    Or,
    Path,
    Q,
    Range,
    Scalar,
    ScopeIs,
    ScopeQuery,
    TypeSelection,
)
from broker.query.geometry import bounds, box_around
from broker.query.match import selected
from broker.query.mongo_fields import cell_names, scope_name, value_key, value_name
from broker.query.targets import ENTITY_MEMBERS
from broker.query.values import comparable

Filter = dict[str, Any]

ORDERED = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
# Where the index holds a cut value, what is strictly beyond the value may be equal to its cut.
_INCLUSIVE = {"$gt": "$gte", "$lt": "$lte", "$gte": "$gte", "$lte": "$lte"}
_LITERAL_PREFIX = re.compile(r"\^([A-Za-z0-9:_/-]+)(.?)", re.DOTALL)
_LAST_CHARACTER = "\U0010ffff"


class Selection(NamedTuple):
    """A filter, and whether it selects exactly what was asked, or also more."""

    filter: Filter
    exact: bool


EVERYTHING = Selection({}, True)
NOTHING = Selection({"_id": {"$in": []}}, True)


def compile_query(query: EntityQuery) -> Selection:
    """The filter of all conditions of `query` (limit, offset and count are the caller's)."""
    parts: list[Selection] = []
    if query.ids:
        parts.append(Selection({"_id": {"$in": list(query.ids)}}, True))
    if query.id_pattern is not None:
        parts.append(_id_pattern(query.id_pattern))
    if query.types is not None:
        parts.append(_types(query.types))
    if query.selectors:
        parts.append(_any(compile_query(selected(each)) for each in query.selectors))
    if query.attributes:
        parts.append(Selection({"names": {"$in": list(query.attributes)}}, True))
    if query.q is not None:
        parts.append(_q(query.q))
    if query.scope is not None:
        parts.append(_scope(query.scope))
    if query.geo is not None:
        parts.append(_geo(query.geo))
    if query.excluded is not None:
        parts.append(Selection({"$nor": _ids_of(query.excluded)}, True))
    if query.now is not None:
        parts.append(Selection({"ends": {"$not": {"$lte": query.now}}}, True))
    return _all(parts)


def left_out(query: EntityQuery) -> Filter:
    """The filter of those that `query` would select if it did not exclude them."""
    assert query.excluded is not None
    filters = [compile_query(replace(query, excluded=None)).filter, {"$or": _ids_of(query.excluded)}]
    return {"$and": [each for each in filters if each]}


def _ids_of(excluded: Excluded) -> list[Filter]:
    """Any of which holds for what is excluded; never empty."""
    some: list[Filter] = [{"_id": {"$in": sorted(excluded.ids)}}]
    if excluded.prefix:
        some.append({"_id": {"$gte": excluded.prefix, "$lt": excluded.behind_prefix}})
    return some


def ended(query: EntityQuery) -> Filter:
    """The filter of those that `query` would select if they had not expired at its `now`."""
    filters = [compile_query(replace(query, now=None)).filter, {"ends": {"$lte": query.now}}]
    return {"$and": [each for each in filters if each]}


def _all(parts: Iterable[Selection]) -> Selection:
    parts = list(parts)
    filters = [part.filter for part in parts if part.filter]
    exact = all(part.exact for part in parts)
    if not filters:
        return Selection({}, exact)
    return Selection(filters[0] if len(filters) == 1 else {"$and": filters}, exact)


def _any(parts: Iterable[Selection]) -> Selection:
    parts = [part for part in parts if part is not NOTHING]
    if not parts:
        return NOTHING
    exact = all(part.exact for part in parts)
    if any(not part.filter for part in parts):
        return Selection({}, exact)
    return parts[0] if len(parts) == 1 else Selection({"$or": [part.filter for part in parts]}, exact)


def _id_pattern(pattern: str) -> Selection:
    found = _LITERAL_PREFIX.match(pattern)
    if found is None or "|" in pattern:
        return Selection({}, False)
    prefix, following = found.groups()
    if following in ("*", "?", "{"):
        prefix = prefix[:-1]
    return Selection({"_id": {"$gte": prefix, "$lt": prefix + _LAST_CHARACTER}}, False)


def _types(selection: TypeSelection) -> Selection:
    match selection:
        case HasType(wanted):
            return Selection({"types": wanted}, True)
        case AllTypes(terms):
            return _all(map(_types, terms))
        case AnyType(terms):
            plain = [term.type for term in terms if isinstance(term, HasType)]
            if len(plain) == len(terms):
                return Selection({"types": {"$in": plain}}, True)
            return _any(map(_types, terms))


def _scope(scope: ScopeQuery) -> Selection:
    match scope:
        case ScopeIs(segments):
            if "+" not in segments:
                return Selection({"scopes": scope_name(segments)}, True)
            return Selection({"scopes": scope_name((*segments[: segments.index("+")], "#"))}, False)
        case AllScopes(terms):
            return _all(map(_scope, terms))
        case AnyScope(terms):
            return _any(map(_scope, terms))


def _geo(geo: GeoQuery) -> Selection:
    box = None
    if geo.relation == "near":
        if geo.max_distance is not None:
            box = box_around(geo.geometry, geo.max_distance)
    elif geo.relation != "disjoint":
        box = bounds(geo.geometry)
    return Selection({"cells": {"$in": cell_names(geo.geoproperty, cells.asked(box))}}, False)


def _q(q: Q) -> Selection:
    match q:
        case Exists(path):
            return _has(path, exact=not path.subattributes and not path.members)
        case Comparison(path, operator, values):
            if path.attribute in ENTITY_MEMBERS and not path.subattributes and not path.members:
                return _moments(path.attribute, operator, values)
            if path.subattributes or path.members:
                return _has(path, exact=False)
            if operator == "==":
                return _any(_equals(path, values))
            if operator in ORDERED:
                return _any([_ordered(path, ORDERED[operator], value) for value in values])
            return _has(path, exact=False)
        case And(terms):
            return _all(map(_q, terms))
        case Or(terms):
            return _any(map(_q, terms))
        case Linked():
            raise TypeError("what is asked of linked entities is looked up before (broker.query.linked)")


_MOMENTS = {"createdAt": "since", "expiresAt": "ends"}


def _moments(member: str, operator: str, values: tuple[Scalar | Range, ...]) -> Selection:
    """What was created or expires then; modifiedAt is not indexed, as it would make each update dearer."""
    if member not in _MOMENTS or not (operator == "==" or operator in ORDERED):
        return Selection({}, False)
    return _any([_moment(_MOMENTS[member], operator, value) for value in values])


def _moment(field: str, operator: str, value: Scalar | Range) -> Selection:
    ends = (value.low, value.high) if isinstance(value, Range) else (value,)
    keys = [found[1] for end in ends if (found := comparable(end)) is not None and found[0] == "instant"]
    if len(keys) != len(ends) or (isinstance(value, Range) and operator != "=="):
        return Selection({}, False)
    if isinstance(value, Range):
        return Selection({field: {"$gte": keys[0], "$lte": keys[1]}}, True)
    return Selection({field: keys[0] if operator == "==" else {ORDERED[operator]: keys[0]}}, True)


def _has(path: Path, *, exact: bool) -> Selection:
    if path.attribute in ENTITY_MEMBERS and not path.subattributes and not path.members:
        return Selection({}, False)
    return Selection({"names": path.attribute}, exact)


def _entry(names: list[str], value: Any, *, exact: bool) -> Selection:
    return Selection(
        {"values": {"$elemMatch": {"n": names[0] if len(names) == 1 else {"$in": names}, "v": value}}}, exact
    )


def _equals(path: Path, values: Iterable[Scalar | Range]) -> list[Selection]:
    """Any of the values: one search of the index for all of a kind, where it would otherwise plan one for each."""
    made: list[Selection] = []
    keys: dict[str, list[Any]] = {}
    exact: dict[str, bool] = {}
    for value in values:
        if isinstance(value, Range):
            made.append(_between(path, value))
            continue
        wanted = comparable(value)
        assert wanted is not None
        key, whole = value_key(wanted)
        keys.setdefault(wanted[0], []).append(key)
        exact[wanted[0]] = whole and exact.get(wanted[0], True)
    for kind, some in keys.items():
        made.append(_entry(_names(path, kind), some[0] if len(some) == 1 else {"$in": some}, exact=exact[kind]))
    return made


def _between(path: Path, value: Range) -> Selection:
    low, high = comparable(value.low), comparable(value.high)
    assert low is not None and high is not None
    if low[0] != high[0] or low[0] == "boolean":
        return NOTHING
    (least, least_whole), (most, most_whole) = value_key(low), value_key(high)
    return _entry(_names(path, low[0]), {"$gte": least, "$lte": most}, exact=least_whole and most_whole)


def _ordered(path: Path, operator: str, value: Scalar | Range) -> Selection:
    wanted = None if isinstance(value, Range) else comparable(value)
    if wanted is None or wanted[0] == "boolean":
        return NOTHING
    key, whole = value_key(wanted)
    return _entry(
        [value_name(path.attribute, wanted[0])], {operator if whole else _INCLUSIVE[operator]: key}, exact=whole
    )


def _names(path: Path, kind: str) -> list[str]:
    """Of an attribute's scalars, whether values or objects of a relationship."""
    return [value_name(path.attribute, kind), value_name(path.attribute, kind, related=True)]
