"""What expires: found in order of time, and not selected once its time has come (ETSI GS CIM 009 v1.9.1, 4.22)."""

from __future__ import annotations

import pytest

from broker.clock import iso
from broker.ngsild.model import Entity
from broker.query.ast import Comparison, EntityQuery, HasType, Path, Range
from broker.stores.base import ChangeSet, TenantStore
from tests.support.stores import MOMENT, drop, entities_of, entity, iri, prop, put


def ending(entity_id: str, at: int | None, *attributes: int) -> Entity:
    """An entity that expires, and attributes that do, so many microseconds after MOMENT."""
    attrs = {iri(f"a{n}"): [prop(n, expiresAt=iso(MOMENT + each))] for n, each in enumerate(attributes)}
    made = entity(entity_id, attrs=attrs, stays=1)
    return made if at is None else made | {"expiresAt": iso(MOMENT + at)}


FIRST, SECOND, NEVER, PARTLY = (
    ending("urn:e:first", 10),
    ending("urn:e:second", 40, 30),
    ending("urn:e:never", None),
    ending("urn:e:partly", None, 50, 20),
)


@pytest.fixture
async def filled(tenant: TenantStore) -> TenantStore:
    await tenant.commit(entities_of(SECOND, NEVER, PARTLY, FIRST))
    return tenant


async def test_what_expires_before_a_moment_is_found_soonest_first(filled: TenantStore) -> None:
    assert await filled.expiring(MOMENT + 100, 10) == ["urn:e:first", "urn:e:partly", "urn:e:second"]
    assert await filled.expiring(MOMENT + 100, 2) == ["urn:e:first", "urn:e:partly"]
    assert await filled.expiring(MOMENT + 30, 10) == ["urn:e:first", "urn:e:partly"]
    assert await filled.expiring(MOMENT + 10, 10) == []
    assert await filled.expiring(MOMENT + 100, 0) == []


async def test_an_expiry_that_is_moved_or_gone_counts_as_it_is_now(filled: TenantStore) -> None:
    later = ending("urn:e:first", 60)
    partly = ending("urn:e:partly", None, 70)
    await filled.commit(
        ChangeSet(
            entities=[
                put(later, 5, expected=4),
                put(partly, 6, expected=3, touched=["a0", "a1"]),
                drop("urn:e:second", 7, expected=1),
            ]
        )
    )
    assert await filled.expiring(MOMENT + 100, 10) == ["urn:e:first", "urn:e:partly"]
    await filled.commit(ChangeSet(entities=[put(entity("urn:e:partly", stays=1), 8, 6, ["a0"])]))
    assert await filled.expiring(MOMENT + 100, 10) == ["urn:e:first"]


async def test_an_entity_whose_time_has_come_is_not_selected(filled: TenantStore) -> None:
    async def found(at: int | None, **conditions: object) -> list[str]:
        now = None if at is None else MOMENT + at
        page = await filled.query(EntityQuery(now=now, count=True, **conditions))  # type: ignore[arg-type]
        assert page.total == len(page.entities)
        return [each["id"].rpartition(":")[2] for each in page.entities]

    assert await found(9) == ["second", "never", "partly", "first"] == await found(None)
    assert await found(10) == ["second", "never", "partly"] == await found(39)
    assert await found(1000) == ["never", "partly"]
    assert await found(1000, types=HasType(iri("Thing"))) == ["never", "partly"]
    stays = Comparison(Path(iri("stays")), "!=", (2,))
    assert await found(10, q=stays) == ["second", "never", "partly"]


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        (">", iso(MOMENT + 10), ["second"]),
        (">=", iso(MOMENT + 10), ["second", "first"]),
        ("<", iso(MOMENT + 40), ["first"]),
        ("==", iso(MOMENT + 40), ["second"]),
        ("==", Range(iso(MOMENT), iso(MOMENT + 50)), ["second", "first"]),
        ("!=", iso(MOMENT + 40), ["first"]),
        ("==", "soon", []),
    ],
)
async def test_when_an_entity_expires_can_be_asked_for(
    filled: TenantStore, operator: str, value: str | Range, expected: list[str]
) -> None:
    q = Comparison(Path("expiresAt"), operator, (value,))  # type: ignore[arg-type]
    page = await filled.query(EntityQuery(q=q))
    assert [each["id"].rpartition(":")[2] for each in page.entities] == expected
