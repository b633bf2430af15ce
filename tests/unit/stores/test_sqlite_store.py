from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.config import InvalidSetting
from broker.errors import StoreUnavailable
from broker.stores.base import ChangeSet, Needs, Store, TenantStore
from broker.stores.sqlite.store import tenant_path
from tests.support.stores import entities_of, entity, make_store, put, record, uplink_row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "city" / "knutpunkt.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    made = make_store(f"sqlite:///{path}")
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def tenant(store: Store) -> TenantStore:
    return await store.tenant()


async def test_a_second_process_is_refused_with_the_file_and_the_reason(store: Store, path: Path) -> None:
    program = f"""
        import asyncio
        from tests.support.stores import make_store
        asyncio.run(make_store("sqlite:///{path}").open())
    """
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert str(path) in run.stderr and "another Knutpunkt" in run.stderr


async def test_a_store_that_was_closed_can_be_opened_by_another(store: Store, path: Path) -> None:
    again = make_store(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable):
        await again.open()
    await store.close()
    await again.open()
    await again.ping()
    await again.close()


async def test_a_closed_store_says_so(store: Store, tenant: TenantStore) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    with pytest.raises(StoreUnavailable):
        await tenant.commit(entities_of(entity("urn:e:1")))
    with pytest.raises(StoreUnavailable):
        await tenant.outbox_owed()


@pytest.fixture
def no_store(path: Path) -> Path:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    return path


async def test_a_file_that_is_no_store_is_refused(no_store: Path) -> None:
    path = no_store
    made = make_store(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match=str(path)):
        await made.open()


async def test_a_full_disk_fails_the_commit_and_nothing_is_lost_or_half_there(path: Path) -> None:
    store = make_store(f"sqlite:///{path}", entity_cache=0)
    await store.open()
    tenant = await store.tenant()
    await tenant.commit(entities_of(entity("urn:e:1", a=1)))
    connection: sqlite3.Connection = tenant._writer._connection  # type: ignore[attr-defined]
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable):
        await tenant.commit(ChangeSet(entities=[put(entity("urn:e:2", a="x" * 100_000), 2)], uplinks=[uplink_row("u")]))
    assert await tenant.entity("urn:e:2") is None
    assert await tenant.uplink("u") is None
    connection.execute("PRAGMA max_page_count = 1000000")
    await tenant.commit(ChangeSet(entities=[put(entity("urn:e:2", a="x" * 100_000), 2)], uplinks=[uplink_row("u")]))
    assert await tenant.uplink("u") is not None
    await store.close()


async def test_what_is_remembered_is_answered_without_waiting(tenant: TenantStore) -> None:
    await tenant.commit(ChangeSet(entities=[put(entity("urn:e:1"), 1)], records=[record("device_state", "d")]))
    needs = Needs({"urn:e:1"}, {("device_state", "d"), ("binding", "none")}, {("binding", "device:1")})
    await tenant.load(needs)
    answered = tenant.load(needs)
    with pytest.raises(StopIteration) as stopped:
        answered.send(None)
    assert set(stopped.value.value.entities) == {"urn:e:1"}
    with pytest.raises(StopIteration):
        tenant.entity("urn:e:1").send(None)


async def test_nothing_remembered_is_ever_older_than_the_last_commit(path: Path) -> None:
    store = make_store(f"sqlite:///{path}", entity_cache=3)
    await store.open()
    tenant = await store.tenant()
    names = [f"urn:e:{n}" for n in range(8)]
    committed = 0

    async def write() -> None:
        nonlocal committed
        for version in range(1, 60):
            writes = [put(entity(name, a=version), version, version - 1) for name in names]
            await tenant.commit(ChangeSet(entities=writes, records=[record("binding", "b", version, keys=("k",))]))
            committed = version

    async def read(number: int) -> None:
        while committed < 59:
            least = committed
            name = names[number % len(names)]
            found = await tenant.load(Needs({name}, {("binding", "b")}, {("binding", "k")}))
            if least:
                assert found.entities[name].version >= least
                assert found.records[("binding", "b")].version >= least
                assert found.found[("binding", "k")][0].version >= least
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        for number in range(6):
            group.create_task(read(number))
    await store.close()


async def test_the_log_is_folded_into_the_file_when_the_store_closes(store: Store, path: Path) -> None:
    await (await store.tenant()).commit(entities_of(entity("urn:e:1")))
    await store.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["knutpunkt.db", "knutpunkt.db.lock"]


@pytest.mark.parametrize(
    ("name", "file"),
    [("", "k.db"), ("umea", "k@umea.db"), ("../å", "k@..%2F%C3%A5.db")],
)
def test_a_tenants_file_stands_beside_the_default_one(name: str, file: str) -> None:
    assert tenant_path(Path("/data/k.db"), name) == Path("/data") / file


def test_a_tenants_name_of_any_length_makes_a_file_name() -> None:
    names = {tenant_path(Path("/data/k.db"), "å" * length).name for length in (50, 200, 300)}
    assert len(names) == 3 and all(len(name) < 200 for name in names)


@pytest.mark.parametrize("url", ["postgres://x/y", "sqlite:///", "knutpunkt.db"])
def test_a_url_of_no_known_store_is_refused(url: str) -> None:
    with pytest.raises(InvalidSetting, match="sqlite:///PATH or mongodb://"):
        make_store(url)
