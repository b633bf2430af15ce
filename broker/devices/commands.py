"""Commands on the registry that have rules: register a device, bind it, swap it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from broker.clock import Micros, Stamp, iso
from broker.devices.entity import device_entity
from broker.devices.keys import binding_keys, device_keys, sensor_keys
from broker.devices.model import Binding, Device, DeviceModel, VirtualSensor
from broker.devices.observe import device_urn
from broker.devices.registry import as_binding, as_device, as_model, as_sensor, to_body
from broker.errors import AlreadyExists, BadRequestData, ResourceNotFound
from broker.stores.base import Needs, RecordWrite, Snapshot
from broker.stores.command import Effects, View


@dataclass(frozen=True, slots=True)
class PutVirtualSensor:
    """Create or change a virtual sensor. Result: True when it was created."""

    sensor: VirtualSensor

    def needs(self, seen: Snapshot) -> Needs:
        """The virtual sensor as it is."""
        return Needs(records={("virtual_sensor", self.sensor.id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[bool]:
        """One record write."""
        present = view.record("virtual_sensor", self.sensor.id)
        expected = present.version if present is not None else 0
        write = RecordWrite(
            "virtual_sensor", self.sensor.id, to_body(self.sensor), stamp.version, expected, sensor_keys(self.sensor)
        )
        return Effects(present is None, records=[write])


@dataclass(frozen=True, slots=True)
class PutDevice:
    """Register a device, or change what is known of it. Its entity follows. Result: True when it was new."""

    device: Device

    def needs(self, seen: Snapshot) -> Needs:
        """The device, its model, its entity and what it is bound to."""
        return _device_needs(self.device.id, self.device.model, seen)

    def apply(self, view: View, stamp: Stamp) -> Effects[bool]:
        """A record and an entity."""
        present = view.record("device", self.device.id)
        effects: Effects[bool] = Effects(present is None)
        expected = present.version if present is not None else 0
        effects.records.append(
            RecordWrite(
                "device", self.device.id, to_body(self.device), stamp.version, expected, device_keys(self.device)
            )
        )
        open_now = [binding for binding in _bindings_of(view, self.device.id) if binding.valid_to is None]
        _follow(effects, view, stamp, self.device, _model(view, self.device.model), open_now)
        return effects


@dataclass(frozen=True, slots=True)
class Swapped:
    """What a swap did."""

    binding: Binding
    closed: Binding | None
    registered: Device | None
    """The new device, when the swap registered it."""
    not_served: tuple[str, ...]
    """Quantities of the virtual sensor that the new device's model does not send."""


@dataclass(frozen=True, slots=True)
class Swap:
    """From `at`, `device` is `virtual_sensor`: closes the open binding and opens the next, at one instant.

    Also the first binding of a virtual sensor. A device that is not registered yet is, with `model` or, without one,
    the model of the device it replaces.
    """

    virtual_sensor: str
    device: str
    at: Micros
    model: str | None = None
    device_name: str = ""

    def needs(self, seen: Snapshot) -> Needs:
        """Both devices with their models, entities and bindings."""
        needs = Needs(
            records={("virtual_sensor", self.virtual_sensor)}, found={("binding", f"sensor:{self.virtual_sensor}")}
        )
        needs.add(_device_needs(self.device, self.model, seen))
        for record in seen.found.get(("binding", f"sensor:{self.virtual_sensor}"), ()):
            needs.add(_device_needs(as_binding(record).device, None, seen))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Swapped]:
        """Bindings, the new device, and both devices' entities."""
        record = view.record("virtual_sensor", self.virtual_sensor)
        if record is None:
            raise ResourceNotFound(f"There is no virtual sensor '{self.virtual_sensor}'.")
        sensor = as_sensor(record)
        open_now, version = self._open(view)
        device, registered = self._device(view, open_now)
        model = _model(view, device.model)
        self._refuse(view, open_now)
        binding = Binding(
            id=view.new_id(), device=device.id, virtual_sensor=sensor.id, valid_from=self.at, valid_to=None
        )
        closed = msgspec.structs.replace(open_now, valid_to=self.at) if open_now is not None else None
        sent = {quantity.quantity for quantity in model.quantities}
        effects = Effects(
            Swapped(
                binding=binding,
                closed=closed,
                registered=device if registered else None,
                not_served=tuple(sorted({output.quantity for output in sensor.outputs} - sent)),
            )
        )
        if registered:
            effects.records.append(
                RecordWrite("device", device.id, to_body(device), stamp.version, 0, device_keys(device))
            )
        effects.records.append(_binding_write(binding, stamp, 0))
        if closed is not None:
            effects.records.append(_binding_write(closed, stamp, version))
            _release(effects, view, stamp, closed)
        others = [one for one in _bindings_of(view, device.id) if one.valid_to is None]
        _follow(effects, view, stamp, device, model, [*others, binding], sensor)
        return effects

    def _open(self, view: View) -> tuple[Binding | None, int]:
        """The binding that is open now and its record's version; `at` must not lie before it began."""
        open_now: Binding | None = None
        version = 0
        for record in view.found("binding", f"sensor:{self.virtual_sensor}"):
            binding = as_binding(record)
            if binding.valid_to is None:
                open_now, version = binding, record.version
            elif binding.valid_to > self.at:
                raise BadRequestData(
                    f"'at' is {iso(self.at)}, but '{self.virtual_sensor}' was device {binding.device} "
                    f"until {iso(binding.valid_to)}; it must not be earlier than that."
                )
        if open_now is not None and open_now.valid_from >= self.at:
            raise BadRequestData(
                f"'at' is {iso(self.at)}, but '{self.virtual_sensor}' is device {open_now.device} since "
                f"{iso(open_now.valid_from)}; it must be later than that."
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
        """A device is one virtual sensor at a time."""
        if open_now is not None and open_now.device == self.device:
            raise AlreadyExists(f"Device '{self.device}' is '{self.virtual_sensor}' already.")
        for binding in _bindings_of(view, self.device):
            if binding.valid_to is None or binding.valid_to > self.at:
                until = f"until {iso(binding.valid_to)}" if binding.valid_to is not None else "now"
                raise AlreadyExists(
                    f"Device '{self.device}' is '{binding.virtual_sensor}' {until}; put another device there first."
                )


@dataclass(frozen=True, slots=True)
class Unbind:
    """Close a virtual sensor's open binding at `at`; its device goes on into the quarantine."""

    virtual_sensor: str
    at: Micros

    def needs(self, seen: Snapshot) -> Needs:
        """The bindings and the device."""
        needs = Needs(found={("binding", f"sensor:{self.virtual_sensor}")})
        for record in seen.found.get(("binding", f"sensor:{self.virtual_sensor}"), ()):
            needs.add(_device_needs(as_binding(record).device, None, seen))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Binding]:
        """One binding closed."""
        for record in view.found("binding", f"sensor:{self.virtual_sensor}"):
            binding = as_binding(record)
            if binding.valid_to is None and binding.valid_from < self.at:
                closed = msgspec.structs.replace(binding, valid_to=self.at)
                effects = Effects(closed, records=[_binding_write(closed, stamp, record.version)])
                _release(effects, view, stamp, closed)
                return effects
        raise ResourceNotFound(f"No device is '{self.virtual_sensor}' before {iso(self.at)}.")


def _binding_write(binding: Binding, stamp: Stamp, expected: int) -> RecordWrite:
    return RecordWrite("binding", binding.id, to_body(binding), stamp.version, expected, binding_keys(binding))


def _device_needs(device_id: str, model_id: str | None, seen: Snapshot) -> Needs:
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


def _bindings_of(view: View, device_id: str) -> list[Binding]:
    return [as_binding(record) for record in view.found("binding", f"device:{device_id}")]


def _model(view: View, model_id: str) -> DeviceModel:
    record = view.record("device_model", model_id)
    if record is None:
        raise BadRequestData(f"There is no device model '{model_id}'.")
    return as_model(record)


def _follow(
    effects: Effects[Swapped] | Effects[bool] | Effects[Binding],
    view: View,
    stamp: Stamp,
    device: Device,
    model: DeviceModel,
    bindings: Sequence[Binding],
    sensor: VirtualSensor | None = None,
) -> None:
    """Bring the device's entity in step with what it is bound to."""
    assets = []
    for binding in bindings:
        record = view.record("virtual_sensor", binding.virtual_sensor)
        if sensor is not None and binding.virtual_sensor == sensor.id:
            assets.append(sensor.entity)
        elif record is not None:
            assets.append(as_sensor(record).entity)
    change, history = device_entity(view.entity(device_urn(device.id)), device, model, sorted(set(assets)), stamp)
    if change is not None:
        effects.changes.append(change)
        effects.history += history


def _release(effects: Effects[Swapped] | Effects[Binding], view: View, stamp: Stamp, closed: Binding) -> None:
    """The entity of the device whose binding was closed observes nothing more (of this)."""
    record = view.record("device", closed.device)
    if record is None:
        return
    device = as_device(record)
    others = [one for one in _bindings_of(view, device.id) if one.valid_to is None and one.id != closed.id]
    _follow(effects, view, stamp, device, _model(view, device.model), others)
