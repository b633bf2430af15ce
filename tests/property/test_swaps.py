"""Whatever comes in whatever order, each observation belongs to the device that made it and to what it was at its time.

Devices send early, late and twice; sensors are swapped now, in the past and ahead, unbound, and all of that is undone; a
process ends between a swap and what follows from it. A model that knows nothing but 'who was bound when' says what must be
in the history.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from broker.clock import SECOND, Clock, Micros, parse_iso
from broker.config import Limits
from broker.config import Writer as WriterSettings
from broker.devices.commands import PutDevice, PutDeviceModel, PutVirtualSensor
from broker.devices.model import Device, DeviceModel, Output, Quantity, VirtualSensor
from broker.devices.swaps import Swap, Unbind
from broker.devices.undoing import Undo
from broker.errors import BrokerError
from broker.ngsild.model import default_instance
from broker.pipeline.claims import Claims
from broker.pipeline.decoding import Decoders
from broker.pipeline.intake import SensedValue, Uplink
from broker.pipeline.uplinks import Uplinks
from broker.pipeline.writer import Writer
from broker.stores.base import HistoryRow, UplinkRow
from broker.subscriptions.index import SubscriptionIndex
from tests.support.stores import MOMENT, make_store

T = TypeVar("T")

START: Micros = MOMENT
TEMPERATURE = "https://example.org/temperature"
DEVICES = ("d0", "d1", "d2", "d3")
SENSORS = ("v0", "v1", "v2")
SPAN = 600
"""Seconds that observations and swaps lie in; the clock begins in the middle of it."""

devices, sensors = st.sampled_from(DEVICES), st.sampled_from(SENSORS)
seconds = st.integers(0, SPAN)


def entity_of(sensor: str) -> str:
    return f"urn:e:{sensor}"


@dataclass
class Change:
    """One swap (or unbinding: device None) that stands."""

    id: str
    sensor: str
    at: int
    device: str | None


@dataclass
class Model:
    """Who was bound when: all that attribution depends on."""

    changes: list[Change] = field(default_factory=list)

    def bound(self, sensor: str, at: int) -> str | None:
        """The device that was the sensor at a time: by the last change up to then."""
        past = [change for change in reversed(self.changes) if change.sensor == sensor and change.at <= at]
        return max(past, key=lambda change: change.at).device if past else None

    def holders(self, device: str, at: int) -> set[str]:
        """The sensors that the device was at a time."""
        return {sensor for sensor in SENSORS if self.bound(sensor, at) == device}


class World:
    """A broker's parts on a store of their own, and a clock that the test winds."""

    def __init__(self, url: str) -> None:
        self.now = START + SPAN // 2 * SECOND
        self.clock = Clock(lambda: self.now)
        self.store = make_store(url)

    async def open(self) -> None:
        await self.store.open()
        self.tenant = await self.store.tenant()
        self.writer = Writer(self.tenant, self.clock, WriterSettings(), SubscriptionIndex(), lambda rows: None)
        self.running = asyncio.create_task(self.writer.run())
        limits = Limits(clock_ahead_seconds=2 * SPAN)
        self.uplinks = Uplinks(self.tenant, self.writer, self.clock, limits, Decoders())
        self.claims = Claims(self.tenant, self.writer, self.uplinks, read_again, self.clock, limits)
        temperature = Quantity(quantity="temperature", unit="CEL", source="t")
        model = DeviceModel(id="m", vendor="V", name="M", codec="senml", network="nb-iot", quantities=(temperature,))
        await self.writer.execute(PutDeviceModel(model))
        for sensor in SENSORS:
            output = Output(quantity="temperature", attribute=TEMPERATURE)
            made = VirtualSensor(
                id=sensor, name=sensor, entity=entity_of(sensor), entity_type="https://example.org/T", outputs=(output,)
            )
            await self.writer.execute(PutVirtualSensor(made))
        for device in DEVICES[:2]:
            await self.writer.execute(PutDevice(Device(id=device, model="m")))

    async def close(self) -> None:
        self.writer.close()
        await self.running
        await self.store.close()


def uplink_of(device: str, frame: str, observations: list[tuple[int, float]], received: Micros) -> Uplink:
    raw = json.dumps([device, frame, observations]).encode()
    values = tuple(SensedValue("t", value, "Cel", START + at * SECOND) for at, value in observations)
    return Uplink("coap", "up", device, received, received, raw, frame_key=frame, values=values)


def read_again(row: UplinkRow) -> Uplink:
    device, frame, observations = json.loads(row.raw)
    return uplink_of(device, frame, [(at, value) for at, value in observations], row.received_at)


class Attribution(RuleBasedStateMachine):
    """The broker beside the model."""

    def url(self) -> str:
        """Of an empty store."""
        return f"sqlite:///{Path(self.folder.name) / 'k.db'}"

    @initialize()
    def opened(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.url())
        self.model = Model()
        self.sent: dict[str, tuple[str, list[tuple[int, float]]]] = {}
        self.registered = set(DEVICES[:2])
        self.serial = 0
        self.run(self.world.open())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        self.world.now += 5_000
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.run(self.world.close())
        self.loop.close()
        self.folder.cleanup()

    # --- what happens ---

    @rule(device=devices, ats=st.lists(seconds, min_size=1, max_size=3, unique=True))
    def sends(self, device: str, ats: list[int]) -> None:
        self.serial += 1
        frame = f"f{self.serial}"
        observations = [(at, self.serial + at / 1000) for at in ats]
        self.sent[frame] = (device, observations)
        self.run(self.world.uplinks.submit(uplink_of(device, frame, observations, self.world.now), wait=True))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def sends_once_more(self, data: st.DataObject) -> None:
        frame = data.draw(st.sampled_from(sorted(self.sent)))
        device, observations = self.sent[frame]
        receipt = self.run(self.world.uplinks.submit(uplink_of(device, frame, observations, self.world.now), wait=True))
        assert receipt.outcome == "duplicate"

    @rule(sensor=sensors, device=devices, at=seconds, dies=st.booleans())
    def swap(self, sensor: str, device: str, at: int, dies: bool) -> None:
        command = Swap(sensor, device, START + at * SECOND, model="m")
        with contextlib.suppress(BrokerError):
            if dies:  # before it looks again at what the devices sent
                swapped = self.run(self.world.writer.execute(command))
            else:
                swapped = self.run(self.world.claims.swap(command)).swapped
            self.model.changes.append(Change(swapped.record.id, sensor, at, device))
            self.registered.add(device)

    @rule(sensor=sensors, at=seconds)
    def unbind(self, sensor: str, at: int) -> None:
        with contextlib.suppress(BrokerError):
            unbound = self.run(self.world.claims.unbind(Unbind(sensor, START + at * SECOND)))
            self.model.changes.append(Change(unbound.record.id, sensor, at, None))

    @precondition(lambda self: self.model.changes)
    @rule(data=st.data(), dies=st.booleans())
    def undo(self, data: st.DataObject, dies: bool) -> None:
        change = data.draw(st.sampled_from(self.model.changes))
        with contextlib.suppress(BrokerError):
            if dies:
                self.run(self.world.writer.execute(Undo(change.id)))
            else:
                self.run(self.world.claims.undo(Undo(change.id)))
            self.model.changes.remove(change)

    @rule(of=st.integers(1, SPAN // 4))
    def time_goes_by(self, of: int) -> None:
        self.world.now += of * SECOND
        self.run(self.world.claims.take_effect())

    # --- what must be so at every step ---

    @invariant()
    def every_observation_is_where_it_belongs(self) -> None:
        self.run(self.world.claims.catch_up())
        wanted: dict[tuple[str, int, float], str] = {}
        for device, observations in self.sent.values():
            for at, value in observations:
                holders = self.model.holders(device, at)
                assert len(holders) <= 1
                for sensor in holders:
                    wanted[entity_of(sensor), at, value] = device
        found: dict[tuple[str, int, float], str] = {}
        for sensor in SENSORS:
            rows = self.run(self.world.tenant.history(entity_of(sensor), TEMPERATURE, limit=10_000))
            for row in rows:
                assert row.instance is not None
                key = entity_of(sensor), (row.observed_at - START) // SECOND, row.instance["value"]
                assert key not in found, "twice"
                assert row.device_id is not None
                found[key] = row.device_id
            self.current_is_the_newest(sensor, rows)
        assert found == wanted
        self.nothing_is_lost()

    def current_is_the_newest(self, sensor: str, rows: list[HistoryRow]) -> None:
        kept = self.run(self.world.tenant.entity(entity_of(sensor)))
        current = default_instance(kept.entity["attrs"].get(TEMPERATURE, [])) if kept is not None else None
        if not rows:
            assert current is None
            return
        assert current is not None
        newest = max(row.observed_at for row in rows)
        assert parse_iso(current["observedAt"]) == newest
        assert current["value"] in [
            row.instance["value"] for row in rows if row.observed_at == newest and row.instance is not None
        ]

    def nothing_is_lost(self) -> None:
        rows = {row.frame_key: row for row in self.run(self.world.tenant.uplinks(limit=10_000))}
        assert set(rows) == set(self.sent)
        for frame, (device, observations) in self.sent.items():
            held = any(self.model.holders(device, at) for at, _ in observations)
            assert rows[frame].status == ("applied" if held else "quarantined")

    @invariant()
    def devices_point_to_what_they_are_now(self) -> None:
        self.run(self.world.claims.take_effect())
        now = (self.world.now - START) // SECOND
        for device in self.registered:
            kept = self.run(self.world.tenant.entity(f"urn:ngsi-ld:Device:{device}"))
            assert kept is not None
            asset = kept.entity["attrs"].get("https://uri.etsi.org/ngsi-ld/default-context/controlledAsset")
            holders = {entity_of(sensor) for sensor in self.model.holders(device, now)}
            assert ({asset[0]["object"]} if asset else set()) == holders


def test_each_observation_belongs_to_its_device_and_to_what_it_was_then_on_sqlite() -> None:
    run_state_machine_as_test(Attribution, settings=settings(max_examples=100, stateful_step_count=25))


def test_each_observation_belongs_to_its_device_and_to_what_it_was_then_on_mongodb(mongo_url: str) -> None:
    databases = count()

    class OnMongo(Attribution):
        def url(self) -> str:
            return f"{mongo_url}_{next(databases)}"

    run_state_machine_as_test(OnMongo, settings=settings(max_examples=4, stateful_step_count=12))
