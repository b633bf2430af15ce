"""The query as SQL over the embedded store's tables (`broker/stores/sqlite/migrations`).

A query becomes conditions that all must hold, each a boolean expression over the numbers `e.n` of entities. A condition is
exact, or it lets more through than it should, never less: then `broker.query.match` finishes. What each operator means is
the table in `broker.query.match`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Protocol

from broker.jsonio import dumps
from broker.ngsild.model import Iri
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
from broker.query.targets import ENTITY_MEMBERS
from broker.query.values import Comparable, comparable

ANYTHING: Final = 0
NUMBER: Final = 1
BOOLEAN: Final = 2
INSTANT: Final = 3
STRING: Final = 4
REFERENCE: Final = 5
OTHER: Final = 6
"""Kinds in the index of values. ANYTHING: what the attribute holds is for the matcher to see. REFERENCE: the object of a
relationship, which q never orders. OTHER, beside the others: it is not one instance with one plain scalar."""

CREATED: Final = 1
ENDS: Final = 2
EXPIRES: Final = 3
"""Kinds in the index of moments. ENDS: the entity's own expiresAt. EXPIRES: the earliest of that and its attributes'."""

KINDS: Final = {"number": NUMBER, "boolean": BOOLEAN, "instant": INSTANT, "string": STRING}

LONGEST_TEXT: Final = 128
"""Characters of a text in the index of values. A shorter text is told apart from all others by that many."""


MOST_LISTED: Final = 10_000
"""Values in one list that SQL is given; SQLite takes 32,766 parameters. A longer list is the matcher's."""

MOST_PARTS: Final = 200
"""Parts of one condition that SQL is given; SQLite joins 500 selects and nests 1,000 expressions. More are the matcher's."""


def kind_and_key(compared: Comparable) -> tuple[int, Any]:
    """A comparable value as the index of values has it (texts uncut)."""
    kind, key = compared
    return KINDS[kind], int(key) if kind == "boolean" else key


class Names(Protocol):
    """What the compiler asks the store."""

    def number(self, text: str) -> int | None:
        """The number of an attribute or a type; None: no entity ever had it."""
        ...

    def has_kind(self, name: int, kind: int) -> bool:
        """Whether any entity has a value of the kind under the attribute."""
        ...


@dataclass(frozen=True, slots=True)
class Select:
    """Rows of one index table."""

    table: str
    where: str
    params: tuple[Any, ...]
    ordered: bool
    """All columns of the key before `n` are fixed: rows come in order of n, and one entity's row is found at once."""

    def numbers(self) -> str:
        """The statement that gives their entities' numbers."""
        return f"SELECT n FROM {self.table} WHERE {self.where}"  # noqa: S608 - made of constants

    def holds(self) -> str:
        """The expression that is true for their entities."""
        if self.ordered:
            return f"EXISTS (SELECT 1 FROM {self.table} WHERE {self.where} AND n = e.n)"  # noqa: S608
        return f"e.n IN ({self.numbers()})"


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean expression over `e.n`."""

    sql: str
    params: tuple[Any, ...] = ()
    exact: bool = True
    selects: tuple[Select, ...] = ()
    """The rows whose entities are those of the condition: it can then lead the search."""
    wider: Condition | None = None
    """One that lets more through, whose rows come in order: better when there is much to gather."""
    parts: int = 1
    probes: bool = True
    """Each entity is looked up in indexes on its own: nothing is gathered before the first is tested."""
    type_number: int | None = None
    """The type's number, where one type is all that is asked."""
    left_out: Select | None = None
    """The rows whose entities are not selected, where that is all the condition says."""

    @property
    def ordered(self) -> bool:
        """Whether the rows come in order of the entities' numbers."""
        return len(self.selects) == 1 and self.selects[0].ordered

    def numbers(self) -> str:
        """The statement that gives the entities' numbers, from `select_params`."""
        return " UNION ".join(select.numbers() for select in self.selects)

    @property
    def select_params(self) -> tuple[Any, ...]:
        """Of `numbers`."""
        return tuple(param for select in self.selects for param in select.params)


EVERYTHING: Final = Condition("1", exact=False)
"""What the index cannot say: the matcher must."""
NOTHING: Final = Condition("0")


def conditions(query: EntityQuery, names: Names) -> list[Condition]:
    """What must hold for an entity to be selected; EVERYTHING stands in for what only the matcher sees."""
    made: list[Condition] = []
    if len(query.ids) > MOST_LISTED:
        made.append(EVERYTHING)
    elif query.ids:
        marks = ", ".join("?" * len(query.ids))
        made.append(_selected(Select("entity", f"id IN ({marks})", query.ids, ordered=False)))
    if query.id_pattern is not None:
        made.append(EVERYTHING)
    if query.types is not None:
        made += _flat(_types(query.types, names))
    if query.selectors:
        made.append(any_of(all_of(conditions(selected(each), names)) for each in query.selectors))
    if query.attributes:
        made.append(any_of(_present(name, names) for name in query.attributes))
    if query.scope is not None:
        made.append(_scope(query.scope))
    if query.q is not None:
        terms = query.q.terms if isinstance(query.q, And) else (query.q,)
        made += [_q(term, names) for term in terms]
    if query.geo is not None:
        made.append(_geo(query.geo, names))
    if query.excluded is not None:
        made.append(_without(query.excluded))
    return made


def _without(excluded: Excluded) -> Condition:
    """All but some, whose numbers are gathered by the index over ids; for a page, the matcher tells them sooner."""
    where, params = "id IN (SELECT value FROM json_each(?))", [_as_json(excluded.ids)]
    if excluded.prefix:
        where += " OR (id >= ? AND id < ?)"
        params += [excluded.prefix, excluded.behind_prefix]
    rows = Select("entity", where, tuple(params), ordered=False)
    return Condition(f"e.n NOT IN ({rows.numbers()})", rows.params, probes=False, left_out=rows)


@lru_cache(maxsize=16)
def _as_json(ids: frozenset[str]) -> str:
    return dumps(sorted(ids)).decode()


def _flat(condition: Condition | tuple[Condition, ...]) -> tuple[Condition, ...]:
    return condition if isinstance(condition, tuple) else (condition,)


def all_of(parts: Iterable[Condition]) -> Condition:
    """All hold."""
    kept = list(parts)
    if not kept or sum(part.parts for part in kept) > MOST_PARTS:
        return EVERYTHING
    return _joined(kept, " AND ")


def any_of(parts: Iterable[Condition]) -> Condition:
    """Any holds."""
    kept = [part for part in parts if part is not NOTHING]
    if EVERYTHING in kept or sum(part.parts for part in kept) > MOST_PARTS:
        return EVERYTHING
    if not kept:
        return NOTHING
    made = _joined(kept, " OR ")
    if all(part.selects for part in kept):
        return replace(made, selects=tuple(select for part in kept for select in part.selects))
    return made


def _joined(parts: list[Condition], word: str) -> Condition:
    if len(parts) == 1:
        return parts[0]
    return Condition(
        "(" + word.join(part.sql for part in parts) + ")",
        tuple(param for part in parts for param in part.params),
        all(part.exact for part in parts),
        parts=sum(part.parts for part in parts),
        probes=all(part.probes for part in parts),
    )


def _selected(select: Select, *, exact: bool = True) -> Condition:
    return Condition(select.holds(), select.params, exact, (select,), probes=select.ordered)


def _types(selection: TypeSelection, names: Names) -> Condition | tuple[Condition, ...]:
    match selection:
        case HasType(wanted):
            number = names.number(wanted)
            if number is None:
                return NOTHING
            made = _selected(Select("entity_type", "type = ?", (number,), ordered=True))
            return replace(made, type_number=number)
        case AllTypes(terms):
            return tuple(part for term in terms for part in _flat(_types(term, names)))
        case AnyType(terms):
            return any_of(all_of(_flat(_types(term, names))) for term in terms)


def _present(attribute: Iri, names: Names) -> Condition:
    number = names.number(attribute)
    return NOTHING if number is None else _selected(Select("attribute", "name = ?", (number,), ordered=True))


def _scope(scope: ScopeQuery) -> Condition:
    match scope:
        case AllScopes(terms):
            return all_of(_scope(term) for term in terms)
        case AnyScope(terms):
            return any_of(_scope(term) for term in terms)
        case ScopeIs(segments):
            wild = next((at for at, segment in enumerate(segments) if segment in ("+", "#")), None)
            if wild is None:
                return _selected(Select("entity_scope", "scope = ?", ("/".join(segments),), ordered=True))
            exact = wild == len(segments) - 1 and segments[wild] == "#"
            stem = "/".join(segments[:wild])
            if not stem:
                return _selected(Select("entity_scope", "scope >= ''", (), ordered=False), exact=exact)
            # '0' is the character behind '/': all that begins with the stem and '/', and the stem itself.
            below = _selected(
                Select("entity_scope", "scope >= ? AND scope < ?", (stem + "/", stem + "0"), ordered=False), exact=exact
            )
            return any_of([_selected(Select("entity_scope", "scope = ?", (stem,), ordered=True)), below])


def _q(q: Q, names: Names) -> Condition:
    match q:
        case And(terms):
            return all_of(_q(term, names) for term in terms)
        case Or(terms):
            return any_of(_q(term, names) for term in terms)
        case Linked():
            raise TypeError("what is asked of linked entities is looked up before (broker.query.linked)")
        case Exists(path):
            return _reached(path, names)
        case Comparison(path, operator, values):
            if path.attribute in ENTITY_MEMBERS and not path.subattributes and not path.members:
                return _moments(path.attribute, operator, values)
            if path.subattributes or path.members:
                return _reached(path, names)
            if operator in ("!=", "~=", "!~="):
                return _inexact(_present(path.attribute, names))
            return _values(path.attribute, operator, values, names)


_MOMENTS: Final = {"createdAt": CREATED, "expiresAt": ENDS}


def _moments(member: str, operator: str, values: tuple[Scalar | Range, ...]) -> Condition:
    """The entities with such a createdAt or expiresAt; modifiedAt is not indexed, as it would make each update dearer."""
    if member not in _MOMENTS or operator not in ("==", ">", ">=", "<", "<="):
        return EVERYTHING
    return any_of(_moment(_MOMENTS[member], operator, value) for value in values)


def _moment(kind: int, operator: str, value: Scalar | Range) -> Condition:
    ends = (value.low, value.high) if isinstance(value, Range) else (value,)
    keys = [compared[1] for end in ends if (compared := comparable(end)) is not None and compared[0] == "instant"]
    if len(keys) != len(ends) or (isinstance(value, Range) and operator != "=="):
        return EVERYTHING
    test = "at BETWEEN ? AND ?" if isinstance(value, Range) else f"at {'=' if operator == '==' else operator} ?"
    ordered = operator == "==" and not isinstance(value, Range)
    return _selected(Select("moment", f"kind = {kind} AND {test}", tuple(keys), ordered))


def _reached(path: Path, names: Names) -> Condition:
    """Entities that may have what the path leads to."""
    if path.attribute in ENTITY_MEMBERS:
        return EVERYTHING
    present = _present(path.attribute, names)
    if not path.subattributes and not path.members:
        return present
    return _inexact(present)


def _inexact(condition: Condition) -> Condition:
    return condition if condition is NOTHING else replace(condition, exact=False)


def _values(attribute: Iri, operator: str, values: tuple[Scalar | Range, ...], names: Names) -> Condition:
    number = names.number(attribute)
    if number is None:
        return NOTHING
    listed = [value for value in values if not isinstance(value, Range)] if operator == "==" else []
    if len(listed) > MOST_LISTED:
        return _inexact(_present(attribute, names))
    if len(listed) > 1:
        parts = _listed(number, listed, names)
        values = tuple(value for value in values if isinstance(value, Range))
    else:
        parts = []
    parts += [part for value in values for part in _value(number, operator, value, names)]
    if names.has_kind(number, ANYTHING):
        parts.append(
            _selected(Select("value", "name = ? AND kind = ?", (number, ANYTHING), ordered=False), exact=False)
        )
    made = any_of(parts)
    if made is NOTHING:
        return made
    present = _inexact(_present(attribute, names))
    return present if made is EVERYTHING else replace(made, wider=present)


def _listed(name: int, values: list[Scalar], names: Names) -> list[Condition]:
    """The rows that have any of the values: one search for each kind."""
    keys: dict[int, list[Any]] = {}
    exact = True
    for value in values:
        compared = comparable(value)
        if compared is None:
            continue
        kind, key = kind_and_key(compared)
        if kind == NUMBER and not _fits(key):
            key, exact = float(key), False
        elif isinstance(key, str) and len(key) >= LONGEST_TEXT:
            key, exact = key[:LONGEST_TEXT], False
        keys.setdefault(kind, []).append(key)
    if STRING in keys and names.has_kind(name, REFERENCE):
        keys[REFERENCE] = keys[STRING]
    return [
        _selected(
            Select(
                "value", f"name = ? AND kind = ? AND v IN ({', '.join('?' * len(some))})", (name, kind, *some), False
            ),
            exact=exact,
        )
        for kind, some in keys.items()
    ]


def _fits(key: Any) -> bool:
    """Whether SQLite has the number as it is: its integers have 64 bits with a sign."""
    return not isinstance(key, int) or -(1 << 63) <= key < 1 << 63


def _value(name: int, operator: str, value: Scalar | Range, names: Names) -> list[Condition]:
    """The rows that one value of the comparison selects: in the kinds that it compares with."""
    ends = (value.low, value.high) if isinstance(value, Range) else (value,)
    compared = [each for end in ends if (each := comparable(end)) is not None]
    if len(compared) != len(ends) or len({kind for kind, _ in compared}) != 1:
        return []
    keys = [kind_and_key(each) for each in compared]
    kind = keys[0][0]
    if kind == BOOLEAN and (operator != "==" or isinstance(value, Range)):
        return []
    if kind == NUMBER and not all(_fits(key) for _, key in keys):
        keys = [(kind, float(key)) for _, key in keys]
        exact = False
    else:
        exact = all(not isinstance(key, str) or len(key) < LONGEST_TEXT for _, key in keys)
    kinds = [kind]
    if kind == STRING and operator == "==" and names.has_kind(name, REFERENCE):
        kinds.append(REFERENCE)
    cut = [key[:LONGEST_TEXT] if isinstance(key, str) else key for _, key in keys]
    if isinstance(value, Range):
        test = "v BETWEEN ? AND ?"
    elif operator == "==":
        test = "v = ?"
    else:
        # A rounded or cut end may be that of values on either side: let them through.
        test = f"v {operator if exact else operator[0] + '='} ?"
    ordered = operator == "==" and not isinstance(value, Range)
    return [
        _selected(Select("value", f"name = ? AND kind = ? AND {test}", (name, each, *cut), ordered), exact=exact)
        for each in kinds
    ]


def _geo(geo: GeoQuery, names: Names) -> Condition:
    number = names.number(geo.geoproperty)
    if number is None:
        return NOTHING
    if geo.relation == "near":
        box = box_around(geo.geometry, geo.max_distance) if geo.max_distance is not None else None
    else:
        box = bounds(geo.geometry) if geo.relation != "disjoint" else None
    if box is None:
        return _inexact(_present(geo.geoproperty, names))
    west, south, east, north = box
    table = "box JOIN place ON place.id = box.id"
    where = "west <= ? AND east >= ? AND south <= ? AND north >= ? AND place.name = ?"
    return _selected(Select(table, where, (east, west, north, south, number), ordered=False), exact=False)
