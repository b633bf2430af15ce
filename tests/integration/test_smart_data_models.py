"""Sensors as entities of the Smart Data Models: their frame, their words, the published @context, the check. On both stores."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result

from broker.cli.main import main
from broker.clock import SECOND, iso
from broker.devices import published
from broker.devices.published import PACKAGE
from broker.jsonld.own import PUBLISHED, published_text
from tests.support.broker import BrokerProcess, Refused
from tests.support.city import ELSYS, START, dev_eui, elsys_temperature, uplink
from tests.support.mongo import mongo_uri, mongo_url

__all__ = ["mongo_uri", "mongo_url"]

INDOOR = "urn:ngsi-ld:IndoorEnvironmentObserved:room"
SPOT = "urn:ngsi-ld:ParkingSpot:1"
POINT = {"type": "Point", "coordinates": [18.0712, 64.6214]}
ELSEWHERE = {"type": "Point", "coordinates": [18.11, 64.63]}
VALUE_OF = {"Property": "value", "Relationship": "object", "GeoProperty": "value"}
needs_models = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed")


@pytest.fixture(params=["sqlite", "mongo"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'city.db'}" if sqlite else request.getfixturevalue("mongo_url")
    made = BrokerProcess(url, tmp_path)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def link(name: str, base: str = "https://hub.example") -> dict[str, str]:
    return {"Link": f'<{base}/context/{name}.jsonld>; rel="http://www.w3.org/ns/json-ld#context"'}


async def create(broker: BrokerProcess, entity: dict[str, Any]) -> None:
    await broker.ask("POST", "/ngsi-ld/v1/entities", entity)


async def room(broker: BrokerProcess, context: str | None = None) -> None:
    """A room in a building, and a sensor in it with the outputs that its type has by default."""
    await broker.ask("PUT", "/api/v1/device-models/elsys-ers", ELSYS)
    await create(
        broker,
        {"id": "urn:ngsi-ld:Building:b", "type": "Building", "location": {"type": "GeoProperty", "value": POINT}},
    )
    tie = {"type": "Relationship", "object": "urn:ngsi-ld:Building:b"}
    await create(broker, {"id": "urn:ngsi-ld:BuildingSpace:r", "type": "BuildingSpace", "isSpaceOfBuilding": tie})
    sensor = {
        **({"@context": context} if context else {}),
        "name": "Room",
        "entity": INDOOR,
        "entityType": "IndoorEnvironmentObserved",
        "place": "urn:ngsi-ld:BuildingSpace:r",
        "outputs": [
            {"quantity": "temperature", "attribute": "temperature"},
            {"quantity": "humidity", "attribute": "relativeHumidity", "unit": "C62"},
        ],
    }
    await broker.ask("PUT", "/api/v1/virtual-sensors/room", sensor)
    await bind(broker, "room", 0, "elsys-ers", START - SECOND)


async def bind(broker: BrokerProcess, sensor: str, number: int, model: str, at: int) -> None:
    document = {"virtualSensor": sensor, "device": dev_eui(number), "at": iso(at), "model": model}
    await broker.ask("POST", "/api/v1/swaps", document)


async def send(broker: BrokerProcess, number: int, payload: bytes, seconds: int, **members: Any) -> None:
    message = uplink(number, payload, START + seconds * SECOND, **members)
    _, receipt = await broker.ask("POST", "/api/v1/uplinks/chirpstack?event=up", message)
    assert receipt["outcome"] == "applied", receipt


async def shown(broker: BrokerProcess, entity: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    _, found = await broker.ask("GET", f"/ngsi-ld/v1/entities/{entity}", headers=headers)
    values: dict[str, Any] = {
        name: one[VALUE_OF[one["type"]]] for name, one in found.items() if isinstance(one, dict) and "type" in one
    }
    return values


async def test_an_observation_says_when_by_which_device_and_where(broker: BrokerProcess) -> None:
    await room(broker)
    await send(broker, 0, elsys_temperature(-5.3) + b"\x02\x26", 0)
    assert await shown(broker, INDOOR) == {
        "temperature": -5.3,
        "relativeHumidity": 0.38,
        "dateObserved": {"@type": "DateTime", "@value": iso(START)},
        "refDevice": f"urn:ngsi-ld:Device:{dev_eui(0)}",
        "refPointOfInterest": "urn:ngsi-ld:BuildingSpace:r",
        "location": POINT,
    }
    # Another device stands there from then on, and the building was moved on the map.
    await bind(broker, "room", 1, "elsys-ers", START + 100 * SECOND)
    await broker.ask(
        "PATCH",
        "/ngsi-ld/v1/entities/urn:ngsi-ld:Building:b/attrs",
        {"location": {"type": "GeoProperty", "value": ELSEWHERE}},
    )
    await send(broker, 1, elsys_temperature(20.0) + b"\x02\x26", 200)
    await send(broker, 1, elsys_temperature(19.0), 150)  # late: history
    now = await shown(broker, INDOOR)
    assert now["dateObserved"] == {"@type": "DateTime", "@value": iso(START + 200 * SECOND)}
    assert (now["refDevice"], now["location"]) == (f"urn:ngsi-ld:Device:{dev_eui(1)}", ELSEWHERE)
    # The swap is taken back: what the first device observed holds again.
    _, (*_, last) = await broker.ask("GET", "/api/v1/swaps?virtualSensor=room")
    await broker.ask("POST", f"/api/v1/swaps/{last['id']}/undo", {"why": "wrong room"})
    back = await shown(broker, INDOOR)
    assert (back["temperature"], back["refDevice"]) == (-5.3, f"urn:ngsi-ld:Device:{dev_eui(0)}")
    assert back["dateObserved"] == {"@type": "DateTime", "@value": iso(START)}


async def test_a_location_that_a_client_wrote_is_left_alone(broker: BrokerProcess) -> None:
    await room(broker)
    await broker.ask(
        "POST",
        f"/ngsi-ld/v1/entities/{INDOOR}/attrs",
        {"location": {"type": "GeoProperty", "value": ELSEWHERE}},
    )
    await send(broker, 0, elsys_temperature(20.0), 0)
    assert (await shown(broker, INDOOR))["location"] == ELSEWHERE


async def test_a_value_has_the_word_that_the_model_has_for_it(broker: BrokerProcess) -> None:
    model = {
        "vendor": "X",
        "name": "Spot",
        "codec": "object",
        "quantities": [{"quantity": "vehiclePresent", "source": "occupied"}],
    }
    await broker.ask("PUT", "/api/v1/device-models/spot", model)
    sensor: dict[str, Any] = {
        "name": "Spot 1",
        "entity": SPOT,
        "entityType": "ParkingSpot",
        "outputs": [
            {"quantity": "vehiclePresent", "attribute": "status", "values": {"true": "occupied", "false": "free"}}
        ],
    }
    await broker.ask("PUT", "/api/v1/virtual-sensors/spot", sensor)
    await bind(broker, "spot", 0, "spot", START - SECOND)
    await send(broker, 0, b"\x01", 0, object={"occupied": True})
    assert (await shown(broker, SPOT))["status"] == "occupied"
    await send(broker, 0, b"\x00", 60, object={"occupied": False}, f_cnt=1)
    now = await shown(broker, SPOT)
    assert now["status"] == "free"
    assert now["timeInstant"] == {"@type": "DateTime", "@value": iso(START + 60 * SECOND)}
    sensor["outputs"][0]["values"] = {"yes": "occupied"}
    with pytest.raises(Refused, match=r"outputs\[0\].values.* may have .*true"):
        await broker.ask("PUT", "/api/v1/virtual-sensors/spot", sensor)


@pytest.mark.parametrize("name", PUBLISHED)
async def test_an_app_that_names_the_published_context_queries_and_reads_by_its_names(
    broker: BrokerProcess, name: str
) -> None:
    """The second one is for virtual sensors that were defined with it; the first for all others."""
    headers = link(name)
    await room(broker, f"/context/{name}.jsonld" if name == PUBLISHED[1] else None)
    await send(broker, 0, elsys_temperature(21.0) + b"\x02\x26", 0)
    q = quote("relativeHumidity>0.3;temperature==21")
    _, (found,) = await broker.ask(
        "GET", f"/ngsi-ld/v1/entities?type=IndoorEnvironmentObserved&q={q}&options=simplified", headers=headers
    )
    assert found == {
        "id": INDOOR,
        "type": "IndoorEnvironmentObserved",
        "temperature": 21,
        "relativeHumidity": 0.38,
        "dateObserved": {"@type": "DateTime", "@value": iso(START)},
        "refDevice": f"urn:ngsi-ld:Device:{dev_eui(0)}",
        "refPointOfInterest": "urn:ngsi-ld:BuildingSpace:r",
        "location": POINT,
    }
    # Every broker serves it, and a subscription may name it; nothing is fetched from hub.example.
    assert await asyncio.to_thread(_served, broker, name) == published_text(name)
    subscription = {
        "id": "urn:ngsi-ld:Subscription:s",
        "type": "Subscription",
        "entities": [{"type": "IndoorEnvironmentObserved"}],
        "q": "temperature>20",
        "notification": {"endpoint": {"uri": "http://127.0.0.1:9/"}},
    }
    await broker.ask("POST", "/ngsi-ld/v1/subscriptions", subscription, headers=headers)


def _served(broker: BrokerProcess, name: str) -> bytes:
    url = f"{broker.url}/context/{name}.jsonld"
    with urllib.request.urlopen(url, timeout=30) as response:
        text: bytes = response.read()
        tag = response.headers["ETag"]
        assert response.headers["Content-Type"] == "application/ld+json"
    for sent in (tag, f'"other", {tag[:-1]}-gz"', "*"):
        with pytest.raises(urllib.error.HTTPError) as again:
            urllib.request.urlopen(urllib.request.Request(url, headers={"If-None-Match": sent}), timeout=30)
        assert again.value.code == 304
        again.value.close()
    with pytest.raises(urllib.error.HTTPError, match="404") as missing:
        urllib.request.urlopen(f"{broker.url}/context/knutpunkt-v0.jsonld", timeout=30)
    missing.value.close()
    return text


async def command(broker: BrokerProcess, *arguments: str) -> Result:
    return await asyncio.to_thread(
        CliRunner().invoke, main, arguments, env={"KNUTPUNKT_URL": broker.url}, catch_exceptions=False
    )


@needs_models
async def test_the_check_lists_what_deviates_and_says_so_in_its_exit_code(broker: BrokerProcess) -> None:
    await room(broker)
    await send(broker, 0, elsys_temperature(21.0) + b"\x02\x26", 0)
    good = await command(broker, "model-check", "--type", "IndoorEnvironmentObserved")
    assert (good.exit_code, good.output.splitlines()[-1]) == (0, "1 entities, 0 deviations.")

    for number in range(3):
        spot = {"id": f"{SPOT}{number}", "type": "ParkingSpot", "status": {"type": "Property", "value": "taken"}}
        await create(broker, spot)
    await create(broker, {"id": "urn:ngsi-ld:Greenhouse1:g", "type": "Greenhouse1"})
    bad = await command(broker, "model-check", "--json")
    assert bad.exit_code == 1
    report = json.loads(bad.output)
    wrong = [one for one in report["deviations"] if one["entity"] == f"{SPOT}2"]
    assert {(one["attribute"], one["rule"]) for one in wrong} == {
        ("status", "enum"), ("location", "required"), ("category", "required"), ("refParkingSite", "required")
    }  # fmt: skip
    assert {"type": "ParkingSpot", "entities": 3, "deviating": 3} in [
        {name: value for name, value in one.items() if name != "model"} for one in report["types"]
    ]
    assert report["passedOver"] == {"Greenhouse1: there is no published model of that name": 1}
    _, told = await broker.ask("GET", "/api/v1/model-check?limit=3")
    assert (told["found"], len(told["deviations"])) == (report["found"], 3)
    assert {**told, "deviations": []} == {**report, "deviations": []}
    _, told = await broker.ask("GET", f"/api/v1/model-check?type=ParkingSpot&id={SPOT}1")
    assert [one["deviating"] for one in told["types"]] == [1]
    assert all(one["entity"] == f"{SPOT}1" for one in told["deviations"])
    one = await command(broker, "model-check", "--id", f"{SPOT}1")
    assert one.exit_code == 1
    assert one.output.splitlines()[-1] == "1 entities, 4 deviations."


async def test_without_the_package_the_check_says_how_to_get_it(
    broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "PACKAGE", "pysmartdatamodels_not_there")
    published.installed.cache_clear()
    missing = await command(broker, "model-check")
    assert missing.exit_code == 2
    assert "pip install 'knutpunkt[smart-data-models]'" in missing.output
