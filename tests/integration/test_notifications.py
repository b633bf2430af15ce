"""What apps are told, from the request to the receiver: links, what was there before, periods, and what is not theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.config import Http
from tests.support.api import Api, running_broker
from tests.support.city import elsys_temperature
from tests.support.home import GRANTED, HOME, PLAIN, build, hear
from tests.support.home import ROOM as OPEN
from tests.support.receiver import Receiver, answer, receiving

BUILDING = {"id": "urn:x:Building:1", "type": "Building", "name": {"type": "Property", "value": "School"}}
ROOM: dict[str, Any] = {
    "id": "urn:x:Room:1",
    "type": "Room",
    "temperature": {"type": "Property", "value": 20},
    "inBuilding": {"type": "Relationship", "object": "urn:x:Building:1"},
}


@pytest.fixture
async def app() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_broker(tmp_path) as api:
        yield api


async def subscribe(api: Api, to: str, notification: dict[str, Any] | None = None, **members: Any) -> str:
    headers = {"Authorization": members.pop("token")} if "token" in members else {}
    document = {
        "type": "Subscription",
        "entities": [{"type": "Room"}],
        "notification": {"endpoint": {"uri": to}, "format": "simplified", **(notification or {})},
        **members,
    }
    created = await api.ask("POST", "/subscriptions", document, status=201, **headers)
    where: str = created.headers["Location"].removeprefix("/ngsi-ld/v1")
    return where


async def test_linked_entities_come_as_they_are_when_it_is_sent(api: Api, app: Receiver) -> None:
    await api.ask("POST", "/entities", BUILDING, status=201)
    await subscribe(api, app.url("/inline"), {"join": "inline"})
    await subscribe(api, app.url("/flat"), {"join": "flat", "pick": ["id", "inBuilding{name}"]})
    await api.ask("POST", "/entities", ROOM, status=201)
    await app.wait_for(2)
    by_path = {one.path: one.data for one in app.accepted}
    school = {"id": "urn:x:Building:1", "type": "Building", "name": "School"}
    assert by_path["/inline"] == [{"id": "urn:x:Room:1", "type": "Room", "temperature": 20, "inBuilding": school}]
    assert by_path["/flat"] == [{"id": "urn:x:Room:1", "inBuilding": "urn:x:Building:1"}, {"name": "School"}]


async def test_a_condition_may_ask_for_linked_entities(api: Api, app: Receiver) -> None:
    await api.ask("POST", "/entities", BUILDING, status=201)
    await subscribe(api, app.url(), q='inBuilding{Building:name}=="School"')
    town = {**BUILDING, "id": "urn:x:Building:2", "name": {"type": "Property", "value": "Town hall"}}
    elsewhere = {**ROOM, "id": "urn:x:Room:2", "inBuilding": {"type": "Relationship", "object": "urn:x:Building:2"}}
    await api.ask("POST", "/entityOperations/create", [town, elsewhere, ROOM], status=201)
    # In one batch with what it links to: what counts is what is there when it is committed.
    hall = {**BUILDING, "id": "urn:x:Building:3"}
    inside = {**ROOM, "id": "urn:x:Room:3", "inBuilding": {"type": "Relationship", "object": "urn:x:Building:3"}}
    await api.ask("POST", "/entityOperations/create", [inside, hall], status=201)
    await api.ask("DELETE", "/entities/urn:x:Building:1", status=204)
    await api.ask("PATCH", "/entities/urn:x:Room:1/attrs", {"temperature": {"value": 21}}, status=204)
    await api.ask("PATCH", "/entities/urn:x:Room:3/attrs", {"temperature": {"value": 22}}, status=204)
    await app.wait_for(3)
    assert [(one.data[0]["id"], one.data[0]["temperature"]) for one in app.accepted] == [
        ("urn:x:Room:1", 20),
        ("urn:x:Room:3", 20),
        ("urn:x:Room:3", 22),
    ]


async def test_what_was_there_before_comes_along(api: Api, app: Receiver) -> None:
    await api.ask("POST", "/entities", ROOM, status=201)
    where = await subscribe(
        api,
        app.url(),
        {"format": "concise", "showChanges": True, "pick": ["temperature"]},
        notificationTrigger=["attributeUpdated", "attributeDeleted"],
    )
    await api.ask("PATCH", "/entities/urn:x:Room:1/attrs", {"temperature": {"value": 21}}, status=204)
    await api.ask("DELETE", "/entities/urn:x:Room:1/attrs/temperature", status=204)
    await app.wait_for(2)
    assert [one.data for one in app.accepted] == [
        [{"temperature": {"value": 21, "previousValue": 20}}],
        [{"temperature": {"value": "urn:ngsi-ld:null", "previousValue": 21}}],
    ]
    shown = (await api.ask("GET", where, status=200)).json()["notification"]
    assert (shown["status"], shown["timesSent"]) == ("ok", 2)
    listed = (await api.ask("GET", "/subscriptions", status=200)).json()
    assert listed[0]["notification"] == shown


async def test_a_failure_is_shown_at_once(api: Api, app: Receiver) -> None:
    app.otherwise = answer(500)
    where = await subscribe(api, app.url())
    await api.ask("POST", "/entities", ROOM, status=201)
    await app.wait_for_tries(1)
    shown: dict[str, Any] = {}
    while "lastFailure" not in shown:
        shown = (await api.ask("GET", where, status=200)).json()["notification"]
    assert shown["status"] == "failed" and shown["timesFailed"] == shown["timesSent"]
    assert shown["lastFailure"] == shown["lastNotification"] and "lastSuccess" not in shown


async def test_all_that_match_come_periodically_in_parts_that_are_bounded(api: Api, app: Receiver) -> None:
    rooms = [{**ROOM, "id": f"urn:x:Room:{number:03}"} for number in range(150)]
    await api.ask("POST", "/entityOperations/create", rooms, status=201)
    where = await subscribe(api, app.url(), timeInterval=0.2, q="temperature>10")
    await app.wait_for(4)
    await api.ask("PATCH", where, {"timeInterval": 3600}, status=204)
    first, second, third, fourth = (one.data for one in app.accepted[:4])
    assert [one["id"] for one in [*first, *second]] == [room["id"] for room in rooms]
    assert (len(first), len(second)) == (100, 50)
    assert [third, fourth] == [first, second]


async def test_no_link_leads_to_what_is_personal_without_the_grant(tmp_path: Path, app: Receiver) -> None:
    http = Http(port=0, token=PLAIN.split()[1], personal_token=GRANTED.split()[1])
    async with running_broker(tmp_path, http=http) as api:
        await build(api)
        await hear(api, 0, elsys_temperature(-17.9))
        for path, token in (("/plain", PLAIN), ("/granted", GRANTED)):
            await subscribe(api, app.url(path), {"join": "inline"}, token=token)
            await subscribe(api, app.url(path + "/q"), q="watches{temperature}<0", token=token)
            await subscribe(
                api,
                app.url(path + "/tick"),
                entities=[{"type": "IndoorEnvironmentObserved"}],
                timeInterval=0.3,
                token=token,
            )
        room = {**ROOM, "watches": {"type": "Relationship", "object": HOME}}
        await api.ask("POST", "/entities", room, status=201, Authorization=PLAIN)
        expected = {"/plain", "/plain/tick", "/granted", "/granted/q", "/granted/tick"}
        await app.wait_until(lambda: expected <= paths(app))
        by_path = {one.path: one.data for one in app.accepted}
        assert by_path["/granted"][0]["watches"]["temperature"] == -17.9
        assert by_path["/plain"][0]["watches"] == HOME
        assert {one["id"] for one in by_path["/granted/tick"]} == {HOME, OPEN}
        assert [one["id"] for one in by_path["/plain/tick"]] == [OPEN]
        assert paths(app) == expected


def paths(app: Receiver) -> set[str]:
    return {one.path for one in app.accepted}
