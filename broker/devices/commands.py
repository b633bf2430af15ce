"""Commands on the registry that have rules: define a virtual sensor, register a device."""

from __future__ import annotations

from dataclasses import dataclass

from broker.clock import Stamp
from broker.devices.follow import device_needs, follow
from broker.devices.keys import device_keys, model_keys, sensor_keys
from broker.devices.model import Device, DeviceModel, VirtualSensor
from broker.devices.placing import follow_place
from broker.devices.registry import as_sensor, to_body
from broker.devices.revisions import revision
from broker.stores.base import Needs, RecordWrite, Snapshot
from broker.stores.command import Effects, View


@dataclass(frozen=True, slots=True)
class PutDeviceModel:
    """Add a device model, or change it. Result: True when it was added."""

    model: DeviceModel

    def needs(self, seen: Snapshot) -> Needs:
        """The model as it is."""
        return Needs(records={("device_model", self.model.id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[bool]:
        """A record, and the revision that it is."""
        present = view.record("device_model", self.model.id)
        expected = present.version if present is not None else 0
        write = RecordWrite(
            "device_model", self.model.id, to_body(self.model), stamp.version, expected, model_keys(self.model)
        )
        return Effects(present is None, records=[write, revision(write, stamp)])


@dataclass(frozen=True, slots=True)
class PutVirtualSensor:
    """Create or change a virtual sensor. Result: True when it was created."""

    sensor: VirtualSensor

    def needs(self, seen: Snapshot) -> Needs:
        """The virtual sensor as it is, and its entity."""
        return Needs(entities={self.sensor.entity}, records={("virtual_sensor", self.sensor.id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[bool]:
        """A record, and the revision that it is; the entity is tied to the place."""
        present = view.record("virtual_sensor", self.sensor.id)
        expected = present.version if present is not None else 0
        keys = sensor_keys(self.sensor)
        write = RecordWrite("virtual_sensor", self.sensor.id, to_body(self.sensor), stamp.version, expected, keys)
        effects = Effects(present is None, records=[write, revision(write, stamp)])
        before = as_sensor(present) if present is not None else None
        change, history = follow_place(view.entity(self.sensor.entity), self.sensor, before, stamp)
        if change is not None:
            effects.changes.append(change)
            effects.history += history
        return effects


@dataclass(frozen=True, slots=True)
class PutDevice:
    """Register a device, or change what is known of it. Its entity follows. Result: True when it was new."""

    device: Device

    def needs(self, seen: Snapshot) -> Needs:
        """The device, its model, its entity and what it is bound to."""
        return device_needs(self.device.id, self.device.model, seen)

    def apply(self, view: View, stamp: Stamp) -> Effects[bool]:
        """A record and an entity."""
        present = view.record("device", self.device.id)
        effects: Effects[bool] = Effects(present is None)
        expected = present.version if present is not None else 0
        keys = device_keys(self.device)
        effects.records.append(
            RecordWrite("device", self.device.id, to_body(self.device), stamp.version, expected, keys)
        )
        follow(effects, view, stamp, self.device.id, device=self.device)
        return effects
