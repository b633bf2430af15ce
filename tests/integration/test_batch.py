"""Batch operations and purge over real HTTP (ETSI GS CIM 009 v1.9.1, 5.6.7-5.6.10, 5.6.20, 5.6.21), on a whole broker."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from broker.config import Limits
from tests.support.api import LD, Api, city_contexts, link, running_broker
from tests.support.receiver import receiving

OPERATIONS = ("create", "upsert", "update", "merge", "delete")


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
    return {"id": room_id(number), "type": "Room", **members}


def room_id(number: int) -> str:
    return f"urn:ngsi-ld:Room:{number}"


def warm(value: float) -> dict[str, Any]:
    return {"type": "Property", "value": value}


async def batch(api: Api, operation: str, body: Any, *, options: str = "", status: int, **headers: str) -> Any:
    """The answer's body, parsed; None without one."""
    query = f"?options={options}" if options else ""
    answer = await api.ask("POST", f"/entityOperations/{operation}{query}", body, status=status, **headers)
    if status == 204:
        assert answer.body == b""
        assert "Content-Length" not in answer.headers
        return None
    assert answer.headers["Content-Type"] == "application/json"
    assert "Link" not in answer.headers
    return answer.json()


def errors(result: dict[str, Any]) -> list[tuple[str, int]]:
    """What failed, and with which status."""
    assert set(result) == {"success", "errors"}
    for error in result["errors"]:
        assert set(error) == {"entityId", "error"}
        assert error["error"].keys() >= {"type", "title", "detail", "status"}
    return [(error["entityId"], error["error"]["status"]) for error in result["errors"]]


async def attribute(api: Api, number: int, name: str) -> Any:
    return (await api.ask("GET", f"/entities/{room_id(number)}", status=200)).json().get(name)


# --- create -----------------------------------------------------------------------------------------------------------


async def test_a_batch_of_entities_is_created_and_named(api: Api) -> None:
    assert await batch(api, "create", [room(1), room(2, warmth=warm(20))], status=201) == [room_id(1), room_id(2)]
    assert await attribute(api, 2, "warmth") == warm(20)


async def test_of_a_batch_some_are_created_and_the_others_said_why_not(api: Api) -> None:
    await api.ask("POST", "/entities", room(2), status=201)
    sent = [room(1), room(2), room(1), {"id": room_id(3)}, {"id": "no uri", "type": "Room"}, room(4)]
    result = await batch(api, "create", sent, status=207)
    assert result["success"] == [room_id(1), room_id(4)]
    assert errors(result) == [(room_id(2), 409), (room_id(1), 409), (room_id(3), 400), ("no uri", 400)]


async def test_an_entity_that_is_given_twice_is_created_as_the_first_says(api: Api) -> None:
    result = await batch(api, "create", [room(1, warmth=warm(1)), room(1, warmth=warm(2))], status=207)
    assert result["success"] == [room_id(1)]
    assert errors(result) == [(room_id(1), 409)]
    assert await attribute(api, 1, "warmth") == warm(1)


# --- upsert -----------------------------------------------------------------------------------------------------------


async def test_upsert_names_those_it_created_alone(api: Api) -> None:
    await api.ask("POST", "/entities", room(1, warmth=warm(1), name=warm(0)), status=201)
    assert await batch(api, "upsert", [room(1, warmth=warm(2)), room(2)], status=201) == [room_id(2)]
    assert await attribute(api, 1, "warmth") == warm(2)
    assert await attribute(api, 1, "name") is None, "replaced"
    assert await batch(api, "upsert", [room(1), room(2)], options="replace", status=204) is None


async def test_upsert_with_update_leaves_what_it_does_not_name(api: Api) -> None:
    await api.ask("POST", "/entities", room(1, warmth=warm(1), name=warm(0)), status=201)
    sent = [room(1, warmth=warm(2)), room(2, warmth=warm(3))]
    assert await batch(api, "upsert", sent, options="update", status=201) == [room_id(2)]
    assert await attribute(api, 1, "warmth") == warm(2)
    assert await attribute(api, 1, "name") == warm(0)


async def test_upsert_with_update_deletes_from_what_is_there_and_creates_nothing_deleted(api: Api) -> None:
    await api.ask("POST", "/entities", room(1, warmth=warm(1), name=warm(0)), status=201)
    gone = {"type": "Property", "value": "urn:ngsi-ld:null"}
    result = await batch(api, "upsert", [room(1, warmth=gone), room(2, warmth=gone)], options="update", status=207)
    assert result["success"] == [room_id(1)]
    assert errors(result) == [(room_id(2), 400)]
    assert await attribute(api, 1, "warmth") is None
    await api.ask("GET", f"/entities/{room_id(2)}", status=404)


async def test_an_entity_that_is_upserted_twice_ends_as_the_last_says(api: Api) -> None:
    sent = [room(1, warmth=warm(1), name=warm(0)), room(2), room(1, warmth=warm(2))]
    assert await batch(api, "upsert", sent, status=201) == [room_id(1), room_id(2)]
    assert await attribute(api, 1, "warmth") == warm(2)
    assert await attribute(api, 1, "name") is None
    rows = await api.running.parts.tenants.default.store.history(room_id(1))
    assert [row.instance["value"] for row in rows if row.instance and row.attribute.endswith("warmth")] == [1, 2]


async def test_upsert_can_replace_or_update_but_not_both(api: Api) -> None:
    path = "/entityOperations/upsert?options="
    await api.problem(400, "BadRequestData", "POST", f"{path}replace,update", [room(1)])
    await api.problem(400, "InvalidRequest", "POST", f"{path}noOverwrite", [room(1)])


# --- update, merge, delete --------------------------------------------------------------------------------------------


async def test_update_appends_and_overwrites(api: Api) -> None:
    await api.ask("POST", "/entities", room(1, warmth=warm(1)), status=201)
    assert await batch(api, "update", [room(1, warmth=warm(2), name=warm(3))], status=204) is None
    assert (await attribute(api, 1, "warmth"), await attribute(api, 1, "name")) == (warm(2), warm(3))
    result = await batch(api, "update", [room(1, warmth=warm(4)), room(9, warmth=warm(4))], status=207)
    assert (result["success"], errors(result)) == ([room_id(1)], [(room_id(9), 404)])


async def test_update_without_overwriting_says_what_it_left(api: Api) -> None:
    await batch(api, "create", [room(1, warmth=warm(1)), room(2)], status=201)
    sent = [room(1, warmth=warm(2), name=warm(3)), room(2, warmth=warm(2))]
    result = await batch(api, "update", sent, options="noOverwrite", status=207)
    assert (result["success"], errors(result)) == ([room_id(2)], [(room_id(1), 409)])
    assert "default-context/warmth" in result["errors"][0]["error"]["detail"]
    assert (await attribute(api, 1, "warmth"), await attribute(api, 1, "name")) == (warm(1), warm(3))


async def test_merge_goes_into_what_is_there(api: Api) -> None:
    await api.ask("POST", "/entities", room(1, warmth={**warm(1), "unitCode": "CEL"}, name=warm(0)), status=201)
    sent = [{"id": room_id(1), "warmth": warm(2)}, {"id": room_id(1), "name": "urn:ngsi-ld:null"}]
    assert await batch(api, "merge", sent, status=204) is None
    assert await attribute(api, 1, "warmth") == {**warm(2), "unitCode": "CEL"}
    assert await attribute(api, 1, "name") is None
    result = await batch(api, "merge", [*sent, room(9)], status=207)
    assert (result["success"], errors(result)) == ([room_id(1)], [(room_id(9), 404)])


@pytest.mark.parametrize("content_type", ["application/json", LD])
async def test_delete_takes_ids_and_needs_no_context(api: Api, content_type: str) -> None:
    await batch(api, "create", [room(1), room(2)], status=201)
    assert await batch(api, "delete", [room_id(1)], status=204, Content_Type=content_type) is None
    result = await batch(api, "delete", [room_id(2), room_id(2), room_id(1), "no uri"], status=207)
    assert result["success"] == [room_id(2)]
    assert errors(result) == [(room_id(2), 404), (room_id(1), 404), ("no uri", 400)]


# --- the array --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[", "InvalidRequest"),
        ({}, "BadRequestData"),
        ("urn:x:1", "BadRequestData"),
        ([], "BadRequestData"),
        ([None], "BadRequestData"),
        ([[]], "BadRequestData"),
        ([{"type": "Room"}], "BadRequestData"),
        ([{"id": 1, "type": "Room"}], "BadRequestData"),
        ([{"id": "urn:x:1", "@id": "urn:x:2", "type": "Room"}], "BadRequestData"),
    ],
)
async def test_an_array_that_cannot_be_answered_element_by_element_is_refused(
    api: Api, operation: str, body: Any, kind: str
) -> None:
    await api.problem(400, kind, "POST", f"/entityOperations/{operation}", body)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_null_in_an_array_refuses_all_of_it(api: Api, operation: str) -> None:
    await api.ask("POST", "/entities", room(1), status=201)
    element = room_id(1) if operation == "delete" else room(2 if operation == "create" else 1, warmth=warm(1))
    await api.problem(400, "BadRequestData", "POST", f"/entityOperations/{operation}", [element, None])
    assert (await api.ask("GET", "/entities?type=Room", status=200)).json() == [room(1)]


async def test_a_batch_has_a_limit(tmp_path: Path) -> None:
    async with running_broker(tmp_path, limits=Limits(batch_entities=2)) as api:
        await batch(api, "create", [room(1), room(2)], status=201)
        path = "/entityOperations/delete"
        detail = await api.problem(413, "PayloadTooLarge", "POST", path, [room_id(number) for number in range(3)])
        assert "limits.batch_entities" in detail


async def test_unknown_parameters_and_content_types_are_refused(api: Api) -> None:
    await api.problem(400, "InvalidRequest", "POST", "/entityOperations/create?options=update", [room(1)])
    await api.ask("POST", "/entityOperations/create", [room(1)], status=415, Content_Type="text/plain")


# --- @contexts --------------------------------------------------------------------------------------------------------


async def test_each_entity_has_its_own_context(api: Api, contexts: TestServer) -> None:
    city = str(contexts.make_url("/city.jsonld"))
    missing = str(contexts.make_url("/missing"))
    sent = [
        {**room(1, warmth=warm(1)), "@context": city},
        {**room(2, warmth=warm(2)), "@context": {"warmth": "https://other.example/warmth"}},
        room(3),
        {**room(4), "@context": missing},
        {**room(5), "@context": missing},
    ]
    result = await batch(api, "create", sent, status=207, Content_Type=LD)
    assert result["success"] == [room_id(1), room_id(2)]
    assert errors(result) == [(room_id(3), 400), (room_id(4), 504), (room_id(5), 504)]
    assert await attribute(api, 1, "https://city.example/temperature") == warm(1)
    assert await attribute(api, 2, "https://other.example/warmth") == warm(2)


async def test_a_link_names_the_context_of_all_plain_entities(api: Api, contexts: TestServer) -> None:
    city = link(contexts.make_url("/city.jsonld"))
    sent = [room(1, warmth=warm(1)), {**room(2), "@context": "https://city.example/"}, room(3, warmth=warm(3))]
    result = await batch(api, "upsert", sent, status=207, Link=city)
    assert (result["success"], errors(result)) == ([room_id(1), room_id(3)], [(room_id(2), 400)])
    assert await attribute(api, 3, "https://city.example/temperature") == warm(3)
    path = "/entityOperations/create"
    await api.problem(400, "BadRequestData", "POST", path, [{**room(4), "@context": []}], Content_Type=LD, Link=city)


# --- tenants, size, concurrency, notifications ------------------------------------------------------------------------


async def test_batch_creation_alone_brings_a_tenant_into_being_and_only_if_it_creates(api: Api) -> None:
    for operation in ("upsert", "update", "merge"):
        path = f"/entityOperations/{operation}"
        await api.problem(404, "NonexistentTenant", "POST", path, [room(1)], NGSILD_Tenant="town")
    await api.problem(404, "NonexistentTenant", "POST", "/entityOperations/delete", ["urn:x:1"], NGSILD_Tenant="town")
    refused = [{"id": "urn:x:1"}]
    await api.problem(404, "NonexistentTenant", "POST", "/entityOperations/create", refused, NGSILD_Tenant="town")
    await batch(api, "create", [room(1)], status=201, NGSILD_Tenant="town")
    assert await batch(api, "upsert", [room(1)], status=204, NGSILD_Tenant="town") is None
    await api.ask("GET", f"/entities/{room_id(1)}", status=404)


async def test_a_long_batch_is_done_in_order_while_others_write(api: Api) -> None:
    """Longer than one part: the same entity first and last, something refused in every part."""
    between = [
        room(number, warmth=warm(number)) if number % 100 else {"id": room_id(number)} for number in range(1, 1001)
    ]
    many = [room(0, warmth=warm(1)), *between, room(0, warmth=warm(2))]
    other = {"id": "urn:ngsi-ld:Other:1", "type": "Other"}
    result, _ = await asyncio.gather(
        batch(api, "upsert", many, status=207), api.ask("POST", "/entities", other, status=201)
    )
    assert errors(result) == [(room_id(number), 400) for number in range(100, 1001, 100)]
    assert result["success"] == [room_id(number) for number in range(1000) if number == 0 or number % 100]
    assert await attribute(api, 0, "warmth") == warm(2)
    counted = await api.ask("GET", "/entities?type=Room&limit=0&count=true", status=200)
    assert counted.headers["NGSILD-Results-Count"] == "991"


async def test_each_change_of_a_batch_is_notified(api: Api) -> None:
    async with receiving() as receiver:
        subscription = {
            "type": "Subscription",
            "entities": [{"type": "Room"}],
            "notification": {"endpoint": {"uri": receiver.url()}},
        }
        await api.ask("POST", "/subscriptions", subscription, status=201)
        await batch(
            api, "upsert", [room(1, warmth=warm(1)), room(1, warmth=warm(2)), room(2, warmth=warm(3))], status=201
        )
        got = await receiver.wait_for(3)
    said = [(notification.data[0]["id"], notification.data[0].get("warmth")) for notification in got]
    assert said == [(room_id(1), warm(1)), (room_id(1), warm(2)), (room_id(2), warm(3))]


# --- purge ------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def rooms(api: Api) -> Api:
    """Two rooms and a hall."""
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [17.3, 62.39]}}
    hall = {"id": "urn:ngsi-ld:Hall:1", "type": "Hall", "warmth": warm(20)}
    here = [room(1, warmth=warm(20), name=warm(1), scope="/a"), room(2, warmth=warm(10), location=place), hall]
    await batch(api, "create", here, status=201)
    return api


async def left(api: Api) -> set[str]:
    return {
        entity["id"].removeprefix("urn:ngsi-ld:") for entity in (await api.ask("GET", "/entities?local=true")).json()
    }


@pytest.mark.parametrize(
    ("query", "remaining"),
    [
        ("type=Room", {"Hall:1"}),
        ("type=*", set()),
        ("local=true", set()),
        ("q=warmth>15", {"Room:2"}),
        ("attrs=name", {"Room:2", "Hall:1"}),
        ("type=Room&id=urn:ngsi-ld:Room:1,urn:ngsi-ld:Hall:1", {"Room:2", "Hall:1"}),
        ("type=Room&idPattern=2$", {"Room:1", "Hall:1"}),
        ("type=Room&scopeQ=/a", {"Room:2", "Hall:1"}),
        ("georel=near;maxDistance==100&geometry=Point&coordinates=[17.3,62.39]", {"Room:1", "Hall:1"}),
        ("type=Nothing", {"Room:1", "Room:2", "Hall:1"}),
    ],
)
async def test_purge_deletes_what_is_selected(rooms: Api, query: str, remaining: set[str]) -> None:
    answer = await rooms.ask("DELETE", f"/entities?{query}", status=204)
    assert answer.body == b""
    assert await left(rooms) == remaining


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?id=urn:ngsi-ld:Room:1",
        "?idPattern=.*",
        "?scopeQ=/a",
        "?attrs=createdAt",
        "?q=modifiedAt>2020-01-01T00:00:00Z",
        "?drop=warmth",
        "?type=Room&keep=warmth&drop=name",
        "?type=Room&drop=id",
        "?type=Room&drop=type",
        "?type=Room&drop=",
        "?type=Room&keep=a{b}",
        "?q=a{b}==1",
        "?type=Room&csf=((",
        "?type=Room&id=no%20uri",
    ],
)
async def test_purge_is_refused_before_anything_is_deleted(rooms: Api, query: str) -> None:
    await rooms.problem(400, "BadRequestData", "DELETE", f"/entities{query}")
    assert len(await left(rooms)) == 3


async def test_purge_drops_attributes_and_leaves_the_entities(rooms: Api) -> None:
    await rooms.ask("DELETE", "/entities?type=Room&drop=warmth,nothing,scope", status=204)
    assert (await rooms.ask("GET", f"/entities/{room_id(1)}")).json() == room(1, name=warm(1))
    assert len(await left(rooms)) == 3
    rows = await rooms.running.parts.tenants.default.store.history(room_id(1))
    assert [row.instance is None for row in rows if row.attribute.endswith("warmth")] == [False, True]


async def test_purge_keeps_attributes_and_deletes_the_others(rooms: Api) -> None:
    await rooms.ask("DELETE", "/entities?type=Room&keep=warmth,id", status=204)
    assert (await rooms.ask("GET", f"/entities/{room_id(1)}")).json() == room(1, warmth=warm(20), scope="/a")
    assert (await rooms.ask("GET", f"/entities/{room_id(2)}")).json() == room(2, warmth=warm(10))


async def test_purge_finds_all_however_many_there_are(api: Api) -> None:
    await batch(api, "create", [room(number, warmth=warm(number), name=warm(0)) for number in range(900)], status=201)
    await api.ask("DELETE", "/entities?type=Room&q=name==0&drop=name", status=204)
    counted = await api.ask("GET", "/entities?attrs=name&limit=0&count=true", status=200)
    assert counted.headers["NGSILD-Results-Count"] == "0"
    await api.ask("DELETE", "/entities?type=Room&q=warmth<850", status=204)
    counted = await api.ask("GET", "/entities?type=Room&limit=0&count=true", status=200)
    assert counted.headers["NGSILD-Results-Count"] == "50"
