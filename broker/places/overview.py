"""A place and all that it contains as one answer. Pure: what was read is passed in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from broker.clock import SECOND, Micros, iso, parse_iso
from broker.devices.frame import OBSERVED_BY, frame_of
from broker.devices.model import VirtualSensor
from broker.devices.placing import objects
from broker.ngsild.model import IMPLAUSIBLE, Entity, Instance, Iri, default_instance, value_of
from broker.ngsild.names import Names
from broker.places.behind import Behind
from broker.places.containment import Around, Contained, Vocabulary

DEVICE_URN: Final = "urn:ngsi-ld:Device:"
_DIGITS: Final = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Said:
    """How things are said: the names to use, what a place is, and the moment that ages are counted from."""

    names: Names
    words: Vocabulary
    now: Micros

    def reference(self, entity: Entity) -> dict[str, Any]:
        """An entity by id, type and name."""
        return {"id": entity["id"], "type": self.types(entity), "name": self.name(entity)}

    def types(self, entity: Entity) -> str | list[str]:
        """Its type, or its types."""
        found = [self.names.compact(each) for each in entity["type"]]
        return found[0] if len(found) == 1 else found

    def name(self, entity: Entity) -> str | None:
        """What people call it."""
        return name_of(entity, self.names.expand("name"))


def name_of(entity: Entity, attribute: Iri) -> str | None:
    """The name of an entity; of one in several languages, the first."""
    instances = entity["attrs"].get(attribute, [])
    value = value_of(default_instance(instances) or instances[0]) if instances else None
    if isinstance(value, dict):
        value = next(iter(value.values()), None)
    return value if isinstance(value, str) else None


def breadcrumb(way: Sequence[Around], said: Said) -> list[dict[str, Any]]:
    """The places around a place, the outermost first; what is not there has neither type nor name."""
    return [
        {
            **(said.reference(one.entity) if one.entity is not None else {"id": one.id, "type": None, "name": None}),
            "via": said.names.compact(one.via),
        }
        for one in way
    ]


# --- the tree ---------------------------------------------------------------------------------------------------------


def tree(found: Contained, said: Said, depth: int, sums: dict[str, Sum]) -> list[dict[str, Any]]:
    """The places within the place, `depth` levels, each with what it sums up. What is no place is only counted."""

    def branch(parent: str, left: int) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        if left == 0:
            return made
        for child in found.children.get(parent, ()):
            if not is_place(found, child, said.words):
                continue
            node, total = found.nodes[child], sums[child]
            made.append(
                {
                    **said.reference(node.entity),
                    "via": said.names.compact(node.via),
                    **total.shown(),
                    "contains": branch(child, left - 1),
                    "more": left <= 1 and total.places > 0,
                }
            )
        return sorted(made, key=lambda one: _natural(one["name"] or "", one["id"]))

    return branch(found.root, depth)


def is_place(found: Contained, entity_id: str, words: Vocabulary) -> bool:
    """A place is what has such a type, and what has something in it."""
    return entity_id in found.children or words.is_place(found.nodes[entity_id].entity)


def _natural(name: str, entity_id: str) -> tuple[list[tuple[int, int, str]], str]:
    """Room 9 before room 10."""
    parts = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(name.casefold())]
    return [part for part in parts if part != (1, 0, "")], entity_id


@dataclass(slots=True)
class Sum:
    """What is within a place, at any depth."""

    places: int = 0
    entities: int = 0
    """All, places too."""
    sensors: int = 0
    open_alarms: int = 0
    last_seen: Micros | None = None

    def add(self, other: Sum) -> None:
        """Take over what `other` sums up."""
        self.places += other.places
        self.entities += other.entities
        self.sensors += other.sensors
        self.open_alarms += other.open_alarms
        if other.last_seen is not None and (self.last_seen is None or other.last_seen > self.last_seen):
            self.last_seen = other.last_seen

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "places": self.places,
            "entities": self.entities,
            "sensors": self.sensors,
            "openAlarms": self.open_alarms,
            "lastSeen": iso(self.last_seen) if self.last_seen is not None else None,
        }


def summed(found: Contained, things: Behind, words: Vocabulary, now: Micros) -> dict[str, Sum]:
    """Id -> what is within it; with the virtual sensors that write the place itself. A virtual sensor counts once."""
    sums = {entity_id: Sum() for entity_id in found.nodes}
    sums[found.root] = Sum()
    counted: set[str] = set()
    for entity_id, own in sums.items():
        for sensor in things.of_entity.get(entity_id, ()):
            # One that writes several entities is where its own is, if that is here.
            if sensor.id in counted or (sensor.entity != entity_id and sensor.entity in sums):
                continue
            counted.add(sensor.id)
            own.sensors += 1
            own.open_alarms += len(things.alarms.get(sensor.id, ()))
            own.add(Sum(last_seen=_last_seen(sensor, things, now)))
    # What is within comes behind what it is within, so that from the end each is whole when it is added.
    for entity_id, node in reversed(found.nodes.items()):
        above = sums[node.parent]
        above.add(sums[entity_id])
        above.entities += 1
        above.places += is_place(found, entity_id, words)
    return sums


def _last_seen(sensor: VirtualSensor, things: Behind, now: Micros) -> Micros | None:
    binding = things.bound(sensor.id, now)
    state = things.states.get(binding.device) if binding is not None else None
    return state.last_seen if state is not None else None


def by_type(found: Contained, said: Said) -> dict[str, int]:
    """How many there are of each type, the most frequent first."""
    counts = Counter(each for node in found.nodes.values() for each in node.entity["type"])
    return {said.names.compact(each): count for each, count in counts.most_common()}


# --- one entity -------------------------------------------------------------------------------------------------------


def details(entity: Entity, found: Contained, things: Behind, said: Said) -> dict[str, Any]:
    """One entity: what virtual sensors write of it, what others do, and what stands behind."""
    node = found.nodes.get(entity["id"])
    writers = things.writers(entity["id"])
    measured: dict[str, Any] = {}
    other: dict[str, Any] = {}
    frame = frame_of(entity["type"])
    told = frame.attributes if frame is not None and writers else ()
    for name, instances in entity["attrs"].items():
        if name in told:  # each value says when and by which device it was observed
            continue
        shown = _attribute(instances, said)
        observer = _observer(instances)
        if name not in writers and observer is None:
            other[said.names.compact(name)] = shown
            continue
        measured[said.names.compact(name)] = shown | _source(shown, writers.get(name), observer, things, said)
    sensors = [_sensor(sensor, things, said.now) for sensor in things.of_entity.get(entity["id"], ())]
    return {
        **said.reference(entity),
        "within": node.parent if node is not None else None,
        "via": said.names.compact(node.via) if node is not None else None,
        "level": node.level if node is not None else 0,
        "lastSeen": max((one["lastSeen"] for one in sensors if one["lastSeen"] is not None), default=None),
        "measured": measured,
        "other": other,
        "sensors": sensors,
    }


def _attribute(instances: Sequence[Instance], said: Said) -> dict[str, Any]:
    """The default instance's value, or the first's, and those of other datasets."""
    first = default_instance(list(instances)) or instances[0]
    shown = _instance(first, said)
    if len(instances) > 1:
        shown["datasets"] = {one["datasetId"]: _instance(one, said) for one in instances if "datasetId" in one}
    return shown


def _instance(instance: Instance, said: Said) -> dict[str, Any]:
    shown: dict[str, Any] = {"value": value_of(instance)}
    if instance["type"] != "Property":
        shown["type"] = instance["type"]
    if "unitCode" in instance:
        shown["unitCode"] = instance["unitCode"]
    observed = instance.get("observedAt")
    if observed is not None:
        shown["observedAt"] = observed
    elif "modifiedAt" in instance:
        shown["modifiedAt"] = instance["modifiedAt"]
    failed = default_instance(instance.get("attrs", {}).get(IMPLAUSIBLE, []))
    if failed is not None:
        shown["implausible"] = value_of(failed)
    at = parse_iso(observed or instance.get("modifiedAt", ""))
    if at is not None:
        shown["ageSeconds"] = (said.now - at) // SECOND
    return shown


def _observer(instances: Sequence[Instance]) -> str | None:
    """The device that observed the value."""
    for instance in instances:
        for observer in instance.get("attrs", {}).get(OBSERVED_BY, ()):
            for target in objects(observer):
                if target.startswith(DEVICE_URN):
                    return target.removeprefix(DEVICE_URN)
    return None


def _source(
    shown: dict[str, Any], sensor: VirtualSensor | None, device: str | None, things: Behind, said: Said
) -> dict[str, Any]:
    """Which virtual sensor writes the attribute, which device made its value, and by which binding."""
    at = parse_iso(shown.get("observedAt", "")) or said.now
    binding = things.bound(sensor.id, at, device) if sensor is not None else None
    return {
        "virtualSensor": sensor.id if sensor is not None else None,
        "device": device,
        "binding": binding.id if binding is not None and device is not None else None,
    }


def _sensor(sensor: VirtualSensor, things: Behind, now: Micros) -> dict[str, Any]:
    """A virtual sensor, and the device that it is now."""
    binding = things.bound(sensor.id, now)
    device = things.devices.get(binding.device) if binding is not None else None
    state = things.states.get(binding.device) if binding is not None else None
    last_seen = state.last_seen if state is not None else None
    return {
        "id": sensor.id,
        "name": sensor.name,
        "device": binding.device if binding is not None else None,
        "model": device.model if device is not None else None,
        "binding": binding.id if binding is not None else None,
        "boundSince": iso(binding.valid_from) if binding is not None else None,
        "lastSeen": iso(last_seen) if last_seen is not None else None,
        "batteryPercent": state.battery_percent if state is not None else None,
        "batteryVolts": state.battery_volts if state is not None else None,
        "batteryDerived": state.battery_derived if state is not None else False,
        "rssi": state.rssi if state is not None else None,
        "alarms": [alarm.id for alarm in things.alarms.get(sensor.id, ())],
    }
