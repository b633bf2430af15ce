"""The registry over HTTP, on both stores: create, change, list, search, delete; safe edits; what refers to what."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.config import Http, StoreSettings
from tests.support.api import Api, running_broker
from tests.support.mongo import mongo_uri, mongo_url

__all__ = ["mongo_uri", "mongo_url"]

MODEL = {
    "vendor": "Elsys",
    "name": "ERS CO2",
    "codec": "elsys",
    "quantities": [{"quantity": "temperature", "unit": "CEL"}, {"quantity": "co2", "unit": "59"}],
}
SENSOR = {
    "name": "Klimat i rum 214",
    "entity": "urn:ngsi-ld:IndoorEnvironmentObserved:214",
    "entityType": "IndoorEnvironmentObserved",
    "outputs": [{"quantity": "temperature", "attribute": "temperature"}],
}
EUI = "a81758fffe0d0002"
DEVICE_ENTITY = f"/entities/urn:ngsi-ld:Device:{EUI}"


@pytest.fixture(params=["sqlite", "mongo"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    mongo = request.param == "mongo"
    settings = {"store": StoreSettings(url=request.getfixturevalue("mongo_url"))} if mongo else {}
    async with running_broker(tmp_path, http=Http(port=0), **settings) as api:
        await api.ask("PUT", "/api/v1/device-models/ers", MODEL, status=201)
        yield api


async def ids(api: Api, path: str) -> list[str]:
    """The ids of a list, over all of its pages."""
    found: list[str] = []
    while True:
        answer = await api.ask("GET", path, status=200)
        found += [one["id"] for one in answer.json()]
        if "Link" not in answer.headers:
            return found
        link = answer.headers["Link"]
        assert link.endswith('>;rel="next"')
        path = link[1 : link.index(">")]


async def bind(api: Api, sensor: str, device: str) -> dict[str, Any]:
    answer = await api.ask("POST", "/api/v1/swaps", {"virtualSensor": sensor, "device": device}, status=201)
    made: dict[str, Any] = answer.json()["binding"]
    return made


async def test_a_thing_is_made_once_by_post_and_then_shown_changed_and_deleted(api: Api) -> None:
    made = await api.ask("POST", "/api/v1/devices", {"id": EUI, "model": "ers", "name": "Rum 214"}, status=201)
    assert made.headers["Location"] == f"/api/v1/devices/{EUI}"
    detail = await api.problem(409, "AlreadyExists", "POST", "/api/v1/devices", {"id": EUI, "model": "ers"})
    assert detail == f"The device '{EUI}' exists already."
    path = f"/api/v1/devices/{EUI}"
    shown = (await api.ask("GET", path, status=200)).json()
    assert (shown["name"], shown["state"], shown["bindings"]) == ("Rum 214", None, [])
    changed = await api.ask(
        "PATCH", path, {"note": "fönstret"}, status=200, Content_Type="application/merge-patch+json"
    )
    assert (changed.json()["name"], changed.json()["note"]) == ("Rum 214", "fönstret")
    taken_away = await api.ask("PATCH", path, {"name": None}, status=200)
    assert (taken_away.json()["name"], taken_away.json()["note"]) == ("", "fönstret")
    replaced = await api.ask("PUT", path, {"model": "ers"}, status=200)
    assert (replaced.json()["name"], replaced.json()["note"]) == ("", "")
    await api.ask("DELETE", path, status=204)
    assert await api.problem(404, "ResourceNotFound", "GET", path) == f"There is no device '{EUI}'."
    await api.problem(404, "ResourceNotFound", "DELETE", path)
    await api.problem(404, "ResourceNotFound", "PATCH", path, {"name": "x"})
    await api.problem(404, "ResourceNotFound", "GET", DEVICE_ENTITY)


async def test_of_two_who_edit_what_they_read_one_succeeds(api: Api) -> None:
    for path, document in (
        (f"/api/v1/devices/{EUI}", {"model": "ers"}),
        ("/api/v1/device-models/other", MODEL),
        ("/api/v1/virtual-sensors/room-214", SENSOR),
    ):
        await api.ask("PUT", path, document, status=201, If_None_Match="*")
        await api.problem(412, "PreconditionFailed", "PUT", path, document, If_None_Match="*")
        read = await api.ask("GET", path, status=200)
        tag = read.headers["ETag"]
        assert not tag.startswith("W/")
        unmodified = await api.ask("GET", path, status=304, If_None_Match=tag)
        assert unmodified.body == b""
        answers = await asyncio.gather(
            *(api.ask("PATCH", path, {"name": f"by {who}"}, If_Match=tag) for who in ("Åsa", "Örjan"))
        )
        assert sorted(answer.status for answer in answers) == [200, 412]
        (winner,) = (answer for answer in answers if answer.status == 200)
        now = await api.ask("GET", path, status=200, If_None_Match=tag)
        assert (now.headers["ETag"], now.json()["name"]) == (winner.headers["ETag"], winner.json()["name"])
        await api.problem(412, "PreconditionFailed", "DELETE", path, If_Match=tag)
        await api.ask("DELETE", path, status=204, If_Match=winner.headers["ETag"])
        await api.problem(412, "PreconditionFailed", "PUT", path, document, If_Match="*")


async def test_what_was_not_changed_keeps_its_version(api: Api) -> None:
    path = "/api/v1/virtual-sensors/room-214"
    await api.ask("PUT", path, SENSOR, status=201)
    tag = (await api.ask("GET", path)).headers["ETag"]
    await api.ask("PUT", path, SENSOR, status=200)
    await api.ask("PATCH", path, {"name": SENSOR["name"]}, status=200)
    assert (await api.ask("GET", path)).headers["ETag"] == tag


async def test_what_is_in_use_is_not_deleted_and_the_refusal_says_by_what(api: Api) -> None:
    await api.ask("PUT", f"/api/v1/devices/{EUI}", {"model": "ers"}, status=201)
    await api.ask("PUT", "/api/v1/virtual-sensors/room-214", SENSOR, status=201)
    assert EUI in await api.problem(409, "Conflict", "DELETE", "/api/v1/device-models/ers")
    binding = await bind(api, "room-214", EUI)
    assert "room-214" in await api.problem(409, "Conflict", "DELETE", f"/api/v1/devices/{EUI}")
    assert EUI in await api.problem(409, "Conflict", "DELETE", "/api/v1/virtual-sensors/room-214")
    await api.ask("POST", "/api/v1/virtual-sensors/room-214/unbind", {}, status=200)
    await api.ask("DELETE", f"/api/v1/devices/{EUI}", status=204)
    await api.ask("DELETE", "/api/v1/virtual-sensors/room-214", status=204)
    await api.ask("DELETE", "/api/v1/device-models/ers", status=204)
    kept = (await api.ask("GET", f"/api/v1/bindings/{binding['id']}", status=200)).json()
    assert kept["device"] == EUI
    assert kept["validTo"] is not None


async def test_the_device_entity_follows_its_virtual_sensor_and_its_model(api: Api) -> None:
    await api.ask("PUT", f"/api/v1/devices/{EUI}", {"model": "ers"}, status=201)
    await api.ask("PUT", "/api/v1/virtual-sensors/room-214", SENSOR, status=201)
    await bind(api, "room-214", EUI)
    await api.ask("PATCH", "/api/v1/virtual-sensors/room-214", {"entity": "urn:ngsi-ld:Other:1"}, status=200)
    entity = (await api.ask("GET", DEVICE_ENTITY, status=200)).json()
    assert entity["controlledAsset"]["object"] == "urn:ngsi-ld:Other:1"
    tag = (await api.ask("GET", f"/api/v1/devices/{EUI}")).headers["ETag"]
    await api.ask("PATCH", "/api/v1/device-models/ers", {"name": "ERS CO2 Gen 3"}, status=200)
    entity = (await api.ask("GET", DEVICE_ENTITY, status=200)).json()
    assert entity["modelName"]["value"] == "ERS CO2 Gen 3"
    assert (await api.ask("GET", f"/api/v1/devices/{EUI}")).headers["ETag"].split("-")[0] == tag.split("-")[0]


async def test_errors_name_the_member_and_change_nothing(api: Api) -> None:
    path = f"/api/v1/devices/{EUI}"
    await api.ask("PUT", path, {"model": "ers", "name": "x"}, status=201)
    assert "`colour`" in await api.problem(400, "BadRequestData", "PATCH", path, {"colour": "red"})
    assert "`model`" in await api.problem(400, "BadRequestData", "PATCH", path, {"model": None})
    assert "'no-such'" in await api.problem(400, "BadRequestData", "PATCH", path, {"model": "no-such"})
    assert "'id'" in await api.problem(400, "BadRequestData", "PATCH", path, {"id": "another"})
    assert "lower case" in await api.problem(400, "BadRequestData", "PUT", "/api/v1/devices/A8", {"model": "ers"})
    sensor = "/api/v1/virtual-sensors/room-214"
    bad = {**SENSOR, "outputs": [{"quantity": "warmth", "attribute": "temperature"}]}
    assert "'warmth'" in await api.problem(400, "BadRequestData", "PUT", sensor, bad)
    await api.problem(415, "UnsupportedMediaType", "PUT", path, b"model: ers", Content_Type="text/yaml")
    await api.problem(400, "InvalidRequest", "GET", "/api/v1/devices?colour=red")
    assert (await api.ask("GET", path)).json()["name"] == "x"


async def test_lists_are_filtered_searched_and_paged(api: Api) -> None:
    await api.ask("PUT", "/api/v1/device-models/meter", {**MODEL, "name": "W1", "network": "nb-iot"}, status=201)
    names = {"d1": "Älvskolan, rum 1", "d2": "Biblioteket", "d3": "ÄLVSKOLAN, rum 3", "d4": "A\u0308lvskolan, rum 4"}
    for device, name in names.items():
        model = "meter" if device == "d2" else "ers"
        await api.ask("PUT", f"/api/v1/devices/{device}", {"model": model, "name": name}, status=201)
    assert await ids(api, "/api/v1/devices?search=älvskolan&limit=1") == ["d1", "d3", "d4"]
    assert await ids(api, "/api/v1/devices?search=D2") == ["d2"]
    assert await ids(api, "/api/v1/devices?model=ers&search=rum%203") == ["d3"]
    assert await ids(api, "/api/v1/devices?model=ers&limit=2") == ["d1", "d3", "d4"]
    assert await ids(api, "/api/v1/devices?network=nb-iot") == ["d2"]
    assert await ids(api, "/api/v1/device-models?network=nb-iot") == ["meter"]
    assert await ids(api, "/api/v1/device-models?search=elsys&limit=1") == ["ers", "meter"]
    for sensor, kind in (("s1", "Room"), ("s2", "Room"), ("s3", "WasteContainer")):
        entity = f"urn:ngsi-ld:{kind}:{sensor}"
        await api.ask(
            "PUT", f"/api/v1/virtual-sensors/{sensor}", {**SENSOR, "entity": entity, "entityType": kind}, status=201
        )
    first = await bind(api, "s1", "d1")
    assert await ids(api, "/api/v1/devices?bound=true") == ["d1"]
    assert await ids(api, "/api/v1/devices?bound=false&limit=1") == ["d2", "d3", "d4"]
    assert await ids(api, "/api/v1/virtual-sensors?entityType=Room&limit=1") == ["s1", "s2"]
    assert await ids(api, "/api/v1/virtual-sensors?entity=urn:ngsi-ld:WasteContainer:s3") == ["s3"]
    assert await ids(api, "/api/v1/virtual-sensors?unbound=true") == ["s2", "s3"]
    assert await ids(api, "/api/v1/virtual-sensors?unbound=true&entityType=Room") == ["s2"]
    assert await ids(api, "/api/v1/virtual-sensors?device=D1") == ["s1"]
    await api.ask("POST", "/api/v1/swaps", {"virtualSensor": "s1", "device": "d3"}, status=201)
    assert len(await ids(api, "/api/v1/bindings?virtualSensor=s1&limit=1")) == 2
    assert await ids(api, "/api/v1/bindings?device=d1") == [first["id"]]
    assert await ids(api, f"/api/v1/bindings?virtualSensor=s1&at={first['validFrom']}") == [first["id"]]
    assert await ids(api, "/api/v1/bindings?at=2020-01-01T00:00:00Z") == []


async def test_silent_and_weak_devices_are_found(api: Api) -> None:
    await api.ask("PUT", f"/api/v1/devices/{EUI}", {"model": "ers"}, status=201)
    await api.ask("PUT", "/api/v1/devices/never-heard", {"model": "ers"}, status=201)
    joined = {"deviceInfo": {"devEui": EUI}, "deduplicationId": "1", "batteryLevel": 12.5, "margin": 1}
    await api.ask("POST", "/api/v1/uplinks/chirpstack?event=status", joined, status=200)
    assert await ids(api, "/api/v1/devices?silentFor=PT1H") == ["never-heard"]
    assert await ids(api, "/api/v1/devices?silentFor=0") == [EUI, "never-heard"]
    assert await ids(api, "/api/v1/devices?batteryBelow=20") == [EUI]
    assert await ids(api, "/api/v1/devices?batteryBelow=12.5") == []
    for wrong in ("silentFor=PT", "silentFor=-1", "batteryBelow=low", "bound=yes", "network=wifi", "limit=0"):
        await api.problem(400, "BadRequestData", "GET", f"/api/v1/devices?{wrong}")
