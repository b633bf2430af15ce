"""NGSI-LD entities over real HTTP, on a whole broker with a real SQLite store."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from yarl import URL

from broker.jsonld.core import CORE_URL
from tests.support.api import FOREIGN, LD, Api, city_contexts, link, running_broker

ROOM = {
    "id": "urn:ngsi-ld:Room:214",
    "type": "Room",
    "temperature": {"type": "Property", "value": 21.5, "unitCode": "CEL", "observedAt": "2026-01-01T12:00:00Z"},
    "name": {"type": "Property", "value": "Räksmörgåsen"},
    "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [17.3, 62.39]}},
    "locatedIn": {"type": "Relationship", "object": "urn:ngsi-ld:Building:1"},
}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_broker(tmp_path) as api:
        yield api


@pytest.fixture
async def contexts() -> AsyncIterator[TestServer]:
    server = city_contexts()
    await server.start_server()
    yield server
    await server.close()


def room(number: int, **members: Any) -> dict[str, Any]:
    return {"id": f"urn:ngsi-ld:Room:{number}", "type": "Room", **members}


# --- entities ---------------------------------------------------------------------------------------------------------


async def test_an_entity_is_created_read_and_deleted(api: Api) -> None:
    created = await api.ask("POST", "/entities", ROOM, status=201)
    assert created.headers["Location"] == "/ngsi-ld/v1/entities/urn:ngsi-ld:Room:214"
    assert created.body == b""

    read = await api.ask("GET", "/entities/urn:ngsi-ld:Room:214", status=200)
    assert read.json() == ROOM
    assert read.headers["Content-Type"] == "application/json"
    assert read.headers["Link"] == link(CORE_URL)

    head = await api.ask("HEAD", "/entities/urn:ngsi-ld:Room:214", status=200)
    assert head.body == b""

    deleted = await api.ask("DELETE", "/entities/urn:ngsi-ld:Room:214", status=204)
    assert "Content-Length" not in deleted.headers
    await api.problem(404, "ResourceNotFound", "GET", "/entities/urn:ngsi-ld:Room:214")
    await api.problem(404, "ResourceNotFound", "DELETE", "/entities/urn:ngsi-ld:Room:214")


async def test_an_entity_is_created_once(api: Api) -> None:
    await api.ask("POST", "/entities/", ROOM, status=201)
    detail = await api.problem(409, "AlreadyExists", "POST", "/entities", ROOM)
    assert "urn:ngsi-ld:Room:214" in detail


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (b"{", "InvalidRequest"),
        (b"", "InvalidRequest"),
        ([], "InvalidRequest"),
        ("Room", "InvalidRequest"),
        ({"type": "Room"}, "BadRequestData"),
        ({"id": "urn:x:1"}, "BadRequestData"),
        ({"id": "no uri", "type": "Room"}, "BadRequestData"),
        ({"id": 7, "type": "Room"}, "BadRequestData"),
        (room(1, temperature={"type": "Property"}), "BadRequestData"),
        (room(1, temperature={"type": "Property", "value": 1, "observedAt": "yesterday"}), "BadRequestData"),
        (room(1, temperature={"type": "Property", "value": "urn:ngsi-ld:null"}), "BadRequestData"),
        (room(1, location={"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1]}}), "BadRequestData"),
        (room(1, at={"type": "Relationship", "object": 5}), "BadRequestData"),
        (room(1, **{"a b": {"type": "Property", "value": 1}}), "BadRequestData"),
    ],
)
async def test_an_entity_that_breaks_a_rule_is_refused_and_nothing_is_stored(
    api: Api, document: Any, kind: str
) -> None:
    await api.problem(400, kind, "POST", "/entities", document)
    assert (await api.ask("GET", "/entities?local=true", status=200)).json() == []


async def test_representations_and_system_attributes(api: Api) -> None:
    await api.ask("POST", "/entities", ROOM, status=201)
    one = "/entities/urn:ngsi-ld:Room:214"
    simple = {
        "id": ROOM["id"],
        "type": "Room",
        "temperature": 21.5,
        "name": "Räksmörgåsen",
        "location": ROOM["location"]["value"],  # type: ignore[index]
        "locatedIn": "urn:ngsi-ld:Building:1",
    }
    for asked in ["options=keyValues", "options=simplified", "format=keyValues", "format=simplified&options=concise"]:
        assert (await api.ask("GET", f"{one}?{asked}", status=200)).json() == simple
    concise = (await api.ask("GET", f"{one}?format=concise", status=200)).json()
    assert concise["temperature"] == {"value": 21.5, "unitCode": "CEL", "observedAt": "2026-01-01T12:00:00Z"}
    times = (await api.ask("GET", f"{one}?options=sysAttrs", status=200)).json()
    assert {"createdAt", "modifiedAt"} <= set(times) and {"createdAt", "modifiedAt"} <= set(times["temperature"])

    picked = (await api.ask("GET", f"{one}?pick=id,temperature&options=keyValues", status=200)).json()
    assert picked == {"id": ROOM["id"], "temperature": 21.5}
    omitted = (await api.ask("GET", f"{one}?omit=type,location,name,locatedIn&format=simplified", status=200)).json()
    assert omitted == {"id": ROOM["id"], "temperature": 21.5}
    some = (await api.ask("GET", f"{one}?attrs=name,nothing&options=keyValues", status=200)).json()
    assert some == {"id": ROOM["id"], "type": "Room", "name": "Räksmörgåsen"}
    await api.problem(404, "ResourceNotFound", "GET", f"{one}?attrs=nothing")


async def test_geojson_carries_its_context_or_links_to_it(api: Api) -> None:
    await api.ask("POST", "/entities", ROOM, status=201)
    geo = "application/geo+json"
    feature = await api.ask("GET", "/entities/urn:ngsi-ld:Room:214?options=keyValues", status=200, Accept=geo)
    assert feature.headers["Content-Type"] == geo and "Link" not in feature.headers
    body = feature.json()
    assert body["type"] == "Feature" and body["geometry"]["coordinates"] == [17.3, 62.39]
    assert body["properties"]["temperature"] == 21.5 and body["@context"] == CORE_URL

    many = await api.ask("GET", "/entities?type=Room", status=200, Accept=geo, Prefer="body=json")
    assert many.headers["Link"] == link(CORE_URL)
    assert many.json()["type"] == "FeatureCollection" and "@context" not in many.json()
    await api.problem(400, "BadRequestData", "GET", "/entities?type=Room&geometryProperty=location")


# --- @context ---------------------------------------------------------------------------------------------------------


async def test_names_are_those_of_the_readers_context(api: Api, contexts: TestServer) -> None:
    city = str(contexts.make_url("/city.jsonld"))
    await api.ask(
        "POST", "/entities", {**room(1, warmth={"type": "Property", "value": 19})}, status=201, Link=link(city)
    )

    own = await api.ask("GET", "/entities?type=Room", status=200, Link=link(city))
    assert own.json() == [room(1, warmth={"type": "Property", "value": 19})]
    assert own.headers["Link"] == link(city)

    assert (await api.ask("GET", "/entities?type=Room", status=200)).json() == []
    full = await api.ask("GET", "/entities/urn:ngsi-ld:Room:1?options=keyValues", status=200)
    assert full.json() == {
        "id": "urn:ngsi-ld:Room:1",
        "type": "https://city.example/Room",
        "https://city.example/temperature": 19,
    }
    inline = await api.ask("GET", "/entities/urn:ngsi-ld:Room:1", status=200, Accept=LD, Link=link(city))
    assert inline.headers["Content-Type"] == LD and "Link" not in inline.headers
    assert inline.json()["@context"] == [city, CORE_URL]
    each = await api.ask("GET", "/entities?type=Room", status=200, Accept=LD, Link=link(city))
    assert [entity["@context"] for entity in each.json()] == [[city, CORE_URL]]


async def test_a_context_in_the_body_works_as_url_object_and_list(api: Api, contexts: TestServer) -> None:
    city = str(contexts.make_url("/city.jsonld"))
    for number, context in enumerate([city, FOREIGN, [city, CORE_URL], [FOREIGN, CORE_URL]]):
        document = {**room(number, warmth={"type": "Property", "value": 1}), "@context": context}
        await api.ask("POST", "/entities", document, status=201, Content_Type=LD)
    found = await api.ask("GET", "/entities?type=https://city.example/Room&count=true", status=200)
    assert found.headers["NGSILD-Results-Count"] == "4"


async def test_the_context_must_stand_in_one_place(api: Api, contexts: TestServer) -> None:
    city = str(contexts.make_url("/city.jsonld"))
    with_context = {**ROOM, "@context": city}
    await api.problem(400, "BadRequestData", "POST", "/entities", with_context)
    await api.problem(400, "BadRequestData", "POST", "/entities", with_context, Link=link(city))
    await api.problem(400, "BadRequestData", "POST", "/entities", with_context, Link=link(city), Content_Type=LD)
    await api.problem(400, "BadRequestData", "POST", "/entities", ROOM, Link=link(city), Content_Type=LD)
    await api.problem(400, "BadRequestData", "POST", "/entities", ROOM, Content_Type=LD)
    await api.problem(400, "BadRequestData", "GET", "/entities?type=Room", Link="<not a link")


async def test_a_context_that_cannot_be_had_is_504_and_one_that_is_none_400(api: Api, contexts: TestServer) -> None:
    for path, status, kind in (("/nowhere", 504, "LdContextNotAvailable"), ("/broken", 400, "BadRequestData")):
        url = str(contexts.make_url(path))
        await api.problem(status, kind, "GET", "/entities?type=Room", Link=link(url))
        document = {**ROOM, "@context": url}
        await api.problem(status, kind, "POST", "/entities", document, Content_Type=LD)


async def test_content_types_and_lengths_are_checked_as_the_standard_says(api: Api) -> None:
    wrong = await api.ask("POST", "/entities", ROOM, status=415, Content_Type="text/plain")
    assert wrong.body == b""
    await api.ask("POST", "/entities", ROOM, status=415, Content_Type="application/merge-patch+json")
    await api.ask("POST", "/entities", ROOM, status=201, Content_Type="application/json; charset=utf-8")
    await api.ask(
        "PATCH",
        "/entities/urn:ngsi-ld:Room:214/attrs",
        {"temperature": {"type": "Property", "value": 1}},
        status=204,
        Content_Type="application/merge-patch+json",
    )

    async def chunks() -> AsyncIterator[bytes]:
        yield json.dumps(room(9)).encode()

    async with aiohttp.ClientSession() as session:
        url = f"{api.url}/ngsi-ld/v1/entities"
        async with session.post(url, data=chunks(), headers={"Content-Type": "application/json"}) as response:
            assert (response.status, await response.read()) == (411, b"")


async def test_what_cannot_be_accepted_is_406_with_the_list_of_what_can(api: Api) -> None:
    detail = await api.problem(406, "NotAcceptable", "GET", "/entities?type=Room", Accept="text/html")
    assert "application/json, application/ld+json, application/geo+json" in detail
    detail = await api.problem(406, "NotAcceptable", "GET", "/subscriptions", Accept="application/geo+json")
    assert detail.endswith("application/json, application/ld+json.")


# --- queries ----------------------------------------------------------------------------------------------------------


async def test_queries_select_by_type_id_attribute_value_place_and_scope(api: Api) -> None:
    for number in range(5):
        place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [17 + number / 100, 62]}}
        value = {"type": "Property", "value": 18 + number}
        level = "upper" if number % 2 else "lower"
        await api.ask(
            "POST", "/entities", room(number, temperature=value, location=place, scope=f"/floor/{level}"), status=201
        )
    await api.ask("POST", "/entities", {"id": "urn:ngsi-ld:Pump:1", "type": "Pump", "on": {"value": True}}, status=201)

    async def found(query: str) -> list[str]:
        return [
            entity["id"].rpartition(":")[2]
            for entity in (await api.ask("GET", f"/entities?{query}", status=200)).json()
        ]

    assert await found("type=Room") == ["0", "1", "2", "3", "4"]
    assert await found("type=Room,Pump&id=urn:ngsi-ld:Pump:1,urn:ngsi-ld:Room:3") == ["3", "1"]
    assert await found("type=Room&idPattern=[12]$") == ["1", "2"]
    assert await found("attrs=on") == ["1"]
    assert await found("q=temperature%3E20") == ["3", "4"]
    assert await found("type=Room&q=temperature%3E18;temperature%3C21") == ["1", "2"]
    assert await found("q=on==true") == ["1"]
    near = "georel=near;maxDistance==1000&geometry=Point&coordinates=[17.01,62]"
    assert await found(f"type=Room&{near}") == ["0", "1", "2"]
    box = "[[[17.015,61],[17.035,61],[17.035,63],[17.015,63],[17.015,61]]]"
    assert await found(f"type=Room&georel=within&geometry=Polygon&coordinates={box}") == ["2", "3"]
    assert await found("type=Room&scopeQ=/floor/upper") == ["1", "3"]


async def test_pages_can_be_followed_by_their_links(api: Api) -> None:
    for number in range(5):
        await api.ask("POST", "/entities", room(number, n={"type": "Property", "value": number}), status=201)
    seen: list[str] = []
    path = "/entities?type=Room&q=n%3E=0&limit=2&count=true"
    previous: list[bool] = []
    while path:
        page = await api.ask("GET", path, status=200)
        assert page.headers["NGSILD-Results-Count"] == "5"
        seen += [entity["id"] for entity in page.json()]
        links = [value for value in page.headers.getall("Link") if "json-ld#context" not in value]
        previous.append(any('rel="prev"' in value for value in links))
        following = [value for value in links if 'rel="next"' in value]
        path = following[0][1 : following[0].index(">")].removeprefix("/ngsi-ld/v1") if following else ""
    assert seen == [f"urn:ngsi-ld:Room:{number}" for number in range(5)]
    assert previous == [False, True, True]

    count = await api.ask("GET", "/entities?type=Room&limit=0&count=true", status=200)
    assert (count.json(), count.headers["NGSILD-Results-Count"]) == ([], "5")
    assert "NGSILD-Results-Count" not in (await api.ask("GET", "/entities?type=Room", status=200)).headers


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("", "BadRequestData"),
        ("limit=5", "BadRequestData"),
        ("type=Room&limit=-1", "BadRequestData"),
        ("type=Room&limit=0", "BadRequestData"),
        ("type=Room&limit=many", "BadRequestData"),
        ("type=Room&offset=-1", "BadRequestData"),
        ("type=Room&count=maybe", "BadRequestData"),
        ("type=Room&q=", "BadRequestData"),
        ("type=Room&q=temperature==", "BadRequestData"),
        ("type=Room&id=nouri", "BadRequestData"),
        ("type=Room&idPattern=(", "BadRequestData"),
        ("type=Room&georel=near", "BadRequestData"),
        ("type=Room&attrs=", "BadRequestData"),
        ("type=Room&unknown=1", "InvalidRequest"),
        ("type=Room&type=Pump", "InvalidRequest"),
        ("type=Room&options=fancy", "InvalidRequest"),
        ("type=Room&options=concise,simplified", "InvalidRequest"),
        ("type=Room&format=fancy", "InvalidRequest"),
        ("type=Room&lang=!!", "BadRequestData"),
    ],
)
async def test_a_query_with_a_bad_or_unknown_parameter_is_400(api: Api, query: str, kind: str) -> None:
    await api.problem(400, kind, "GET", f"/entities?{query}")


async def test_a_page_beyond_the_limit_is_too_many_results(api: Api) -> None:
    detail = await api.problem(403, "TooManyResults", "GET", "/entities?type=Room&limit=1001")
    assert "limits.query_results" in detail


# --- attributes -------------------------------------------------------------------------------------------------------

ATTRS = "/entities/urn:ngsi-ld:Room:214/attrs"


async def simplified(api: Api) -> dict[str, Any]:
    read = await api.ask("GET", "/entities/urn:ngsi-ld:Room:214?options=keyValues", status=200)
    body: dict[str, Any] = read.json()
    return {name: value for name, value in body.items() if name not in ("id", "type", "location", "locatedIn")}


async def test_attributes_are_updated_added_and_deleted_by_null(api: Api) -> None:
    await api.ask("POST", "/entities", ROOM, status=201)
    update = {"temperature": {"type": "Property", "value": 22}, "humidity": {"type": "Property", "value": 40}}
    await api.ask("PATCH", ATTRS, update, status=204)
    assert await simplified(api) == {"temperature": 22, "name": "Räksmörgåsen", "humidity": 40}
    await api.ask("PATCH", ATTRS, {"name": "urn:ngsi-ld:null"}, status=204)
    assert await simplified(api) == {"temperature": 22, "humidity": 40}
    unit = (await api.ask("GET", "/entities/urn:ngsi-ld:Room:214", status=200)).json()["temperature"]
    assert unit == {"type": "Property", "value": 22}


async def test_append_overwrites_or_says_what_it_did_not(api: Api) -> None:
    await api.ask("POST", "/entities", ROOM, status=201)
    more = {"temperature": {"type": "Property", "value": 5}, "co2": {"type": "Property", "value": 600}}
    kept = await api.ask("POST", f"{ATTRS}?options=noOverwrite", more, status=207)
    assert kept.headers["Content-Type"] == "application/json"
    result = kept.json()
    vocabulary = "https://uri.etsi.org/ngsi-ld/default-context/"
    assert result["updated"] == [vocabulary + "co2"]
    assert [refused["attributeName"] for refused in result["notUpdated"]] == [vocabulary + "temperature"]
    assert result["notUpdated"][0]["reason"]
    assert await simplified(api) == {"temperature": 21.5, "name": "Räksmörgåsen", "co2": 600}
    await api.ask("POST", ATTRS, more, status=204)
    assert (await simplified(api))["temperature"] == 5
    await api.problem(400, "InvalidRequest", "POST", f"{ATTRS}?options=overwrite", more)


async def test_a_partial_update_leaves_the_rest_of_the_attribute(api: Api) -> None:
    await api.ask("POST", "/entities", ROOM, status=201)
    await api.ask("PATCH", f"{ATTRS}/temperature", {"value": 19}, status=204)
    read = (await api.ask("GET", "/entities/urn:ngsi-ld:Room:214", status=200)).json()
    assert read["temperature"] == {**ROOM["temperature"], "value": 19}  # type: ignore[dict-item]
    await api.problem(404, "ResourceNotFound", "PATCH", f"{ATTRS}/humidity", {"value": 1})
    await api.problem(
        400, "BadRequestData", "PATCH", f"{ATTRS}/temperature", {"type": "Relationship", "object": "urn:x"}
    )
    await api.problem(400, "BadRequestData", "PATCH", f"{ATTRS}/no%20name", {"value": 1})


async def test_one_instance_or_all_of_an_attribute_are_deleted(api: Api) -> None:
    instances = [
        {"type": "Property", "value": 1},
        {"type": "Property", "value": 2, "datasetId": "urn:d:2"},
        {"type": "Property", "value": 3, "datasetId": "urn:d:3"},
    ]
    await api.ask("POST", "/entities", room(214, level=instances, other={"type": "Property", "value": 0}), status=201)
    await api.ask("DELETE", f"{ATTRS}/level?datasetId=urn:d:2", status=204)
    await api.ask("DELETE", f"{ATTRS}/level", status=204)
    assert (await simplified(api))["level"] == {"dataset": {"urn:d:3": 3}}
    await api.problem(404, "ResourceNotFound", "DELETE", f"{ATTRS}/level?datasetId=urn:d:2")
    await api.problem(400, "BadRequestData", "DELETE", f"{ATTRS}/level?datasetId=two")
    await api.problem(400, "BadRequestData", "DELETE", f"{ATTRS}/level?deleteAll=perhaps")
    await api.ask("DELETE", f"{ATTRS}/level?deleteAll=true", status=204)
    assert await simplified(api) == {"other": 0}


async def test_operations_on_what_is_not_there_or_not_of_the_type_are_404(api: Api) -> None:
    update = {"temperature": {"type": "Property", "value": 1}}
    await api.problem(404, "ResourceNotFound", "PATCH", ATTRS, update)
    await api.problem(404, "ResourceNotFound", "POST", ATTRS, update)
    await api.problem(404, "ResourceNotFound", "DELETE", f"{ATTRS}/temperature")
    await api.problem(400, "BadRequestData", "GET", "/entities/not-a-uri")
    await api.ask("POST", "/entities", ROOM, status=201)
    await api.problem(404, "ResourceNotFound", "PATCH", f"{ATTRS}?type=Pump", update)
    await api.problem(404, "ResourceNotFound", "GET", "/entities/urn:ngsi-ld:Room:214?type=Pump")
    await api.problem(404, "ResourceNotFound", "DELETE", "/entities/urn:ngsi-ld:Room:214?type=Pump")
    await api.ask("PATCH", f"{ATTRS}?type=Pump,Room", update, status=204)


async def test_an_id_with_a_slash_is_found_by_its_encoded_form(api: Api) -> None:
    created = await api.ask("POST", "/entities", {"id": "https://city.example/rooms/5?x=ö", "type": "Room"}, status=201)
    where = created.headers["Location"].removeprefix("/ngsi-ld/v1")
    address = URL(f"{api.url}/ngsi-ld/v1{where}", encoded=True)
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        assert (await response.json())["id"] == "https://city.example/rooms/5?x=ö"
