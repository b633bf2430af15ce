"""Create or change one thing of the registry: whole (PUT), or by laying members over it (PATCH, RFC 7396).

What is as it was already is left alone: no write, no new version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from broker.clock import Stamp
from broker.devices.check import check_device, check_model, check_sensor
from broker.devices.commands import PutDevice, PutDeviceModel, PutVirtualSensor
from broker.devices.follow import device_needs, follow
from broker.devices.model import Device, DeviceModel, VirtualSensor
from broker.devices.observe import device_urn
from broker.devices.registry import as_binding, as_device, as_model, as_sensor, from_user, to_body
from broker.errors import AlreadyExists, BadRequestData, ResourceNotFound
from broker.stores.base import Needs, Record, RecordKind, Snapshot
from broker.stores.command import Effects, View

Outcome = Literal["created", "changed", "unchanged"]
When = Literal["any", "absent", "present"]
StructT = TypeVar("StructT", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of one thing."""

    outcome: Outcome
    members: tuple[str, ...] = ()
    """Those whose values changed."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What a request wants of one thing."""

    document: Mapping[str, Any]
    whole: bool = True
    """The document is all of the thing; otherwise it is laid over what is there, and null takes a member away."""
    when: When = "any"
    """'absent' refuses a thing that is there, 'present' one that is not."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[StructT]):
    """What there is to know of a kind to edit it."""

    record: RecordKind
    struct: type[StructT]
    word: str
    """What people call it."""
    read: Callable[[Record], StructT]
    check: Callable[[StructT], None]

    def found(self, view: View, thing_id: str) -> StructT | None:
        """The thing as it is."""
        record = view.record(self.record, thing_id)
        return self.read(record) if record is not None else None

    def edited(self, thing_id: str, present: StructT | None, edit: Edit) -> tuple[StructT, Saved]:
        """The thing as the edit wants it, and what that changes. Raises BadRequestData, AlreadyExists, ResourceNotFound."""
        if present is not None and edit.when == "absent":
            raise AlreadyExists(f"The {self.word} '{thing_id}' exists already.")
        if present is None and edit.when == "present":
            raise ResourceNotFound(f"There is no {self.word} '{thing_id}'.")
        document = edit.document
        if document.get("id", thing_id) != thing_id:
            raise BadRequestData(f"'id' must be '{thing_id}' or not be there: the id of a {self.word} never changes.")
        before = to_body(present) if present is not None else {}
        made = document if edit.whole else merged(before, document)
        thing = from_user({**made, "id": thing_id}, self.struct, self.word)
        self.check(thing)
        if present is None:
            return thing, Saved("created")
        after = to_body(thing)
        members = tuple(name for name in after if after[name] != before.get(name))
        return thing, Saved("changed", members) if members else Saved("unchanged")


def merged(target: Any, patch: Any) -> Any:
    """`patch` laid over `target` (RFC 7396, 2): null takes a member away, objects are merged, all else is replaced."""
    if not isinstance(patch, Mapping):
        return patch
    made = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), value)
    return made


MODEL: Final[Kind[DeviceModel]] = Kind("device_model", DeviceModel, "device model", as_model, check_model)
DEVICE: Final[Kind[Device]] = Kind("device", Device, "device", as_device, check_device)
SENSOR: Final[Kind[VirtualSensor]] = Kind("virtual_sensor", VirtualSensor, "virtual sensor", as_sensor, check_sensor)


@dataclass(frozen=True, slots=True)
class SaveModel:
    """Create or change a device model. What its devices' entities say of it follows by `FollowModel`."""

    id: str
    edit: Edit

    def needs(self, seen: Snapshot) -> Needs:
        """The model as it is."""
        return Needs(records={("device_model", self.id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[Saved]:
        """At most one record write."""
        model, saved = MODEL.edited(self.id, MODEL.found(view, self.id), self.edit)
        effects = Effects(saved)
        if saved.outcome != "unchanged":
            take(effects, PutDeviceModel(model).apply(view, stamp))
        return effects


@dataclass(frozen=True, slots=True)
class SaveDevice:
    """Register a device, or change what is registered of it. Its entity follows."""

    id: str
    edit: Edit

    def needs(self, seen: Snapshot) -> Needs:
        """What `PutDevice` needs with the model that is wanted."""
        record = seen.records.get(("device", self.id))
        model = self.edit.document.get("model")
        if not isinstance(model, str):
            model = as_device(record).model if record is not None else None
        if model is None:
            return Needs(records={("device", self.id)})
        return device_needs(self.id, model, seen)

    def apply(self, view: View, stamp: Stamp) -> Effects[Saved]:
        """At most a record and an entity."""
        device, saved = DEVICE.edited(self.id, DEVICE.found(view, self.id), self.edit)
        effects = Effects(saved)
        if saved.outcome != "unchanged":
            take(effects, PutDevice(device).apply(view, stamp))
        return effects


@dataclass(frozen=True, slots=True)
class SaveSensor:
    """Create or change a virtual sensor. The entities of the devices that are it follow."""

    id: str
    edit: Edit

    def needs(self, seen: Snapshot) -> Needs:
        """The virtual sensor, its entity, and the devices that are it with all that their entities show."""
        needs = Needs(records={("virtual_sensor", self.id)}, found={("binding", f"sensor:{self.id}")})
        present, entity = seen.records.get(("virtual_sensor", self.id)), self.edit.document.get("entity")
        if isinstance(entity, str):
            needs.entities.add(entity)
        elif present is not None:
            needs.entities.add(as_sensor(present).entity)
        for record in seen.found.get(("binding", f"sensor:{self.id}"), ()):
            binding = as_binding(record)
            if not binding.empty:
                needs.add(device_needs(binding.device, None, seen))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Saved]:
        """At most a record, and the entities of its devices."""
        present = SENSOR.found(view, self.id)
        sensor, saved = SENSOR.edited(self.id, present, self.edit)
        effects = Effects(saved)
        if saved.outcome == "unchanged":
            return effects
        layer = view.layer()
        put(effects, layer, stamp, PutVirtualSensor(sensor).apply(layer, stamp))
        if present is not None and present.entity != sensor.entity:
            for record in view.found("binding", f"sensor:{self.id}"):
                binding = as_binding(record)
                if binding.covers(stamp.now):
                    follow(effects, layer, stamp, binding.device)
        return effects


@dataclass(frozen=True, slots=True)
class FollowModel:
    """Bring the entities of some devices in step with their models' names. Result: how many changed."""

    devices: tuple[str, ...]

    def needs(self, seen: Snapshot) -> Needs:
        """The devices with their models, entities and bindings."""
        needs = Needs()
        for device in self.devices:
            needs.add(device_needs(device, None, seen))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[int]:
        """Entities alone."""
        effects = Effects(0)
        for device in self.devices:
            follow(effects, view, stamp, device)
        effects.result = sum(change.entity_id.startswith(device_urn("")) for change in effects.changes)
        return effects


_WANTED: Final = tuple(member.name for member in fields(Effects) if member.name != "result")


def take(effects: Effects[Any], more: Effects[Any]) -> None:
    """All that `more` wants done, but its result, is `effects`' too."""
    for name in _WANTED:
        wanted = getattr(more, name)
        if wanted:
            getattr(effects, name).extend(wanted)


def put(effects: Effects[Any], layer: View, stamp: Stamp, more: Effects[Any]) -> None:
    """`take`, and let those who look at `layer` next see it."""
    layer.absorb(more, stamp)
    take(effects, more)
