"""The query evaluated in memory: for subscriptions, and to finish what a store can only narrow.

This is the reference: `sql.py` and `mongo.py` must give the same answers (tests/property/test_query_agreement.py).
What the clause leaves open is decided here (ETSI GS CIM 009 v1.9.1, 4.9, 4.10, 4.17, 4.19, 5.7.2).

Targets
    a path has one target for each instance (any datasetId) of the attribute, or of the sub-attribute it leads to; a term
    holds when it holds for any one target. No target: nothing holds, not even != and !~=.
    A target is a bag of scalars:

    | addressed                              | bag                                                                  |
    | Property, GeoProperty, JsonProperty    | the value; an array's elements (one level; inner arrays stay arrays) |
    | ListProperty, VocabProperty            | the elements; the (expanded) term or terms                           |
    | Relationship, ListRelationship         | the object or objects                                                |
    | LanguageProperty, with or without [*]  | the texts of all languages, arrays of texts flattened                |
    | LanguageProperty[en]                   | the text or texts of that language; no target without it             |
    | [member.member]                        | walks JSON objects only (never into arrays); no target if not there  |
    | a.observedAt, createdAt, modifiedAt,   | that member of the instance, as the last name of the path, without   |
    | unitCode, datasetId, …                 | members (`targets.INSTANCE_MEMBERS`); no target if not there         |
    | createdAt, modifiedAt, expiresAt alone | that member of the entity (Path.attribute unexpanded)                |

Kinds (`values.comparable`)
    number (int or float: 1 == 1.0, compared exactly), boolean (never a number), instant (a string that is a DateTime
    with 'Z', compared as time to the microsecond: 12:00:00Z == 12:00:00.000Z), string (any other: dates, times of day and
    URIs too; case-sensitive, ordered by code point). {"@value": x} counts as x. null, other objects and inner arrays have
    no kind. Different kinds are never equal and never ordered.

    | term             | holds for a target when                                                                        |
    | path             | it exists (an explicit null and an empty array exist)                                          |
    | == v, == v,w     | any scalar equals any value                                                                    |
    | == lo..hi        | any scalar has the kind of both ends and lies between, ends included; never booleans           |
    | != v, v,w, lo..hi| no scalar satisfies == (so other kinds, objects, null and an empty array are unequal)          |
    | > >= < <=        | any scalar has the value's kind and is so ordered; never booleans, never relationships         |
    | ~= p             | any scalar is a string (a DateTime's text too) in which p is found (not anchored); never       |
    |                  | relationships                                                                                  |
    | !~= p            | it has a string, and p is found in none of its strings; never relationships                    |

Others
    | ids              | the entity's id is one of them                                                                 |
    | excluded         | its id is not one of them, and does not begin so                                               |
    | id_pattern       | is found in the id (not anchored)                                                              |
    | selectors        | all that any one of them asks for                                                              |
    | types            | HasType: among the entity's types                                                              |
    | attributes       | has at least one of them, with any instance                                                    |
    | datasets         | no condition: which instances are shown (5.7.2.4), which is projection and the caller's        |
    | scope            | any of the entity's scopes matches; '+' one level, '#' (last) any number, also none; '/#' any  |
    |                  | scope; leading and trailing '/' do not count; case-sensitive                                   |
    | geo              | any instance of the geoproperty that is a GeoProperty with a valid geometry (RFC 7946, in      |
    |                  | [-180, 180] and [-90, 90] degrees; a ring that crosses itself encloses what its edges do); none: no match,                 |
    |                  | disjoint included. near: shortest distance along the earth's surface, <= max_distance and      |
    |                  | > min_distance. Others: planar in longitude and latitude (OGC), edges straight; within,        |
    |                  | contains exclude what lies only on the boundary; target relation reference                     |
"""

from __future__ import annotations

from collections.abc import Callable

from broker.ngsild.model import Entity, Iri
from broker.query.ast import (
    AllScopes,
    AllTypes,
    And,
    AnyScope,
    AnyType,
    Comparison,
    EntityQuery,
    EntitySelector,
    Exists,
    GeoQuery,
    HasType,
    Linked,
    Or,
    Q,
    ScopeIs,
    ScopeQuery,
    TypeSelection,
)
from broker.query.comparison import compile_comparison
from broker.query.geomatch import compile_geo
from broker.query.pattern import finder
from broker.query.targets import targets

Matcher = Callable[[Entity], bool]


def matches(query: EntityQuery, entity: Entity) -> bool:
    """Whether `entity` meets all conditions of `query` (limit, offset and count are none)."""
    return compile_query(query)(entity)


def compile_query(query: EntityQuery) -> Matcher:
    """The same with everything prepared once, cheap conditions first."""
    tests: list[Matcher] = []
    if query.ids:
        wanted = frozenset(query.ids)
        tests.append(lambda entity: entity["id"] in wanted)
    if query.excluded is not None:
        excluded = query.excluded.has
        tests.append(lambda entity: not excluded(entity["id"]))
    if query.types is not None:
        tests.append(_compile_types(query.types))
    if query.selectors:
        tests.append(_any([compile_query(selected(each)) for each in query.selectors]))
    if query.attributes:
        tests.append(_compile_attributes(query.attributes))
    if query.scope is not None:
        tests.append(_compile_scope(query.scope))
    if query.id_pattern is not None:
        found = finder(query.id_pattern)
        tests.append(lambda entity: found(entity["id"]))
    if query.q is not None:
        tests.append(compile_q(query.q))
    if query.geo is not None:
        tests.append(compile_geo(query.geo))
    return _all(tests)


def selected(selector: EntitySelector) -> EntityQuery:
    """A selector as a query of its own."""
    return EntityQuery(ids=selector.ids, id_pattern=selector.id_pattern, types=selector.types)


def id_matches(query: EntityQuery, entity: Entity) -> bool:
    """Whether the entity's id is one of `ids` and has `id_pattern`, as far as given."""
    return matches(EntityQuery(ids=query.ids, id_pattern=query.id_pattern), entity)


def types_match(selection: TypeSelection, entity: Entity) -> bool:
    """Whether the entity has the types selected (4.17)."""
    return _compile_types(selection)(entity)


def attributes_match(attributes: tuple[Iri, ...], entity: Entity) -> bool:
    """Whether the entity has at least one of the attributes."""
    return _compile_attributes(attributes)(entity)


def q_matches(q: Q, entity: Entity) -> bool:
    """Whether the entity meets `q` (4.9)."""
    return compile_q(q)(entity)


def geo_matches(geo: GeoQuery, entity: Entity) -> bool:
    """Whether the entity's geoproperty has the relation (4.10)."""
    return compile_geo(geo)(entity)


def scope_matches(scope: ScopeQuery, entity: Entity) -> bool:
    """Whether one of the entity's scopes matches, for each scope asked for (4.19)."""
    return _compile_scope(scope)(entity)


def compile_q(q: Q) -> Matcher:
    """`q` as a function on an entity."""
    match q:
        case Exists(path):
            return lambda entity: any(True for _ in targets(path, entity))
        case Comparison():
            return compile_comparison(q)
        case And(terms):
            return _all([compile_q(term) for term in terms])
        case Or(terms):
            return _any([compile_q(term) for term in terms])
        case Linked():
            raise TypeError("what is asked of linked entities is looked up before (broker.query.linked)")


def _compile_types(selection: TypeSelection) -> Matcher:
    match selection:
        case HasType(wanted):
            return lambda entity: wanted in entity["type"]
        case AllTypes(terms):
            return _all([_compile_types(term) for term in terms])
        case AnyType(terms):
            return _any([_compile_types(term) for term in terms])


def _compile_attributes(attributes: tuple[Iri, ...]) -> Matcher:
    return lambda entity: any(entity["attrs"].get(name) for name in attributes)


def _compile_scope(scope: ScopeQuery) -> Matcher:
    match scope:
        case ScopeIs(segments):
            return lambda entity: any(_scope_is(segments, text) for text in entity.get("scope", ()))
        case AllScopes(terms):
            return _all([_compile_scope(term) for term in terms])
        case AnyScope(terms):
            return _any([_compile_scope(term) for term in terms])


def _scope_is(segments: tuple[str, ...], text: str) -> bool:
    levels = text.strip("/").split("/")
    if segments[-1] == "#":
        segments = segments[:-1]
        levels = levels[: len(segments)]
    return len(levels) == len(segments) and all(
        wanted in ("+", level) for wanted, level in zip(segments, levels, strict=True)
    )


def _all(tests: list[Matcher]) -> Matcher:
    if len(tests) == 1:
        return tests[0]
    return lambda entity: all(test(entity) for test in tests)


def _any(tests: list[Matcher]) -> Matcher:
    if len(tests) == 1:
        return tests[0]
    return lambda entity: any(test(entity) for test in tests)
