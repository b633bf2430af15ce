"""What swaps, unbindings and undoing have in common: what they read, refuse and write. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from broker.clock import Micros, Stamp, iso
from broker.devices.alarms.swap import health_needs
from broker.devices.follow import device_needs, model_of
from broker.devices.keys import binding_keys, swap_keys
from broker.devices.model import Binding, DeviceModel, SwapRecord, VirtualSensor
from broker.devices.processing.handover import Handover
from broker.devices.registry import as_binding, as_device, as_sensor, to_body
from broker.devices.take_back import reattribution, take_back
from broker.errors import AlreadyExists, ResourceNotFound
from broker.stores.base import Needs, Record, RecordWrite, Snapshot
from broker.stores.command import Effects, View


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


def sensor_needs(sensor_id: str, seen: Snapshot) -> Needs:
    """A virtual sensor, its bindings, and the device of the one that is open."""
    needs = Needs(records={("virtual_sensor", sensor_id)}, found={("binding", f"sensor:{sensor_id}")})
    needs.add(health_needs(sensor_id, seen))
    for record in seen.found.get(("binding", f"sensor:{sensor_id}"), ()):
        binding = as_binding(record)
        if binding.valid_to is None:
            needs.add(device_needs(binding.device, None, seen))
            needs.records.add(("reattribution", binding.device))
    return needs


def sensor_of(view: View, sensor_id: str) -> VirtualSensor:
    """A virtual sensor. Raises ResourceNotFound."""
    record = view.record("virtual_sensor", sensor_id)
    if record is None:
        raise ResourceNotFound(f"There is no virtual sensor '{sensor_id}'.")
    return as_sensor(record)


def open_binding(records: Sequence[Record]) -> Record | None:
    """The open binding of a virtual sensor."""
    return next((record for record in records if as_binding(record).valid_to is None), None)


def named(records: Sequence[Record], binding_id: str | None) -> tuple[Binding, int] | None:
    """A binding by id, and its record's version."""
    return next(((as_binding(record), record.version) for record in records if record.id == binding_id), None)


def refuse_overlap(binding: Binding, device: str, channel: str, at: Micros) -> None:
    """Raises AlreadyExists when the device, or its channel, is bound after `at` already."""
    apart = binding.channel and channel and binding.channel != channel
    if apart or binding.empty or (binding.valid_to is not None and binding.valid_to <= at):
        return
    until = f"until {iso(binding.valid_to)}" if binding.valid_to is not None else "now"
    raise AlreadyExists(f"Device '{device}' is '{binding.virtual_sensor}' {until}; put another device there first.")


def taken_back(effects: Effects[Any], view: View, stamp: Stamp, binding: Binding, since: Micros) -> None:
    """What the binding brought since does not hold, and its device's uplinks are to be looked at again."""
    take_back(effects, view, stamp, binding, since)
    reattribution(effects, view, stamp, binding.device, since)


def differences_of(view: View, sensor: VirtualSensor, model: DeviceModel, open_now: Binding | None) -> Differences:
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


def binding_write(binding: Binding, stamp: Stamp, expected: int) -> RecordWrite:
    """A binding's record."""
    return RecordWrite("binding", binding.id, to_body(binding), stamp.version, expected, binding_keys(binding))


def swap_write(swap: SwapRecord, stamp: Stamp, expected: int) -> RecordWrite:
    """A swap's record."""
    return RecordWrite("swap", swap.id, to_body(swap), stamp.version, expected, swap_keys(swap))
