"""Every filter is served by an index: SQLite explains its plan, and no step walks a whole table."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.clock import iso
from broker.query.ast import (
    AnyType,
    Comparison,
    EntityQuery,
    Excluded,
    Exists,
    GeoQuery,
    HasType,
    OrderTerm,
    Q,
    Range,
    ScopeIs,
)
from broker.query.ast import Path as QPath
from broker.stores.base import TenantStore
from broker.stores.sqlite.discovery import EXPIRING
from broker.stores.sqlite.ordered import index_order
from broker.stores.sqlite.plan import Search
from tests.support.stores import MOMENT, entities_of, entity, iri, make_store, prop

ROOM = HasType(iri("Room"))
SOME = Excluded(frozenset(f"urn:e:{n}" for n in range(100)), "urn:e:49")
CENTRE = {"type": "Point", "coordinates": [20.0, 63.0]}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("indexes") / "knutpunkt.db"


@pytest.fixture
async def tenant(path: Path) -> AsyncIterator[TenantStore]:
    store = make_store(f"sqlite:///{path}")
    await store.open()
    tenant = await store.tenant()
    if not (await tenant.query(EntityQuery(limit=1))).entities:
        ended = entity("urn:e:ended", "Room") | {"expiresAt": iso(MOMENT)}
        await tenant.commit(
            entities_of(
                ended,
                *(
                    entity(
                        f"urn:e:{n}",
                        "Room" if n % 2 else "Bin",
                        scope=[f"/umea/{n % 7}"],
                        location=(20 + n / 10_000, 63),
                        temperature=n,
                        name=f"room {n}",
                        attrs={iri("rare"): [prop(True)]} if n % 1000 == 0 else None,
                    )
                    for n in range(5000)
                ),
            )
        )
    yield tenant
    await store.close()


def compare(name: str, operator: str, *values: object) -> Q:
    return Comparison(QPath(iri(name)), operator, values)  # type: ignore[arg-type]


def explained(path: Path, query: EntityQuery) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        search = Search(connection, query)
        search.look_closer()
        statement, params = (search.few() or search.walk()).bodies(0)
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", params)]
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (EntityQuery(ids=("urn:e:5", "urn:e:7")), "entity USING COVERING INDEX sqlite_autoindex_entity_1 (id=?)"),
        (EntityQuery(types=ROOM), "entity_type USING PRIMARY KEY (type=?)"),
        (EntityQuery(attributes=(iri("rare"),)), "attribute USING PRIMARY KEY (name=?)"),
        (EntityQuery(q=Exists(QPath(iri("rare")))), "attribute USING PRIMARY KEY (name=?)"),
        (EntityQuery(q=compare("temperature", "==", 7)), "value USING PRIMARY KEY (name=? AND kind=? AND v=?)"),
        (EntityQuery(q=compare("temperature", ">", 4000)), "value USING PRIMARY KEY (name=? AND kind=? AND v>?)"),
        (
            EntityQuery(q=compare("temperature", "==", Range(5, 9))),
            "value USING PRIMARY KEY (name=? AND kind=? AND v>? AND v<?)",
        ),
        (EntityQuery(q=compare("name", "==", "room 7")), "value USING PRIMARY KEY (name=? AND kind=? AND v=?)"),
        (EntityQuery(scope=ScopeIs(("umea", "3"))), "entity_scope USING PRIMARY KEY (scope=?)"),
        (EntityQuery(scope=ScopeIs(("umea", "3", "#"))), "entity_scope USING PRIMARY KEY (scope>? AND scope<?)"),
        (EntityQuery(geo=GeoQuery("near", CENTRE, max_distance=500)), "box VIRTUAL TABLE INDEX"),
        (
            EntityQuery(types=ROOM, q=compare("temperature", "==", 7)),
            "value USING PRIMARY KEY (name=? AND kind=? AND v=?)",
        ),
        (EntityQuery(types=ROOM, geo=GeoQuery("near", CENTRE, max_distance=500)), "box VIRTUAL TABLE INDEX"),
        (
            EntityQuery(q=Comparison(QPath("createdAt"), ">", (iso(MOMENT),))),
            "moment USING PRIMARY KEY (kind=? AND at>?)",
        ),
        (EntityQuery(types=ROOM, now=MOMENT + 1), "moment USING PRIMARY KEY (kind=? AND at<?)"),
        (EntityQuery(types=ROOM, excluded=SOME), "entity_type USING PRIMARY KEY (type=?)"),
    ],
)
async def test_a_filter_is_served_by_its_index(tenant: TenantStore, path: Path, query: EntityQuery, index: str) -> None:
    steps = explained(path, query)
    assert any(index in step for step in steps), steps
    assert not any(step.startswith("SCAN") and "VIRTUAL TABLE INDEX" not in step for step in steps), steps


@pytest.mark.parametrize(
    "query",
    [
        EntityQuery(types=ROOM),
        EntityQuery(types=ROOM, excluded=SOME),
        EntityQuery(types=ROOM, q=compare("temperature", ">", 0)),
        EntityQuery(q=compare("temperature", ">", 0)),
        EntityQuery(types=AnyType((ROOM, HasType(iri("Bin"))))),
        EntityQuery(types=ROOM, geo=GeoQuery("near", CENTRE, max_distance=1_000_000)),
    ],
)
async def test_a_page_of_a_large_answer_is_met_in_order_without_sorting(
    tenant: TenantStore, path: Path, query: EntityQuery
) -> None:
    steps = explained(path, query)
    assert not any("TEMP B-TREE" in step for step in steps), steps


async def test_what_is_left_out_is_found_by_the_index_over_ids(tenant: TenantStore, path: Path) -> None:
    connection = sqlite3.connect(path)
    search = Search(connection, EntityQuery(types=ROOM, excluded=SOME))
    statement, params = search.whole().bodies(0)
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", params)]
    assert search.count() == 2500 + 1 - len([n for n in range(5000) if n % 2 and SOME.has(f"urn:e:{n}")])
    connection.close()
    for bound in ("(id=?)", "(id>? AND id<?)"):
        assert any(f"entity USING COVERING INDEX sqlite_autoindex_entity_1 {bound}" in step for step in steps), steps
    assert not any(step.startswith("SCAN") and "VIRTUAL TABLE INDEX" not in step for step in steps), steps


async def test_history_of_an_attribute_is_read_in_the_order_of_its_index(tenant: TenantStore, path: Path) -> None:
    connection = sqlite3.connect(path)
    statement = "SELECT row FROM history WHERE entity = 1 AND name = 2 AND observed_at >= 0 ORDER BY observed_at, version LIMIT 5"
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    connection.close()
    assert len(steps) == 1 and "history_order" in steps[0]


@pytest.mark.parametrize("descending", [False, True])
async def test_the_order_of_creation_is_walked_along_its_index(
    tenant: TenantStore, path: Path, descending: bool
) -> None:
    connection = sqlite3.connect(path)
    query = EntityQuery(types=ROOM, order=(OrderTerm(QPath("createdAt"), descending),))
    order = index_order(connection, query)
    assert order is not None
    for after in (None, (0, MOMENT if not descending else -MOMENT, 7)):
        for _, statement, params in order.walk(Search(connection, query), after):
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", params)]
            assert "o USING PRIMARY KEY (kind=?" in steps[0] and not any(step.startswith("SCAN") for step in steps), (
                steps
            )
            assert not any(step == "USE TEMP B-TREE FOR ORDER BY" for step in steps), steps
    connection.close()


async def test_what_expires_is_met_soonest_first_along_its_index(tenant: TenantStore, path: Path) -> None:
    connection = sqlite3.connect(path)
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {EXPIRING}", (3, MOMENT, 10))]
    connection.close()
    assert "m USING PRIMARY KEY (kind=? AND at<?)" in steps[0] and len(steps) == 2, steps
