"""The MongoDB store and its server: what it asks of it, and what it says when the server does not answer."""

from __future__ import annotations

import pytest

from broker.clock import Clock
from broker.config import InvalidSetting, StoreSettings
from broker.errors import StoreUnavailable
from broker.stores.base import ChangeSet, Needs
from broker.stores.mongo.store import DATABASE_NAME_BYTES, MongoStore, database_name
from tests.support.mongo import mongo_stand_in, with_database
from tests.support.stores import entity, make_store, put

ROOM = "urn:ngsi-ld:Room:214"


async def test_a_server_that_went_away_is_unavailable_for_reads_and_writes_alike() -> None:
    with mongo_stand_in() as uri:
        store = make_store(with_database(uri, "gone") + "?serverSelectionTimeoutMS=300")
        await store.open()
        tenant = await store.tenant()
        await tenant.commit(ChangeSet(entities=[put(entity(ROOM), 1)]))
    for attempt in (
        tenant.commit(ChangeSet(entities=[put(entity("urn:e:2"), 2)])),
        tenant.load(Needs(entities={ROOM}, frames={"f"})),
        tenant.entity(ROOM),
        tenant.lease("delivery:1", "process-a", 10),
        store.ping(),
        store.tenant("another"),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt
    await store.close()


async def test_a_server_that_is_not_there_is_unavailable_at_the_start() -> None:
    store = make_store("mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=200")
    with pytest.raises(StoreUnavailable):
        await store.open()
    await store.close()


async def test_a_server_without_transactions_is_refused_with_what_to_do() -> None:
    with mongo_stand_in("--standalone") as uri:
        store = make_store(uri)
        with pytest.raises(StoreUnavailable, match="replica set"):
            await store.open()
        await store.close()


async def test_an_address_that_is_none_is_an_invalid_setting() -> None:
    with pytest.raises(InvalidSetting, match=r"store\.url"):
        await MongoStore("mongodb://", StoreSettings(), Clock()).open()


@pytest.mark.parametrize("attribute", ["a.b", "$set", "", "\0"])
async def test_names_that_mean_something_to_mongodb_are_data(mongo_url: str, attribute: str) -> None:
    store = make_store(mongo_url)
    await store.open()
    tenant = await store.tenant()
    made = entity("$id.x\0", attrs={attribute: [{"type": "Property", "value": {"$gt": attribute}}]})
    await tenant.commit(ChangeSet(entities=[put(made, 1)]))
    stored = await tenant.entity("$id.x\0")
    assert stored is not None and stored.entity == made
    await store.close()


def test_tenants_databases_differ_and_are_names_that_mongodb_takes() -> None:
    tenants = ["", "umea", "Umea", "ume=61", "umeå", "a.b", "a/b", "a$b", 'a"b', "a b", "x" * 200, "x" * 201, "\0", "~"]
    names = [database_name("knutpunkt", tenant) for tenant in tenants]
    assert names[:2] == ["knutpunkt", "knutpunkt_umea"]
    assert len({name.lower() for name in names}) == len(tenants)
    for name in names:
        assert len(name.encode()) <= DATABASE_NAME_BYTES
        assert not set(name) & set('/\\. "$*<>:|?\0')
