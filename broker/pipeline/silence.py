"""Who is silent: looks at what is due, every half minute, in one process of all.

What is due is found by index keys of the time (`broker.devices.alarms.due`): a look costs by what has become silent, not by
how many sensors there are or how much history. New bindings are found by their ids, which are in order of time. Only after
a change of the registry, and at the start, all virtual sensors are gone through, 5,000 with each look.

A record of its own says when a broker last looked. What lies between that and now, when it is long, is a time in which
nobody could hear anything; it does not count as silence.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec
import structlog
from msgspec import Struct

from broker import metrics
from broker.clock import SECOND, Clock, Micros, Stamp
from broker.config import Alarms
from broker.devices.alarms.due import Gap, due_keys
from broker.devices.alarms.look import LookAt
from broker.devices.alarms.watched import is_neglected, watched_needs
from broker.devices.registry import as_binding, as_sensor
from broker.errors import BrokerError, InternalError
from broker.pipeline.expiry import Executor
from broker.stores.base import Needs, Record, RecordKind, RecordWrite, Snapshot, TenantStore
from broker.stores.command import Effects, View

log = structlog.get_logger(__name__)

AT_ONCE: Final = 100
"""Virtual sensors that one command looks at, count: others' commands are applied in between."""
PAGE: Final = 500
"""Records and keys read at once, count."""
PAGES: Final = 10
"""Pages of virtual sensors, and of new bindings, that one look goes through at most, count: a second of CPU."""
OVERLAP: Final = 60 * SECOND
"""So far back it is looked again, microseconds: commits that were under way, clocks of other processes."""
LONG: Final = 120 * SECOND
"""A pause between two looks from which on nobody was there, microseconds; at least four looks."""
FAR: Final = 7 * 24 * 3600 * SECOND
"""How far back keys are looked up, microseconds: after a longer pause, what was due finds itself neglected."""
GAPS: Final = 20
"""Times when nobody was there that are remembered, count."""
LEASE: Final = "alarms"
MARK: Final = "~look"
"""Id of our record among the healths; no virtual sensor's id begins like this."""
_REGISTRY: Final[tuple[RecordKind, ...]] = ("virtual_sensor", "device_model", "device", "binding")

T = TypeVar("T")


class Mark(Struct, frozen=True, rename="camel", kw_only=True):
    """When a broker last looked."""

    looked: Micros
    binding: str = ""
    """The newest binding that was seen."""
    gaps: tuple[tuple[Micros, Micros], ...] = ()


@dataclass(frozen=True, slots=True)
class PutMark:
    """Remember that we looked."""

    mark: Mark

    def needs(self, seen: Snapshot) -> Needs:
        """Nothing: the lease holds others off."""
        return Needs()

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """One record."""
        return Effects(
            None, records=[RecordWrite("sensor_health", MARK, msgspec.to_builtins(self.mark), stamp.version)]
        )


class Silence:
    """The scan of the default tenant, where the registry is. `owner` names this process in the lease."""

    def __init__(self, store: TenantStore, writer: Executor, clock: Clock, settings: Alarms, owner: str) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._settings = settings
        self._owner = owner
        self._epochs: dict[RecordKind, int] = {}
        """Of the registry, at the last look."""
        self._changed = False
        """The registry changed since all virtual sensors were gone through."""
        self._bound_after = ""
        """Where the next look goes on with new bindings, when there were too many for one."""
        self._gone_through: Micros = 0
        """When going through all virtual sensors was last begun."""
        self._cursor: str | None = None
        """How far that has come; None: it is done."""
        self._shown: set[tuple[str, str]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Look every `alarms.scan_seconds` until `stop`."""
        while not stop.is_set():
            try:
                if await self._store.lease(LEASE, self._owner, self._settings.scan_seconds * 3):
                    with metrics.silence_scan_seconds.time():
                        await self.look(stop)
                await self._count()
            except BrokerError as error:
                log.warning("alarms.look_put_off", reason=error.detail)
            try:
                async with asyncio.timeout(self._settings.scan_seconds):
                    await stop.wait()
            except TimeoutError:
                continue
        try:
            await self._store.release([LEASE], self._owner)
        except BrokerError as error:
            log.warning("alarms.lease_kept", reason=error.detail)

    async def look(self, stop: asyncio.Event | None = None) -> int:
        """Look once; how many virtual sensors and devices were looked at."""
        now = self._clock.now()
        record = await self._store.record("sensor_health", MARK)
        mark = msgspec.convert(record.body, Mark) if record is not None else None
        gaps = self._gaps(mark, now)
        sensors, devices = await self._due(max(mark.looked - OVERLAP, now - FAR) if mark is not None else now, now)
        newest = mark.binding if mark is not None else self._clock.new_id()
        moved = await self._moved()
        if mark is not None and ("binding" in moved or self._bound_after):
            bound, newest = await self._newly_bound(newest)
            sensors |= bound
        sensors |= await self._gone_through_some(moved, now)
        for some in _batches(sorted(sensors), AT_ONCE):
            await self._look_at(some, lambda names: LookAt(sensors=names, gaps=gaps))
        for some in _batches(sorted(devices), AT_ONCE):
            await self._look_at(some, lambda names: LookAt(devices=names, gaps=gaps))
        if stop is None or not stop.is_set():
            await self._writer.execute(PutMark(Mark(looked=now, binding=newest, gaps=gaps)), wait=True)
        return len(sensors) + len(devices)

    @property
    def going_through(self) -> bool:
        """Whether the next look goes on with going through all virtual sensors."""
        return self._cursor is not None

    def _gaps(self, mark: Mark | None, now: Micros) -> tuple[Gap, ...]:
        if mark is None:
            return ()
        pause = max(LONG, int(4 * self._settings.scan_seconds * SECOND))
        if now - mark.looked <= pause:
            return mark.gaps
        log.warning("alarms.nobody_was_there", seconds=(now - mark.looked) // SECOND)
        return (*mark.gaps, (mark.looked, now))[-GAPS:]

    async def _due(self, after: Micros, until: Micros) -> tuple[set[str], set[str]]:
        """Virtual sensors and devices that are due."""
        sensors, devices = set[str](), set[str]()
        for keys in _batches(due_keys(after, until), PAGE):
            needs = Needs()
            for key in keys:
                needs.found |= {("sensor_health", key), ("device_state", key)}
            found = (await self._store.load(needs)).found
            for (kind, _), records in found.items():
                (sensors if kind == "sensor_health" else devices).update(record.id for record in records)
        return sensors, devices

    async def _moved(self) -> set[RecordKind]:
        """What of the registry has changed since the last look; all of it at the first."""
        epochs = await self._store.epochs()
        now = {kind: epochs.get(kind, 0) for kind in _REGISTRY}
        moved = {kind for kind in _REGISTRY if self._epochs.get(kind) != now[kind]}
        self._epochs = now
        return moved

    def _is_time_for_all(self, moved: set[RecordKind], now: Micros) -> bool:
        """Whether all virtual sensors are to be gone through: the registry changed, and they were not just now."""
        self._changed = self._changed or bool(moved)
        if self._cursor is not None or not self._changed:
            return False
        if now < self._gone_through + self._settings.registry_seconds * SECOND:
            return False
        self._changed, self._gone_through = False, now
        return True

    async def _newly_bound(self, newest: str) -> tuple[set[str], str]:
        """Neglected virtual sensors with bindings from about `newest` on, and the id of the newest binding."""
        neglected, after = set[str](), self._bound_after or _earlier(newest)
        for _ in range(PAGES):
            records = await self._store.records("binding", after=after, limit=PAGE)
            names = {as_binding(record).virtual_sensor for record in records}
            sensors = await self._store.load(Needs(records={("virtual_sensor", name) for name in names}))
            neglected |= await self._neglected(list(sensors.records.values()))
            after = records[-1].id if records else after
            if len(records) < PAGE:
                self._bound_after = ""
                return neglected, max(newest, after)
        self._bound_after = after
        return neglected, newest

    async def _gone_through_some(self, moved: set[RecordKind], now: Micros) -> set[str]:
        """Neglected ones of all virtual sensors: when the registry has changed, a part of them with each look."""
        if self._is_time_for_all(moved, now):
            self._cursor = ""
        neglected = set[str]()
        for _ in range(PAGES):
            if self._cursor is None:
                break
            records = await self._store.records("virtual_sensor", after=self._cursor, limit=PAGE)
            neglected |= await self._neglected(records)
            self._cursor = records[-1].id if len(records) == PAGE else None
            if self._cursor is None:
                neglected |= await self._removed()
        return neglected

    async def _removed(self) -> set[str]:
        """Virtual sensors that are gone and left alarms open."""
        removed, after = set[str](), ""
        while alarms := await self._store.records("alarm", key="open", after=after, limit=PAGE):
            after = alarms[-1].id
            names: set[str] = {alarm.body["virtualSensor"] for alarm in alarms}
            there = (await self._store.load(Needs(records={("virtual_sensor", name) for name in names}))).records
            removed |= {name for name in names if ("virtual_sensor", name) not in there}
        return removed

    async def _neglected(self, sensors: list[Record]) -> set[str]:
        """Those that nothing else would lead us to in time."""
        neglected, view, now = set[str](), await self._view(sensors), self._clock.now()
        for some in _batches(sensors, AT_ONCE):
            neglected |= {record.id for record in some if is_neglected(view, as_sensor(record), now)}
            await asyncio.sleep(0)  # uplinks come first
        return neglected

    async def _view(self, records: list[Record]) -> View:
        snapshot, asked = Snapshot(), Needs()
        while True:
            needs = Needs()
            for record in records:
                needs.add(watched_needs(record.id, snapshot))
                needs.records.add(("sensor_health", record.id))
            missing = needs.minus(asked)
            if not missing:
                return View(snapshot, self._clock.new_id)
            snapshot.add(await self._store.load(missing))
            asked.add(missing)

    async def _look_at(self, names: list[str], command: Callable[[frozenset[str]], LookAt]) -> None:
        """Look at some. One that cannot be judged stands in no other's way: it is found neglected later, and tried again."""
        try:
            looked = await self._writer.execute(command(frozenset(names)), wait=True)
        except InternalError:
            if len(names) == 1:
                log.error("alarms.cannot_judge", name=names[0])
                return
            for name in names:
                await self._look_at([name], command)
            return
        if looked.opened or looked.closed:
            log.info("alarms.looked", sensors=len(names), opened=looked.opened, closed=looked.closed)

    async def _count(self) -> None:
        """The metric: alarms that are not closed."""
        counted: Counter[tuple[str, str]] = Counter()
        after = ""
        while records := await self._store.records("alarm", key="open", after=after, limit=PAGE):
            counted.update((record.body["severity"], record.body["kind"]) for record in records)
            after = records[-1].id
        for severity, kind in self._shown - counted.keys():
            metrics.alarms.labels(severity, kind).set(0)
        for (severity, kind), count in counted.items():
            metrics.alarms.labels(severity, kind).set(count)
        self._shown |= counted.keys()


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _earlier(binding: str) -> str:
    """An id from a while before: the first digits of an id are its time in milliseconds (UUID version 7)."""
    try:
        milli = int(binding[:8] + binding[9:13], 16)
    except ValueError:
        return binding
    digits = f"{max(0, milli - OVERLAP // 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}"
