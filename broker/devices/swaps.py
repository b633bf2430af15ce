"""Swaps: which device a virtual sensor is, from when to when; dated now, in the past or ahead, and recorded. Pure.

    Swap      close the open binding and open the next, at one instant
    Unbind    close the open binding

`broker.devices.undoing` takes them back. Bindings alone decide what an observation was: these commands change bindings, take
back what does not hold any more, and owe it to look again at the uplinks since (`broker.devices.take_back`). Also when they
are dated now or ahead: a device's clock may run ahead of ours.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from broker.clock import Micros, Stamp, iso
from broker.devices.alarms.model import Alarm
from broker.devices.alarms.swap import cure
from broker.devices.follow import bindings_of, device_needs, follow, model_of
from broker.devices.keys import device_keys
from broker.devices.model import Binding, Device, SwapRecord, VirtualSensor
from broker.devices.processing.handover import handovers
from broker.devices.processing.rules import check_readings
from broker.devices.processing.state import SensorState
from broker.devices.registry import as_binding, as_device, to_body
from broker.devices.swap_parts import (
    Differences,
    binding_write,
    differences_of,
    open_binding,
    refuse_overlap,
    sensor_needs,
    sensor_of,
    swap_write,
    taken_back,
)
from broker.devices.take_back import reattribution, take_back_needs
from broker.errors import AlreadyExists, BadRequestData, ResourceNotFound
from broker.stores.base import Needs, RecordWrite, Snapshot
from broker.stores.command import Alone, Effects, View


@dataclass(frozen=True, slots=True)
class Swapped:
    """What a swap did, or would do."""

    record: SwapRecord
    binding: Binding
    closed: Binding | None
    registered: Device | None
    """The new device, when the swap registered it."""
    differences: Differences
    cured: tuple[Alarm, ...] = ()
    """Alarms of the device before that close."""


@dataclass(frozen=True, slots=True)
class Unbound:
    """What an unbinding did."""

    record: SwapRecord
    closed: Binding


@dataclass(frozen=True)
class Swap(Alone):
    """From `at`, `device` is `virtual_sensor`: closes the open binding and opens the next, at one instant.

    Also the first binding of a virtual sensor. A device that is not registered yet is, with `model` or, without one,
    the model of the device it replaces.
    """

    virtual_sensor: str
    device: str
    at: Micros
    model: str | None = None
    device_name: str = ""
    channel: str = ""
    """The device's channel that becomes the virtual sensor; '' for all of it."""
    by: str = ""
    why: str = ""
    start_readings: dict[str, float] = field(default_factory=dict)
    """What the new device's meter shows at `at`, and what the old one's showed: by quantity or attribute (see `Binding`)."""
    end_readings: dict[str, float] = field(default_factory=dict)

    def needs(self, seen: Snapshot) -> Needs:
        """Both devices with their models, entities and bindings; what is left of the virtual sensor's values."""
        needs = sensor_needs(self.virtual_sensor, seen)
        needs.add(device_needs(self.device, self.model, seen))
        needs.records |= {("reattribution", self.device), ("sensor_state", self.virtual_sensor)}
        open_now = open_binding(seen.found.get(("binding", f"sensor:{self.virtual_sensor}"), ()))
        if open_now is not None:
            needs.add(take_back_needs(seen, as_binding(open_now), self.at))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Swapped]:
        """Bindings, the new device, both devices' entities, the record of it."""
        sensor = sensor_of(view, self.virtual_sensor)
        check_readings(sensor, self.start_readings, "startReadings")
        check_readings(sensor, self.end_readings, "endReadings")
        open_now, version = self._open(view)
        device, registered = self._device(view, open_now)
        model = model_of(view, device.model)
        self._refuse(view, open_now)
        binding = Binding(
            id=view.new_id(),
            device=device.id,
            virtual_sensor=sensor.id,
            channel=self.channel,
            valid_from=self.at,
            valid_to=None,
            start_readings=self.start_readings,
        )
        closed = replace(open_now, valid_to=self.at, end_readings=self.end_readings) if open_now is not None else None
        record = SwapRecord(
            id=view.new_id(),
            kind="swap",
            virtual_sensor=sensor.id,
            at=self.at,
            recorded_at=stamp.now,
            by=self.by,
            why=self.why,
            device=device.id,
            replaced=open_now.device if open_now is not None else None,
            opened=binding.id,
            closed=open_now.id if open_now is not None else None,
            planned=self.at > stamp.now,
        )
        effects = Effects(
            Swapped(
                record=record,
                binding=binding,
                closed=closed,
                registered=device if registered else None,
                differences=differences_of(view, sensor, model, open_now),
            )
        )
        if registered:
            effects.records.append(
                RecordWrite("device", device.id, to_body(device), stamp.version, 0, device_keys(device))
            )
        effects.records += [binding_write(binding, stamp, 0), swap_write(record, stamp, 0)]
        if closed is not None:
            effects.records.append(binding_write(closed, stamp, version))
        if open_now is not None:
            taken_back(effects, view, stamp, open_now, self.at)
        reattribution(effects, view, stamp, device.id, self.at)
        changed = [one for one in (closed, binding) if one is not None]
        for device_id in {one.device for one in changed}:
            follow(effects, view, stamp, device_id, device=device if device_id == device.id else None, bindings=changed)
        cured = cure(effects, view, stamp, sensor.id, at=self.at)
        effects.result = dataclasses.replace(self._with_meters(effects, view, sensor), cured=cured)
        return effects

    def _with_meters(self, effects: Effects[Swapped], view: View, sensor: VirtualSensor) -> Swapped:
        """The result with what the meters go on from: their state as it is after what was taken back."""
        written = next((write.body for write in effects.records if write.kind == "sensor_state"), None)
        record = view.record("sensor_state", sensor.id)
        body = written if written is not None else record.body if record is not None else {}
        meters = handovers(sensor, msgspec.convert(body, SensorState), self.start_readings, self.end_readings)
        differences = dataclasses.replace(effects.result.differences, meters=meters)
        return dataclasses.replace(effects.result, differences=differences)

    def _open(self, view: View) -> tuple[Binding | None, int]:
        """The binding that is open now and its record's version; `at` must not lie before it began."""
        open_now: Binding | None = None
        version = 0
        for record in view.found("binding", f"sensor:{self.virtual_sensor}"):
            binding = as_binding(record)
            if binding.valid_to is None:
                open_now, version = binding, record.version
            elif not binding.empty and binding.valid_to > self.at:
                raise BadRequestData(
                    f"'at' is {iso(self.at)}, but '{self.virtual_sensor}' was device {binding.device} "
                    f"until {iso(binding.valid_to)}; it must not be earlier than that. Undo the later swap first."
                )
        if open_now is not None and open_now.valid_from >= self.at:
            raise BadRequestData(
                f"'at' is {iso(self.at)}, but '{self.virtual_sensor}' is device {open_now.device} since "
                f"{iso(open_now.valid_from)}; it must be later than that. Undo that swap first."
            )
        return open_now, version

    def _device(self, view: View, open_now: Binding | None) -> tuple[Device, bool]:
        """The new device, and whether it must be registered first."""
        record = view.record("device", self.device)
        if record is not None:
            device = as_device(record)
            if self.model is not None and self.model != device.model:
                raise BadRequestData(
                    f"Device '{self.device}' is registered with the model '{device.model}', not '{self.model}'."
                )
            return device, False
        model = self.model
        if model is None:
            before = view.record("device", open_now.device) if open_now is not None else None
            if before is None:
                raise BadRequestData(f"Device '{self.device}' is not registered: 'model' must say what it is.")
            model = as_device(before).model
        return Device(id=self.device, model=model, name=self.device_name), True

    def _refuse(self, view: View, open_now: Binding | None) -> None:
        """A device, or a channel of it, is one virtual sensor at a time."""
        if open_now is not None and open_now.device == self.device and open_now.channel == self.channel:
            raise AlreadyExists(f"Device '{self.device}' is '{self.virtual_sensor}' already.")
        for binding in bindings_of(view, self.device):
            if open_now is not None and binding.id == open_now.id:
                continue
            refuse_overlap(binding, self.device, self.channel, self.at)


@dataclass(frozen=True)
class Unbind(Alone):
    """Close a virtual sensor's open binding at `at`; what its device sends from then on waits in the quarantine."""

    virtual_sensor: str
    at: Micros
    by: str = ""
    why: str = ""
    end_readings: dict[str, float] = field(default_factory=dict)
    """As a swap's."""

    def needs(self, seen: Snapshot) -> Needs:
        """The bindings and the device; what is left of the virtual sensor's values."""
        needs = sensor_needs(self.virtual_sensor, seen)
        open_now = open_binding(seen.found.get(("binding", f"sensor:{self.virtual_sensor}"), ()))
        if open_now is not None:
            needs.add(take_back_needs(seen, as_binding(open_now), self.at))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Unbound]:
        """One binding closed."""
        record = open_binding(view.found("binding", f"sensor:{self.virtual_sensor}"))
        open_now = as_binding(record) if record is not None else None
        if record is None or open_now is None or open_now.valid_from >= self.at:
            raise ResourceNotFound(f"No device is '{self.virtual_sensor}' before {iso(self.at)}.")
        check_readings(sensor_of(view, self.virtual_sensor), self.end_readings, "endReadings")
        closed = replace(open_now, valid_to=self.at, end_readings=self.end_readings)
        made = SwapRecord(
            id=view.new_id(),
            kind="unbind",
            virtual_sensor=self.virtual_sensor,
            at=self.at,
            recorded_at=stamp.now,
            by=self.by,
            why=self.why,
            replaced=open_now.device,
            closed=open_now.id,
            planned=self.at > stamp.now,
        )
        effects = Effects(Unbound(made, closed))
        effects.records += [binding_write(closed, stamp, record.version), swap_write(made, stamp, 0)]
        taken_back(effects, view, stamp, open_now, self.at)
        cure(effects, view, stamp, self.virtual_sensor, at=self.at, because="unbound")
        follow(effects, view, stamp, closed.device, bindings=[closed])
        return effects
