"""A device's entity follows what the device is bound to: what commands need for that, and how it is done. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.clock import Stamp
from broker.devices.entity import device_entity
from broker.devices.model import Binding, Device, DeviceModel
from broker.devices.observe import device_urn
from broker.devices.registry import as_binding, as_device, as_model, as_sensor
from broker.errors import BadRequestData
from broker.stores.base import Needs, Snapshot
from broker.stores.command import Effects, View


def device_needs(device_id: str, model_id: str | None, seen: Snapshot) -> Needs:
    """A device with its model, its entity, its bindings and their virtual sensors."""
    needs = Needs(
        entities={device_urn(device_id)}, records={("device", device_id)}, found={("binding", f"device:{device_id}")}
    )
    if model_id is not None:
        needs.records.add(("device_model", model_id))
    record = seen.records.get(("device", device_id))
    if record is not None:
        needs.records.add(("device_model", as_device(record).model))
    for binding in seen.found.get(("binding", f"device:{device_id}"), ()):
        needs.records.add(("virtual_sensor", as_binding(binding).virtual_sensor))
    return needs


def bindings_of(view: View, device_id: str) -> list[Binding]:
    """All bindings that a device has or had."""
    return [as_binding(record) for record in view.found("binding", f"device:{device_id}")]


def model_of(view: View, model_id: str) -> DeviceModel:
    """A device model. Raises BadRequestData when there is none."""
    record = view.record("device_model", model_id)
    if record is None:
        raise BadRequestData(f"There is no device model '{model_id}'.")
    return as_model(record)


def follow(
    effects: Effects[Any],
    view: View,
    stamp: Stamp,
    device_id: str,
    *,
    device: Device | None = None,
    bindings: Sequence[Binding] = (),
) -> None:
    """Bring the device's entity in step with what it is bound to at the moment.

    `device` and `bindings` stand for those of the store that they replace: what the command is about to write.
    """
    if device is None:
        record = view.record("device", device_id)
        if record is None:
            return
        device = as_device(record)
    all_bindings = {binding.id: binding for binding in bindings_of(view, device_id)}
    all_bindings |= {binding.id: binding for binding in bindings if binding.device == device_id}
    assets = {
        as_sensor(record).entity
        for binding in all_bindings.values()
        if binding.covers(stamp.now) and (record := view.record("virtual_sensor", binding.virtual_sensor)) is not None
    }
    change, history = device_entity(
        view.entity(device_urn(device_id)), device, model_of(view, device.model), sorted(assets), stamp
    )
    if change is not None:
        effects.changes.append(change)
        effects.history += history
