"""Every filter that an index can serve is served by one: the server is asked to explain its plan.

The stand-in's planner knows single conditions only (real MongoDB's serves all of these unasked): where it would scan
the collection, the plan is asked for with the index as a hint, and must be a scan of that index.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from broker.places.containment import Vocabulary, directly_within
from broker.query.ast import (
    And,
    AnyType,
    Comparison,
    EntityQuery,
    Excluded,
    Exists,
    GeoQuery,
    HasType,
    OrderTerm,
    Path,
    Range,
    ScopeIs,
)
from broker.query.mongo import compile_query, ended, left_out
from broker.stores.base import ChangeSet
from broker.stores.mongo.entity_query import ORDER, behind, index_order
from broker.stores.mongo.migrations import FIELDS_2, INDEXES_2
from broker.stores.mongo.tenant import MongoTenant
from tests.support.stores import entities_of, entity, history_row, iri, make_store, outbox_row, prop, record, uplink_row

REAL = "KNUTPUNKT_TEST_MONGODB_URI" in os.environ
ROOM = HasType(iri("Room"))
SOME = Excluded(frozenset({"urn:e:1"}), "urn:e:9")
PLACE = {"type": "Point", "coordinates": [17.0, 62.0]}


def compare(operator: str, *values: Any) -> Comparison:
    return Comparison(Path(iri("temperature")), operator, values)  # type: ignore[arg-type]


@pytest.fixture
async def tenant(mongo_url: str) -> AsyncIterator[MongoTenant]:
    store = make_store(mongo_url)
    await store.open()
    tenant = await store.tenant()
    assert isinstance(tenant, MongoTenant)
    changes = entities_of(
        *(
            entity(
                f"urn:e:{n}",
                "Room" if n == 7 else "Bin",
                scope=[f"/umea/{n}"],
                location=(17 + n / 10, 62),
                attrs={iri("temperature" if n == 7 else "level"): [prop(n)]},
            )
            for n in range(100)
        )
    )
    changes.history = [history_row(f"urn:e:{n}", "level", 0, n) for n in range(50)]
    changes.outbox = [outbox_row(n, f"urn:sub:{n}") for n in range(50)]
    changes.records = [record("binding", f"b{n}", keys=(f"device:{n}",)) for n in range(50)]
    changes.uplinks = [uplink_row(f"u{n}", device_id=f"d{n}") for n in range(50)]
    await tenant.commit(changes)
    await tenant.commit(ChangeSet(given_up=[(outbox_row(1, "urn:sub:1").id, "gone")]))
    yield tenant
    await store.close()


def stages(plan: Any) -> Iterator[dict[str, Any]]:
    """Every stage of an explained plan."""
    if isinstance(plan, dict):
        if "stage" in plan:
            yield plan
        for part in plan.values():
            yield from stages(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from stages(part)


async def indexes_used(
    tenant: MongoTenant, collection: str, where: dict[str, Any], hint: str, sort: list[tuple[str, int]]
) -> set[str]:
    cursor = tenant.database[collection].find(where).sort(sort)
    plan = (await cursor.clone().explain())["queryPlanner"]["winningPlan"]
    if not REAL and any(stage["stage"] == "COLLSCAN" for stage in stages(plan)):
        plan = (await cursor.hint(hint).explain())["queryPlanner"]["winningPlan"]
    assert not any(stage["stage"] == "COLLSCAN" for stage in stages(plan)), plan
    return {stage["indexName"] for stage in stages(plan) if "indexName" in stage}


@pytest.mark.parametrize(
    ("index", "query"),
    [
        ("_id_", EntityQuery(ids=("urn:e:7",))),
        ("_id_", EntityQuery(id_pattern="^urn:e:7")),
        ("types", EntityQuery(types=ROOM)),
        ("types", EntityQuery(types=AnyType((ROOM, HasType(iri("Lab")))))),
        ("names", EntityQuery(attributes=(iri("temperature"),))),
        ("names", EntityQuery(q=Exists(Path(iri("temperature"))))),
        ("names", EntityQuery(q=compare("!=", 5))),
        ("values", EntityQuery(q=compare("==", 7))),
        ("values", EntityQuery(q=compare("==", "warm", 7))),
        ("values", EntityQuery(q=compare("==", Range(6, 8)))),
        ("values", directly_within(("urn:e:1", "urn:e:2"), Vocabulary((iri("in"), iri("of")), frozenset()), 1)),
        ("values", EntityQuery(q=compare(">", 6))),
        ("values", EntityQuery(q=compare("<=", "2026-01-01T00:00:00Z"))),
        ("values", EntityQuery(q=And((compare(">", 6), compare("~=", "x"))))),
        ("scopes", EntityQuery(scope=ScopeIs(("umea", "7")))),
        ("scopes", EntityQuery(scope=ScopeIs(("umea", "7", "#")))),
        ("cells", EntityQuery(geo=GeoQuery("near", PLACE, max_distance=1000))),
        ("cells", EntityQuery(geo=GeoQuery("within", {"type": "Polygon", "coordinates": [[[17, 62], [17.1, 62], [17, 62.1], [17, 62]]]}))),
        ("since", EntityQuery(q=Comparison(Path("createdAt"), ">", ("2026-01-01T00:00:00Z",)))),
        ("ends", EntityQuery(q=Comparison(Path("expiresAt"), "<", ("2026-01-01T00:00:00Z",)))),
        ("types", EntityQuery(types=ROOM, now=1)),
        ("types", EntityQuery(types=ROOM, excluded=SOME)),
        ("created", EntityQuery(excluded=SOME)),
        ("created", EntityQuery()),
    ],
    ids=str,
)  # fmt: skip
async def test_an_index_serves_the_condition(tenant: MongoTenant, index: str, query: EntityQuery) -> None:
    where = compile_query(query).filter
    used = await indexes_used(tenant, "entities", where, index, ORDER)
    assert used == {index} or (used == {"newest"} and index == "since")  # the same, from its other end


async def test_what_is_left_out_is_counted_by_its_ids(tenant: MongoTenant) -> None:
    where = left_out(EntityQuery(types=HasType(iri("Bin")), excluded=SOME))
    assert await indexes_used(tenant, "entities", where, "_id_", [("_id", 1)]) == {"_id_"}


async def test_a_condition_on_an_attribute_looks_at_what_has_such_a_value_only(tenant: MongoTenant) -> None:
    where = compile_query(EntityQuery(q=compare(">", 6))).filter
    explained = await tenant.database["entities"].find(where).hint("values").explain()
    assert explained["executionStats"]["totalDocsExamined"] == explained["executionStats"]["nReturned"] == 1


@pytest.mark.parametrize("query", [EntityQuery(), EntityQuery(types=HasType(iri("Bin")))], ids=str)
async def test_a_page_begins_where_the_one_before_ended(tenant: MongoTenant, query: EntityQuery) -> None:
    """The stand-in does not say what it examines of a bound index: that the index ends with the order is what there is."""
    index = "types" if query.types else "created"
    where = behind(compile_query(query).filter, ORDER, (50, "urn:e:49"))
    assert await indexes_used(tenant, "entities", where, index, ORDER) == {index}
    found = await tenant.database["entities"].index_information()
    assert found[index]["key"][-2:] == ORDER


@pytest.mark.parametrize(("descending", "index"), [(False, "since"), (True, "newest")])
async def test_the_order_of_creation_is_an_indexs(tenant: MongoTenant, descending: bool, index: str) -> None:
    order = index_order(EntityQuery(order=(OrderTerm(Path("createdAt"), descending),)))
    assert order is not None
    assert await indexes_used(tenant, "entities", {}, index, order) == {index}
    found = await tenant.database["entities"].index_information()
    assert found[index]["key"] == order


async def test_a_filled_database_of_version_1_gets_what_version_2_answers_from(
    tenant: MongoTenant, mongo_url: str
) -> None:
    entities = tenant.database["entities"]
    whole = await entities.find().sort("_id", 1).to_list()
    assert all("since" in each and "shapes" in each for each in whole)
    await entities.update_many({}, {"$unset": dict.fromkeys(FIELDS_2, "")})
    for index in INDEXES_2:
        await entities.drop_index(index.document["name"])
    await tenant.database["meta"].update_one({"_id": "schema"}, {"$set": {"version": 1}})
    store = make_store(mongo_url)
    await store.open()
    assert await entities.find().sort("_id", 1).to_list() == whole
    assert {"since", "newest", "ends", "expires"} <= set(await entities.index_information())
    await store.close()


@pytest.mark.parametrize(
    ("collection", "index", "where", "sort"),
    [
        ("entities", "expires", {"expires": {"$lt": 5}}, [("expires", 1)]),
        ("entities", "ends", ended(EntityQuery(types=ROOM, now=5)), [("created", 1)]),
        ("history", "entity", {"entity": "urn:e:1", "observed": {"$gte": 0}}, [("observed", 1), ("version", 1)]),
        ("history", "attribute", {"entity": "urn:e:1", "attribute": "a"}, [("observed", -1), ("version", -1)]),
        ("outbox", "subscription", {"subscription": "urn:sub:1", "_id": {"$gt": ""}}, [("_id", 1)]),
        ("dead_letters", "subscription", {"subscription": "urn:sub:1"}, [("_id", 1)]),
        ("records", "_id_", {"_id": {"$gt": "binding:", "$lt": "binding;"}}, [("_id", 1)]),
        ("records", "keys", {"kind": "binding", "keys": {"$in": ["device:1"]}}, [("_id", 1)]),
        ("uplinks", "frame", {"frame": {"$in": ["frame:u1"]}}, [("_id", 1)]),
        ("uplinks", "status", {"status": "quarantined"}, [("_id", 1)]),
        ("uplinks", "device", {"device": "d1"}, [("_id", 1)]),
    ],
    ids=str,
)
async def test_an_index_serves_the_other_collections_too(
    tenant: MongoTenant, collection: str, index: str, where: dict[str, Any], sort: list[tuple[str, int]]
) -> None:
    assert index in await indexes_used(tenant, collection, where, index, sort)
