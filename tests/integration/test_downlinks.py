"""The task that sends commands, on a real store and writer, with networks that fail as networks and processes do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker.clock import SECOND, Clock, Micros
from broker.codecs.downlink import CommandParameter, CommandTemplate
from broker.config import Actuation, StoreSettings
from broker.config import Writer as WriterSettings
from broker.devices.actuation import DeviceCommand, told
from broker.devices.commanding import Change, as_command
from broker.devices.commands import PutDevice, PutDeviceModel, PutVirtualSensor
from broker.devices.model import Device, DeviceModel, DeviceState, Output, VirtualSensor
from broker.devices.registry import to_body
from broker.devices.swaps import Swap
from broker.errors import BadRequestData, Overloaded
from broker.pipeline.decoding import Decoders
from broker.pipeline.downlinks import Downlinks
from broker.pipeline.intake import Downlink, NotSent
from broker.pipeline.writer import Writer
from broker.stores.base import ChangeSet, RecordWrite, TenantStore
from broker.stores.open import create_store
from broker.subscriptions.index import SubscriptionIndex

SETTINGS = Actuation(look_seconds=0.05, handover_seconds=1.0)


@dataclass
class Net:
    """A network: what it was handed, and what comes of that."""

    handed: list[Downlink] = field(default_factory=list)
    outcome: Callable[[Downlink], Awaitable[None]] | None = None

    async def send(self, downlink: Downlink) -> None:
        self.handed.append(downlink)
        if self.outcome is not None:
            await self.outcome(downlink)

    async def close(self) -> None:
        pass


@dataclass
class World:
    """Sensors s0, s1, … with devices d0, d1, … that were heard over the MQTT broker 'city'."""

    store: TenantStore
    writer: Writer
    clock: Clock
    now: Micros

    def tick(self) -> Micros:
        """The time, which goes on by a microsecond each time that somebody looks."""
        self.now += 1
        return self.now

    async def command(self, command_id: str) -> DeviceCommand:
        record = await self.store.record("device_command", command_id)
        assert record is not None
        return as_command(record)

    async def becomes(self, command_id: str, status: str) -> DeviceCommand:
        async with asyncio.timeout(20):
            while (command := await self.command(command_id)).status != status:
                await asyncio.sleep(0.02)
        return command

    @asynccontextmanager
    async def running(self, net: Net, settings: Actuation = SETTINGS) -> AsyncIterator[Downlinks]:
        decoders = Decoders()
        downlinks = Downlinks(self.store, self.writer, self.clock, settings, {"city": net}, decoders)
        async with asyncio.TaskGroup() as group:
            group.create_task(downlinks.run())
            try:
                yield downlinks
            finally:
                await downlinks.close()
                decoders.close()


@pytest.fixture(params=["sqlite", "mongo"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    mongo = request.param == "mongo"
    url = request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path / 'city.db'}"
    made = World(None, None, None, 1_780_000_000 * SECOND)  # type: ignore[arg-type]
    made.clock = Clock(made.tick)
    store = create_store(StoreSettings(url=url), Clock())
    await store.open()
    made.store = await store.tenant()
    made.writer = Writer(made.store, made.clock, WriterSettings(), SubscriptionIndex(), lambda rows: None)
    async with asyncio.TaskGroup() as group:
        group.create_task(made.writer.run())
        template = CommandTemplate(f_port=1, payload=("01",))
        model = DeviceModel(id="m", vendor="V", name="M", codec="elsys", commands={"open": template, "close": template})
        await made.writer.execute(PutDeviceModel(model))
        output = Output(quantity="temperature", attribute="https://example.org/t")
        for number in range(3):
            sensor = VirtualSensor(
                id=f"s{number}",
                name=f"S{number}",
                entity=f"urn:x:{number}",
                entity_type="https://example.org/T",
                outputs=(output,),
            )
            await made.writer.execute(PutVirtualSensor(sensor))
            await made.writer.execute(PutDevice(Device(id=f"d{number}", model="m")))
            await made.writer.execute(Swap(f"s{number}", f"d{number}", made.now - SECOND))
            state = DeviceState(
                source="mqtt:chirpstack", broker="city", topic=f"application/1/device/d{number}/event/up"
            )
            await made.store.commit(
                ChangeSet(records=[RecordWrite("device_state", f"d{number}", to_body(state), 1, None)])
            )
        try:
            yield made
        finally:
            made.writer.close()
    await store.close()


async def test_a_command_whose_process_died_while_handing_it_over_is_handed_over_again_under_the_same_id(
    world: World,
) -> None:
    reached = asyncio.Event()

    async def hang(_: Downlink) -> None:
        reached.set()
        await asyncio.Event().wait()

    first = Net(outcome=hang)
    dying = Downlinks(
        world.store, world.writer, world.clock, Actuation(handover_seconds=60), {"city": first}, Decoders()
    )
    task = asyncio.create_task(dying.run())
    queued = await dying.queue("s0", "open", {})
    await asyncio.wait_for(reached.wait(), 10)
    task.cancel()  # as by SIGKILL: nothing more of it is written
    await asyncio.gather(task, return_exceptions=True)
    left = await world.command(queued.id)
    assert (left.status, left.sending, left.device) == ("queued", True, "d0")
    await world.store.release(["downlinks"], dying._owner)  # else the next would wait until the lease has run out

    second = Net()
    async with world.running(second):
        sent = await world.becomes(queued.id, "sent")
    assert sent.attempts == 2
    assert [each.id for each in (*first.handed, *second.handed)] == [queued.id] * 2


async def test_what_is_being_handed_over_is_not_cancelled(world: World) -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def wait(_: Downlink) -> None:
        reached.set()
        await go.wait()

    async with world.running(Net(outcome=wait), Actuation(look_seconds=0.05, handover_seconds=60)) as downlinks:
        queued = await downlinks.queue("s0", "open", {})
        await asyncio.wait_for(reached.wait(), 10)
        with pytest.raises(Exception, match="being handed to the network just now"):
            await downlinks.cancel(queued.id)
        go.set()
        await world.becomes(queued.id, "sent")


async def test_an_acknowledgement_that_is_faster_than_the_puback_stands(world: World) -> None:
    async def answer(downlink: Downlink) -> None:
        heard = Change(downlink.id, lambda command, at: told(command, "d0", "acknowledged", at))
        await world.writer.execute(heard, wait=True)

    async with world.running(Net(outcome=answer)) as downlinks:
        queued = await downlinks.queue("s0", "open", {})
        await world.becomes(queued.id, "acknowledged")
        await asyncio.sleep(0.2)
        stands = await world.command(queued.id)
    assert (stands.status, stands.attempts, stands.sending) == ("acknowledged", 1, False)


async def test_one_device_that_cannot_be_told_holds_up_no_other_and_its_own_commands_keep_their_order(
    world: World,
) -> None:
    away = True

    async def refuse(downlink: Downlink) -> None:
        if away and downlink.device_id == "d0":
            raise NotSent("The MQTT broker is away.")

    net = Net(outcome=refuse)
    async with world.running(net) as downlinks:
        stuck = [await downlinks.queue("s0", name, {}) for name in ("open", "close")]
        others = [await downlinks.queue(f"s{number}", "open", {}) for number in (1, 2)]
        for each in others:
            await world.becomes(each.id, "sent")
        waits = await world.command(stuck[0].id)
        assert (waits.status, waits.reason) == ("queued", "The MQTT broker is away.")
        assert (await world.command(stuck[1].id)).attempts == 0
        away = False
        await world.becomes(stuck[1].id, "sent")
    told_of = [each.id for each in net.handed if each.device_id == "d0"]
    assert told_of.index(stuck[1].id) == len(told_of) - 1
    assert set(told_of[:-1]) == {stuck[0].id}


async def test_a_network_that_does_not_answer_is_given_up_in_time(world: World) -> None:
    async def hang(_: Downlink) -> None:
        await asyncio.Event().wait()

    async with world.running(Net(outcome=hang), Actuation(look_seconds=0.05, handover_seconds=0.2)) as downlinks:
        queued = await downlinks.queue("s0", "open", {})
        async with asyncio.timeout(10):
            while not (waits := await world.command(queued.id)).reason:
                await asyncio.sleep(0.02)
    assert waits.reason == "No acknowledgement of the MQTT broker within 0.2 s."


async def test_no_more_are_queued_than_the_settings_allow(world: World) -> None:
    async def refuse(_: Downlink) -> None:
        raise NotSent("The MQTT broker is away.")

    async with world.running(Net(outcome=refuse), Actuation(look_seconds=0.05, queued=2)) as downlinks:
        first = await downlinks.queue("s0", "open", {})
        await downlinks.queue("s1", "open", {})
        with pytest.raises(Overloaded, match=r"actuation\.queued"):
            await downlinks.queue("s2", "open", {})
        async with asyncio.timeout(10):
            while (await world.command(first.id)).sending:
                await asyncio.sleep(0.02)
        world.now += 25 * 3600 * SECOND
        await world.becomes(first.id, "expired")
        async with asyncio.timeout(10):
            while True:
                try:
                    await downlinks.queue("s2", "open", {})
                    break
                except Overloaded:
                    await asyncio.sleep(0.05)


async def test_what_ended_long_ago_is_forgotten_and_the_rest_is_kept(world: World) -> None:
    settings = Actuation(look_seconds=0.05, keep_days=10)
    async with world.running(Net(), settings) as downlinks:
        old = await downlinks.queue("s0", "open", {})
        await world.becomes(old.id, "sent")
        world.now += 2 * 24 * 3600 * SECOND
        await world.becomes(old.id, "expired")
    world.now += 11 * 24 * 3600 * SECOND
    async with world.running(Net(), settings) as downlinks:
        async with asyncio.timeout(10):
            while await world.store.record("device_command", old.id) is not None:
                await asyncio.sleep(0.02)
        new = await downlinks.queue("s0", "open", {})
        await world.becomes(new.id, "sent")
    async with world.running(Net(), settings):
        await asyncio.sleep(0.3)
    assert (await world.command(new.id)).status == "sent"


ENCODER = """
function decodeUplink(i) { return {data: {}}; }
function encodeDownlink(i) {
  if (i.data.seconds === 13) throw new Error("unlucky");
  if (i.data.seconds === 14) return {errors: ["not today"]};
  if (i.data.seconds === 15) for (;;);
  return {bytes: [VERSION, i.data.seconds], fPort: i.fPort + 1};
}
"""


def scripted(version: int, *, script: str = ENCODER) -> DeviceModel:
    """Its commands are encoded by its script, which says its version."""
    template = CommandTemplate(
        encoder="script", f_port=9, parameters={"seconds": CommandParameter(minimum=1, maximum=200)}
    )
    source = script.replace("VERSION", str(version))
    return DeviceModel(id="m", vendor="V", name="M", codec="javascript", script=source, commands={"open": template})


async def test_a_models_script_encodes_its_commands_and_what_it_says_is_told_to_whoever_sends(world: World) -> None:
    await world.writer.execute(PutDeviceModel(scripted(1)))
    net = Net()
    async with world.running(net) as downlinks:
        for seconds, said in (
            (13, "unlucky"),
            (14, "The script says: not today"),
            (15, "stopped after 0.25 s"),
            (201, "from 1 to 200"),
        ):
            with pytest.raises(BadRequestData, match=said):
                await downlinks.queue("s0", "open", {"seconds": seconds})
        queued = await downlinks.queue("s0", "open", {"seconds": 60})
        sent = await world.becomes(queued.id, "sent")
    assert (sent.payload, sent.f_port, sent.model) == ("013c", 10, "m")
    assert [(each.payload, each.f_port) for each in net.handed] == [(b"\x01\x3c", 10)]


async def test_a_command_that_waited_is_encoded_by_the_script_that_is_there_when_it_is_sent(world: World) -> None:
    await world.writer.execute(PutDeviceModel(scripted(1)))

    async def away(_: Downlink) -> None:
        raise NotSent("away")

    net = Net(outcome=away)
    async with world.running(net) as downlinks:
        first = await downlinks.queue("s0", "open", {"seconds": 60})
        async with asyncio.timeout(20):
            while not net.handed:
                await asyncio.sleep(0.02)
        await world.writer.execute(PutDeviceModel(scripted(2)))
        net.outcome = None
        assert (await world.becomes(first.id, "sent")).payload == "023c"
        net.outcome = away
        second = await downlinks.queue("s1", "open", {"seconds": 61})
        refusing = "function decodeUplink(i) {} function encodeDownlink(i) { return {errors: ['no longer']}; }"
        await world.writer.execute(PutDeviceModel(scripted(3, script=refusing)))
        failed = await world.becomes(second.id, "failed")
    assert failed.reason == "'open' cannot be encoded by model 'm': The script says: no longer"
