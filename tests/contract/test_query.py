"""Queries: the whole answer, its order, its pages and its count; the rules themselves are held in tests/property."""

from __future__ import annotations

import pytest

from broker.ngsild.model import LOCATION
from broker.query.ast import (
    AllScopes,
    AllTypes,
    And,
    AnyScope,
    AnyType,
    Comparison,
    EntityQuery,
    Exists,
    GeoQuery,
    HasType,
    Or,
    Path,
    Range,
    ScopeIs,
)
from broker.stores.base import ChangeSet, TenantStore
from tests.support.stores import drop, entities_of, entity, iri, point, prop, put, relationship

ROOM, BIN = HasType(iri("Room")), HasType(iri("Bin"))
TEMPERATURE = Path(iri("temperature"))

CITY = [
    entity("urn:e:1", "Room", temperature=21.5, name="kök", scope=["/umea/school"], location=(20.26, 63.82)),
    entity("urn:e:2", "Room", "Lab", temperature=18, occupied=True, scope=["/umea"], location=(20.30, 63.83)),
    entity("urn:e:3", "Bin", level=0.75, temperature="warm", scope=["/skelleftea/harbour/3"], location=(20.95, 64.75)),
    entity("urn:e:4", "Bin", level=1, occupied=1, tags=["a", 2, True, None, {"a": 1}, [3]]),
    entity(
        "urn:e:5",
        "Room",
        temperature={"min": 1, "max": 30},
        seen="2026-01-01T12:00:00Z",
        attrs={
            iri("isIn"): [relationship(["urn:b:1", "urn:b:2"], attrs={iri("since"): [prop(2020)]})],
            iri("level"): [prop(5), prop(50, datasetId="urn:d:1")],
            iri("exit"): [point(20.26, 63.82)],
        },
    ),
]


@pytest.fixture
async def city(tenant: TenantStore) -> TenantStore:
    await tenant.commit(entities_of(*CITY))
    return tenant


async def ids(tenant: TenantStore, **conditions: object) -> list[int]:
    """The numbers of the entities found."""
    page = await tenant.query(EntityQuery(**conditions))  # type: ignore[arg-type]
    for found in page.entities:
        assert found in CITY
    return [int(found["id"].rpartition(":")[2]) for found in page.entities]


def compare(name: str, operator: str, *values: object) -> Comparison:
    return Comparison(Path(iri(name)), operator, values)  # type: ignore[arg-type]


async def test_no_condition_selects_all_in_order_of_creation(city: TenantStore) -> None:
    assert await ids(city) == [1, 2, 3, 4, 5]


async def test_ids_and_id_pattern(city: TenantStore) -> None:
    assert await ids(city, ids=("urn:e:4", "urn:e:2", "urn:e:9")) == [2, 4]
    assert await ids(city, id_pattern="[35]$") == [3, 5]
    assert await ids(city, ids=("urn:e:3", "urn:e:4"), id_pattern="^urn:.:3") == [3]


async def test_types(city: TenantStore) -> None:
    assert await ids(city, types=ROOM) == [1, 2, 5]
    assert await ids(city, types=AnyType((ROOM, BIN))) == [1, 2, 3, 4, 5]
    assert await ids(city, types=AllTypes((ROOM, HasType(iri("Lab"))))) == [2]
    assert await ids(city, types=AnyType((AllTypes((ROOM, HasType(iri("Lab")))), BIN))) == [2, 3, 4]
    assert await ids(city, types=HasType(iri("Unheard"))) == []


async def test_attributes(city: TenantStore) -> None:
    assert await ids(city, attributes=(iri("level"),)) == [3, 4, 5]
    assert await ids(city, attributes=(iri("name"), iri("seen"), iri("unheard"))) == [1, 5]
    assert await ids(city, attributes=(iri("unheard"),)) == []


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        (Exists(TEMPERATURE), [1, 2, 3, 5]),
        (compare("temperature", "==", 18), [2]),
        (compare("temperature", "==", 18.0), [2]),
        (compare("temperature", ">", 18), [1]),
        (compare("temperature", ">=", 18), [1, 2]),
        (compare("temperature", "<", 100), [1, 2]),
        (compare("temperature", "==", Range(18, 21.5)), [1, 2]),
        (compare("temperature", "==", "warm", 21.5), [1, 3]),
        (compare("temperature", "!=", 18), [1, 3, 5]),
        (compare("temperature", "~=", "^w.r"), [3]),
        (compare("name", "==", "kök"), [1]),
        (compare("name", ">", "k"), [1]),
        (compare("name", "==", "x" * 500), []),
        (compare("occupied", "==", True), [2]),
        (compare("occupied", "==", 1), [4]),
        (compare("tags", "==", "a"), [4]),
        (compare("tags", "==", 3), []),
        (compare("tags", "==", True), [4]),
        (compare("seen", "==", "2026-01-01T12:00:00.000Z"), [5]),
        (compare("seen", "<", "2026-01-01T12:00:01Z"), [5]),
        (compare("seen", ">", "2026"), []),
        (compare("isIn", "==", "urn:b:2"), [5]),
        (compare("isIn", ">", "urn:a"), []),
        (compare("level", "==", 50), [5]),
        (Comparison(Path(iri("temperature"), members=("max",)), "==", (30,)), [5]),
        (Comparison(Path(iri("isIn"), (iri("since"),)), ">", (2000,)), [5]),
        (And((compare("temperature", ">", 0), Exists(Path(iri("occupied"))))), [2]),
        (Or((compare("level", "<", 1), compare("name", "==", "kök"))), [1, 3]),
        (Or((compare("level", "<", 1), compare("temperature", "~=", "x"), Exists(Path(iri("seen"))))), [3, 5]),
        (Exists(Path(iri("unheard"))), []),
        (compare("unheard", "!=", 1), []),
    ],
)
async def test_q(city: TenantStore, q: object, expected: list[int]) -> None:
    assert await ids(city, q=q) == expected


async def test_strings_longer_than_an_index_likes(tenant: TenantStore) -> None:
    longest = "å" * 3000
    rows = [entity(f"urn:e:{n}", text=text) for n, text in enumerate([longest, longest + "a", longest + "b"], start=1)]
    await tenant.commit(entities_of(*rows))
    for operator, value, expected in [
        ("==", longest, [0]),
        (">", longest, [1, 2]),
        (">=", longest + "b", [2]),
        ("<", longest + "a", [0]),
        (">", "å", [0, 1, 2]),
    ]:
        page = await tenant.query(EntityQuery(q=compare("text", operator, value)))
        assert page.entities == [rows[n] for n in expected]


async def test_integers_beyond_63_bits_are_compared_exactly(tenant: TenantStore) -> None:
    rows = [entity(f"urn:e:{n}", a=2**63 + n) for n in range(3)]
    await tenant.commit(entities_of(*rows))
    assert (await tenant.query(EntityQuery(q=compare("a", "==", 2**63 + 1)))).entities == [rows[1]]
    assert (await tenant.query(EntityQuery(q=compare("a", ">", 2**63 + 1)))).entities == [rows[2]]
    assert (await tenant.query(EntityQuery(q=compare("a", ">", 5)))).entities == rows


async def test_an_array_of_any_length_is_searched(tenant: TenantStore) -> None:
    made = entity("urn:e:1", a=list(range(5000)))
    await tenant.commit(entities_of(made, entity("urn:e:2", a=4999.5)))
    assert (await tenant.query(EntityQuery(q=compare("a", "==", 4999)))).entities == [made]
    assert (await tenant.query(EntityQuery(q=compare("a", "==", 5000)))).entities == []


async def test_scopes(city: TenantStore) -> None:
    assert await ids(city, scope=ScopeIs(("umea",))) == [2]
    assert await ids(city, scope=ScopeIs(("umea", "#"))) == [1, 2]
    assert await ids(city, scope=ScopeIs(("#",))) == [1, 2, 3]
    assert await ids(city, scope=ScopeIs(("+", "+", "3"))) == [3]
    assert await ids(city, scope=ScopeIs(("+", "school"))) == [1]
    assert await ids(city, scope=ScopeIs(("umea", "+"))) == [1]
    assert await ids(city, scope=AnyScope((ScopeIs(("umea",)), ScopeIs(("skelleftea", "#"))))) == [2, 3]
    assert await ids(city, scope=AllScopes((ScopeIs(("umea", "#")), ScopeIs(("+", "school"))))) == [1]


async def test_places(city: TenantStore) -> None:
    umea = {"type": "Point", "coordinates": [20.26, 63.82]}
    box = {"type": "Polygon", "coordinates": [[[20, 63], [20.28, 63], [20.28, 64], [20, 64], [20, 63]]]}
    assert await ids(city, geo=GeoQuery("near", umea, max_distance=1000)) == [1]
    assert await ids(city, geo=GeoQuery("near", umea, max_distance=5000)) == [1, 2]
    assert await ids(city, geo=GeoQuery("near", umea, min_distance=1000)) == [2, 3]
    assert await ids(city, geo=GeoQuery("within", box)) == [1]
    assert await ids(city, geo=GeoQuery("disjoint", box)) == [2, 3]
    assert await ids(city, geo=GeoQuery("equals", umea)) == [1]
    assert await ids(city, geo=GeoQuery("within", box, geoproperty=iri("exit"))) == [5]
    assert await ids(city, geo=GeoQuery("within", box, geoproperty=iri("unheard"))) == []


async def test_conditions_together(city: TenantStore) -> None:
    assert await ids(city, types=ROOM, q=compare("temperature", ">", 20)) == [1]
    assert await ids(city, types=ROOM, scope=ScopeIs(("umea", "#")), attributes=(iri("occupied"),)) == [2]


@pytest.mark.parametrize(
    "q", [compare("n", ">=", 0), compare("n", "!=", -1), None], ids=["indexed", "finished by the matcher", "none"]
)
async def test_pages_and_counts(tenant: TenantStore, q: Comparison | None) -> None:
    made = [entity(f"urn:e:{n}", "Room" if n % 2 else "Bin", n=n) for n in range(100)]
    await tenant.commit(entities_of(*made))

    async def page(limit: int, offset: int, count: bool) -> tuple[list[int], int | None]:
        found = await tenant.query(EntityQuery(types=BIN, q=q, limit=limit, offset=offset, count=count))
        return [each["attrs"][iri("n")][0]["value"] for each in found.entities], found.total

    assert await page(3, 0, False) == ([0, 2, 4], None)
    assert await page(3, 3, True) == ([6, 8, 10], 50)
    assert await page(100, 48, True) == ([96, 98], 50)
    assert await page(5, 50, True) == ([], 50)
    assert await page(0, 0, True) == ([], 50)


async def test_a_change_is_found_by_what_it_is_now(tenant: TenantStore) -> None:
    before = entity("urn:e:1", "Room", scope=["/a"], temperature=1, old=True, location=(20, 63))
    await tenant.commit(entities_of(before))
    after = entity("urn:e:1", "Room", scope=["/a"], temperature=2, new=[1, 2], location=(21, 63))
    touched = ["temperature", "old", "new", LOCATION]
    await tenant.commit(ChangeSet(entities=[put(after, 2, expected=1, touched=touched)]))

    async def found(**conditions: object) -> bool:
        return bool((await tenant.query(EntityQuery(**conditions))).entities)  # type: ignore[arg-type]

    here, there = ({"type": "Point", "coordinates": [longitude, 63]} for longitude in (20, 21))
    assert not await found(q=compare("temperature", "==", 1)) and await found(q=compare("temperature", "==", 2))
    assert not await found(attributes=(iri("old"),)) and await found(q=compare("new", "==", 2))
    assert not await found(geo=GeoQuery("near", here, max_distance=10))
    assert await found(geo=GeoQuery("near", there, max_distance=10))
    moved = entity("urn:e:1", "Hall", scope=["/b"])
    await tenant.commit(ChangeSet(entities=[put(moved, 3, expected=2)]))
    assert not await found(types=ROOM) and await found(types=HasType(iri("Hall")))
    assert not await found(scope=ScopeIs(("a",))) and await found(scope=ScopeIs(("b",)))
    assert not await found(attributes=(iri("temperature"), iri("new"), LOCATION))
    await tenant.commit(ChangeSet(entities=[drop("urn:e:1", 4, expected=3)]))
    assert not await found(types=HasType(iri("Hall"))) and not await found()


async def test_lists_of_any_length_are_answered(city: TenantStore) -> None:
    assert await ids(city, ids=tuple(f"urn:e:{n}" for n in range(3, 40_000))) == [3, 4, 5]
    assert await ids(city, q=compare("temperature", "==", 21.5, "warm", *range(100, 3000))) == [1, 3]
    assert await ids(city, q=compare("temperature", "==", *(Range(n, n + 0.6) for n in range(21, 2000)))) == [1]
    assert await ids(city, attributes=(iri("seen"), *(iri(f"unheard{n}") for n in range(1000)))) == [5]
    assert await ids(city, attributes=(iri("seen"), *(iri("level") for _ in range(1000)))) == [3, 4, 5]
    assert await ids(city, types=AnyType((BIN, *(ROOM for _ in range(1000))))) == [1, 2, 3, 4, 5]
    assert await ids(city, scope=AnyScope(tuple(ScopeIs((str(n), "#")) for n in range(1000)))) == []
