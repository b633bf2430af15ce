"""Pages by position: all of them together are the one big page, whatever is written meanwhile."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from contextlib import aclosing
from dataclasses import replace

import pytest

from broker.errors import BadRequestData
from broker.ngsild.model import Entity
from broker.query.ast import And, Comparison, EntityQuery, GeoQuery, HasType, Path, ScopeIs
from broker.stores.base import ChangeSet, TenantStore
from tests.support.stores import drop, entities_of, entity, iri, prop, put

ROOM = HasType(iri("Room"))
AREA = {"type": "Polygon", "coordinates": [[[19, 62], [22, 62], [22, 64], [19, 64], [19, 62]]]}


def compare(name: str, operator: str, value: object) -> Comparison:
    return Comparison(Path(iri(name)), operator, (value,))  # type: ignore[arg-type]


QUERIES = [
    EntityQuery(),
    EntityQuery(types=ROOM),
    EntityQuery(attributes=(iri("n"), iri("rare"))),
    EntityQuery(q=compare("n", ">", 9)),
    EntityQuery(types=ROOM, q=And((compare("n", "!=", 11), compare("rare", "==", True)))),
    EntityQuery(scope=ScopeIs(("umea", "#"))),
    EntityQuery(geo=GeoQuery("within", AREA)),
    EntityQuery(id_pattern="[13579]$"),
    EntityQuery(types=ROOM, now=1),
]


def made(n: int) -> Entity:
    return entity(
        f"urn:e:{n}",
        "Room" if n % 3 else "Bin",
        scope=["/umea/1"] if n % 2 else None,
        location=(20 + n / 100, 63),
        n=n,
        attrs={iri("rare"): [prop(True)]} if n % 4 == 0 else None,
    )


@pytest.fixture
async def filled(tenant: TenantStore) -> TenantStore:
    await tenant.commit(entities_of(*map(made, range(60))))
    return tenant


@pytest.mark.parametrize("query", QUERIES, ids=str)
@pytest.mark.parametrize("limit", [1, 7])
@pytest.mark.parametrize("count", [False, True])
async def test_all_pages_together_are_one_big_page(
    filled: TenantStore, query: EntityQuery, limit: int, count: bool
) -> None:
    whole = await filled.query(replace(query, limit=1000))
    assert not whole.more and whole.next is None and len(whole.entities) > 7
    found: list[Entity] = []
    after: str | None = None
    while True:
        page = await filled.query(replace(query, limit=limit, after=after, count=count, offset=len(found)))
        found += page.entities
        assert page.total == (len(whole.entities) if count else None)
        assert page.more is (page.next is not None) is (len(found) < len(whole.entities))
        after = page.next
        if after is None:
            break
        assert len(page.entities) == limit
    assert found == whole.entities


async def test_what_is_written_meanwhile_moves_no_page(filled: TenantStore) -> None:
    first = await filled.query(EntityQuery(limit=10))
    await filled.commit(
        ChangeSet(
            entities=[
                drop("urn:e:0", 100, 1),
                drop("urn:e:9", 101, 10),
                put(entity("urn:e:3", n=0), 102, 4),
            ]
        )
    )
    await filled.commit(ChangeSet(entities=[put(entity("urn:e:again"), 103)]))
    second = await filled.query(EntityQuery(limit=10, after=first.next))
    assert [each["id"] for each in second.entities] == [f"urn:e:{n}" for n in range(10, 20)]
    last = await filled.query(EntityQuery(limit=1000, after=second.next))
    assert len(last.entities) == 41
    assert [each["id"] for each in last.entities][-2:] == ["urn:e:59", "urn:e:again"]


async def test_an_offset_says_too_whether_more_follow(filled: TenantStore) -> None:
    assert (await filled.query(EntityQuery(limit=10, offset=49))).more
    assert not (await filled.query(EntityQuery(limit=10, offset=50))).more
    behind = await filled.query(EntityQuery(limit=10, after=(await filled.query(EntityQuery(limit=5, offset=7))).next))
    assert behind.entities == [made(n) for n in range(12, 22)]


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "x",
        "é",
        "a" * 5000,
        *(
            urlsafe_b64encode(text).decode()
            for text in (b"[]", b"{}", b'["",true]', b'["",null,1,2]', b'["x",1]', b"1e999")
        ),
        urlsafe_b64encode(b'["",1,"urn:e:1",3,4]').decode(),
    ],
    ids=lambda wrong: wrong[:20],
)
async def test_a_position_that_is_none_is_refused(filled: TenantStore, wrong: str) -> None:
    with pytest.raises(BadRequestData, match="position"):
        await filled.query(EntityQuery(after=wrong))


@pytest.mark.parametrize("query", QUERIES, ids=str)
async def test_a_stream_brings_everything_once_in_order(filled: TenantStore, query: EntityQuery) -> None:
    whole = await filled.query(replace(query, limit=1000))
    batches = [batch async for batch in filled.stream(replace(query, limit=1, offset=3))]
    assert [each for batch in batches for each in batch] == whole.entities
    assert all(batches)


async def test_a_stream_can_be_left(tenant: TenantStore) -> None:
    many = [entity(f"urn:e:{n}", n=n) for n in range(1500)]
    await tenant.commit(entities_of(*many))
    async with aclosing(tenant.stream(EntityQuery())) as stream:  # type: ignore[type-var]
        async for batch in stream:
            assert batch == many[: len(batch)] and len(batch) < 1500
            break
    assert [len(await tenant.entity_types())] == [1]
    assert sum([len(batch) async for batch in tenant.stream(EntityQuery())]) == 1500
