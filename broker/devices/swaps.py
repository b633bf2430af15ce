"""Swaps: which device a virtual sensor is, from when to when; dated now, in the past or ahead, recorded, and undoable. Pure.

    Swap      close the open binding and open the next, at one instant
    Unbind    close the open binding
    Undo      as if a swap or an unbinding had not been
    TakeEffect  the moment of a planned swap has come: the devices' entities follow

Bindings alone decide what an observation was: these commands change bindings, take back what does not hold any more, and
owe it to look again at the uplinks since (`broker.devices.take_back`). Also when they are dated now or ahead: a device's
clock may run ahead of ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from broker.clock import Micros, Stamp, iso
from broker.devices.follow import bindings_of, device_needs, follow, model_of
from broker.devices.model import Binding, Device, DeviceModel, SwapRecord, VirtualSensor
from broker.devices.processing.handover import Handover, handovers
from broker.devices.processing.rules import check_readings
from broker.devices.processing.state import SensorState
from broker.devices.registry import as_binding, as_device, as_sensor, as_swap, to_body
from broker.devices.take_back import reattribution, take_back, take_back_needs
from broker.errors import AlreadyExists, BadRequestData, Conflict, ResourceNotFound
from broker.stores.base import Needs, Record, RecordWrite, Snapshot
from broker.stores.command import Alone, Effects, View


@dataclass(frozen=True, slots=True)
class UnitChange:
    """A quantity that the new device gives in another unit than the old one. It is converted."""

    quantity: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Differences:
    """What a swap changes for those who use the virtual sensor."""

    not_served: tuple[str, ...]
    """Quantities of the virtual sensor that the new device's model does not send."""
    interval_seconds: tuple[int | None, int | None]
    """How often the old and the new device are expected to send."""
    units: tuple[UnitChange, ...]
    meters: tuple[Handover, ...] = ()
    """What cumulative meters go on from."""


@dataclass(frozen=True, slots=True)
class Swapped:
    """What a swap did, or would do."""

    record: SwapRecord
    binding: Binding
    closed: Binding | None
    registered: Device | None
    """The new device, when the swap registered it."""
    differences: Differences


@dataclass(frozen=True, slots=True)
class Unbound:
    """What an unbinding did."""

    record: SwapRecord
    closed: Binding


@dataclass(frozen=True, slots=True)
class Undone:
    """What undoing did: the swap as it is recorded now, and the binding that holds again."""

    record: SwapRecord
    reopened: Binding | None


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
        needs = _sensor_needs(self.virtual_sensor, seen)
        needs.add(device_needs(self.device, self.model, seen))
        needs.records |= {("reattribution", self.device), ("sensor_state", self.virtual_sensor)}
        open_now = _last(seen.found.get(("binding", f"sensor:{self.virtual_sensor}"), ()))
        if open_now is not None:
            needs.add(take_back_needs(seen, as_binding(open_now), self.at))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Swapped]:
        """Bindings, the new device, both devices' entities, the record of it."""
        sensor = _sensor(view, self.virtual_sensor)
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
                differences=_differences(view, sensor, model, open_now),
            )
        )
        if registered:
            effects.records.append(RecordWrite("device", device.id, to_body(device), stamp.version, 0))
        effects.records += [_binding_write(binding, stamp, 0), _swap_write(record, stamp, 0)]
        if closed is not None:
            effects.records.append(_binding_write(closed, stamp, version))
        if open_now is not None:
            _take_back(effects, view, stamp, open_now, self.at)
        reattribution(effects, view, stamp, device.id, self.at)
        changed = [one for one in (closed, binding) if one is not None]
        for device_id in {one.device for one in changed}:
            follow(effects, view, stamp, device_id, device=device if device_id == device.id else None, bindings=changed)
        effects.result = self._with_meters(effects, view, sensor)
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
            _refuse_overlap(binding, self.device, self.channel, self.at)


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
        needs = _sensor_needs(self.virtual_sensor, seen)
        open_now = _last(seen.found.get(("binding", f"sensor:{self.virtual_sensor}"), ()))
        if open_now is not None:
            needs.add(take_back_needs(seen, as_binding(open_now), self.at))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Unbound]:
        """One binding closed."""
        record = _last(view.found("binding", f"sensor:{self.virtual_sensor}"))
        open_now = as_binding(record) if record is not None else None
        if record is None or open_now is None or open_now.valid_from >= self.at:
            raise ResourceNotFound(f"No device is '{self.virtual_sensor}' before {iso(self.at)}.")
        check_readings(_sensor(view, self.virtual_sensor), self.end_readings, "endReadings")
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
        effects.records += [_binding_write(closed, stamp, record.version), _swap_write(made, stamp, 0)]
        _take_back(effects, view, stamp, open_now, self.at)
        follow(effects, view, stamp, closed.device, bindings=[closed])
        return effects


@dataclass(frozen=True)
class Undo(Alone):
    """As if a swap or an unbinding had not been: its binding never held, and the one it closed holds again.

    Only the last one of a virtual sensor can be undone; then the one before it. A device that the swap registered stays
    registered.
    """

    swap_id: str
    by: str = ""
    why: str = ""

    def needs(self, seen: Snapshot) -> Needs:
        """The swap, its bindings, both devices; what is left of the virtual sensor's values."""
        needs = Needs(records={("swap", self.swap_id)})
        record = seen.records.get(("swap", self.swap_id))
        if record is None:
            return needs
        swap = as_swap(record)
        needs.add(_sensor_needs(swap.virtual_sensor, seen))
        for device in (swap.device, swap.replaced):
            if device is not None:
                needs.add(device_needs(device, None, seen))
                needs.records.add(("reattribution", device))
        opened = _named(seen.found.get(("binding", f"sensor:{swap.virtual_sensor}"), ()), swap.opened)
        if opened is not None:
            needs.add(take_back_needs(seen, opened[0], opened[0].valid_from))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Undone]:
        """Bindings as they were before it, and the record that says so."""
        record = view.record("swap", self.swap_id)
        if record is None:
            raise ResourceNotFound(f"There is no swap '{self.swap_id}'.")
        swap = as_swap(record)
        if swap.undone_at is not None:
            raise Conflict(f"The swap '{swap.id}' was undone already, at {iso(swap.undone_at)}.")
        bindings = view.found("binding", f"sensor:{swap.virtual_sensor}")
        opened, closed = _named(bindings, swap.opened), _named(bindings, swap.closed)
        self._refuse(view, swap, [as_binding(one) for one in bindings], closed[0] if closed is not None else None)
        undone = replace(swap, planned=False, undone_at=stamp.now, undone_by=self.by, undone_why=self.why)
        changed: list[Binding] = []
        effects = Effects(Undone(undone, None), records=[_swap_write(undone, stamp, record.version)])
        if opened is not None:
            never = replace(opened[0], valid_to=opened[0].valid_from)
            changed.append(never)
            effects.records.append(_binding_write(never, stamp, opened[1]))
            _take_back(effects, view, stamp, opened[0], swap.at)
        if closed is not None:
            again = replace(closed[0], valid_to=None, end_readings={})
            changed.append(again)
            effects.records.append(_binding_write(again, stamp, closed[1]))
            effects.result = Undone(undone, again)
            reattribution(effects, view, stamp, again.device, swap.at)
        for device_id in {one.device for one in changed}:
            follow(effects, view, stamp, device_id, bindings=changed)
        return effects

    def _refuse(self, view: View, swap: SwapRecord, bindings: list[Binding], closed: Binding | None) -> None:
        """Nothing may have come after it."""
        for binding in bindings:
            later = binding.valid_from > swap.at or (binding.valid_from == swap.at and binding.id != swap.opened)
            ended = binding.id == swap.opened and binding.valid_to is not None
            if not binding.empty and (later or ended):
                raise Conflict(
                    f"'{swap.virtual_sensor}' was changed after the swap '{swap.id}': undo the later one first."
                )
        if closed is not None:
            for binding in bindings_of(view, closed.device):
                if binding.id not in (closed.id, swap.opened):
                    _refuse_overlap(binding, closed.device, closed.channel, swap.at)


@dataclass(frozen=True, slots=True)
class TakeEffect:
    """The moment of a planned swap has come: both devices' entities follow. Result: whether there was something to do."""

    swap_id: str

    def needs(self, seen: Snapshot) -> Needs:
        """The swap and both devices."""
        needs = Needs(records={("swap", self.swap_id)})
        record = seen.records.get(("swap", self.swap_id))
        if record is not None:
            swap = as_swap(record)
            for device in (swap.device, swap.replaced):
                if device is not None:
                    needs.add(device_needs(device, None, seen))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[bool]:
        """The entities, and that it is not planned any more."""
        record = view.record("swap", self.swap_id)
        if record is None or not (swap := as_swap(record)).planned or swap.at > stamp.now:
            return Effects(False)
        effects = Effects(True, records=[_swap_write(replace(swap, planned=False), stamp, record.version)])
        for device in {swap.device, swap.replaced} - {None}:
            assert device is not None
            follow(effects, view, stamp, device)
        return effects


def _sensor_needs(sensor_id: str, seen: Snapshot) -> Needs:
    """A virtual sensor, its bindings, and the device of the one that is open."""
    needs = Needs(records={("virtual_sensor", sensor_id)}, found={("binding", f"sensor:{sensor_id}")})
    for record in seen.found.get(("binding", f"sensor:{sensor_id}"), ()):
        binding = as_binding(record)
        if binding.valid_to is None:
            needs.add(device_needs(binding.device, None, seen))
            needs.records.add(("reattribution", binding.device))
    return needs


def _sensor(view: View, sensor_id: str) -> VirtualSensor:
    record = view.record("virtual_sensor", sensor_id)
    if record is None:
        raise ResourceNotFound(f"There is no virtual sensor '{sensor_id}'.")
    return as_sensor(record)


def _last(records: Sequence[Record]) -> Record | None:
    """The open binding of a virtual sensor."""
    return next((record for record in records if as_binding(record).valid_to is None), None)


def _named(records: Sequence[Record], binding_id: str | None) -> tuple[Binding, int] | None:
    """A binding by id, and its record's version."""
    return next(((as_binding(record), record.version) for record in records if record.id == binding_id), None)


def _refuse_overlap(binding: Binding, device: str, channel: str, at: Micros) -> None:
    """Raises AlreadyExists when the device, or its channel, is bound after `at` already."""
    apart = binding.channel and channel and binding.channel != channel
    if apart or binding.empty or (binding.valid_to is not None and binding.valid_to <= at):
        return
    until = f"until {iso(binding.valid_to)}" if binding.valid_to is not None else "now"
    raise AlreadyExists(f"Device '{device}' is '{binding.virtual_sensor}' {until}; put another device there first.")


def _take_back(effects: Effects[Any], view: View, stamp: Stamp, binding: Binding, since: Micros) -> None:
    """What the binding brought since does not hold, and its device's uplinks are to be looked at again."""
    take_back(effects, view, stamp, binding, since)
    reattribution(effects, view, stamp, binding.device, since)


def _differences(view: View, sensor: VirtualSensor, model: DeviceModel, open_now: Binding | None) -> Differences:
    """What changes for those who use the virtual sensor."""
    before: DeviceModel | None = None
    if open_now is not None and (record := view.record("device", open_now.device)) is not None:
        before = model_of(view, as_device(record).model)
    wanted = {output.quantity for output in sensor.outputs}
    sent = {one.quantity for one in model.quantities}
    served = {(output.entity, output.attribute) for output in sensor.outputs if output.quantity in sent}
    not_served = {output.quantity for output in sensor.outputs if (output.entity, output.attribute) not in served}
    units = {one.quantity: one.unit for one in before.quantities} if before is not None else {}
    changed = {
        UnitChange(one.quantity, units[one.quantity], one.unit)
        for one in model.quantities
        if one.quantity in wanted and one.quantity in units and units[one.quantity] != one.unit
    }
    return Differences(
        not_served=tuple(sorted(not_served)),
        interval_seconds=(
            before.expected_interval_seconds if before is not None else None,
            model.expected_interval_seconds,
        ),
        units=tuple(sorted(changed, key=lambda one: one.quantity)),
    )


def _binding_write(binding: Binding, stamp: Stamp, expected: int) -> RecordWrite:
    keys = (f"device:{binding.device}", f"sensor:{binding.virtual_sensor}")
    return RecordWrite("binding", binding.id, to_body(binding), stamp.version, expected, keys)


def _swap_write(swap: SwapRecord, stamp: Stamp, expected: int) -> RecordWrite:
    keys = [f"sensor:{swap.virtual_sensor}", *(f"device:{device}" for device in {swap.device, swap.replaced} if device)]
    if swap.planned:
        keys.append("planned")
    return RecordWrite("swap", swap.id, to_body(swap), stamp.version, expected, tuple(sorted(keys)))
