"""The cache against a store that another process (a second cache) writes to as well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.stores.base import ChangeSet, Needs, TenantStore
from broker.stores.cache import NOT_CACHED, RecordCache
from tests.support.stores import entities_of, entity, make_store, record


@pytest.fixture
async def tenant(tmp_path: Path) -> AsyncIterator[TenantStore]:
    store = make_store(f"sqlite:///{tmp_path}/k.db")
    await store.open()
    tenant = await store.tenant()
    await tenant.commit(ChangeSet(records=[record("device", "d"), record("binding", "b", keys=("device:d",))]))
    yield tenant
    await store.close()


NEEDS = Needs(records={("device", "d"), ("device", "none")}, found={("binding", "device:d"), ("binding", "device:x")})


async def test_what_was_read_once_is_answered_from_memory_absence_too(tenant: TenantStore) -> None:
    cache = RecordCache(tenant)
    assert cache.peek("device", "d") is NOT_CACHED
    first = await cache.load(NEEDS)
    assert cache.peek("device", "d") == first.records[("device", "d")] == await tenant.record("device", "d")
    assert cache.peek("device", "none") is None
    assert await cache.get("device", "d") == cache.peek("device", "d")
    assert [found.id for found in first.found[("binding", "device:d")]] == ["b"]
    assert (await cache.load(NEEDS)).records == first.records


async def test_a_load_gives_entities_and_frames_beside_what_is_cached(tenant: TenantStore) -> None:
    await tenant.commit(entities_of(entity("urn:e:1")))
    cache = RecordCache(tenant)
    for _ in range(2):
        found = await cache.load(Needs({"urn:e:1"}, set(NEEDS.records), set(NEEDS.found), {"f"}))
        assert set(found.entities) == {"urn:e:1"} and found.frames == set()
        assert set(found.records) == {("device", "d")}
        assert [row.id for row in found.found[("binding", "device:d")]] == ["b"]
        assert found.epochs == await tenant.epochs()


async def test_what_another_process_wrote_is_seen_by_the_next_load(tenant: TenantStore) -> None:
    cache = RecordCache(tenant)
    await cache.load(NEEDS)
    await tenant.commit(ChangeSet(records=[record("binding", "b", 2, keys=("device:x",))]))
    found = await cache.load(NEEDS)
    assert found.found.get(("binding", "device:d"), ()) == ()
    assert [row.version for row in found.found[("binding", "device:x")]] == [2]


async def test_only_the_kind_that_moved_is_dropped(tenant: TenantStore) -> None:
    cache = RecordCache(tenant)
    await cache.load(NEEDS)
    await tenant.commit(ChangeSet(records=[record("binding", "b", 2)]))
    assert cache.in_step(await tenant.epochs()) == {"binding"}
    assert cache.peek("device", "d") is not NOT_CACHED
    assert cache.in_step(await tenant.epochs()) == set()


async def test_kinds_without_an_epoch_are_always_read_from_the_store(tenant: TenantStore) -> None:
    cache = RecordCache(tenant)
    needs = Needs(records={("device_state", "d")})
    assert (await cache.load(needs)).records == {}
    await tenant.commit(ChangeSet(records=[record("device_state", "d")]))
    assert set((await cache.load(needs)).records) == {("device_state", "d")}


async def test_the_cache_is_bounded(tenant: TenantStore) -> None:
    cache = RecordCache(tenant, entries=3)
    for number in range(10):
        await cache.get("device", str(number))
    known = [number for number in range(10) if cache.peek("device", str(number)) is None]
    assert known == [7, 8, 9]
