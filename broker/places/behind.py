"""What stands behind the attributes of entities: virtual sensors, their bindings and devices, and open alarms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.clock import Micros
from broker.devices.alarms.model import Alarm, as_alarm, open_key
from broker.devices.model import Binding, Device, DeviceState, VirtualSensor
from broker.devices.registry import as_binding, as_device, as_sensor, as_state
from broker.ngsild.model import Iri
from broker.stores.base import Needs, RecordKind, TenantStore

ALL_OPEN: Final = "open"
"""Key of the alarms that are not closed, of all virtual sensors."""
ASKED_EACH: Final = 200
"""Virtual sensors whose open alarms are asked for one by one, count; of more, all open alarms are looked at."""


@dataclass(frozen=True, slots=True)
class Behind:
    """All that the registry has on some entities."""

    sensors: Mapping[str, VirtualSensor] = field(default_factory=dict)
    of_entity: Mapping[str, tuple[VirtualSensor, ...]] = field(default_factory=dict)
    """Entity -> the virtual sensors that write it."""
    bindings: Mapping[str, tuple[Binding, ...]] = field(default_factory=dict)
    """Virtual sensor -> its bindings, closed ones too."""
    devices: Mapping[str, Device] = field(default_factory=dict)
    states: Mapping[str, DeviceState] = field(default_factory=dict)
    alarms: Mapping[str, list[Alarm]] = field(default_factory=dict)
    """Virtual sensor -> its alarms that are not closed."""

    def writers(self, entity_id: str) -> dict[Iri, VirtualSensor]:
        """Attribute -> the virtual sensor that writes it."""
        return {
            attribute: sensor
            for sensor in self.of_entity.get(entity_id, ())
            for written, attribute in sensor.written
            if written == entity_id
        }

    def bound(self, sensor_id: str, at: Micros, device: str | None = None) -> Binding | None:
        """The binding that held at a moment; with `device`, only one of it."""
        for binding in self.bindings.get(sensor_id, ()):
            if binding.covers(at) and device in (None, binding.device):
                return binding
        return None


async def behind(store: TenantStore, entity_ids: Iterable[str], now: Micros) -> Behind:
    """What stands behind the entities: three reads, however many they are."""
    ids = list(entity_ids)
    found = (await store.load(Needs(found={("virtual_sensor", f"entity:{entity_id}") for entity_id in ids}))).found
    of_entity = {
        entity_id: tuple(as_sensor(record) for record in records)
        for entity_id in ids
        if (records := found.get(("virtual_sensor", f"entity:{entity_id}")))
    }
    sensors = {sensor.id: sensor for each in of_entity.values() for sensor in each}
    if not sensors:
        return Behind()
    keys: set[tuple[RecordKind, str]] = {("binding", f"sensor:{name}") for name in sensors}
    alarm_keys = [open_key(name) for name in sensors] if len(sensors) <= ASKED_EACH else [ALL_OPEN]
    found = (await store.load(Needs(found=keys | {("alarm", key) for key in alarm_keys}))).found
    bindings = {name: tuple(map(as_binding, found.get(("binding", f"sensor:{name}"), ()))) for name in sensors}
    alarms: dict[str, list[Alarm]] = {}
    for key in alarm_keys:
        for alarm in map(as_alarm, found.get(("alarm", key), ())):
            if alarm.virtual_sensor in sensors:
                alarms.setdefault(alarm.virtual_sensor, []).append(alarm)
    here = {binding.device for each in bindings.values() for binding in each if binding.covers(now)}
    kinds: tuple[RecordKind, ...] = ("device", "device_state")
    kept = (await store.load(Needs(records={(kind, device) for kind in kinds for device in here}))).records
    return Behind(
        sensors=sensors,
        of_entity=of_entity,
        bindings=bindings,
        devices={device: as_device(record) for device in here if (record := kept.get(("device", device)))},
        states={device: as_state(kept.get(("device_state", device))) for device in here},
        alarms=alarms,
    )
