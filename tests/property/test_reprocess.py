"""Decoding again after a correction gives what there would have been, had the model been right from the start.

Two brokers hear the same: one with a wrong device model (or virtual sensor) that is corrected on the way, one with the right
one. The first is reprocessed, in pieces, as its process ends again and again, while more comes in. Then both must hold the
same values, current ones, meters and reasons; and doing it once more must change nothing.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from broker.clock import SECOND, Clock, Micros
from broker.config import Limits
from broker.config import Writer as WriterSettings
from broker.devices.commands import PutDevice, PutDeviceModel, PutVirtualSensor
from broker.devices.model import Device, DeviceModel, Output, Quantity, VirtualSensor
from broker.devices.processing.contract import Calibration, Checks, Counter, DewPoint, Difference, Mean
from broker.devices.swaps import Swap
from broker.errors import BrokerError
from broker.ngsild.model import IMPLAUSIBLE, default_instance
from broker.pipeline.claims import Claims
from broker.pipeline.decoding import Decoders
from broker.pipeline.intake import SensedValue, Uplink
from broker.pipeline.reprocess.looking import Looking
from broker.pipeline.reprocess.model import Selection, as_reprocessing
from broker.pipeline.reprocess.run import Reprocessings
from broker.pipeline.uplinks import Uplinks
from broker.pipeline.writer import Writer
from broker.stores.base import UplinkRow
from broker.subscriptions.index import SubscriptionIndex
from tests.support.stores import MOMENT, make_store

START: Micros = MOMENT
ENDS: Micros = START + 10**9 * SECOND
VOCAB = "https://example.org/"
DEVICES = ("d0", "d1", "d2")
SENSORS = ("room", "meter", "watched")

MODELS = {
    "right": {"t": ("temperature", "CEL"), "h": ("humidity", "P1"), "v": ("volume", "MTQ")},
    "litres": {"t": ("temperature", "CEL"), "h": ("humidity", "P1"), "v": ("volume", "LTR")},
    "fahrenheit": {"t": ("temperature", "FAH"), "h": ("humidity", "P1"), "v": ("volume", "MTQ")},
    "crossed": {"t": ("humidity", "P1"), "h": ("temperature", "CEL"), "v": ("volume", "MTQ")},
    "less": {"v": ("volume", "MTQ")},
    "throws": {"t": ("motion", ""), "h": ("humidity", "P1"), "v": ("volume", "MTQ")},
}


def model(variant: str, model_id: str = "m") -> DeviceModel:
    rows = tuple(Quantity(quantity=name, unit=unit, source=source) for source, (name, unit) in MODELS[variant].items())
    return DeviceModel(id=model_id, vendor="V", name="M", codec="senml", network="nb-iot", quantities=rows)


def sensor(sensor_id: str, scale: float = 1.0) -> VirtualSensor:
    """room remembers nothing, meter counts, watched looks back."""
    line = Calibration(scale=scale, offset=0.0) if scale != 1 else None
    temperature, humidity = VOCAB + "temperature", VOCAB + "humidity"
    outputs: tuple[Output, ...] = (
        Output(quantity="temperature", attribute=temperature, calibration=line),
        Output(quantity="humidity", attribute=humidity),
    )
    derived: tuple[Any, ...] = ()
    if sensor_id == "meter":
        outputs = (
            *outputs,
            Output(quantity="volume", attribute=VOCAB + "volume", unit="MTQ", calibration=line, counter=Counter()),
        )
        derived = (Difference(of="volume", attribute=VOCAB + "hourly", per="hour"),)
    if sensor_id == "watched":
        checks = Checks(max_change_per_hour=2000, stuck_after_values=3, minimum=-50, maximum=90, duplicates=True)
        outputs = (
            Output(quantity="temperature", attribute=temperature, calibration=line, checks=checks),
            Output(quantity="humidity", attribute=humidity),
        )
        derived = (
            Mean(of="temperature", window_seconds=1800, attribute=VOCAB + "mean"),
            DewPoint(attribute=VOCAB + "dewPoint", max_age_seconds=1800),
        )
    return VirtualSensor(
        id=sensor_id,
        name=sensor_id,
        entity=f"urn:e:{sensor_id}",
        entity_type=VOCAB + "T",
        outputs=outputs,
        derived=derived,
    )


@dataclass(frozen=True)
class Sent:
    device: str
    ago: int
    """Seconds before it came in that it was observed."""
    values: dict[str, float]


@dataclass(frozen=True)
class Swapped:
    sensor: str
    device: str


Event = Sent | Swapped
values = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from([0.0, 1.0, 20.0, 20.5, 35.0, 60.0, 150.0]) for name in ("t", "h", "v")}
)
events = st.one_of(
    st.builds(Sent, st.sampled_from(DEVICES), st.sampled_from([0, 0, 0, 1, 900]), values),
    st.builds(Sent, st.sampled_from(DEVICES), st.sampled_from([0, 0, 0, 1, 900]), values),
    st.builds(Swapped, st.sampled_from(SENSORS), st.sampled_from(DEVICES)),
)
corrections = st.one_of(
    st.tuples(st.just("model"), st.sampled_from(sorted(MODELS)), st.sampled_from(sorted(MODELS))),
    st.tuples(st.sampled_from(SENSORS[1:]), st.sampled_from([1.0, 0.5, 10.0]), st.sampled_from([1.0, 0.5, 10.0])),
).filter(lambda correction: correction[1] != correction[2])


@dataclass
class World:
    """A broker's parts on a store of their own, and a clock that the test winds."""

    url: str
    now: Micros = START
    serial: int = 0
    executed: int = 0
    dies_after: int | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self) -> None:
        self.clock = Clock(lambda: self.now)
        self.store = make_store(self.url)
        await self.store.open()
        self.tenant = await self.store.tenant()
        self.told: list[str] = []
        self.writer = Writer(self.tenant, self.clock, WriterSettings(), SubscriptionIndex(), lambda rows: None)
        self.running = asyncio.create_task(self.writer.run())
        limits = Limits()
        self.uplinks = Uplinks(self.tenant, self.writer, self.clock, limits, Decoders())
        self.claims = Claims(self.tenant, self.writer, self.uplinks, read_again, self.clock, limits)
        self.looking = Looking(self.uplinks, read_again, limits)
        self.begin()

    def begin(self) -> None:
        """What a process that is started anew has in memory."""
        self.reprocessings = Reprocessings(self.tenant, self.writer, self, self.looking, self.clock, 60.0)

    async def execute(self, command: Any, *, wait: bool = False) -> Any:
        """The writer of the background work: it stands still after so many commands, as if the process had ended."""
        if self.dies_after is not None and self.executed >= self.dies_after:
            raise Died
        self.executed += 1
        return await self.writer.execute(command, wait=wait)

    async def close(self) -> None:
        self.writer.close()
        await self.running
        await self.store.close()

    async def happens(self, event: Event) -> None:
        self.serial += 1
        self.now = START + self.serial * 600 * SECOND
        if isinstance(event, Swapped):
            try:
                await self.claims.swap(Swap(event.sensor, event.device, self.now))
            except BrokerError:
                return
            return
        # No two observations are of one time, but for late ones.
        observed = self.now - event.ago * SECOND + self.serial
        sent = uplink_of(event.device, f"f{self.serial}", event.values, self.now, observed)
        await self.uplinks.submit(sent, wait=True)

    async def reprocess(self, selection: Selection, dies_after: int | None) -> bool:
        """Work until done; False when it died before."""
        self.executed, self.dies_after = 0, dies_after
        self.now += 5000
        if not await self.tenant.records("reprocessing", key="open"):
            await self.reprocessings.ask(selection, by="Kim", note="", notify=False)
        try:
            await self.reprocessings.work()
        except Died:
            self.begin()
            return False
        finally:
            self.dies_after = None
        assert await self.tenant.records("reprocessing_part") == []
        return True

    async def held(self) -> dict[str, Any]:
        """All that must be alike: rows that hold, current values, states, what became of the uplinks."""
        frames = {row.id: row for row in await self.tenant.uplinks(limit=10_000)}
        bindings = {
            row.id: (row.body["device"], row.body["virtualSensor"]) for row in await self.tenant.records("binding")
        }
        rows = []
        current = {}
        for one in SENSORS:
            entity = f"urn:e:{one}"
            for row in await self.tenant.history(entity, limit=10_000):
                if row.uplink_id is not None:
                    assert row.instance is not None
                    frame = frames[row.uplink_id].frame_key
                    rows.append((entity, row.attribute, row.observed_at, frame, shown(row.instance)))
            stored = await self.tenant.entity(entity)
            for name, instances in (stored.entity["attrs"] if stored is not None else {}).items():
                instance = default_instance(instances)
                current[entity, name] = shown(instance) | {"at": instance.get("observedAt")} if instance else None
        states = json.dumps(
            {record.id: record.body for record in await self.tenant.records("sensor_state")}, sort_keys=True
        )
        for binding, (device, of) in bindings.items():
            states = states.replace(binding, f"{device}-{of}")
        return {
            "rows": sorted(rows, key=repr),
            "current": current,
            "states": {name: one for name, one in json.loads(states).items() if any(one.values())},
            "uplinks": {row.frame_key: row.status for row in frames.values()},
        }

    async def all_rows(self) -> list[Any]:
        return [
            (row.entity_id, row.attribute, row.observed_at, row.version, row.superseded)
            for one in SENSORS
            for row in await self.tenant.history(f"urn:e:{one}", limit=10_000, superseded=True)
        ]


class Died(BaseException):
    """The process ended."""


def shown(instance: Any) -> dict[str, Any]:
    inner = instance.get("attrs", {})
    failed = default_instance(inner.get(IMPLAUSIBLE, []))
    source = next((one[0]["object"] for name, one in inner.items() if name.endswith("observedBy")), None)
    return {
        "value": instance.get("value"),
        "unit": instance.get("unitCode"),
        "failed": failed["value"] if failed else [],
        "by": source,
    }


def uplink_of(device: str, frame: str, sent: dict[str, float], received: Micros, observed: Micros) -> Uplink:
    raw = json.dumps([device, frame, sent, observed]).encode()
    units = {"t": "", "h": "", "v": ""}
    named = tuple(SensedValue(name, value, units[name], observed) for name, value in sent.items())
    if not named:
        named = (SensedValue("other", 1, "", observed),)
    return Uplink("coap", "up", device, received, received, raw, frame_key=frame, values=named)


def read_again(row: UplinkRow) -> Uplink:
    device, frame, sent, observed = json.loads(row.raw)
    return uplink_of(device, frame, sent, row.received_at, observed)


async def opened(url: str, correction: tuple[str, Any, Any], which: int) -> World:
    """A broker with what is wrong (1) or right (2), and its first bindings."""
    world = World(url)
    await world.open()
    what = correction[0]
    await world.writer.execute(PutDeviceModel(model(correction[which] if what == "model" else "right")))
    await world.writer.execute(PutDeviceModel(model("right", "n")))
    for one in SENSORS:
        await world.writer.execute(PutVirtualSensor(sensor(one, float(correction[which]) if what == one else 1.0)))
    for device in DEVICES:
        await world.writer.execute(PutDevice(Device(id=device, model="n" if device == "d2" else "m")))
    for one, device in zip(SENSORS, DEVICES, strict=True):
        await world.claims.swap(Swap(one, device, START - SECOND))
    return world


async def corrected(world: World, correction: tuple[str, Any, Any]) -> Selection:
    what, _, right = correction
    if what == "model":
        await world.writer.execute(PutDeviceModel(model(right)))
        return Selection(START - SECOND, ENDS, model="m")
    await world.writer.execute(PutVirtualSensor(sensor(what, float(right))))
    return Selection(START - SECOND, ENDS, virtual_sensor=what)


async def compared(
    urls: Callable[[], str],
    before: list[Event],
    after: list[Event],
    correction: tuple[str, Any, Any],
    deaths: list[int],
) -> None:
    wrong, right = await opened(urls(), correction, 1), await opened(urls(), correction, 2)
    try:
        for event in [*before, *after]:
            await right.happens(event)
        for event in before:
            await wrong.happens(event)
        selection = await corrected(wrong, correction)
        coming = list(after)
        for dies_after in deaths:
            await wrong.reprocess(selection, dies_after)
            for event in coming[:2]:
                await wrong.happens(event)
            coming = coming[2:]
        for event in coming:
            await wrong.happens(event)
        selection = Selection(selection.since, ENDS, selection.model, selection.device, selection.virtual_sensor)
        assert await wrong.reprocess(selection, None)
        found, wanted = await wrong.held(), await right.held()
        # What waits in quarantine is left there; only what it told besides may differ.
        for frame, status in list(found["uplinks"].items()):
            if status == "quarantined":
                del found["uplinks"][frame]
                wanted["uplinks"].pop(frame)
        for name in wanted:
            assert found[name] == wanted[name], name
        await once_more(wrong, selection)
    finally:
        await wrong.close()
        await right.close()


async def once_more(world: World, selection: Selection) -> None:
    """Nothing differs any more, and nothing is changed."""
    difference = await world.reprocessings.difference(selection, 5)
    assert difference.examples == []
    assert difference.counts.changed == difference.counts.accepted == difference.counts.rejected == 0
    held, rows = await world.held(), await world.all_rows()
    assert await world.reprocess(selection, None)
    assert (await world.held(), await world.all_rows()) == (held, rows)
    jobs = [as_reprocessing(record) for record in await world.tenant.records("reprocessing")]
    assert jobs[-1].counts.superseded == jobs[-1].counts.added == 0


def check(
    urls: Callable[[], str],
    before: list[Event],
    after: list[Event],
    correction: tuple[str, Any, Any],
    deaths: list[int],
) -> None:
    work: Awaitable[None] = compared(urls, before, after, correction, deaths)
    asyncio.run(work)  # type: ignore[arg-type]


cases = given(
    before=st.lists(events, min_size=8, max_size=25),
    after=st.lists(events, max_size=8),
    correction=corrections,
    deaths=st.lists(st.integers(1, 30), max_size=3),
)


@cases
@settings(max_examples=60, phases=(Phase.generate,), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_reprocessed_history_is_what_it_would_have_been_on_sqlite(
    before: list[Event], after: list[Event], correction: tuple[str, Any, Any], deaths: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        number = count()
        check(lambda: f"sqlite:///{Path(folder) / str(next(number))}.db", before, after, correction, deaths)


def test_a_reprocessed_history_is_what_it_would_have_been_on_mongodb(mongo_url: str) -> None:
    number = count()

    @cases
    @settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def run(before: list[Event], after: list[Event], correction: tuple[str, Any, Any], deaths: list[int]) -> None:
        check(lambda: f"{mongo_url}_{next(number)}", before, after, correction, deaths)

    run()


async def unchanged(url: str, happened: list[Event], since: int, until: int, which: dict[str, str]) -> None:
    world = await opened(url, ("model", "right", "right"), 1)
    try:
        for event in happened:
            await world.happens(event)
        selection = Selection(START + since * 600 * SECOND - SECOND, START + until * 600 * SECOND, **which)
        await once_more(world, selection)
    finally:
        await world.close()


@given(
    happened=st.lists(events, min_size=1, max_size=30),
    since=st.integers(0, 25),
    length=st.integers(1, 30),
    which=st.sampled_from(
        [{"model": "m"}, {"device": "d1"}, {"virtual_sensor": "watched"}, {"virtual_sensor": "meter"}]
    ),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_changes_where_nothing_was_corrected_whatever_the_period(
    happened: list[Event], since: int, length: int, which: dict[str, str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(unchanged(f"sqlite:///{Path(folder) / 'k.db'}", happened, since, since + length, which))
