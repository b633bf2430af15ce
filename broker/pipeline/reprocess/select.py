"""Which kept uplinks are selected, in which parts, and in which order they are looked at."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator
from dataclasses import dataclass

from broker.clock import DAY, SECOND, Micros, id_floor
from broker.devices.model import Binding, VirtualSensor
from broker.devices.processing.contract import DewPoint, Formula, Mean
from broker.devices.processing.plan import key_of, plan_of
from broker.devices.processing.state import Remaining
from broker.devices.registry import as_binding, as_device, as_sensor
from broker.errors import ResourceNotFound
from broker.pipeline.reprocess.model import Selection, digest
from broker.stores.base import RecordKind, TenantStore, UplinkRow, plausible

PAGE = 200
"""Devices, or uplinks of one device, read at once, count."""
HISTORY = 100
"""History rows read at once, count."""
LEAST_BACK: Micros = 2 * DAY
"""A day's consumption is known when the next day's first value comes."""
MOST_BACK: Micros = 100 * DAY
"""It is never looked back further than this for what a virtual sensor remembers."""
VALUES_BACK = 70
"""Values that a virtual sensor may remember one by one, count: the last 64 times, and some."""
USUAL_SECONDS = 3600
"""Between two values, where nothing says how often they are expected."""


@dataclass(frozen=True, slots=True)
class Group:
    """What must be looked at in one order."""

    key: str
    """Its first device that is selected."""
    selected: tuple[str, ...]
    """Devices, in order."""
    following: tuple[str, ...]
    """Other devices that were virtual sensors that remember."""
    remembering: tuple[str, ...]
    """Virtual sensors."""
    windows: tuple[tuple[str, Binding], ...]
    """(device, binding): where a virtual sensor selects, its uplinks are those of these times."""
    keys: tuple[str, ...]
    """Of the bindings that were looked at."""
    bindings: str
    """Their digest."""

    @property
    def devices(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.selected, *self.following)


class Selector:
    """One selection in a store."""

    def __init__(self, store: TenantStore, selection: Selection, clock_ahead_seconds: int) -> None:
        """`clock_ahead_seconds`: so much later may an uplink be observed than it came in."""
        self._store = store
        self._selection = selection
        self._ahead = clock_ahead_seconds * SECOND

    async def check(self) -> None:
        """Raises ResourceNotFound for what is not there, or must not be seen by whoever asks."""
        selection = self._selection
        named: tuple[tuple[RecordKind, str | None, str], ...] = (
            ("device_model", selection.model, "device model"),
            ("device", selection.device, "device"),
            ("virtual_sensor", selection.virtual_sensor, "virtual sensor"),
        )
        for kind, thing, word in named:
            if thing is not None and await self._store.record(kind, thing) is None:
                raise ResourceNotFound(f"There is no {word} '{thing[:100]}'.")

    async def groups(self) -> AsyncIterator[Group]:
        """All groups, in order of their keys."""
        async for device in self._devices():
            group = await self.group(device)
            if group.key == device:
                yield group

    async def _devices(self) -> AsyncIterator[str]:
        selection = self._selection
        if selection.device is not None:
            if await self._is_selected(selection.device):
                yield selection.device
        elif selection.virtual_sensor is not None:
            devices = {one.device for one in await self._bindings(f"sensor:{selection.virtual_sensor}")}
            for device in sorted(devices):
                if await self._is_selected(device):
                    yield device
        else:
            after = ""
            while found := await self._store.records("device", key=f"model:{selection.model}", after=after, limit=PAGE):
                for record in found:
                    yield record.id
                after = found[-1].id

    async def _is_selected(self, device_id: str) -> bool:
        selection = self._selection
        record = await self._store.record("device", device_id)
        if record is None or selection.model not in (None, as_device(record).model):
            return False
        if selection.device not in (None, device_id):
            return False
        return selection.virtual_sensor is None or any(
            one.virtual_sensor == selection.virtual_sensor for one in await self._bindings(f"device:{device_id}")
        )

    async def _bindings(self, key: str) -> list[Binding]:
        found = [as_binding(record) for record in await self._store.records("binding", key=key)]
        return [binding for binding in found if not binding.empty]

    async def group(self, first: str) -> Group:
        """A device with all selected ones that were the same virtual sensors, and these."""
        selected, waiting, sensors = {first}, [first], set[str]()
        seen: dict[str, Binding] = {}
        keys: list[str] = []
        while waiting:
            keys.append(f"device:{waiting.pop()}")
            for binding in await self._bindings(keys[-1]):
                seen[binding.id] = binding
                if binding.virtual_sensor in sensors:
                    continue
                sensors.add(binding.virtual_sensor)
                keys.append(f"sensor:{binding.virtual_sensor}")
                for other in await self._bindings(keys[-1]):
                    seen[other.id] = other
                    if other.device not in selected and await self._is_selected(other.device):
                        selected.add(other.device)
                        waiting.append(other.device)
        remembering = [sensor for sensor in sorted(sensors) if await self._remembers(sensor)]
        following = {
            one.device
            for one in seen.values()
            if one.virtual_sensor in remembering and (one.valid_to is None or one.valid_to > self._selection.since)
        }
        wanted = self._selection.virtual_sensor
        return Group(
            key=min(selected),
            selected=tuple(sorted(selected)),
            following=tuple(sorted(following - selected)),
            remembering=tuple(remembering),
            windows=tuple((one.device, one) for one in seen.values() if one.virtual_sensor == wanted),
            keys=tuple(sorted(keys)),
            bindings=digest(seen.values()),
        )

    async def _remembers(self, sensor_id: str) -> bool:
        record = await self._store.record("virtual_sensor", sensor_id)
        return record is not None and plan_of(as_sensor(record)).remembers

    async def first(self, group: Group) -> str | None:
        """The id of the first uplink that is selected; None when there is none."""
        async for row, _ in self.uplinks(group, None):
            return row.id
        return None

    async def remaining(self, group: Group, before: Micros, first: str) -> dict[str, dict[str, Remaining]]:
        """Of its virtual sensors that remember, by key: the newest plausible values before a time, of uplinks before `first`."""
        found: dict[str, dict[str, Remaining]] = {}
        for sensor_id in group.remembering:
            values = found[sensor_id] = {}
            record = await self._store.record("virtual_sensor", sensor_id)
            if record is None:
                continue
            sensor = as_sensor(record)
            for entity_id, attribute in sorted(sensor.written):
                left = await self._newest(entity_id, attribute, before, first)
                if left is not None:
                    values[key_of(sensor, entity_id, attribute)] = left
        return found

    async def _newest(self, entity_id: str, attribute: str, until: Micros, first: str) -> Remaining | None:
        while True:
            rows = await self._store.history(entity_id, attribute, until=until, limit=HISTORY, newest_first=True)
            for row in rows:
                if not row.dataset_id and plausible(row) and (row.uplink_id or "") < first:
                    value = row.instance.get("value") if row.instance is not None else None
                    return Remaining(row.observed_at, value) if value is not None else None
            if len(rows) < HISTORY or rows[-1].observed_at == until:
                return None
            until = rows[-1].observed_at

    async def before(self, group: Group, since: Micros, first: str) -> AsyncIterator[UplinkRow]:
        """Applied uplinks of its devices since a time that came before `first`, in the order in which they came."""
        async for row in self._merged(group, id_floor(since - self._ahead)):
            if row.id >= first:
                return
            if row.status == "applied" and _time(row) >= since:
                yield row

    async def horizon(self, group: Group) -> Micros:
        """How far back its virtual sensors look: what came before hardly matters to what they remember."""
        seconds = LEAST_BACK // SECOND
        for sensor_id in group.remembering:
            record = await self._store.record("virtual_sensor", sensor_id)
            if record is not None:
                seconds = max(seconds, looks_back_seconds(as_sensor(record)))
        return min(seconds * SECOND, MOST_BACK)

    async def uplinks(self, group: Group, first: str | None, after: str = "") -> AsyncIterator[tuple[UplinkRow, bool]]:
        """(uplink, whether it is selected) behind the id `after`, in the order in which they came.

        Where a virtual sensor remembers, all that came to it after `first`, the first one that is selected, follows.
        """
        async for row in self._merged(group, max(after, id_floor(self._selection.since - self._ahead))):
            chosen = self._is_chosen(group, row)
            follows = group.remembering and first is not None and row.id > first and row.status == "applied"
            if chosen or (follows and _time(row) >= self._selection.since):
                yield row, chosen

    async def _merged(self, group: Group, start: str) -> AsyncIterator[UplinkRow]:
        """All uplinks of its devices behind an id, in the order in which they came."""
        heads: list[tuple[str, int, UplinkRow, AsyncIterator[UplinkRow]]] = []
        for number, device in enumerate(group.devices):
            rows = self._of(device, start)
            head = await anext(rows, None)
            if head is not None:
                heads.append((head.id, number, head, rows))
        heapq.heapify(heads)
        while heads:
            _, number, row, rows = heads[0]
            yield row
            head = await anext(rows, None)
            if head is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (head.id, number, head, rows))

    async def _of(self, device: str, after: str) -> AsyncIterator[UplinkRow]:
        while rows := await self._store.uplinks(device_id=device, after=after, limit=PAGE):
            for row in rows:
                yield row
            after = rows[-1].id

    def _is_chosen(self, group: Group, row: UplinkRow) -> bool:
        """What waits in quarantine, or was discarded, is left as it is."""
        selection, at = self._selection, _time(row)
        if row.status not in ("applied", "rejected") or row.device_id not in group.selected:
            return False
        if not selection.since <= at < selection.until:
            return False
        return selection.virtual_sensor is None or any(
            device == row.device_id and binding.covers(at) for device, binding in group.windows
        )


def looks_back_seconds(sensor: VirtualSensor) -> int:
    """How far back what a virtual sensor remembers reaches, as a rule."""
    checks = [one.checks for one in sensor.outputs if one.checks is not None]
    interval = sensor.expected_interval_seconds or USUAL_SECONDS
    spans = [
        VALUES_BACK * interval,
        *(one.stuck_after_seconds or 0 for one in checks),
        *((one.stuck_after_values or 0) * interval for one in checks),
        *(one.window_seconds for one in sensor.derived if isinstance(one, Mean)),
        *(one.max_age_seconds for one in sensor.derived if isinstance(one, (DewPoint, Formula))),
    ]
    return int(max(spans))


def _time(row: UplinkRow) -> Micros:
    """When its network observed it."""
    return int(row.meta.get("observedAt", row.received_at))
