"""Delete one thing of the registry: refused while something refers to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.clock import Stamp, iso
from broker.devices.model import Binding
from broker.devices.observe import device_urn
from broker.devices.registry import as_binding
from broker.entities.commands import DeleteEntity
from broker.entities.records import DeleteRecord
from broker.errors import Conflict
from broker.pipeline.registry.edits import take
from broker.stores.base import Needs, Record, RecordKind, RecordWrite, Snapshot
from broker.stores.command import Effects, View

OF_DEVICE: tuple[RecordKind, ...] = ("device_state",)
"""Kinds of records that are about one device, under its id, and go with it."""
OF_SENSOR: tuple[RecordKind, ...] = ("sensor_state", "sensor_health")
"""The same of a virtual sensor."""


@dataclass(frozen=True, slots=True)
class DeleteModel:
    """Delete a device model that no device has.

    All devices of the model are read: ask the store for one of them first, and spare the writer the others.
    """

    id: str

    def needs(self, seen: Snapshot) -> Needs:
        """The model, and the devices that have it."""
        return Needs(records={("device_model", self.id)}, found={("device", f"model:{self.id}")})

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """One record goes."""
        refuse_used(self.id, view.found("device", f"model:{self.id}"))
        return DeleteRecord("device_model", self.id).apply(view, stamp)


def refuse_used(model_id: str, devices: Sequence[Record]) -> None:
    """Raises Conflict when there are devices of the model."""
    if devices:
        raise Conflict(
            f"The device model '{model_id}' is in use, by the device '{devices[0].id}' among others; "
            "give its devices another model, or delete them first."
        )


@dataclass(frozen=True, slots=True)
class DeleteDevice:
    """Delete a device that is no virtual sensor now or later. What it observed stays, and so do its closed bindings."""

    id: str

    def needs(self, seen: Snapshot) -> Needs:
        """The device, its entity and its bindings."""
        return Needs(
            entities={device_urn(self.id)},
            records={("device", self.id)},
            found={("binding", f"device:{self.id}"), ("device_key", f"device:{self.id}")},
        )

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """The device, what was last heard of it, its keys, and its entity."""
        effects = DeleteRecord("device", self.id).apply(view, stamp)
        binding = _in_force(view, f"device:{self.id}", stamp)
        if binding is not None:
            raise Conflict(
                f"The device '{self.id}' is the virtual sensor '{binding.virtual_sensor}' {_until(binding)}; "
                "swap another one in, or unbind it, first."
            )
        entity = view.entity(device_urn(self.id))
        if entity is not None:
            take(effects, DeleteEntity(device_urn(self.id)).removal(entity, stamp))
        effects.records += [RecordWrite(kind, self.id, None, stamp.version) for kind in OF_DEVICE]
        for key in view.found("device_key", f"device:{self.id}"):
            effects.records += [RecordWrite("device_key", key.id, None, stamp.version, key.version)]
            effects.records += [RecordWrite("oscore_state", key.id, None, stamp.version)]
        return effects


@dataclass(frozen=True, slots=True)
class DeleteSensor:
    """Delete a virtual sensor that no device is now or later. The entity that it wrote stays, and so does its history."""

    id: str

    def needs(self, seen: Snapshot) -> Needs:
        """The virtual sensor and its bindings."""
        return Needs(records={("virtual_sensor", self.id)}, found={("binding", f"sensor:{self.id}")})

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """The virtual sensor, and what was kept of it."""
        effects = DeleteRecord("virtual_sensor", self.id).apply(view, stamp)
        binding = _in_force(view, f"sensor:{self.id}", stamp)
        if binding is not None:
            raise Conflict(
                f"The virtual sensor '{self.id}' is the device '{binding.device}' {_until(binding)}; unbind it first."
            )
        effects.records += [RecordWrite(kind, self.id, None, stamp.version) for kind in OF_SENSOR]
        return effects


def _in_force(view: View, key: str, stamp: Stamp) -> Binding | None:
    """A binding that holds now or will."""
    bindings = map(as_binding, view.found("binding", key))
    return next((one for one in bindings if not one.empty and (one.valid_to is None or one.valid_to > stamp.now)), None)


def _until(binding: Binding) -> str:
    return f"until {iso(binding.valid_to)}" if binding.valid_to is not None else f"since {iso(binding.valid_from)}"
