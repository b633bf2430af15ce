"""What a binding brought and does not hold: its history is superseded, and entities fall back to what is left. Pure.

A swap that is dated in the past, or undone, says that a device was not what it was taken for. The rows stay, marked;
the uplinks stay, and are looked at again (`Reattribution`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from broker.clock import Micros, Stamp, parse_iso
from broker.devices.frame import OBSERVED_BY, framed
from broker.devices.model import Binding, VirtualSensor
from broker.devices.observe import device_urn
from broker.devices.processing.plan import key_of
from broker.devices.processing.state import Remaining, as_sensor_state, rewind, state_body
from broker.devices.registry import as_sensor
from broker.devices.revisions import revision_key
from broker.ngsild.change import AttributeTrigger, EntityChange
from broker.ngsild.model import Attributes, Entity, Instance, Iri, default_instance
from broker.stores.base import Latest, Needs, Record, RecordKind, RecordWrite, Snapshot, Superseded
from broker.stores.command import Effects, View


def written_by(sensor: Record | None, revisions: Sequence[Record]) -> set[tuple[str, Iri]]:
    """Entities and attributes that a virtual sensor writes, or wrote as it was defined before."""
    written = as_sensor(sensor).written if sensor is not None else set[tuple[str, Iri]]()
    for revision in revisions:
        written |= msgspec.convert(revision.body["body"], VirtualSensor).written
    return written


def take_back_needs(seen: Snapshot, binding: Binding, since: Micros) -> Needs:
    """What `take_back` has to see."""
    sensor: tuple[RecordKind, str] = ("virtual_sensor", binding.virtual_sensor)
    revisions: tuple[RecordKind, str] = ("revision", revision_key(*sensor))
    needs = Needs(records={sensor, ("sensor_state", binding.virtual_sensor)}, found={revisions})
    for entity, attribute in written_by(seen.records.get(sensor), seen.found.get(revisions, ())):
        needs.entities.add(entity)
        needs.latest.add(Latest(entity, attribute, binding.id, since))
    return needs


def take_back(effects: Effects[Any], view: View, stamp: Stamp, binding: Binding, since: Micros) -> None:
    """What `binding` brought since a time does not hold."""
    sensor = binding.virtual_sensor
    written = written_by(
        view.record("virtual_sensor", sensor), view.found("revision", revision_key("virtual_sensor", sensor))
    )
    by_entity: dict[str, list[Iri]] = {}
    for entity_id, attribute in sorted(written):
        by_entity.setdefault(entity_id, []).append(attribute)
    for entity_id, attributes in by_entity.items():
        effects.superseded.append(Superseded(entity_id, stamp.version, binding_id=binding.id, since=since))
        entity = view.entity(entity_id)
        if entity is None:
            continue
        left: dict[Iri, Instance | None] = {}
        for attribute in attributes:
            current = default_instance(entity["attrs"].get(attribute, []))
            if current is not None and _observed_by(current, binding.device, since):
                row = view.latest(Latest(entity_id, attribute, binding.id, since))
                left[attribute] = row.instance if row is not None else None
        if left:
            effects.changes.append(fallen_back(entity, left, stamp))
    _rewound(effects, view, binding, since, written)


def _rewound(effects: Effects[Any], view: View, binding: Binding, since: Micros, written: set[tuple[str, Iri]]) -> None:
    """The virtual sensor's state goes back with its values: its meters count on from what is left."""
    record = view.record("sensor_state", binding.virtual_sensor)
    sensor = view.record("virtual_sensor", binding.virtual_sensor)
    if record is None or sensor is None:
        return
    remaining: dict[str, Remaining] = {}
    for entity_id, attribute in written:
        row = view.latest(Latest(entity_id, attribute, binding.id, since))
        value = row.instance.get("value") if row is not None and row.instance is not None else None
        if row is not None and value is not None and row.observed_at < since:
            remaining[key_of(as_sensor(sensor), entity_id, attribute)] = Remaining(row.observed_at, value)
    before = as_sensor_state(record)
    state = rewind(before, since, remaining)
    if state == before:
        return
    effects.records.append(
        RecordWrite("sensor_state", record.id, state_body(state), record.version + 1, record.version)
    )


def reattribution(effects: Effects[Any], view: View, stamp: Stamp, device_id: str, since: Micros) -> None:
    """Owe it to look again at what a device has sent since a time: durable until it is done."""
    record = view.record("reattribution", device_id)
    earliest = since if record is None else min(since, record.body["from"])
    effects.records.append(
        RecordWrite(
            "reattribution",
            device_id,
            {"from": earliest},
            stamp.version,
            record.version if record is not None else 0,
        )
    )


@dataclass(frozen=True, slots=True)
class Reattributed:
    """A reattribution is done, unless more was owed meanwhile. Result: whether it is."""

    device: str
    version: int
    """Of the record that was worked off."""

    def needs(self, seen: Snapshot) -> Needs:
        """The record."""
        return Needs(records={("reattribution", self.device)})

    def apply(self, view: View, stamp: Stamp) -> Effects[bool]:
        """It goes."""
        record = view.record("reattribution", self.device)
        if record is None or record.version != self.version:
            return Effects(record is None)
        return Effects(True, records=[RecordWrite("reattribution", self.device, None, stamp.version, self.version)])


def _observed_by(instance: Instance, device_id: str, since: Micros) -> bool:
    """Whether the value is the device's, of that time."""
    observed = parse_iso(instance.get("observedAt", ""))
    source = default_instance(instance.get("attrs", {}).get(OBSERVED_BY, []))
    return (
        observed is not None
        and observed >= since
        and source is not None
        and source.get("object") == device_urn(device_id)
    )


def fallen_back(entity: Entity, left: dict[Iri, Instance | None], stamp: Stamp) -> EntityChange:
    """The entity with other current values: those that are left, or None where none is."""
    attrs: Attributes = dict(entity["attrs"])
    triggers: dict[Iri, AttributeTrigger] = {}
    for name, instance in left.items():
        before = attrs.get(name, [])
        others = [one for one in before if "datasetId" in one]
        if instance is not None:
            attrs[name] = [{**instance, "modifiedAt": stamp.text}, *others]
            triggers[name] = "attributeUpdated" if before else "attributeCreated"
        else:
            if others:
                attrs[name] = others
            else:
                del attrs[name]
            triggers[name] = "attributeDeleted"
    for name, made in framed(attrs, entity["type"], stamp).items():
        triggers[name] = "attributeDeleted" if made is None else "attributeUpdated"
        if made is not None:
            attrs[name] = [made]
        else:
            attrs.pop(name, None)
    after: Entity = {**entity, "attrs": attrs, "modifiedAt": stamp.text}
    return EntityChange(entity["id"], entity, after, triggers)
