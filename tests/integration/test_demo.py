"""The demo city, started and looked at as a user does."""

import asyncio
import re
from pathlib import Path
from urllib.parse import quote

from broker.cli.demo.city import load_city
from broker.cli.demo.mosquitto import find_mosquitto
from broker.clock import parse_iso
from tests.support.demo import ROOM, Demo, demo

SCHOOL = "urn:ngsi-ld:Building:school"


async def _entities(city: Demo, type_: str, **query: str) -> list[dict[str, object]]:
    text = "".join(f"&{name}={quote(value)}" for name, value in query.items())
    found: list[dict[str, object]] = await city.get(
        f"/ngsi-ld/v1/entities?type={type_}&options=simplified&limit=100{text}"
    )
    return found


async def _co2_moves(city: Demo) -> None:
    async def co2() -> tuple[int, int | None]:
        instance = (await city.get(f"/ngsi-ld/v1/entities/{ROOM}"))["co2"]
        return instance["value"], parse_iso(instance["observedAt"])

    first, seen_at = await co2()
    for _ in range(600):
        value, at = await co2()
        if value != first:
            assert at is not None and seen_at is not None and at > seen_at
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"co2 stayed {first}")


async def test_the_demo_shows_a_living_city_and_leaves_nothing_behind() -> None:
    assert find_mosquitto() is not None, "make test installs Mosquitto"
    async with demo() as city:
        assert re.search(r"mqtt://127\.0\.0\.1:\d+", city.said)
        await _co2_moves(city)

        rooms = await _entities(city, "BuildingSpace", q=f'isSpaceOfBuilding=="{SCHOOL}"')
        assert "Klassrum 214" in {room["name"] for room in rooms}
        school = await city.get(f"/ngsi-ld/v1/entities/{SCHOOL}")
        place = await city.get(f"/ngsi-ld/v1/entities/{school['containedInPlace']['object']}")
        assert place["containedInPlace"]["object"] == "urn:ngsi-ld:AdministrativeArea:soralva"

        async def meters() -> list[dict[str, object]]:
            found = await _entities(city, "WaterConsumptionObserved", q="waterConsumption>0")
            return found if len(found) == 4 else []

        await city.until(meters)
        nb_iot = await city.get("/ngsi-ld/v1/entities/urn:ngsi-ld:WaterConsumptionObserved:library")
        assert nb_iot["waterConsumption"]["unitCode"] == "MTQ"
        assert nb_iot["waterConsumption"]["observedBy"]["object"] == "urn:ngsi-ld:Device:867723030000101"

        async def containers() -> list[dict[str, object]]:
            found = await _entities(city, "WasteContainer", q="fillingLevel>=0;fillingLevel<=1;distance>0")
            return found if len(found) == 4 else []

        await city.until(containers)

        async def quarantined() -> list[str]:
            return [group["device"] for group in await city.get("/api/v1/quarantine")]

        assert await city.until(quarantined) == [load_city().unknown.id]
        assert await city.get("/api/v1/uplinks?status=rejected") == []
        assert await city.stop() == 0
    assert "Stopped." in city.said
    assert "rror" not in city.said, city.said


async def test_every_sensor_of_the_city_has_a_value_soon_after_the_start() -> None:
    outputs = {
        (sensor.entity, output["attribute"])
        for sensor in load_city().virtual_sensors
        if sensor.device is not None
        for output in sensor.outputs
    }

    async with demo() as city:

        async def missing() -> set[tuple[str, str]]:
            sensed = {entity for entity, _ in outputs}
            found = {entity: await city.get(f"/ngsi-ld/v1/entities/{entity}") for entity in sensed}
            return {(entity, attribute) for entity, attribute in outputs if attribute not in found[entity]}

        async def complete() -> bool:
            return not await missing()

        await city.until(complete)


async def test_without_mosquitto_the_demo_says_what_to_install_and_runs() -> None:
    async with demo("--mosquitto", "/nowhere/mosquitto") as city:
        assert "apt-get install mosquitto" in city.said
        await _co2_moves(city)


async def test_a_city_kept_in_a_folder_goes_on_where_it_was(tmp_path: Path) -> None:
    async with demo("--data", str(tmp_path)) as city:
        devices = await city.get("/api/v1/devices?limit=1000")
        assert await city.stop() == 0
    async with demo("--data", str(tmp_path)) as city:
        assert len(await city.get("/api/v1/devices?limit=1000")) == len(devices)
        bindings = (await city.get("/api/v1/virtual-sensors/room-214-climate"))["bindings"]
        assert len(bindings) == 1
        await _co2_moves(city)
