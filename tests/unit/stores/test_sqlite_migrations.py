from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.clock import iso
from broker.errors import StoreUnavailable
from broker.query.ast import EntityQuery, GeoQuery
from broker.query.sql import OTHER
from broker.stores.base import ChangeSet
from broker.stores.sqlite import migrations
from broker.stores.sqlite.migrations import MIGRATIONS, m0001_first
from tests.support.stores import MOMENT, drop, entities_of, entity, iri, make_store

Step = Callable[[sqlite3.Connection], None]


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def tables_of(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    finally:
        connection.close()


def with_step(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, step))


async def opened_once(path: Path) -> None:
    store = make_store(f"sqlite:///{path}")
    try:
        await store.open()
    finally:
        await store.close()


async def test_a_new_file_has_the_newest_version(tmp_path: Path) -> None:
    await opened_once(tmp_path / "k.db")
    assert version_of(tmp_path / "k.db") == len(MIGRATIONS)


async def test_a_later_release_migrates_a_file_and_keeps_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(f"sqlite:///{tmp_path}/k.db")
    await store.open()
    await (await store.tenant()).commit(entities_of(entity("urn:e:1", a=1)))
    await store.close()

    def adds_a_table(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE later (n)")

    with_step(monkeypatch, adds_a_table)
    await store.open()
    assert await (await store.tenant()).entity("urn:e:1") is not None
    await store.close()
    assert version_of(tmp_path / "k.db") == len(MIGRATIONS) + 1
    assert "later" in tables_of(tmp_path / "k.db")


async def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "k.db"
    await opened_once(path)

    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half_done (n)")
        connection.execute("SELECT * FROM nowhere")

    with_step(monkeypatch, fails)
    with pytest.raises(StoreUnavailable):
        await opened_once(path)
    assert version_of(path) == len(MIGRATIONS)
    assert "half_done" not in tables_of(path)


async def test_places_are_found_where_sqlite_has_no_rtree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m0001_first, "BOX", m0001_first.PLAIN_BOX[0])
    store = make_store(f"sqlite:///{tmp_path}/k.db")
    await store.open()
    tenant = await store.tenant()
    here, there = entity("urn:e:1", location=(20, 63)), entity("urn:e:2", location=(21, 63))
    await tenant.commit(entities_of(here, there))
    centre = {"type": "Point", "coordinates": [20, 63]}
    assert (await tenant.query(EntityQuery(geo=GeoQuery("near", centre, max_distance=9)))).entities == [here]
    await store.close()


async def test_a_filled_file_of_version_1_gets_what_version_2_answers_from(tmp_path: Path) -> None:
    path = tmp_path / "k.db"
    rooms = [entity(f"urn:e:{n}", "Room", a=n, tags=[1, 2]) | {"expiresAt": iso(MOMENT + n)} for n in range(1200)]
    store = make_store(f"sqlite:///{path}")
    await store.open()
    await (await store.tenant()).commit(entities_of(*rooms))
    await store.close()
    connection = sqlite3.connect(path)
    whole = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("moment", "census", "value")}
    for statement in (
        "DROP TABLE moment",
        "DROP TABLE census",
        f"DELETE FROM value WHERE kind = {OTHER}",
        "DROP TABLE told",
        "DROP TABLE feed",
        "ALTER TABLE history DROP COLUMN superseded",
        "ALTER TABLE history DROP COLUMN lineage",
        "DROP INDEX history_uplink",
        "ALTER TABLE history DROP COLUMN superseded_by",
        "PRAGMA user_version = 1",
    ):
        connection.execute(statement)
    connection.commit()
    connection.close()

    await store.open()
    tenant = await store.tenant()
    assert await tenant.expiring(MOMENT + 3, 10) == ["urn:e:0", "urn:e:1", "urn:e:2"]
    assert [(each.type, each.count) for each in await tenant.type_details()] == [(iri("Room"), 1200)]
    assert (await tenant.query(EntityQuery(count=True, limit=0))).total == 1200
    await tenant.commit(ChangeSet(entities=[drop("urn:e:0", 2000, 1)]))
    assert (await tenant.query(EntityQuery(count=True, limit=0))).total == 1199
    await store.close()
    connection = sqlite3.connect(path)
    for table, rows in whole.items():
        found = connection.execute(f"SELECT * FROM {table}").fetchall()
        assert len(found) == len(rows) - {"moment": 3, "census": 0, "value": 4}[table]
        assert table == "census" or set(found) <= set(rows)
    connection.close()
