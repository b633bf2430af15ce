"""Tenants over HTTP on both stores (ETSI GS CIM 009 v1.9.1, 4.14, 5.5.10, 6.3.14)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.config import StoreSettings, Tenancy
from tests.support.api import Api, running_broker
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.receiver import receiving

__all__ = ["mongo_uri", "mongo_url"]

ROOM = {"id": "urn:ngsi-ld:Room:214", "type": "Room", "temperature": {"type": "Property", "value": 21.5}}
ONE = "/entities/urn:ngsi-ld:Room:214"
SUBSCRIPTION = {
    "id": "urn:ngsi-ld:Subscription:1",
    "type": "Subscription",
    "entities": [{"type": "Room"}],
    "notification": {"endpoint": {"uri": "http://127.0.0.1:9/nobody", "accept": "application/json"}},
}


@pytest.fixture(params=["sqlite", "mongo"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    mongo = request.param == "mongo"
    return StoreSettings(url=request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path}/knutpunkt.db")


@pytest.fixture
async def api(tmp_path: Path, store: StoreSettings) -> AsyncIterator[Api]:
    async with running_broker(tmp_path, store=store) as api:
        yield api


def room(value: float) -> dict[str, Any]:
    return {**ROOM, "temperature": {"type": "Property", "value": value}}


async def temperature(api: Api, **headers: str) -> Any:
    return (await api.ask("GET", ONE, status=200, **headers)).json()["temperature"]["value"]


async def test_what_is_one_tenants_is_seen_and_changed_by_no_other(api: Api) -> None:
    names = ["", "umea", "boden"]
    for value, name in enumerate(names):
        await api.ask("POST", "/entities", room(value), status=201, NGSILD_Tenant=name)
    await api.ask("PATCH", ONE + "/attrs/temperature", {"value": 99}, status=204, NGSILD_Tenant="umea")
    await api.ask("POST", "/subscriptions", SUBSCRIPTION, status=201, NGSILD_Tenant="umea")
    assert [await temperature(api, NGSILD_Tenant=name) for name in names] == [0, 99, 2]
    assert await temperature(api) == 0

    await api.ask("DELETE", ONE, status=204, NGSILD_Tenant="boden")
    assert await temperature(api, NGSILD_Tenant="umea") == 99
    await api.problem(404, "ResourceNotFound", "GET", ONE, NGSILD_Tenant="boden")
    assert (await api.ask("GET", "/entities?type=Room", status=200, NGSILD_Tenant="boden")).json() == []
    assert (await api.ask("GET", "/subscriptions", status=200, NGSILD_Tenant="boden")).json() == []
    assert (await api.ask("GET", "/subscriptions", status=200)).json() == []


@pytest.mark.parametrize(
    ("path", "document", "status"),
    [("/entities", ROOM, 201), ("/entityOperations/create", [ROOM], 201), ("/subscriptions", SUBSCRIPTION, 201)],
)
async def test_an_operation_that_creates_brings_its_tenant_into_being(
    api: Api, path: str, document: Any, status: int
) -> None:
    await api.problem(404, "NonexistentTenant", "GET", "/types", NGSILD_Tenant="umea")
    created = await api.ask("POST", path, document, status=status, NGSILD_Tenant="umea")
    assert created.headers["NGSILD-Tenant"] == "umea"
    await api.ask("GET", "/types", status=200, NGSILD_Tenant="umea")
    assert [tenant["id"] for tenant in (await api.ask("GET", "/api/v1/tenants", status=200)).json()] == ["umea"]


OTHERS: list[tuple[str, str, Any]] = [
    ("GET", "/entities?type=Room", None),
    ("GET", ONE, None),
    ("PATCH", ONE, {"temperature": {"value": 1}}),
    ("PUT", ONE, ROOM),
    ("DELETE", ONE, None),
    ("POST", ONE + "/attrs", {"temperature": {"value": 1}}),
    ("PATCH", ONE + "/attrs", {"temperature": {"value": 1}}),
    ("PATCH", ONE + "/attrs/temperature", {"value": 1}),
    ("PUT", ONE + "/attrs/temperature", {"type": "Property", "value": 1}),
    ("DELETE", ONE + "/attrs/temperature", None),
    ("POST", "/entityOperations/upsert", [ROOM]),
    ("POST", "/entityOperations/update", [ROOM]),
    ("POST", "/entityOperations/merge", [ROOM]),
    ("POST", "/entityOperations/delete", [ROOM["id"]]),
    ("GET", "/subscriptions", None),
    ("GET", "/subscriptions/urn:ngsi-ld:Subscription:1", None),
    ("PATCH", "/subscriptions/urn:ngsi-ld:Subscription:1", {"isActive": False}),
    ("DELETE", "/subscriptions/urn:ngsi-ld:Subscription:1", None),
    ("GET", "/types", None),
    ("GET", "/types/Room", None),
    ("GET", "/attributes", None),
    ("GET", "/attributes/temperature", None),
]


async def test_no_other_operation_does_and_it_says_that_there_is_no_such_tenant(api: Api) -> None:
    for method, path, document in OTHERS:
        detail = await api.problem(404, "NonexistentTenant", method, path, document, NGSILD_Tenant="umea")
        assert detail == "There is no tenant 'umea'."
    assert (await api.ask("GET", "/api/v1/tenants", status=200)).json() == []


async def test_a_request_that_is_refused_brings_no_tenant_into_being(api: Api) -> None:
    for path, document in [("/entities", {"id": "urn:x:1"}), ("/entityOperations/create", []), ("/subscriptions", {})]:
        assert (await api.ask("POST", path, document, NGSILD_Tenant="umea")).status == 400
    assert (await api.ask("GET", "/api/v1/tenants", status=200)).json() == []


@pytest.mark.parametrize("name", ["a b", "../up", "-x", "umeå", "$x", "a/b", "x" * 64, "a,b"])
async def test_a_name_that_cannot_be_a_tenants_is_bad(api: Api, name: str) -> None:
    await api.problem(400, "BadRequestData", "POST", "/entities", ROOM, NGSILD_Tenant=name)


async def test_tenants_and_what_they_have_outlive_a_restart(tmp_path: Path, store: StoreSettings) -> None:
    async with running_broker(tmp_path, store=store) as api:
        await api.ask("POST", "/entities", ROOM, status=201, NGSILD_Tenant="umea")
    async with running_broker(tmp_path, store=store) as api:
        assert await temperature(api, NGSILD_Tenant="umea") == 21.5
        await api.problem(404, "ResourceNotFound", "GET", ONE)
        await api.problem(404, "NonexistentTenant", "GET", ONE, NGSILD_Tenant="boden")


async def test_where_creation_is_explicit_only_the_management_api_creates(tmp_path: Path, store: StoreSettings) -> None:
    async with running_broker(tmp_path, store=store, tenants=Tenancy(creation="explicit", most=1)) as api:
        for path, document in [("/entities", ROOM), ("/subscriptions", SUBSCRIPTION)]:
            await api.problem(404, "NonexistentTenant", "POST", path, document, NGSILD_Tenant="umea")
        created = await api.ask("POST", "/api/v1/tenants", {"id": "umea"}, status=201)
        assert created.headers["Location"] == "/api/v1/tenants/umea"
        await api.ask("POST", "/entities", ROOM, status=201, NGSILD_Tenant="umea")
        await api.problem(409, "AlreadyExists", "POST", "/api/v1/tenants", {"id": "umea"})
        await api.problem(422, "OperationNotSupported", "POST", "/api/v1/tenants", {"id": "boden"})
        await api.problem(400, "BadRequestData", "POST", "/api/v1/tenants", {"id": "../boden"})


async def test_a_notification_names_its_tenant_and_is_about_nobody_elses_changes(
    tmp_path: Path, store: StoreSettings
) -> None:
    async with receiving() as receiver:

        def subscription(name: str) -> dict[str, Any]:
            endpoint = {"uri": receiver.url(f"/{name}"), "accept": "application/json"}
            return {**SUBSCRIPTION, "notification": {"endpoint": endpoint}}

        async with running_broker(tmp_path, store=store) as api:
            for value, name in enumerate(["default", "umea", "boden"]):
                headers = {} if name == "default" else {"NGSILD_Tenant": name}
                await api.ask("POST", "/subscriptions", subscription(name), status=201, **headers)
                await api.ask("POST", "/entities", room(value), status=201, **headers)
            await receiver.wait_for(3)
        # After a restart too, before anyone has asked for the tenant.
        async with running_broker(tmp_path, store=store) as api:
            await api.ask("PATCH", ONE + "/attrs/temperature", {"value": 77}, status=204, NGSILD_Tenant="umea")
            await receiver.wait_for(4)
        seen = [
            (one.path, one.headers.get("NGSILD-Tenant"), one.data[0]["temperature"]["value"])
            for one in receiver.accepted
        ]
        assert sorted(seen, key=str) == [
            ("/boden", "boden", 2),
            ("/default", None, 0),
            ("/umea", "umea", 1),
            ("/umea", "umea", 77),
        ]
