"""Orders other than that of creation: the same on every store as in memory, whole and page by page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.clock import iso
from broker.errors import BadRequestData, TooManyResults
from broker.ngsild.model import LOCATION, Entity
from broker.query.ast import Comparison, EntityQuery, HasType, OrderTerm, Path
from broker.query.match import compile_query
from broker.query.order import sort_key
from broker.stores.base import MOST_SORTED, ChangeSet, TenantStore
from tests.support.stores import MOMENT, drop, entities_of, entity, iri, prop

ROOM = HasType(iri("Room"))
CENTRE = {"type": "Point", "coordinates": [20.0, 63.0]}


def by(name: str, *, descending: bool = False, reference: dict[str, Any] | None = None) -> OrderTerm:
    return OrderTerm(Path(name), descending, reference)


def made(n: int) -> Entity:
    """Numbers, texts, moments and mixtures, some of them missing; equal ones among them."""
    values: list[Any] = [n, f"å{n % 5}", True, None, {"a": n}, [n], iso(MOMENT + n), "2026-01-01", 2.5]
    attrs = {iri("mixed"): [prop(values[n % 9])]} if n % 11 else {}
    if n % 7:
        attrs[iri("number")] = [prop(n * 37 % 20 + (0.5 if n % 2 else 0))]
        attrs[iri("seen")] = [prop(iso(MOMENT + n * 37 % 20))]
    entity_id = f"urn:e:{n * 7919 % 1000}"
    location = (20 + n * 37 % 20 / 100, 63) if n % 5 else None
    when = {"createdAt": iso(MOMENT + n // 2 * 1000), "modifiedAt": iso(MOMENT + n * 37 % 60 * 1000)}
    return entity(entity_id, "Room" if n % 3 else "Bin", attrs=attrs, location=location) | when  # type: ignore[return-value]


CITY = [made(n) for n in range(60)]
ORDERS: list[tuple[OrderTerm, ...]] = [
    (term(name),)
    for name in ("id", "type", "createdAt", "modifiedAt", iri("number"), iri("seen"), iri("mixed"), iri("unheard"))
    for term in (by, lambda name: by(name, descending=True))
]
ORDERS += [
    (by("type"), by(iri("number"), descending=True)),
    (by(iri("number")), by("createdAt", descending=True)),
    (by(LOCATION, reference=CENTRE),),
    (by(LOCATION, reference=CENTRE, descending=True), by("id")),
]
CONDITIONS: list[dict[str, Any]] = [
    {},
    {"types": ROOM},
    {"q": Comparison(Path(iri("number")), "!=", (3,))},
    {"types": ROOM, "now": MOMENT},
]


@pytest.fixture
async def city(tenant: TenantStore) -> TenantStore:
    await tenant.commit(entities_of(*CITY))
    return tenant


def expected(query: EntityQuery) -> list[Entity]:
    return sorted(filter(compile_query(query), CITY), key=sort_key(query.order, query.collation))


@pytest.mark.parametrize("order", ORDERS, ids=str)
async def test_the_whole_answer_and_its_pages_are_in_order(city: TenantStore, order: tuple[OrderTerm, ...]) -> None:
    for conditions in CONDITIONS:
        query = EntityQuery(order=order, limit=100, count=True, **conditions)
        whole = expected(query)
        page = await city.query(query)
        assert page.entities == whole and page.total == len(whole) and not page.more
        streamed = [each async for batch in city.stream(query) for each in batch]
        assert streamed == whole
        for count in (False, True):
            found: list[Entity] = []
            after: str | None = None
            while True:
                asked = replace(query, limit=8, count=count, after=after, offset=0 if after else len(found))
                page = await city.query(asked)
                found += page.entities
                if not page.more:
                    break
                after = page.next
            assert found == whole
            assert page.total == (len(whole) if count else None)


async def test_the_order_of_creation_has_positions(city: TenantStore) -> None:
    for descending in (False, True):
        order = (by("createdAt", descending=descending),)
        page = await city.query(EntityQuery(order=order, limit=10))
        assert page.next is not None
        with pytest.raises(BadRequestData, match="position"):
            await city.query(EntityQuery(limit=10, after=page.next))
        last = page.entities[-1]
        await city.commit(ChangeSet(entities=[drop(last["id"], 1000, CITY.index(last) + 1)]))
        following = await city.query(EntityQuery(order=order, limit=10, after=page.next))
        assert following.entities == expected(EntityQuery(order=order))[10:20]


async def test_what_would_have_to_be_sorted_is_limited(city: TenantStore) -> None:
    with pytest.raises(TooManyResults, match="offset"):
        await city.query(EntityQuery(order=(by("modifiedAt"),), offset=MOST_SORTED))
    with pytest.raises(BadRequestData, match="offset"):
        await city.query(EntityQuery(order=(by("modifiedAt"),), after="x"))
