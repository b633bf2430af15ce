"""Who is silent: what one look costs with 1,000 and 50,000 virtual sensors that send, with little history and with much;
what it costs when some fall silent, when the registry changed; and what an uplink pays for being judged.

Time is the benchmark's own: each look is half a minute after the one before.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bench.figures import Figure
from broker.clock import SECOND, Clock, Micros, Stamp, iso
from broker.config import Alarms, StoreSettings
from broker.config import Writer as WriterSettings
from broker.devices.alarms.due import due_key
from broker.devices.alarms.heard import judge_uplink, uplink_needs
from broker.devices.alarms.rules import Radio
from broker.devices.model import Binding, Device, DeviceModel, DeviceState, Output, VirtualSensor
from broker.devices.registry import to_body
from broker.pipeline.silence import Silence
from broker.pipeline.writer import Writer
from broker.stores.base import ChangeSet, HistoryRow, Needs, Record, RecordWrite, Snapshot, TenantStore
from broker.stores.command import Effects, View
from broker.stores.open import create_store
from broker.subscriptions.index import SubscriptionIndex

SIZES = (1_000, 50_000)
HISTORY = 10
"""History rows that are added for each virtual sensor, count."""
LOOKS = 10
"""Of each kind; all of them take less time than a device needs to be silent."""
SILENT = 10
"""That fall silent between two looks, count."""
HALF_MINUTE = 30 * SECOND
INTERVAL = 600 * SECOND
START: Micros = 1_790_000_000 * SECOND
MODEL = DeviceModel(id="m", vendor="V", name="M", codec="elsys", expected_interval_seconds=600)
ATTRIBUTE = "https://example.org/temperature"
AT_ONCE = 1_000


class _Time:
    """A wall clock that is set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> Micros:
        return self.now


async def run(store: str, folder: Path) -> list[Figure]:
    """A look's time and CPU."""
    figures = [_judging()]
    for size in SIZES:
        figures += await _with(_named(store, size), size)
    return figures


async def _with(url: str, size: int) -> list[Figure]:
    wall = _Time()
    async with _city(url, size, wall) as (tenant, silence):
        first = await _gone_through(silence, wall)
        quiet = await _looks(silence, wall)
        await _add_history(tenant, size)
        later = await _looks(silence, wall)
        alarms = await _falling_silent(tenant, silence, wall, size)
        again = await _registry_changed(tenant, silence, wall)
    name = f"{size:,} virtual sensors that send"
    return [
        _figure(f"a look at {name}, no history", quiet),
        _figure(f"a look at {name}, {size * HISTORY:,} rows of history", later),
        _figure(f"a look when {SILENT} of {size:,} have fallen silent (alarm, Alert, history)", alarms),
        _passes(f"going through all {size:,} at the start", first),
        _passes(f"going through all {size:,} after a change of the registry", again),
    ]


def _passes(name: str, taken: Sequence[tuple[float, float]]) -> Figure:
    longest, cpu = max(one[0] for one in taken), sum(one[1] for one in taken)
    text = f"{len(taken)} looks, the longest {longest:.2f} s; {cpu:.2f} s CPU in all"
    return Figure(name, text, values={"looks": len(taken), "longest_seconds": longest, "cpu_seconds": cpu})


def _figure(name: str, taken: Sequence[tuple[float, float]]) -> Figure:
    wall, cpu = (statistics.median(one[which] for one in taken) * 1000 for which in (0, 1))
    return Figure(name, f"{wall:.2f} ms ({cpu:.2f} ms CPU)", "the same for all", {"milliseconds": wall, "cpu": cpu})


async def _timed(silence: Silence) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await silence.look()
    return time.perf_counter() - wall, time.process_time() - cpu


async def _looks(silence: Silence, wall: _Time) -> list[tuple[float, float]]:
    taken = []
    for _ in range(LOOKS):
        wall.now += HALF_MINUTE
        taken.append(await _timed(silence))
    return taken


# --- the city ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _city(url: str, size: int, wall: _Time) -> AsyncIterator[tuple[TenantStore, Silence]]:
    clock = Clock(wall)
    store = create_store(StoreSettings(url=url), clock)
    await store.open()
    tenant = await store.tenant()
    writer = Writer(tenant, clock, WriterSettings(), SubscriptionIndex(), lambda rows: None)
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        await tenant.commit(ChangeSet(records=[RecordWrite("device_model", MODEL.id, to_body(MODEL), 1)]))
        for start in range(0, size, AT_ONCE):
            records = [one for number in range(start, start + AT_ONCE) for one in _registered(number, clock)]
            await tenant.commit(ChangeSet(records=records))
        try:
            yield tenant, Silence(tenant, writer, clock, Alarms(registry_seconds=1), "bench")
        finally:
            writer.close()
    await store.close()


def _sensor(number: int) -> VirtualSensor:
    output = Output(quantity="temperature", attribute=ATTRIBUTE)
    return VirtualSensor(
        id=f"s{number:06d}", name="S", entity=f"urn:s:{number}", entity_type="https://example.org/T", outputs=(output,)
    )


def _registered(number: int, clock: Clock) -> list[RecordWrite]:
    """A virtual sensor, its device and its binding; heard within the interval, and silent far behind the benchmark."""
    sensor, device = _sensor(number), f"d{number:06d}"
    binding = Binding(id=clock.new_id(), device=device, virtual_sensor=sensor.id, valid_from=START - 10 * INTERVAL)
    seen = START + number * 7919 % INTERVAL
    state = DeviceState(last_seen=seen, uplinks=1)
    return [
        RecordWrite("virtual_sensor", sensor.id, to_body(sensor), 1, 0, (f"entity:{sensor.entity}",)),
        RecordWrite("device", device, to_body(Device(id=device, model=MODEL.id)), 1, 0),
        RecordWrite(
            "binding", binding.id, to_body(binding), 1, 0, (f"device:{device}", f"sensor:{binding.virtual_sensor}")
        ),
        RecordWrite("device_state", device, to_body(state), 1, 0, (due_key(seen + 3 * INTERVAL, START),)),
    ]


async def _add_history(tenant: TenantStore, size: int) -> None:
    for start in range(0, size, AT_ONCE):
        rows = [
            HistoryRow(
                f"urn:s:{number}", ATTRIBUTE, "", at, at, at, {"type": "Property", "value": 20.5, "observedAt": iso(at)}
            )
            for number in range(start, start + AT_ONCE)
            for at in range(START - HISTORY * INTERVAL, START, INTERVAL)
        ]
        await tenant.commit(ChangeSet(history=rows))


async def _falling_silent(tenant: TenantStore, silence: Silence, wall: _Time, size: int) -> list[tuple[float, float]]:
    """Some devices were last heard so long ago that they are due with the next look."""
    taken = []
    for serial in range(LOOKS):
        records = []
        for number in range(serial * SILENT, (serial + 1) * SILENT):
            device = f"d{(number * 97) % size:06d}"
            seen = wall.now + HALF_MINUTE // 2 - 3 * INTERVAL
            state = DeviceState(last_seen=seen, uplinks=1)
            records.append(
                RecordWrite("device_state", device, to_body(state), 2, None, (due_key(seen + 3 * INTERVAL, wall.now),))
            )
        await tenant.commit(ChangeSet(records=records))
        wall.now += HALF_MINUTE
        taken.append(await _timed(silence))
    opened = len(await tenant.records("alarm", key="open"))
    if opened != len(taken) * SILENT:
        raise AssertionError(f"{opened} alarms are open, {len(taken) * SILENT} devices have fallen silent")
    return taken


async def _registry_changed(tenant: TenantStore, silence: Silence, wall: _Time) -> list[tuple[float, float]]:
    sensor = _sensor(0)
    await tenant.commit(ChangeSet(records=[RecordWrite("virtual_sensor", sensor.id, to_body(sensor), 2)]))
    return await _gone_through(silence, wall)


async def _gone_through(silence: Silence, wall: _Time) -> list[tuple[float, float]]:
    """Looks until all virtual sensors were gone through."""
    taken: list[tuple[float, float]] = []
    while not taken or silence.going_through:
        wall.now += HALF_MINUTE
        taken.append(await _timed(silence))
    return taken


def _named(store: str, size: int) -> str:
    """A store of its own for each size."""
    if store.startswith("sqlite"):
        return store.replace(".db", f"-{size}.db")
    base, mark, options = store.partition("?")
    return f"{base}_{size}{mark}{options}"


# --- an uplink's part -------------------------------------------------------------------------------------------------

UPLINKS = 20_000


def _judging() -> Figure:
    """CPU of judging an uplink of a virtual sensor that is well."""
    clock = Clock(lambda: START)
    snapshot = Snapshot()
    for write in _registered(0, clock):
        assert write.body is not None
        record = Record(write.kind, write.id, write.body, 1, write.keys)
        snapshot.records[write.kind, write.id] = record
        for key in write.keys:
            snapshot.found[write.kind, key] = (record,)
    view, stamp = View(snapshot, clock.new_id), Stamp(START, iso(START), START)
    state = snapshot.records["device_state", "d000000"]
    bound = snapshot.found["binding", "device:d000000"]
    started = time.process_time()
    for _ in range(UPLINKS):
        effects: Effects[None] = Effects(None, records=[RecordWrite("device_state", state.id, state.body, 2, 1)])
        judge_uplink(effects, view, stamp, device="d000000", at=START, model=MODEL, radio=Radio(-90.0, 7.0))
    judged = (time.process_time() - started) / UPLINKS * 1e6
    started = time.process_time()
    for _ in range(UPLINKS):
        needs = Needs()
        needs.add(uplink_needs(bound, START, snapshot))
    needed = (time.process_time() - started) / UPLINKS * 1e6
    return Figure(
        "judging an uplink of a virtual sensor that is well",
        f"{judged:.1f} µs CPU, and {needed:.1f} µs to name what it needs",
        "of 100 µs for resolving and checking",
        {"judge_microseconds": judged, "needs_microseconds": needed},
    )
