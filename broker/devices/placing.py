"""Where a virtual sensor's entity is: the relationship that ties it to the virtual sensor's place. Pure.

Names are the Smart Data Models': an observation is of something (refPointOfInterest), anything else is in a place
(containedInPlace), a room is a space of its building (isSpaceOfBuilding). An entity that is tied to the place by one of
these already is left as it is.
"""

from __future__ import annotations

from typing import Final

from broker.clock import Stamp
from broker.devices.model import VirtualSensor
from broker.ngsild.change import AttributeTrigger, EntityChange
from broker.ngsild.model import DEFAULT_VOCAB, Attributes, Entity, Instance, Iri, default_instance
from broker.stores.base import HistoryRow

CONTAINED: Final[Iri] = DEFAULT_VOCAB + "containedInPlace"
SPACE_OF: Final[Iri] = DEFAULT_VOCAB + "isSpaceOfBuilding"
OBSERVES: Final[Iri] = DEFAULT_VOCAB + "refPointOfInterest"
TIES: Final = (CONTAINED, SPACE_OF, OBSERVES)
"""Relationships that lead from what is contained to what contains it."""


def objects(instance: Instance | None) -> tuple[str, ...]:
    """The ids that a relationship's instance leads to."""
    if instance is None:
        return ()
    found = instance.get("object") if instance["type"] == "Relationship" else instance.get("objectList")
    if isinstance(found, str):
        return (found,)
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()


def place_of(sensor: VirtualSensor | None) -> str | None:
    """The place that the virtual sensor's entity is to be tied to; None when it has none, or is its own."""
    return sensor.place if sensor is not None and sensor.place != sensor.entity else None


def first_tie(sensor: VirtualSensor, stamp: Stamp) -> tuple[Iri, Instance] | None:
    """The relationship that the virtual sensor's entity is created with; None when it has no place but itself."""
    place = place_of(sensor)
    if place is None:
        return None
    return _usual(sensor), {
        "type": "Relationship",
        "object": place,
        "createdAt": stamp.text,
        "modifiedAt": stamp.text,
    }


def follow_place(
    entity: Entity | None, sensor: VirtualSensor, before: VirtualSensor | None, stamp: Stamp
) -> tuple[EntityChange | None, list[HistoryRow]]:
    """The change that ties the virtual sensor's entity (created where it is not there) to its place.

    `before` is the virtual sensor as it was: what tied the same entity to its former place leads to the new one, or
    goes when there is none.
    """
    place = place_of(sensor)
    former = place_of(before) if before is not None and before.entity == sensor.entity else None
    held = {name: default_instance(entity["attrs"].get(name, [])) for name in TIES} if entity is not None else {}
    leads = {name: list(objects(instance)) for name, instance in held.items()}
    leads = {name: to for name, to in leads.items() if to}
    wanted = dict(leads)
    if former is not None and former != place:
        wanted = {name: [one for one in to if one != former] for name, to in leads.items()}
    if place is not None and not any(place in to for to in wanted.values()):
        name = next((name for name in wanted if wanted[name] != leads[name]), _usual(sensor))
        # Beside the former place there may be others, which are not ours; without one, the place is the only one.
        wanted[name] = [*wanted[name], place] if name in leads and wanted[name] != leads[name] else [place]
    triggers: dict[Iri, AttributeTrigger] = {}
    attrs: Attributes = dict(entity["attrs"]) if entity is not None else {}
    for name, to in wanted.items():
        if to == leads.get(name):
            continue
        current = held.get(name)
        others = [one for one in attrs.get(name, ()) if "datasetId" in one]
        if to:
            created = current.get("createdAt", stamp.text) if current is not None else stamp.text
            made: Instance = {"type": "Relationship", "object": to[0] if len(to) == 1 else to}
            others.insert(0, {**made, "createdAt": created, "modifiedAt": stamp.text})
            triggers[name] = "attributeUpdated" if current is not None else "attributeCreated"
        else:
            triggers[name] = "attributeDeleted"
        if others:
            attrs[name] = others
        else:
            del attrs[name]
    if not triggers:
        return None, []
    after: Entity
    if entity is None:
        after = {
            "id": sensor.entity,
            "type": [sensor.entity_type],
            "attrs": attrs,
            "createdAt": stamp.text,
            "modifiedAt": stamp.text,
        }
    else:
        after = {**entity, "attrs": attrs, "modifiedAt": stamp.text}
    history = [tie_row(sensor.entity, name, default_instance(attrs.get(name, [])), stamp) for name in triggers]
    return EntityChange(sensor.entity, entity, after, triggers), history


def _usual(sensor: VirtualSensor) -> Iri:
    return OBSERVES if sensor.entity_type.endswith("Observed") else CONTAINED


def tie_row(entity_id: str, name: Iri, instance: Instance | None, stamp: Stamp) -> HistoryRow:
    """The history row of a tie that was made (or, None, undone)."""
    return HistoryRow(
        entity_id=entity_id,
        attribute=name,
        dataset_id="",
        observed_at=stamp.now,
        recorded_at=stamp.now,
        version=stamp.version,
        instance=instance,
    )
