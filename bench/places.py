"""A building with 500 rooms and 2,000 sensors, in a city of 40 such: what its overview and its tree cost, over HTTP.

Each sensor has an entity with two values, a virtual sensor, a device with a state and a binding. And an import of 10,000
rooms as CSV: a dry run, the import, and the same again.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.figures import Figure
from broker.clock import Clock, iso
from broker.config import StoreSettings
from broker.devices.model import Binding, Device, DeviceState, Output, VirtualSensor
from broker.devices.observe import OBSERVED_BY, device_urn
from broker.devices.placing import CONTAINED, OBSERVES, SPACE_OF
from broker.devices.registry import to_body
from broker.ngsild.model import DEFAULT_VOCAB, Entity, Instance
from broker.stores.base import ChangeSet, EntityWrite, RecordWrite
from broker.stores.open import create_store
from tests.support.broker import BrokerProcess

BUILDINGS = 40
ROOMS = 500
SENSORS = 2_000
"""In one building; only the first building's are registered, the others' rooms have entities alone."""
REPEATED = 20
IMPORTED = 10_000
MOMENT = 1_790_000_000_000_000
AT = iso(MOMENT)


async def run(store: str, folder: Path) -> list[Figure]:
    """Overview, tree, import."""
    await _fill(store)
    broker = BrokerProcess(store, folder, {"KNUTPUNKT_LOG_LEVEL": "warning"})
    await broker.start()
    try:
        building = f"{broker.url}/api/v1/places/{_building(0)}"
        figures = [
            await _timed("overview of 500 rooms, 2,000 sensors: 1,000 entities whole", f"{building}/overview"),
            await _timed("the same, 100 entities whole", f"{building}/overview?limit=100"),
            await _timed("its tree", building),
        ]
        return [*figures, *await _imports(broker)]
    finally:
        await broker.stop()


async def _timed(name: str, url: str) -> Figure:
    first, answer = await asyncio.to_thread(_get, url)
    times = [(await asyncio.to_thread(_get, url))[0] for _ in range(REPEATED)]
    shown = json.loads(answer)
    assert shown["complete"]
    assert shown.get("entities") == ROOMS + SENSORS or shown["summary"]["sensors"] == SENSORS
    median = statistics.median(times)
    return Figure(
        f"place: {name}",
        f"{median:.0f} ms, the first time {first:.0f} ms; {len(answer) / 1024:,.0f} KiB",
        "",
        {"median_ms": median, "first_ms": first, "bytes": len(answer)},
    )


def _get(url: str) -> tuple[float, bytes]:
    started = time.perf_counter()
    with urllib.request.urlopen(url, timeout=60) as response:
        answer = response.read()
    return (time.perf_counter() - started) * 1000, answer


async def _imports(broker: BrokerProcess) -> list[Figure]:
    """The same file three times: what would be done, done, and done again."""
    rows = "".join(
        f"r{n};BuildingSpace;Rum {n};hus;{674_000 + n % 100},5;{6_580_000 + n // 100};{n % 90 + 10},5\n"
        for n in range(IMPORTED - 1)
    )
    headings = "id;type;name;parent;easting;northing;floorArea:number:MTK\n"
    body = f"{headings}hus;Building;Huset;;;;\n{rows}".encode()
    figures = []
    for name, query, expected in (
        ("a dry run", "?dryRun=true", "created"),
        ("written", "", "created"),
        ("again", "", "unchanged"),
    ):
        url = f"{broker.url}/api/v1/places/import{query}"
        took, answer = await asyncio.to_thread(_post, url, body)
        report = json.loads(answer)
        assert report[expected] == IMPORTED, report
        figures.append(
            Figure(f"import of {IMPORTED:,} places as CSV, {name}", f"{took / 1000:.2f} s", "seconds", {"ms": took})
        )
    return figures


def _post(url: str, body: bytes) -> tuple[float, bytes]:
    started = time.perf_counter()
    request = urllib.request.Request(url, body, {"Content-Type": "text/csv"}, method="POST")
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = response.read()
    return (time.perf_counter() - started) * 1000, answer


async def _fill(url: str) -> None:
    store = create_store(StoreSettings(url=url), Clock())
    await store.open()
    try:
        tenant = await store.tenant()
        await tenant.commit(ChangeSet(entities=[_put(_city(), 1)]))
        version = 1
        for building in range(BUILDINGS):
            entities = list(_entities(building))
            for start in range(0, len(entities), 1_000):
                part = entities[start : start + 1_000]
                writes = [_put(each, version + n) for n, each in enumerate(part, start=1)]
                version += len(part)
                await tenant.commit(ChangeSet(entities=writes))
        for start in range(0, SENSORS, 500):
            records = [write for n in range(start, start + 500) for write in _records(n)]
            await tenant.commit(ChangeSet(records=records))
    finally:
        await store.close()


def _entities(building: int) -> Any:
    name = {"name": _value(f"Building {building}"), CONTAINED: _link(_city()["id"])}
    yield _entity(_building(building), "Building", name)
    for room in range(ROOMS):
        attrs = {"name": _value(f"Room {room}"), "floorArea": _value(20 + room), SPACE_OF: _link(_building(building))}
        yield _entity(_room(building, room), "BuildingSpace", attrs)
    for sensor in range(SENSORS if building == 0 else ROOMS):
        attrs = {
            "temperature": _measured(21.5, sensor),
            "relativeHumidity": _measured(0.41, sensor),
            OBSERVES: _link(_room(building, sensor % ROOMS)),
        }
        yield _entity(_observed(building, sensor), "IndoorEnvironmentObserved", attrs)


def _records(n: int) -> list[RecordWrite]:
    outputs = tuple(
        Output(quantity=quantity, attribute=DEFAULT_VOCAB + attribute)
        for quantity, attribute in (("temperature", "temperature"), ("humidity", "relativeHumidity"))
    )
    sensor = VirtualSensor(
        id=f"sensor-{n}",
        name=f"Climate {n}",
        entity=_observed(0, n),
        entity_type=DEFAULT_VOCAB + "IndoorEnvironmentObserved",
        outputs=outputs,
    )
    binding = Binding(id=f"binding-{n}", device=f"device-{n}", virtual_sensor=sensor.id, valid_from=MOMENT - 1)
    # Heard just now, or the scan for silence would open two thousand alarms meanwhile.
    state = DeviceState(last_seen=time.time_ns() // 1000, uplinks=7, rssi=-97.0, battery_percent=88.0)
    return [
        RecordWrite("virtual_sensor", sensor.id, to_body(sensor), MOMENT, 0, (f"entity:{sensor.entity}",)),
        RecordWrite("device", binding.device, to_body(Device(id=binding.device, model="m")), MOMENT, 0),
        RecordWrite("device_state", binding.device, to_body(state), 1, 0),
        RecordWrite(
            "binding", binding.id, to_body(binding), MOMENT, 0, (f"device:{binding.device}", f"sensor:{sensor.id}")
        ),
    ]


def _building(n: int) -> str:
    return f"urn:ngsi-ld:Building:b{n}"


def _room(building: int, n: int) -> str:
    return f"urn:ngsi-ld:BuildingSpace:b{building}-r{n}"


def _observed(building: int, n: int) -> str:
    return f"urn:ngsi-ld:IndoorEnvironmentObserved:b{building}-s{n}"


def _city() -> Entity:
    return _entity("urn:ngsi-ld:Place:city", "Place", {"name": _value("City")})


def _entity(entity_id: str, kind: str, attrs: dict[str, Instance]) -> Entity:
    return {
        "id": entity_id,
        "type": [DEFAULT_VOCAB + kind],
        "attrs": {name if ":" in name else DEFAULT_VOCAB + name: [instance] for name, instance in attrs.items()},
        "createdAt": AT,
        "modifiedAt": AT,
    }


def _value(value: Any) -> Instance:
    return {"type": "Property", "value": value, "createdAt": AT, "modifiedAt": AT}


def _link(target: str) -> Instance:
    return {"type": "Relationship", "object": target, "createdAt": AT, "modifiedAt": AT}


def _measured(value: float, n: int) -> Instance:
    return {**_value(value), "observedAt": AT, "attrs": {OBSERVED_BY: [_link(device_urn(f"device-{n}"))]}}


def _put(entity: Entity, version: int) -> EntityWrite:
    return EntityWrite(entity["id"], entity, version, 0)
