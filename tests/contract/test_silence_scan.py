"""The scan for silent sensors on every store, over hours that pass at once: what it finds, and what a restart is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from broker.clock import SECOND, Clock, Micros
from broker.codecs.base import Measurement
from broker.config import Alarms, Limits
from broker.config import Writer as WriterSettings
from broker.devices.alarms.model import Alarm, as_alarm
from broker.devices.commands import PutDevice, PutVirtualSensor
from broker.devices.model import Device
from broker.devices.registry import to_body
from broker.devices.swaps import Swap
from broker.entities.records import DeleteRecord, PutRecord
from broker.pipeline.apply_uplink import ApplyUplink, Decoded
from broker.pipeline.intake import Uplink
from broker.pipeline.silence import Silence
from broker.pipeline.writer import Writer
from broker.stores.base import Record, TenantStore
from broker.subscriptions.index import SubscriptionIndex
from tests.unit.devices.alarms.support import MINUTE, MODEL, T0, sensor

SETTINGS = Alarms(scan_seconds=30, registry_seconds=300)


@dataclass
class City:
    store: TenantStore
    writer: Writer
    silence: Silence
    clock: Clock
    now: Micros = T0
    looks: int = 0

    async def looking(self, minutes: float) -> None:
        """Time passes, and the scan looks every half minute."""
        for _ in range(int(minutes * 2)):
            self.now += 30 * SECOND
            self.looks += await self.silence.look()

    async def bound(self, name: str, device: str, at: Micros | None = None) -> None:
        await self.writer.execute(PutVirtualSensor(sensor(name)))
        await self.writer.execute(PutDevice(Device(id=device, model=MODEL.id)))
        await self.writer.execute(Swap(name, device, at if at is not None else self.now))

    async def hear(self, device: str) -> None:
        record = await self.store.record("device_model", MODEL.id)
        assert record is not None
        uplink = Uplink("test", "up", device, self.now, self.now, b"", payload=b"\x01")
        measured = [Measurement("temperature", 20.0, "CEL", self.now)]
        decoded = Decoded(MODEL, record.version, measured)
        await self.writer.execute(ApplyUplink(uplink, self.clock.new_id(), decoded, Limits()))

    async def alarms(self) -> list[Alarm]:
        return [as_alarm(record) for record in await self.store.records("alarm")]

    async def silent(self) -> list[str]:
        return sorted(alarm.virtual_sensor for alarm in await self.alarms() if alarm.state != "closed")

    def restarted(self) -> None:
        """Another process: what the scan remembers is what the store remembers."""
        self.silence = Silence(self.store, self.writer, self.clock, SETTINGS, "another")


@pytest.fixture
async def city(tenant: TenantStore) -> AsyncIterator[City]:
    clock = Clock(lambda: made.now)
    writer = Writer(tenant, clock, WriterSettings(), SubscriptionIndex(), lambda rows: None)
    made = City(tenant, writer, Silence(tenant, writer, clock, SETTINGS, "one"), clock)
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        await writer.execute(PutRecord("device_model", MODEL.id, to_body(MODEL)))
        try:
            yield made
        finally:
            writer.close()


async def test_who_stops_sending_is_found_who_goes_on_is_not_even_looked_at(city: City) -> None:
    await city.bound("a", "dev-a")
    await city.bound("b", "dev-b")
    await city.looking(1)
    for _ in range(3):
        await city.hear("dev-a")
        await city.hear("dev-b")
        await city.looking(10)
    city.looks = 0
    for _ in range(5):
        await city.hear("dev-a")
        await city.looking(10)
        if len(await city.silent()):
            break
    assert await city.silent() == ["b"]
    assert city.looks <= 3, "only the silent one was looked at, and only around its time"


async def test_a_binding_is_watched_from_the_next_look_on_also_when_nobody_was_ever_heard(city: City) -> None:
    await city.looking(1)
    await city.bound("a", "dev-a")
    await city.looking(29)
    assert await city.silent() == []
    await city.looking(3)
    assert await city.silent() == ["a"]


async def test_a_device_that_was_bound_long_ago_in_hindsight_counts_from_when_that_was_told(city: City) -> None:
    await city.looking(1)
    await city.bound("a", "dev-a", at=T0 - 600 * MINUTE)
    await city.looking(29)
    assert await city.silent() == []
    await city.looking(3)
    assert await city.silent() == ["a"]


async def test_a_swap_that_is_dated_ahead_changes_who_is_watched_at_its_time(city: City) -> None:
    await city.bound("a", "dev-1")
    await city.looking(1)
    await city.writer.execute(Swap("a", "dev-2", city.now + 20 * MINUTE))
    await city.hear("dev-1")
    await city.looking(31)
    assert await city.silent() == [], "the old one had until then, the new one has its time"
    await city.looking(22)
    (alarm,) = await city.alarms()
    assert alarm.device == "dev-2"


async def test_after_a_night_without_a_broker_nobody_is_silent_who_had_no_chance_to_be_heard(city: City) -> None:
    for name in ("a", "b", "c"):
        await city.bound(name, f"dev-{name}")
    await city.looking(1)
    await city.hear("dev-a")
    await city.looking(20)
    await city.hear("dev-b")
    await city.hear("dev-c")
    city.now += 8 * 60 * MINUTE
    city.restarted()
    await city.looking(5)
    assert await city.silent() == [], "not at once, nor while what waited comes in"
    await city.hear("dev-b")
    await city.looking(6)
    assert await city.silent() == ["a"], "it had missed most of its time before the broker went"
    await city.looking(20)
    assert await city.silent() == ["a", "c"]


async def test_a_quick_restart_changes_nothing(city: City) -> None:
    await city.bound("a", "dev-a")
    await city.looking(1)
    await city.hear("dev-a")
    for _ in range(12):
        await city.looking(2.5)
        city.restarted()
    await city.looking(1)
    assert await city.silent() == ["a"]


async def test_a_virtual_sensor_that_is_deleted_leaves_no_open_alarm(city: City) -> None:
    await city.bound("a", "dev-a")
    await city.looking(35)
    assert await city.silent() == ["a"]
    await city.writer.execute(DeleteRecord("virtual_sensor", "a"))
    await city.writer.execute(DeleteRecord("sensor_health", "a"))
    await city.looking(6)
    (alarm,) = await city.alarms()
    assert (alarm.state, alarm.closed_because) == ("closed", "sensor removed")


async def test_an_interval_that_is_made_shorter_holds_for_who_is_silent_already(city: City) -> None:
    await city.bound("a", "dev-a")
    await city.looking(1)
    await city.hear("dev-a")
    await city.looking(20)
    await city.writer.execute(PutVirtualSensor(sensor("a", silent_after_seconds=600)))
    await city.looking(6)
    assert await city.silent() == ["a"]


async def test_no_health_is_kept_of_who_is_well(city: City) -> None:
    await city.bound("a", "dev-a")
    await city.looking(1)
    await city.hear("dev-a")
    await city.looking(5)
    kept: list[Record] = await city.store.records("sensor_health")
    assert [record.id for record in kept] == ["~look"]
