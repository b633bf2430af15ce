"""One row of an import as a command: a device model, a virtual sensor, a device (maybe with its virtual sensor), a binding.

A row that asks for what is there already does nothing, so an import may be sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from broker.clock import Micros, Stamp, iso
from broker.devices.defaults import default_outputs
from broker.devices.follow import model_of
from broker.devices.model import Binding, Device
from broker.devices.registry import as_binding, to_body
from broker.devices.swaps import Swap, Unbind
from broker.errors import BadRequestData, Conflict
from broker.pipeline.registry.edits import DEVICE, SENSOR, Edit, Outcome, SaveDevice, SaveModel, SaveSensor, put
from broker.stores.base import Needs, Snapshot
from broker.stores.command import Effects, View

RowKind = Literal["models", "virtual-sensors", "devices", "bindings"]
ORDER: Final[tuple[RowKind, ...]] = ("models", "virtual-sensors", "devices", "bindings")
"""Each may refer to those before it."""

OF_DEVICE: Final = frozenset(field for field in Device.__struct_encode_fields__)
OF_SENSOR: Final = {
    "virtualSensorName": "name",
    "entity": "entity",
    "entityType": "entityType",
    "outputs": "outputs",
    "place": "place",
}
"""Members of a device's row that are its virtual sensor's, and what they are called there."""
OF_BINDING: Final = ("virtualSensor", "channel", "since")
BINDING: Final = ("id", "device", "virtualSensor", "channel", "validFrom", "validTo", "startReadings", "endReadings")


@dataclass(frozen=True, slots=True)
class Row:
    """What a row says. Names of types and attributes are IRIs, times are `Micros`, devices' ids are in lower case."""

    number: int
    kind: RowKind
    document: Mapping[str, Any]
    whole: bool = True
    """The document is all of the thing; otherwise what it does not name stays as it is."""

    @property
    def id(self) -> str:
        """Of the thing; '' for a binding without one."""
        value = self.document.get("id")
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Options:
    """How rows are taken."""

    expand: Callable[[str], str]
    """An IRI of a name, for the default table of attributes."""
    swap: bool = False
    """A row may put another device where one is; otherwise that is a problem."""
    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class RowDone:
    """What became of a row."""

    outcome: Outcome
    what: tuple[str, ...] = ()
    """'model', 'device', 'virtualSensor', 'binding': those that were created or changed."""
    members: tuple[str, ...] = ()
    """Of the thing itself, those that changed."""
    devices: tuple[str, ...] = ()
    """Devices whose bindings changed: their kept uplinks are to be looked at again."""


@dataclass(frozen=True, slots=True)
class TakeRow:
    """Do what a row asks for. Result: what that was."""

    row: Row
    options: Options

    def needs(self, seen: Snapshot) -> Needs:
        """What the commands need that the row becomes."""
        row = self.row
        if row.kind == "models":
            return SaveModel(row.id, Edit(row.document)).needs(seen)
        if row.kind == "virtual-sensors":
            return SaveSensor(row.id, Edit(row.document)).needs(seen)
        if row.kind == "devices":
            needs = SaveDevice(row.id, Edit(row.document)).needs(seen)
        else:
            needs = Needs(records={("binding", row.id)} if row.id else set())
        sensor, device = self.sensor, row.id if row.kind == "devices" else row.document.get("device")
        if sensor and isinstance(device, str):
            needs.add(SaveSensor(sensor, Edit({"entity": self._entity(seen)})).needs(seen))
            needs.add(Swap(sensor, device, row.document.get("validFrom") or row.document.get("since") or 0).needs(seen))
            needs.add(Unbind(sensor, row.document.get("validFrom") or 0).needs(seen))
        return needs

    def _entity(self, seen: Snapshot) -> str | None:
        """The entity that the row's virtual sensor will write; None: the one that it writes already."""
        entity, kind = self.row.document.get("entity"), self.row.document.get("entityType")
        if entity or ("virtual_sensor", self.sensor) in seen.records or not isinstance(kind, str):
            return entity if isinstance(entity, str) and entity else None
        return _urn(kind, self.sensor)

    @property
    def sensor(self) -> str:
        """The virtual sensor that the row is about; '' for none."""
        value = self.row.id if self.row.kind == "virtual-sensors" else self.row.document.get("virtualSensor")
        return value if isinstance(value, str) else ""

    def apply(self, view: View, stamp: Stamp) -> Effects[RowDone]:
        """What the commands do, one after another."""
        row = self.row
        if row.kind == "models":
            return self._saved("model", SaveModel(row.id, Edit(row.document, row.whole)), view, stamp)
        if row.kind == "virtual-sensors":
            return self._saved("virtualSensor", SaveSensor(row.id, Edit(row.document, row.whole)), view, stamp)
        effects: Effects[RowDone] = Effects(RowDone("unchanged"))
        if row.kind == "devices":
            effects.result = self._device(effects, view.layer(), stamp)
        else:
            effects.result = self._binding(effects, view.layer(), stamp)
        return effects

    def _saved(self, what: str, command: SaveModel | SaveSensor, view: View, stamp: Stamp) -> Effects[RowDone]:
        done = command.apply(view, stamp)
        saved = done.result
        effects = Effects(RowDone(saved.outcome, (what,) if saved.outcome != "unchanged" else (), saved.members))
        put(effects, view.layer(), stamp, done)
        return effects

    # --- a device's row ---

    def _device(self, effects: Effects[RowDone], layer: View, stamp: Stamp) -> RowDone:
        row = self.row
        own = {name: value for name, value in row.document.items() if name in OF_DEVICE}
        for name in row.document.keys() - OF_DEVICE - OF_SENSOR.keys() - set(OF_BINDING):
            raise BadRequestData(f"'{name}' is not a member of a device's row.")
        model = own.get("model")
        if isinstance(model, str) and layer.record("device_model", model) is None:
            raise BadRequestData(f"'model': there is no device model '{model}'.")
        made = SaveDevice(row.id, Edit(own, row.whole)).apply(layer, stamp)
        put(effects, layer, stamp, made)
        saved, what, devices = made.result, [], tuple[str, ...]()
        if saved.outcome != "unchanged":
            what.append("device")
        if self.sensor:
            if self._sensor(effects, layer, stamp):
                what.append("virtualSensor")
            devices = self._bound(effects, layer, stamp, row.id, row.document.get("since"))
            if devices:
                what.append("binding")
        else:
            for name in (*OF_SENSOR, *OF_BINDING):
                if row.document.get(name) not in (None, "", ()):
                    raise BadRequestData(f"'virtualSensor' must say whose '{name}' that is.")
        outcome: Outcome = saved.outcome if saved.outcome == "created" or not what else "changed"
        return RowDone(outcome, tuple(what), saved.members, devices)

    def _sensor(self, effects: Effects[RowDone], layer: View, stamp: Stamp) -> bool:
        """Create or change the row's virtual sensor; whether there was anything to do."""
        document = self.row.document
        given = {OF_SENSOR[name]: document[name] for name in OF_SENSOR if document.get(name) not in (None, "")}
        if SENSOR.found(layer, self.sensor) is None:
            given = self._new_sensor(layer, given)
        elif not given:
            return False
        made = SaveSensor(self.sensor, Edit(given, whole=False)).apply(layer, stamp)
        put(effects, layer, stamp, made)
        return made.result.outcome != "unchanged"

    def _new_sensor(self, layer: View, given: dict[str, Any]) -> dict[str, Any]:
        """What a virtual sensor that is not there yet is, where the row does not say it."""
        device = DEVICE.found(layer, self.row.id)
        assert device is not None
        made = {"name": device.name or self.sensor, "managedBy": device.managed_by, **given}
        if "entityType" not in made:
            parts = str(made.get("entity", "")).split(":")
            if len(parts) < 4 or parts[:2] != ["urn", "ngsi-ld"]:
                raise BadRequestData(
                    f"'entityType' must say what '{self.sensor}' is about: there is no virtual sensor of that id yet."
                )
            made["entityType"] = self.options.expand(parts[2])
        if "entity" not in made:
            made["entity"] = _urn(str(made["entityType"]), self.sensor)
        if "outputs" not in made:
            outputs = default_outputs(model_of(layer, device.model), self.options.expand, str(made["entityType"]))
            if not outputs:
                raise BadRequestData(
                    f"'outputs' must say what '{self.sensor}' gives: the device model '{device.model}' names no quantity "
                    "that becomes an attribute by itself."
                )
            made["outputs"] = [to_body(output) for output in outputs]
        return made

    def _bound(
        self, effects: Effects[RowDone], layer: View, stamp: Stamp, device: str, at: Micros | None
    ) -> tuple[str, ...]:
        """Let the device be the row's virtual sensor, from `at` or now on; the devices that this concerns, none if it is."""
        channel = self.row.document.get("channel") or ""
        bindings = [as_binding(one) for one in layer.found("binding", f"sensor:{self.sensor}")]
        # A device's row is about what it is now; a binding's row that says a time, about that very period.
        now = self.row.kind == "devices" or at is None
        if now and any(one.device == device and one.channel == channel and one.covers(stamp.now) for one in bindings):
            return ()
        open_now = next((one for one in bindings if one.valid_to is None), None)
        if open_now is not None and not self.options.swap:
            raise Conflict(
                f"'virtualSensor': '{self.sensor}' is the device '{open_now.device}' since {iso(open_now.valid_from)}; "
                "with swap=true, the import puts this one there."
            )
        swap = Swap(
            self.sensor,
            device,
            at if at is not None else stamp.now,
            channel=channel,
            by=self.options.by,
            why=self.options.why,
            start_readings=self.row.document.get("startReadings") or {},
        )
        done = swap.apply(layer, stamp)
        if at is None and open_now is None and len(layer.found("binding", f"device:{device}")) == 0:
            # Nothing of this device was ever taken for anything: what waits in quarantine is all that can be owed to it.
            done.records[:] = [write for write in done.records if write.kind != "reattribution"]
        put(effects, layer, stamp, done)
        replaced = done.result.record.replaced
        return (device, replaced) if replaced is not None else (device,)

    # --- a binding's row ---

    def _binding(self, effects: Effects[RowDone], layer: View, stamp: Stamp) -> RowDone:
        document = self.row.document
        for name in document.keys() - set(BINDING):
            raise BadRequestData(f"'{name}' is not a member of a binding's row.")
        device = document.get("device")
        if not isinstance(device, str) or not device:
            raise BadRequestData("'device' must say which device it is.")
        if not self.sensor:
            raise BadRequestData("'virtualSensor' must say what the device was.")
        begins, ends = document.get("validFrom"), document.get("validTo")
        present = self._present(layer, device, begins)
        if present is None:
            if DEVICE.found(layer, device) is None:
                raise BadRequestData(f"'device': there is no device '{device}'.")
            if SENSOR.found(layer, self.sensor) is None:
                raise BadRequestData(f"'virtualSensor': there is no virtual sensor '{self.sensor}'.")
            concerned = self._bound(effects, layer, stamp, device, begins)
            if not concerned:
                return RowDone("unchanged")
            if ends is not None:
                self._close(effects, layer, stamp, ends)
            return RowDone("created", ("binding",), devices=concerned)
        for name, there in (("startReadings", present.start_readings), ("endReadings", present.end_readings)):
            if name in document and (document[name] or {}) != there and (name == "startReadings" or present.valid_to):
                raise Conflict(f"'{name}' of the binding '{present.id}' is {there}; bindings are never changed.")
        if present.valid_to == ends or "validTo" not in document:
            return RowDone("unchanged")
        if present.valid_to is not None or ends is None:
            raise Conflict(
                f"'validTo': the binding '{present.id}' ended at {iso(present.valid_to or 0)}; bindings are never changed. "
                "Undo the swap that ended it."
            )
        self._close(effects, layer, stamp, ends)
        return RowDone("changed", ("binding",), ("validTo",), (device,))

    def _close(self, effects: Effects[RowDone], layer: View, stamp: Stamp, at: Micros) -> None:
        put(
            effects,
            layer,
            stamp,
            Unbind(
                self.sensor,
                at,
                by=self.options.by,
                why=self.options.why,
                end_readings=self.row.document.get("endReadings") or {},
            ).apply(layer, stamp),
        )

    def _present(self, layer: View, device: str, begins: Micros | None) -> Binding | None:
        """The binding that the row is about, if it is there. Raises Conflict where it says something else of it."""
        channel = self.row.document.get("channel") or ""
        for record in layer.found("binding", f"sensor:{self.sensor}"):
            one = as_binding(record)
            if not one.empty and (one.device, one.channel, one.valid_from) == (device, channel, begins):
                return one
        record_ = layer.record("binding", self.row.id) if self.row.id else None
        if record_ is not None:
            there = as_binding(record_)
            raise Conflict(
                f"'id': the binding '{there.id}' is of device '{there.device}' and '{there.virtual_sensor}' from "
                f"{iso(there.valid_from)}; bindings are never changed."
            )
        return None


def _urn(entity_type: str, sensor: str) -> str:
    """The id of the entity of a virtual sensor, where nobody says it; `entity_type` is an IRI."""
    return f"urn:ngsi-ld:{entity_type.replace('#', '/').rsplit('/', 1)[-1]}:{sensor}"
