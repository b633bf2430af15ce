"""What a subscription selects of changes (in memory) is what it selects periodically (in the store)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.ngsild.model import LOCATION, Entity
from broker.query.ast import EntityQuery
from broker.query.linked import without_links
from broker.stores.base import ChangeSet, EntityWrite, OutboxRow, TenantStore
from broker.subscriptions.index import SubscriptionIndex
from broker.subscriptions.linked import NOTHING, Pending, owed_by_links
from broker.subscriptions.model import UNLIMITED
from broker.subscriptions.periodic import query_of
from broker.subscriptions.subscription import compile_subscription
from tests.support.stores import make_store
from tests.unit.subscriptions.support import NOW, STAMP, created, iri, record

IDS = [f"urn:x:{number}" for number in range(4)]
KINDS = ["Room", "Hall"]

entities = st.builds(
    lambda kinds, values, links, place, scope: (kinds, values, links, place, scope),
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=2, unique=True),
    st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 3) | st.sampled_from(["x", "y"]), max_size=2),
    st.lists(st.sampled_from(IDS), max_size=2, unique=True),
    st.none() | st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.just(0.0)),
    st.none() | st.sampled_from(["/s", "/s/t"]),
)
conditions = st.sampled_from(
    ["a==1", "a>1;b", "a|b==2", 'b=="x"', "l{a}==1", "l{Room:a}>1", "l{l{b}}==2;a", "l{a}|b", f"l=={IDS[0]}", "a!=1"]
)
selectors = st.fixed_dictionaries(
    {"type": st.sampled_from(["Room", "Hall", "*", "(Room;Hall)", "Room,Hall"])},
    optional={
        "id": st.lists(st.sampled_from(IDS), min_size=1, max_size=2),
        "idPattern": st.sampled_from(["[01]$", "x"]),
    },
)
documents = st.fixed_dictionaries(
    {"entities": st.lists(selectors, min_size=1, max_size=2)},
    optional={
        "q": conditions,
        "scopeQ": st.sampled_from(["/s", "/s/#", "/s/t"]),
        "geoQ": st.just(
            {"georel": "near;maxDistance==120000", "geometry": "Point", "coordinates": [0.0, 0.0]},
        ),
    },
)
versions = itertools.count(1)


@pytest.fixture(params=["sqlite", "mongo"])
async def tenant(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TenantStore]:
    url = request.getfixturevalue("mongo_url") if request.param == "mongo" else f"sqlite:///{tmp_path}/agreement.db"
    store = make_store(url)
    await store.open()
    yield await store.tenant()
    await store.close()


def made(number: int, drawn: Any) -> Entity:
    kinds, values, links, place, scope = drawn
    times = {"createdAt": STAMP.text, "modifiedAt": STAMP.text}
    attrs: dict[str, Any] = {
        iri(name): [{"type": "Property", "value": value, **times}] for name, value in values.items()
    }
    if links:
        attrs[iri("l")] = [{"type": "Relationship", "object": links, **times}]
    if place is not None:
        attrs[LOCATION] = [{"type": "GeoProperty", "value": {"type": "Point", "coordinates": list(place)}, **times}]
    one: Entity = {"id": IDS[number], "type": [iri(kind) for kind in kinds], "attrs": attrs, **times}  # type: ignore[typeddict-item]
    if scope is not None:
        one["scope"] = [scope]
    return one


class _Nowhere:
    """A view that has nothing: all is in the store."""

    def entity(self, entity_id: str) -> Entity | None:
        return None

    def wrote(self, entity_id: str) -> bool:
        return False


async def told(tenant: TenantStore, document: dict[str, Any], kept: list[Entity]) -> set[str]:
    """The entities whose creation the subscription is told of."""
    index = SubscriptionIndex([record("urn:s:1", notificationTrigger=["entityCreated"], **document)])
    changes = [created(one) for one in kept]
    found = {change.entity_id for change in changes if index.match(change, NOW)}
    pending = [
        Pending(change, subscription, STAMP, number, "", NOTHING)
        for number, change in enumerate(changes)
        for subscription in index.match_linked(change, NOW)
    ]
    rows: list[OutboxRow] = await owed_by_links(pending, _Nowhere(), tenant) if pending else []
    return found | {row.entity_id for row in rows}


async def ticked(tenant: TenantStore, document: dict[str, Any]) -> set[str]:
    """The entities that the same subscription is told of periodically."""
    subscription = compile_subscription(record("urn:s:1", timeInterval=1, **document).body, UNLIMITED)

    async def find(query: EntityQuery) -> list[str]:
        return [one["id"] for one in (await tenant.query(query)).entities]

    query = await without_links(replace(query_of(subscription), limit=100), find, 100)
    return set(await find(query))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(entities, min_size=1, max_size=4), st.lists(documents, min_size=1, max_size=5))
async def test_changes_and_periods_select_the_same(
    tenant: TenantStore, drawn: list[Any], asked: list[dict[str, Any]]
) -> None:
    kept = [made(number, one) for number, one in enumerate(drawn)]
    writes = [EntityWrite(one["id"], one, next(versions), 0) for one in kept]
    await tenant.commit(ChangeSet(entities=writes))
    try:
        for document in asked:
            assert await told(tenant, document, kept) == await ticked(tenant, document), document
    finally:
        await tenant.commit(
            ChangeSet(entities=[EntityWrite(write.id, None, next(versions), write.version) for write in writes])
        )
