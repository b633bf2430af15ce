"""Which types and attributes there are, over HTTP on both stores (ETSI GS CIM 009 v1.9.1, 5.7.5-5.7.10)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestServer

from broker.config import StoreSettings
from broker.jsonld.core import CORE_URL
from broker.ngsild.model import DEFAULT_VOCAB
from tests.support.api import LD, Api, city_contexts, link, running_broker
from tests.support.mongo import mongo_uri, mongo_url

__all__ = ["mongo_uri", "mongo_url"]

HALL = {
    "id": "urn:ngsi-ld:Room:1",
    "type": ["Room", "Hall"],
    "scope": "/umea",
    "temperature": [
        {"type": "Property", "value": 21.5},
        {"type": "Property", "value": 22, "datasetId": "urn:d:1", "accuracy": {"type": "Property", "value": 0.1}},
    ],
    "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [17.3, 62.39]}},
}
ROOM = {"id": "urn:ngsi-ld:Room:2", "type": "Room", "temperature": {"type": "Relationship", "object": "urn:x:1"}}


@pytest.fixture(params=["sqlite", "mongo"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    mongo = request.param == "mongo"
    url = request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path}/knutpunkt.db"
    async with running_broker(tmp_path, store=StoreSettings(url=url)) as api:
        for document in (HALL, ROOM):
            await api.ask("POST", "/entities", document, status=201)
        yield api


@pytest.fixture
async def contexts() -> AsyncIterator[TestServer]:
    server = city_contexts()
    await server.start_server()
    yield server
    await server.close()


def iri(name: str) -> str:
    return DEFAULT_VOCAB + name


LOCATION = "https://uri.etsi.org/ngsi-ld/location"


async def get(api: Api, path: str, **headers: str) -> Any:
    return (await api.ask("GET", path, status=200, **headers)).json()


async def test_types_are_listed_in_order(api: Api) -> None:
    body = await get(api, "/types")
    assert body.pop("id").startswith("urn:ngsi-ld:EntityTypeList:")
    assert body == {"type": "EntityTypeList", "typeList": ["Hall", "Room"]}


async def test_types_with_details_name_the_attributes_of_their_entities(api: Api) -> None:
    attributes = ["location", "temperature"]
    assert await get(api, "/types/?details=true") == [
        {"id": iri("Hall"), "type": "EntityType", "typeName": "Hall", "attributeNames": attributes},
        {"id": iri("Room"), "type": "EntityType", "typeName": "Room", "attributeNames": attributes},
    ]


async def test_one_type_is_shown_with_its_count_and_its_attributes_types(api: Api) -> None:
    shown = {
        "id": iri("Room"),
        "type": "EntityTypeInfo",
        "typeName": "Room",
        "entityCount": 2,
        "attributeDetails": [
            {"id": LOCATION, "type": "Attribute", "attributeName": "location", "attributeTypes": ["GeoProperty"]},
            {
                "id": iri("temperature"),
                "type": "Attribute",
                "attributeName": "temperature",
                "attributeTypes": ["Property", "Relationship"],
            },
        ],
    }
    assert await get(api, "/types/Room") == shown
    assert await get(api, f"/types/{quote(iri('Room'), safe='')}?local=true") == shown


async def test_attributes_are_listed_in_order_without_the_entities_members(api: Api) -> None:
    body = await get(api, "/attributes")
    assert body.pop("id").startswith("urn:ngsi-ld:AttributeList:")
    assert body == {"type": "AttributeList", "attributeList": ["location", "temperature"]}


async def test_attributes_with_details_name_the_types_that_have_them(api: Api) -> None:
    types = ["Hall", "Room"]
    assert await get(api, "/attributes?details=true") == [
        {"id": LOCATION, "type": "Attribute", "attributeName": "location", "typeNames": types},
        {"id": iri("temperature"), "type": "Attribute", "attributeName": "temperature", "typeNames": types},
    ]


async def test_one_attribute_is_shown_whole(api: Api) -> None:
    assert await get(api, "/attributes/temperature") == {
        "id": iri("temperature"),
        "type": "Attribute",
        "attributeName": "temperature",
        "attributeCount": 3,
        "attributeTypes": ["Property", "Relationship"],
        "typeNames": ["Hall", "Room"],
    }


@pytest.mark.parametrize(
    "path",
    ["/types/Cellar", "/types/temperature", "/types/https%3A%2F%2Fx%2FRoom", "/attributes/Room", "/attributes/accuracy"]
    + [f"/attributes/{name}" for name in ("id", "type", "scope", "createdAt", "modifiedAt", "deletedAt")],
)
async def test_what_no_entity_has_is_not_found(api: Api, path: str) -> None:
    await api.problem(404, "ResourceNotFound", "GET", path)


@pytest.mark.parametrize("path", ["/types/a%20b", "/attributes/1st", "/types/%22"])
async def test_what_is_no_name_is_bad(api: Api, path: str) -> None:
    await api.problem(400, "BadRequestData", "GET", path)


async def test_the_names_are_those_of_the_requests_context(api: Api, contexts: TestServer) -> None:
    url = str(contexts.make_url("/city.jsonld"))
    foreign = {"id": "urn:ngsi-ld:Room:3", "type": "Room", "warmth": {"type": "Property", "value": 1}}
    await api.ask("POST", "/entities", foreign, status=201, Link=link(url))
    full = ["Hall", "Room", "https://city.example/Room"]
    assert (await get(api, "/types"))["typeList"] == full
    answer = await api.ask("GET", "/types", status=200, Link=link(url))
    assert answer.headers["Link"] == link(url)
    # The type that only the core @context calls 'Room' needs a longer name here.
    assert {"Hall", "Room"} < set(answer.json()["typeList"]) and len(answer.json()["typeList"]) == 3
    assert (await get(api, "/types/Room", Link=link(url)))["entityCount"] == 1
    assert (await get(api, "/attributes/warmth", Link=link(url)))["typeNames"] == ["Room"]
    linked = await get(api, "/attributes/warmth", Link=link(url), Accept=LD)
    assert linked["@context"] == [url, CORE_URL]


async def test_what_goes_with_its_last_entity_is_no_longer_there(api: Api) -> None:
    await api.ask("DELETE", "/entities/urn:ngsi-ld:Room:1", status=204)
    assert (await get(api, "/types"))["typeList"] == ["Room"]
    assert (await get(api, "/attributes"))["attributeList"] == ["temperature"]
    await api.ask("DELETE", "/entities/urn:ngsi-ld:Room:2", status=204)
    assert (await get(api, "/types"))["typeList"] == []
    assert await get(api, "/attributes?details=true") == []


async def test_a_tenants_types_are_its_own(api: Api) -> None:
    await api.ask("POST", "/entities", {"id": "urn:x:1", "type": "Pool"}, status=201, NGSILD_Tenant="umea")
    assert (await get(api, "/types", NGSILD_Tenant="umea"))["typeList"] == ["Pool"]
    await api.problem(404, "ResourceNotFound", "GET", "/types/Pool")
    await api.problem(404, "NonexistentTenant", "GET", "/types", NGSILD_Tenant="boden")
