"""How long personal data is kept, on both stores, by a clock of our own: what is too old is nowhere any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker.clock import DAY, SECOND, Clock, Micros
from broker.codecs.base import Measurement
from broker.config import Limits
from broker.config import Writer as WriterSettings
from broker.devices.alarms.alert import alert_urn
from broker.devices.alarms.model import as_alarm
from broker.devices.commands import PutDevice, PutVirtualSensor
from broker.devices.model import Device, DeviceModel, Output, Personal, Threshold, VirtualSensor
from broker.devices.observe import device_urn
from broker.devices.registry import to_body
from broker.devices.swaps import Swap
from broker.entities.records import PutRecord
from broker.jsonio import loads
from broker.pipeline.apply_uplink import ApplyUplink, Decoded
from broker.pipeline.intake import Uplink
from broker.pipeline.personal import PersonalData
from broker.pipeline.retention import Deleted, Retention
from broker.pipeline.writer import Writer
from broker.stores.base import ChangeSet, OutboxRow, TenantStore
from broker.subscriptions.index import SubscriptionIndex
from tests.support.mongo import mongo_uri, mongo_url
from tests.support.stores import make_store

__all__ = ["mongo_uri", "mongo_url"]

T0: Micros = 1_780_000_000 * SECOND
KEPT = 30
MODEL = DeviceModel(id="m", vendor="V", name="M", codec="elsys", expected_interval_seconds=600)
TEMPERATURE = "https://uri.etsi.org/ngsi-ld/default-context/temperature"
SENSOR = VirtualSensor(
    id="home",
    name="Bedroom",
    entity="urn:x:home",
    entity_type="https://example.org/Room",
    outputs=(Output(quantity="temperature", attribute=TEMPERATURE),),
    thresholds=(Threshold(id="frost", quantity="temperature", below=5.0),),
    personal=Personal(retention_days=KEPT, purpose="The resident's consent"),
)
OPEN = msgspec.structs.replace(SENSOR, id="hall", entity="urn:x:hall", personal=None)


@dataclass
class City:
    store: TenantStore
    writer: Writer
    retention: Retention
    clock: Clock
    now: Micros = T0
    owed: list[OutboxRow] = field(default_factory=list)

    async def bound(self, sensor: VirtualSensor, device: str) -> None:
        await self.writer.execute(PutVirtualSensor(sensor))
        await self.swapped(sensor, device)

    async def swapped(self, sensor: VirtualSensor, device: str) -> None:
        await self.writer.execute(PutDevice(Device(id=device, model=MODEL.id)))
        await self.writer.execute(Swap(sensor.id, device, self.now))

    async def hear(self, device: str, value: float) -> None:
        record = await self.store.record("device_model", MODEL.id)
        assert record is not None
        raw = f"{device} {value}".encode()
        uplink = Uplink("test", "up", device, self.now, self.now, raw, payload=b"\x01")
        decoded = Decoded(MODEL, record.version, [Measurement("temperature", value, "CEL", self.now)])
        await self.writer.execute(ApplyUplink(uplink, self.clock.new_id(), decoded, Limits()))

    async def days(self, count: float) -> Deleted:
        """So many pass, and the sweep comes."""
        self.now += int(count * DAY)
        return await self.retention.sweep()

    async def values(self, sensor: VirtualSensor) -> list[Any]:
        rows = await self.store.history(sensor.entity, TEMPERATURE, superseded=True)
        return [row.instance["value"] for row in rows if row.instance is not None]

    async def raw(self, device: str) -> list[str]:
        return [row.raw.decode() for row in await self.store.uplinks(device_id=device)]


@pytest.fixture(params=["sqlite", "mongo"])
async def city(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[City]:
    url = request.getfixturevalue("mongo_url") if request.param == "mongo" else f"sqlite:///{tmp_path}/city.db"
    opened = make_store(url)
    await opened.open()
    store = await opened.tenant()
    clock = Clock(lambda: made.now)
    personal = PersonalData(store)
    writer = Writer(
        store, clock, WriterSettings(), SubscriptionIndex(), lambda rows: made.owed.extend(rows), personal=personal
    )
    made = City(store, writer, Retention(store, writer, personal, clock), clock)
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        await writer.execute(PutRecord("device_model", MODEL.id, to_body(MODEL)))
        try:
            yield made
        finally:
            writer.close()
    await opened.close()


async def subscribed(city: City) -> None:
    document = {
        "type": "Subscription",
        "entities": [{"type": "Room"}],
        "notificationTrigger": ["attributeDeleted"],
        "notification": {"endpoint": {"uri": "http://app.example/"}},
    }
    terms = {"entities": {"Room": SENSOR.entity_type}}
    body = {"id": "urn:sub:1", "document": document, "terms": terms, "context": None, "granted": True}
    await city.writer.execute(PutRecord("subscription", "urn:sub:1", body))


async def test_what_is_older_than_it_may_be_goes_and_nothing_else(city: City) -> None:
    await city.bound(SENSOR, "d0")
    await city.bound(OPEN, "d1")
    for day in range(5):
        await city.hear("d0", 20.0 + day)
        await city.hear("d1", 10.0 + day)
        city.now += DAY
    assert await city.days(KEPT - 5) == Deleted()
    deleted = await city.days(2.5)
    assert await city.values(SENSOR) == [23.0, 24.0]
    assert await city.raw("d0") == ["d0 23.0", "d0 24.0"]
    assert (deleted.history >= 3, deleted.uplinks, deleted.values) == (True, 3, 0)
    assert all(row.observed_at >= city.now - KEPT * DAY for row in await city.store.history(device_urn("d0")))
    assert len(await city.values(OPEN)) == len(await city.raw("d1")) == 5
    assert (await city.days(0)) == Deleted(), "the second time there is nothing left to do"


async def test_the_current_value_goes_last_and_subscribers_are_told(city: City) -> None:
    await city.bound(SENSOR, "d0")
    await subscribed(city)
    await city.hear("d0", 20.0)
    await city.days(KEPT - 0.1)
    stored = await city.store.entity(SENSOR.entity)
    assert stored is not None and TEMPERATURE in stored.entity["attrs"]
    assert (await city.days(0.2)).values == 1
    stored = await city.store.entity(SENSOR.entity)
    assert stored is not None and TEMPERATURE not in stored.entity["attrs"]
    (row,) = city.owed
    assert loads(row.body)["attributes"] == {TEMPERATURE: "attributeDeleted"} and b"20.0" not in row.body
    assert await city.values(SENSOR) == [] and await city.raw("d0") == []
    await city.hear("d0", 21.0)
    stored = await city.store.entity(SENSOR.entity)
    assert stored is not None and TEMPERATURE in stored.entity["attrs"], "what is measured anew is shown"


async def test_closed_alarms_and_what_their_entities_said_go_with_it(city: City) -> None:
    await city.bound(SENSOR, "d0")
    await city.hear("d0", -3.5)
    await city.days(1)
    await city.hear("d0", 20.0)
    (alarm,) = map(as_alarm, await city.store.records("alarm"))
    assert alarm.state == "closed" and "-3.5" in alarm.text.replace("−", "-")
    assert (await city.days(KEPT - 0.5)).alarms == 0
    assert (await city.days(1)).alarms == 1
    assert await city.store.records("alarm") == []
    assert await city.store.entity(alert_urn(alarm.id)) is None
    assert all(row.instance is None for row in await city.store.history(alert_urn(alarm.id)))


async def test_a_device_that_was_another_sensor_keeps_what_it_said_there(city: City) -> None:
    await city.bound(OPEN, "d0")
    await city.hear("d0", 10.0)
    city.now += 10 * DAY
    await city.swapped(OPEN, "d1")
    await city.bound(SENSOR, "d0")
    await city.hear("d0", 20.0)
    city.now += 10 * DAY
    await city.swapped(SENSOR, "d2")
    await city.swapped(OPEN, "d0")
    city.now += 2 * DAY
    await city.hear("d0", 11.0)
    await city.days(2 * KEPT)
    assert await city.values(OPEN) == [10.0, 11.0] and await city.values(SENSOR) == []
    assert await city.raw("d0") == ["d0 10.0", "d0 11.0"]


async def test_what_waits_to_be_told_or_could_not_be_goes_too(city: City) -> None:
    await city.bound(SENSOR, "d0")
    rows = [OutboxRow(f"{n:016x}-1", "urn:sub:9", entity, city.now, b"{}") for n, entity in enumerate(
        (SENSOR.entity, SENSOR.entity, OPEN.entity), 1)]  # fmt: skip
    await city.store.commit(ChangeSet(outbox=rows))
    await city.store.commit(ChangeSet(given_up=[(rows[0].id, "gone")]))
    assert (await city.days(KEPT + 1)).notifications == 2
    assert await city.store.dead_letters("urn:sub:9") == []
    assert await city.store.outbox("urn:sub:9") == rows[2:]


async def test_what_a_deleted_or_changed_sensor_left_is_kept_no_longer(city: City) -> None:
    await city.bound(SENSOR, "d0")
    await city.hear("d0", 20.0)
    moved = msgspec.structs.replace(SENSOR, entity="urn:x:moved", personal=Personal(retention_days=1, purpose="x"))
    await city.writer.execute(PutVirtualSensor(moved))
    await city.days(2)
    assert await city.values(SENSOR) == [], "where it wrote before, too, as long as it says now"
