"""The same question to the matcher and to each store: same entities, same order, same count."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import broker.stores.sqlite.plan
import broker.stores.sqlite.query
from broker.clock import iso
from broker.ngsild.model import LOCATION, Entity
from broker.query.ast import (
    AllScopes,
    AllTypes,
    And,
    AnyScope,
    AnyType,
    Comparison,
    EntityQuery,
    EntitySelector,
    Excluded,
    Exists,
    GeoQuery,
    HasType,
    Operator,
    Or,
    OrderTerm,
    Path,
    Range,
    ScopeIs,
)
from broker.query.match import compile_query
from broker.query.order import sort_key
from broker.stores.base import ChangeSet, EntityWrite, TenantStore
from tests.support.stores import make_store

AT = ["2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00Z", "2026-06-01T12:00:00.5Z", "2026-06-01T12:00:00Z"]
ENDS = 4_070_908_800_000_000
"""2099-01-01, microseconds."""
# Few of everything, so that equal, nearly equal and different values meet often.
NUMBERS: list[int | float] = [0, 1, 1.0, 2, 2.5, -1, 1e300, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2.0**63]
LONG = ["a" * length + end for length in (127, 128, 129, 511, 512) for end in ("", "b")]
TEXTS = [
    "",
    "1",
    "a",
    "b",
    "ab",
    "A",
    "å",
    "𝄞",
    "\ufffd",
    "a\x00b",
    "true",
    "urn:x:1",
    "urn:x:2",
    "2026-01-01",
    *AT,
    *LONG,
]
URIS = ["urn:x:1", "urn:x:2", "urn:x:3"]
VOCAB = "https://example.org/"
NAMES = [VOCAB + name for name in ("a", "b", "c.d", "$e")]
MEMBERS = ["a", "b", "c.d", "$e", "@value", "en", "sv", "*"]
TYPES = [VOCAB + name for name in ("Room", "Hall", "House")]
PATTERNS = ["a", "^a", "b$", "^$", "[0-9]", "^2026", "x:[12]", "A|å", "."]

scalars = st.sampled_from([*NUMBERS, *TEXTS, True, False])
values = st.recursive(
    scalars | st.none() | st.sampled_from([2**63, 2**64 - 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS[:5]), inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(st.sampled_from(MEMBERS[:5]), values, max_size=3)
numbers = st.sampled_from([17.0, 17.001, 17.002, 17.01, 18.0, -179.999, 179.999])
latitudes = st.sampled_from([62.0, 62.001, 62.002, 62.01, 63.0, 89.99, -62.0])
positions = st.tuples(numbers, latitudes).map(list)
points = st.fixed_dictionaries({"type": st.just("Point"), "coordinates": positions})


def square(corner: tuple[float, float], side: float) -> dict[str, Any]:
    (west, south), east, north = corner, corner[0] + side, corner[1] + side
    return {
        "type": "Polygon",
        "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    }


corners = st.tuples(st.sampled_from([16.9995, 17.0, 17.001]), st.sampled_from([61.9995, 62.0, 62.001]))
areas = st.builds(square, corners, st.sampled_from([0.001, 0.0015, 0.005, 2.0]))
lines = st.fixed_dictionaries(
    {"type": st.just("LineString"), "coordinates": st.lists(positions, min_size=2, max_size=3, unique_by=tuple)}
)
geometries = points | areas | lines
broken_geometries = st.sampled_from(
    [
        {"type": "Point"},
        {"type": "Point", "coordinates": [377, 62]},
        {"type": "Point", "coordinates": []},
        {"type": "LineString", "coordinates": [[17, 62]]},
        5,
        "x",
    ]
)

languages = st.dictionaries(
    st.sampled_from(["en", "sv"]), st.sampled_from(TEXTS) | st.lists(st.sampled_from(TEXTS), max_size=2)
)
contents: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"type": st.just("Property"), "value": values}),
    st.fixed_dictionaries(
        {
            "type": st.just("Relationship"),
            "object": st.sampled_from(URIS) | st.lists(st.sampled_from(URIS), min_size=1, max_size=2),
        }
    ),
    st.fixed_dictionaries({"type": st.just("LanguageProperty"), "languageMap": languages}),
    st.fixed_dictionaries({"type": st.just("VocabProperty"), "vocab": st.sampled_from(URIS)}),
    st.fixed_dictionaries({"type": st.just("ListProperty"), "valueList": st.lists(values, max_size=3)}),
    st.fixed_dictionaries({"type": st.just("ListRelationship"), "objectList": st.lists(st.sampled_from(URIS))}),
    st.fixed_dictionaries({"type": st.just("JsonProperty"), "json": objects}),
    st.fixed_dictionaries({"type": st.just("GeoProperty"), "value": geometries}),
)


def as_instances(made: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[Any]:
    """The first is the default instance, the others have datasetIds."""
    return [
        content | members | {"createdAt": AT[0], "modifiedAt": AT[0]} | ({"datasetId": f"urn:d:{n}"} if n else {})
        for n, (content, members) in enumerate(made)
    ]


def instances(depth: int) -> st.SearchStrategy[list[Any]]:
    members: dict[str, st.SearchStrategy[Any]] = {
        "observedAt": st.sampled_from(AT),
        "unitCode": st.sampled_from(["CEL", "P1"]),
    }
    if depth:
        members["attrs"] = st.dictionaries(st.sampled_from(NAMES), instances(depth - 1), max_size=2)
    optional = st.fixed_dictionaries({}, optional=members)
    return st.lists(st.tuples(contents, optional), min_size=1, max_size=2).map(as_instances)


places = st.lists(
    st.fixed_dictionaries({"type": st.just("GeoProperty"), "value": geometries | geometries | broken_geometries}),
    min_size=1,
    max_size=2,
).map(lambda made: as_instances([(place, {}) for place in made]))


def as_entity(types: list[str], attrs: dict[str, Any], place: list[Any] | None, members: dict[str, Any]) -> Any:
    attributes = attrs | ({} if place is None else {LOCATION: place})
    return {"type": types, "attrs": attributes, "createdAt": AT[0], "modifiedAt": AT[2]} | members


scopes = st.lists(st.sampled_from(["/a", "/a/b", "/a/b/c", "/b", "c"]), max_size=2, unique=True)
entities: st.SearchStrategy[Any] = st.builds(
    as_entity,
    st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True),
    st.dictionaries(st.sampled_from(NAMES), instances(1), max_size=3),
    st.none() | places,
    st.fixed_dictionaries(
        {}, optional={"scope": scopes, "expiresAt": st.just(iso(ENDS)), "createdAt": st.sampled_from(AT)}
    ),
)

names = st.sampled_from(NAMES)
lasts = names | st.sampled_from(["observedAt", "unitCode", "datasetId", "modifiedAt"])
paths = st.one_of(
    st.builds(Path, names),
    st.builds(Path, names, st.tuples(lasts) | st.tuples(names, lasts)),
    st.builds(Path, names, st.just(()), st.lists(st.sampled_from(MEMBERS), min_size=1, max_size=2).map(tuple)),
    st.builds(Path, names, st.tuples(names), st.lists(st.sampled_from(MEMBERS), max_size=1).map(tuple)),
    st.builds(Path, st.sampled_from(["createdAt", "modifiedAt", "expiresAt"])),
    st.builds(Path, st.just(LOCATION), st.just(()), st.just(("type",)) | st.just(())),
)
ranges = st.builds(Range, st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)) | st.builds(
    Range, st.sampled_from(TEXTS), st.sampled_from(TEXTS)
)
equality: st.SearchStrategy[Operator] = st.sampled_from(["==", "!="])
order: st.SearchStrategy[Operator] = st.sampled_from([">", ">=", "<", "<="])
pattern: st.SearchStrategy[Operator] = st.sampled_from(["~=", "!~="])
terms: st.SearchStrategy[Any] = st.one_of(
    st.builds(Exists, paths),
    st.builds(Comparison, paths, equality, st.lists(scalars | ranges, min_size=1, max_size=2).map(tuple)),
    st.builds(Comparison, paths, order, st.tuples(st.sampled_from([*NUMBERS, *TEXTS]))),
    st.builds(Comparison, paths, pattern, st.tuples(st.sampled_from(PATTERNS))),
)


def several(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    terms = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.builds(And, terms) | st.builds(Or, terms)


qs = st.recursive(terms, several, max_leaves=4)
one_type = st.builds(HasType, st.sampled_from(TYPES))
types = st.recursive(
    one_type,
    lambda inner: st.builds(AnyType, st.tuples(inner, inner)) | st.builds(AllTypes, st.tuples(inner, inner)),
    max_leaves=3,
)
one_scope = st.builds(
    ScopeIs,
    st.sampled_from([("#",), ("a",), ("a", "#"), ("a", "b"), ("+",), ("+", "b"), ("a", "+", "#"), ("+", "+"), ("c",)]),
)
scope_queries = st.recursive(
    one_scope,
    lambda inner: st.builds(AnyScope, st.tuples(inner, inner)) | st.builds(AllScopes, st.tuples(inner, inner)),
    max_leaves=3,
)
members = st.builds(Path, st.sampled_from(["id", "type", "scope", "createdAt", "modifiedAt", "expiresAt"]))
properties = st.sampled_from([LOCATION, LOCATION, NAMES[0]])
geos = st.one_of(
    st.builds(
        GeoQuery,
        st.sampled_from(["within", "contains", "overlaps", "intersects", "equals", "disjoint"]),
        geometries,
        properties,
    ),
    st.builds(GeoQuery, st.just("near"), geometries, properties, st.sampled_from([60.0, 150.0, 5e3, 2e5, 1e7])),
    st.builds(GeoQuery, st.just("near"), geometries, properties, st.none(), st.sampled_from([1.0, 100.0, 5e6])),
    st.builds(GeoQuery, st.just("near"), geometries, properties, st.just(2e5), st.just(60.0)),
)
conditions: dict[str, st.SearchStrategy[Any]] = {
    "ids": st.lists(st.sampled_from(["urn:e:0", "urn:e:1", "urn:e:9"]), min_size=1, unique=True).map(tuple),
    "id_pattern": st.sampled_from(["^urn:e:[02]$", "1", "x", "e:"]),
    "types": types,
    "attributes": st.lists(names, min_size=1, max_size=2, unique=True).map(tuple),
    "q": qs,
    "geo": geos,
    "scope": scope_queries,
    "selectors": st.lists(
        st.builds(EntitySelector, types=types)
        | st.builds(EntitySelector, st.just(("urn:e:1",)), st.none() | st.just("e")),
        min_size=1,
        max_size=2,
    ).map(tuple),
    "order": st.lists(st.builds(OrderTerm, paths | members, st.booleans()), min_size=1, max_size=2).map(tuple)
    | st.builds(OrderTerm, st.just(Path(LOCATION)), st.booleans(), points).map(lambda term: (term,)),
    "now": st.sampled_from([ENDS - 1, ENDS]),
    "excluded": st.builds(
        Excluded,
        st.frozensets(st.sampled_from(["urn:e:0", "urn:e:1", "urn:e:3", "urn:e:9"]), max_size=3),
        st.sampled_from(["", "urn:e:2", "urn:f:", "urn:e:"]),
    ),
}


def one_condition(name: str) -> st.SearchStrategy[EntityQuery]:
    return st.builds(EntityQuery, **{name: conditions[name]}, limit=st.just(1000))


pages: dict[str, st.SearchStrategy[Any]] = {
    "limit": st.integers(0, 4),
    "offset": st.integers(0, 3),
    "count": st.booleans(),
}
queries = st.one_of(
    one_condition("q"),
    one_condition("q"),
    one_condition("geo"),
    *map(one_condition, conditions),
    st.fixed_dictionaries(pages, optional=conditions).map(lambda given: EntityQuery(**given)),
)


@pytest.fixture(params=["sqlite", "sqlite with much data", "mongo"])
async def tenant(
    request: pytest.FixtureRequest, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[TenantStore]:
    """The default tenant of an empty store."""
    url = request.getfixturevalue("mongo_url") if request.param == "mongo" else f"sqlite:///{tmp_path}/agreement.db"
    if request.param == "sqlite with much data":
        # It then plans as it does for thousands of entities.
        monkeypatch.setattr(broker.stores.sqlite.plan, "TINY", 1)
        monkeypatch.setattr(broker.stores.sqlite.plan, "FEW", 2)
        monkeypatch.setattr(broker.stores.sqlite.query, "SHORT", 0)
        monkeypatch.setattr(broker.stores.sqlite.query, "WALKED", 2)
    store = make_store(url)
    await store.open()
    yield await store.tenant()
    await store.close()


versions = itertools.count(1)


async def ask(tenant: TenantStore, made: list[Any], asked: list[EntityQuery]) -> None:
    """Put the entities, ask the questions, and take the entities away."""
    kept: list[Entity] = [entity | {"id": f"urn:e:{number}"} for number, entity in enumerate(made)]
    written = [EntityWrite(entity["id"], entity, next(versions), 0) for entity in kept]
    await tenant.commit(ChangeSet(entities=written))
    try:
        for query in asked:
            test = compile_query(query)
            ended = ENDS if query.now == ENDS else None
            expected = [each for each in kept if test(each) and not (ended and each.get("expiresAt") == iso(ended))]
            expected.sort(key=sort_key(query.order))
            page = await tenant.query(query)
            note(f"{query}\nexpected {[entity['id'] for entity in expected]}")
            assert page.more is (0 < query.limit < len(expected) - query.offset)
            if page.next is not None:
                rest = await tenant.query(replace(query, after=page.next, limit=1000))
                assert page.entities + rest.entities == expected[query.offset :]
            assert page.entities == expected[query.offset : query.offset + query.limit]
            if query.count:
                assert page.total == len(expected)
    finally:
        gone = [EntityWrite(write.id, None, next(versions), write.version) for write in written]
        await tenant.commit(ChangeSet(entities=gone))


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(entities, min_size=1, max_size=5), st.lists(queries, min_size=1, max_size=6))
async def test_a_store_selects_what_the_matcher_selects(
    tenant: TenantStore, made: list[Any], asked: list[EntityQuery]
) -> None:
    await ask(tenant, made, asked)
