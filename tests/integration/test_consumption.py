"""Queries, linked entities, projections, orders and pages over HTTP, on both stores (ETSI GS CIM 009 v1.9.1, 5.7.1, 5.7.2)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from broker.config import StoreSettings
from tests.support.api import Answer, Api, running_broker
from tests.support.mongo import mongo_uri, mongo_url

__all__ = ["mongo_uri", "mongo_url"]


def entity(word: str, kind: str, /, **members: Any) -> dict[str, Any]:
    return {"id": f"urn:ngsi-ld:{kind}:{word}", "type": kind, **members}


def to(*targets: str) -> dict[str, Any]:
    ids = [f"urn:ngsi-ld:{target}" for target in targets]
    return {"type": "Relationship", "object": ids[0] if len(ids) == 1 else ids}


def at(longitude: float, latitude: float) -> dict[str, Any]:
    return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [longitude, latitude]}}


CITY = [
    entity("west", "Building", name="Västra skolan", floors=2, location=at(17.30, 62.39), isIn=to("City:sundsvall")),
    entity("east", "Building", name="Östra skolan", floors=3, location=at(17.35, 62.39), isIn=to("City:sundsvall")),
    entity("hall", "Building", name="Ängsmarks hall", location=at(13.38, 59.38), isIn=to("City:karlstad")),
    entity("sundsvall", "City", name="Sundsvall", isIn=to("Country:sweden"), twin=to("City:karlstad")),
    entity("karlstad", "City", name="Karlstad", twin=to("City:sundsvall")),
    entity("sweden", "Country", name="Sverige"),
    entity("bus", "Line", stops=to("Building:west", "Building:east", "Building:gone")),
    entity(
        "tram", "Line", stops={"type": "ListRelationship", "objectList": ["urn:ngsi-ld:Building:hall", "urn:x:nobody"]}
    ),
]


@pytest.fixture(params=["sqlite", "mongo"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    mongo = request.param == "mongo"
    url = request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path}/knutpunkt.db"
    async with running_broker(tmp_path, store=StoreSettings(url=url)) as api:
        await api.ask("POST", "/entityOperations/create", CITY, status=201)
        yield api


async def query(api: Api, status: int = 200, **parameters: Any) -> Answer:
    text = "&".join(f"{name}={quote(str(value))}" for name, value in parameters.items())
    return await api.ask("GET", f"/entities?{text}", status=status)


async def names(api: Api, **parameters: Any) -> list[str]:
    return [each["id"].rpartition(":")[2] for each in (await query(api, **parameters)).json()]


async def test_linked_entities_stand_within_the_entities_that_link_to_them(api: Api) -> None:
    (shown,) = (await query(api, id="urn:ngsi-ld:Building:west", type="Building", join="inline", joinLevel=2)).json()
    city = shown["isIn"]["entity"]
    assert city["id"] == "urn:ngsi-ld:City:sundsvall"
    assert city["isIn"]["entity"]["name"]["value"] == "Sverige"
    assert city["twin"]["entity"]["name"]["value"] == "Karlstad"
    assert "entity" not in city["twin"]["entity"]["twin"], "a third level, and back where it came from"


async def test_arrays_and_lists_of_objects_are_followed_as_far_as_they_lead_somewhere(api: Api) -> None:
    bus = (await api.ask("GET", "/entities/urn:ngsi-ld:Line:bus?join=inline", status=200)).json()
    assert [each["id"] for each in bus["stops"]["entity"]] == [CITY[0]["id"], CITY[1]["id"]]
    tram = (await api.ask("GET", "/entities/urn:ngsi-ld:Line:tram?join=inline", status=200)).json()
    assert [each["id"] for each in tram["stops"]["entityList"]] == [CITY[2]["id"]]
    plain = (await api.ask("GET", "/entities/urn:ngsi-ld:Line:bus?join=inline&format=simplified", status=200)).json()
    assert plain["stops"][0]["name"] == "Västra skolan" and plain["stops"][2] == "urn:ngsi-ld:Building:gone"


async def test_flat_retrieval_is_each_entity_once_the_linking_ones_first(api: Api) -> None:
    assert await names(api, type="Building", join="flat", joinLevel=2) == [
        "east", "hall", "west", "sundsvall", "karlstad", "sweden",
    ]  # fmt: skip
    one = (await api.ask("GET", "/entities/urn:ngsi-ld:City:sundsvall?join=flat", status=200)).json()
    assert [each["type"] for each in one] == ["City", "Country", "City"]
    known = "containedBy=urn:ngsi-ld:Country:sweden"
    one = (
        await api.ask("GET", f"/entities/urn:ngsi-ld:City:sundsvall?join=flat&joinLevel=1&{known}", status=200)
    ).json()
    assert [each["type"] for each in one] == ["City", "City"]
    features = (
        await api.ask("GET", "/entities/urn:ngsi-ld:Line:bus?join=flat", status=200, Accept="application/geo+json")
    ).json()
    assert features["type"] == "FeatureCollection" and len(features["features"]) == 3


async def test_projections_reach_into_linked_entities(api: Api) -> None:
    (shown,) = (
        await query(
            api, type="Building", q='name=="Östra skolan"', join="inline", pick="id,isIn{name}", format="concise"
        )
    ).json()
    assert shown == {
        "id": "urn:ngsi-ld:Building:east",
        "isIn": {"object": "urn:ngsi-ld:City:sundsvall", "entity": {"name": "Sundsvall"}},
    }
    (shown, *_) = (await query(api, type="Building", join="inline", omit="location,floors,isIn{isIn,twin}")).json()
    assert shown.keys() == {"id", "type", "name", "isIn"} and shown["isIn"]["entity"].keys() == {"id", "type", "name"}
    for parameters in (
        "pick=isIn{name}",
        "join=flat&joinLevel=1&pick=isIn{isIn{name}}",
        "pick=name&omit=name",
        "join=up",
    ):
        await api.problem(400, "BadRequestData", "GET", f"/entities?type=Building&{parameters}")


async def test_q_asks_what_linked_entities_are_like(api: Api) -> None:
    assert await names(api, type="Building", q='isIn{name}=="Sundsvall"', join="flat", pick="id,name") == [
        "east",
        "west",
    ]
    assert await names(api, type="Building", q='isIn{City:isIn{name}}=="Sverige"', join="inline", joinLevel=2) == [
        "east", "west",
    ]  # fmt: skip
    assert await names(api, type="Building", q='isIn{Country:name}=="Sundsvall"', join="inline") == []
    await api.problem(400, "BadRequestData", "GET", f"/entities?type=Building&q={quote('isIn{name}')}")


async def test_entities_come_in_the_order_that_is_asked_for(api: Api) -> None:
    assert await names(api, type="Building", orderBy="floors;desc") == ["east", "west", "hall"]
    assert await names(api, type="Building", orderBy="name", collation="sv") == ["west", "hall", "east"]
    assert await names(api, type="Building", orderBy="name") == ["hall", "east", "west"]
    assert await names(api, type="Building", orderBy="location;dist-desc", orderFrom="[17.30,62.39]") == [
        "hall", "east", "west",
    ]  # fmt: skip
    assert await names(api, type="Building,City", orderBy="type;desc,id") == [
        "karlstad", "sundsvall", "east", "hall", "west",
    ]  # fmt: skip
    await api.problem(400, "BadRequestData", "GET", "/entities?type=Building&orderBy=location;dist-asc")


async def test_a_query_by_post_is_the_query_by_get(api: Api) -> None:
    body = {
        "type": "Query",
        "entities": [{"type": "Building", "idPattern": "west$"}, {"type": "City", "id": "urn:ngsi-ld:City:karlstad"}],
        "pick": ["id", "name"],
        "ordering": {"orderBy": ["name"], "collation": "sv"},
    }
    answer = await api.ask("POST", "/entityOperations/query?format=concise&count=true", body, status=200)
    assert answer.json() == [
        {"id": "urn:ngsi-ld:City:karlstad", "name": "Karlstad"},
        {"id": "urn:ngsi-ld:Building:west", "name": "Västra skolan"},
    ]
    assert answer.headers["NGSILD-Results-Count"] == "2"
    await api.problem(400, "BadRequestData", "POST", "/entityOperations/query", {"type": "Query"})
    await api.problem(400, "BadRequestData", "POST", "/entityOperations/query?q=a", {**body, "q": "b"})


async def test_far_pages_are_linked_by_where_they_begin_and_hold_every_entity_once(api: Api) -> None:
    rows: list[dict[str, Any]] = [
        {"id": f"urn:ngsi-ld:Row:{number}", "type": "Row", "n": number} for number in range(2600)
    ]
    for start in range(0, len(rows), 650):
        await api.ask("POST", "/entityOperations/create", rows[start : start + 650], status=201)
    path: str | None = "/entities?type=Row&limit=600&pick=id"
    seen: list[str] = []
    links: list[str] = []
    while path is not None:
        answer = await api.ask("GET", path, status=200)
        seen += [each["id"] for each in answer.json()]
        following = [link for link in answer.headers.getall("Link") if 'rel="next"' in link]
        links += following
        path = following[0].partition(">")[0].removeprefix("</ngsi-ld/v1") if following else None
    assert sorted(seen) == sorted(row["id"] for row in rows)
    assert ["after=" in link for link in links] == [False, True, True, True]
    await api.problem(400, "BadRequestData", "GET", "/entities?type=Row&after=made-up")
