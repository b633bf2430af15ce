"""A device's entity follows what the device is bound to: what commands need for that, and how it is done. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.clock import Stamp
from broker.devices.entity import device_entity, model_entity, model_urn
from broker.devices.model import Binding, Device, DeviceModel
from broker.devices.observe import device_urn
from broker.devices.registry import as_binding, as_device, as_model, as_sensor
from broker.errors import BadRequestData
from broker.stores.base import Needs, Snapshot
from broker.stores.command import Effects, View


def device_needs(device_id: str, model_id: str | None, seen: Snapshot) -> Needs:
    """A device with its model, their entities, its bindings and their virtual sensors."""
    needs = Needs(
        entities={device_urn(device_id)}, records={("device", device_id)}, found={("binding", f"device:{device_id}")}
    )
    record = seen.records.get(("device", device_id))
    for model in (model_id, as_device(record).model if record is not None else None):
        if model is not None:
            needs.records.add(("device_model", model))
            needs.entities.add(model_urn(model))
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
    """Bring the device's entity in step with what it is bound to at the moment, and its model's entity with the model.

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
    model = model_of(view, device.model)
    followed = [device_entity(view.entity(device_urn(device_id)), device, model, sorted(assets), stamp)]
    if all(change.entity_id != model_urn(model.id) for change in effects.changes):  # two devices may have one model
        followed.append(model_entity(view.entity(model_urn(model.id)), model, stamp))
    for change, history in followed:
        if change is not None:
            effects.changes.append(change)
            effects.history += history
