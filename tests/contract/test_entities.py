from __future__ import annotations

import pytest

from broker.stores.base import ChangeSet, Conflict, Needs, StoredEntity, TenantStore
from tests.support.stores import drop, entity, put

ROOM = "urn:ngsi-ld:Room:214"


async def test_an_entity_that_was_never_written_is_not_there(tenant: TenantStore) -> None:
    assert await tenant.entity(ROOM) is None
    found = await tenant.load(Needs(entities={ROOM}))
    assert found.entities == {}


async def test_a_committed_entity_is_read_with_its_version(tenant: TenantStore) -> None:
    made = entity(ROOM, "Room", temperature=21.5)
    await tenant.commit(ChangeSet(entities=[put(made, 7)]))
    assert await tenant.entity(ROOM) == StoredEntity(made, 7)
    assert (await tenant.load(Needs(entities={ROOM, "urn:x:y"}))).entities == {ROOM: StoredEntity(made, 7)}


async def test_an_update_replaces_the_entity(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(entities=[put(entity(ROOM, "Room", temperature=1, humidity=2), 1)]))
    changed = entity(ROOM, "Room", temperature=3, humidity=2)
    await tenant.commit(ChangeSet(entities=[put(changed, 2, expected=1, touched=["temperature"])]))
    assert await tenant.entity(ROOM) == StoredEntity(changed, 2)


async def test_a_deleted_entity_is_gone_and_can_be_created_again(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(entities=[put(entity(ROOM, a=1), 1)]))
    await tenant.commit(ChangeSet(entities=[drop(ROOM, 2, expected=1)]))
    assert await tenant.entity(ROOM) is None
    again = entity(ROOM, a=2)
    await tenant.commit(ChangeSet(entities=[put(again, 3)]))
    assert await tenant.entity(ROOM) == StoredEntity(again, 3)


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_an_entity_that_is_at_another_version_than_expected_is_a_conflict(
    tenant: TenantStore, expected: int
) -> None:
    made = entity(ROOM, a=1)
    await tenant.commit(ChangeSet(entities=[put(made, 2)]))
    with pytest.raises(Conflict):
        await tenant.commit(ChangeSet(entities=[put(entity(ROOM, a=2), 4, expected=expected)]))
    with pytest.raises(Conflict):
        await tenant.commit(ChangeSet(entities=[drop(ROOM, 4, expected=expected)]))
    assert await tenant.entity(ROOM) == StoredEntity(made, 2)


async def test_an_update_of_an_entity_that_is_gone_is_a_conflict(tenant: TenantStore) -> None:
    with pytest.raises(Conflict):
        await tenant.commit(ChangeSet(entities=[put(entity(ROOM, a=1), 2, expected=1)]))
    assert await tenant.entity(ROOM) is None


async def test_many_entities_are_read_at_once(tenant: TenantStore) -> None:
    made = [entity(f"urn:e:{n}", a=n) for n in range(1500)]
    await tenant.commit(ChangeSet(entities=[put(each, n) for n, each in enumerate(made, start=1)]))
    found = await tenant.load(Needs(entities={each["id"] for each in made}))
    assert {e: stored.entity for e, stored in found.entities.items()} == {each["id"]: each for each in made}
