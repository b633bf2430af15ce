"""A store that was filled before records had the keys that the registry's lists use finds them after the migration."""

import sqlite3
from pathlib import Path

import pymongo
import pytest

from broker.stores.base import ChangeSet, RecordWrite
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.stores import make_store

__all__ = ["mongo_uri", "mongo_url"]

DEVICES = 1200
"""More than a migration changes at once."""


@pytest.mark.parametrize("kind", ["sqlite", "mongo"])
async def test_devices_of_before_are_found_by_model_and_virtual_sensors_by_type(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/k.db" if kind == "sqlite" else request.getfixturevalue("mongo_url")
    store = make_store(url)
    await store.open()
    writes = [RecordWrite("device", f"d{n}", {"id": f"d{n}", "model": f"m{n % 2}"}, 1, 0) for n in range(DEVICES)]
    writes.append(RecordWrite("virtual_sensor", "s", {"id": "s", "entityType": "urn:T"}, 1, 0, ("entity:urn:e",)))
    await (await store.tenant()).commit(ChangeSet(records=writes))
    await store.close()
    back_to_version_3(url)

    await store.open()
    tenant = await store.tenant()
    assert len(await tenant.records("device", key="model:m1")) == DEVICES / 2
    (sensor,) = await tenant.records("virtual_sensor", key="type:urn:T")
    assert sensor.keys == ("entity:urn:e", "type:urn:T")
    assert [each.id for each in await tenant.records("virtual_sensor", key="entity:urn:e")] == ["s"]
    await tenant.commit(ChangeSet(records=[RecordWrite("device", "d1", None, 2, 1)]))
    assert len(await tenant.records("device", key="model:m1")) == DEVICES / 2 - 1
    await store.close()


def back_to_version_3(url: str) -> None:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute("DROP TABLE feed")
        connection.execute("DROP INDEX history_uplink")
        connection.execute("ALTER TABLE history DROP COLUMN superseded_by")
        connection.execute("PRAGMA user_version = 3")
        connection.commit()
        connection.close()
        return
    with pymongo.MongoClient[dict[str, object]](url) as client:
        client.get_default_database()["meta"].update_one({"_id": "schema"}, {"$set": {"version": 3}})
