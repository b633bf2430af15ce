"""Where a virtual sensor's entity is, when nobody says: where its place is, or what that is in. Pure.

The location says which place it is taken from. One that a client wrote says nothing of the kind, and is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from broker.clock import Stamp
from broker.devices.model import VirtualSensor
from broker.devices.placing import TIES, objects, place_of
from broker.ngsild.model import DEFAULT_VOCAB, LOCATION, Entity, Instance, Iri, default_instance, value_of

TAKEN_FROM: Final[Iri] = DEFAULT_VOCAB + "takenFrom"
LEVELS: Final = 4
"""How far up is looked: a desk's room, storey, building, and what that is in."""

EntityOf = Callable[[str], Entity | None]


@dataclass(frozen=True, slots=True)
class Found:
    """A place that says where it is."""

    place: str
    geometry: Any
    """GeoJSON."""


def places_needed(sensor: VirtualSensor, entity_of: EntityOf) -> set[str]:
    """The ids of the entities that `located` will look at, as far as those that are known tell."""
    place = place_of(sensor)
    if place is None or _says_itself(entity_of(sensor.entity)):
        return set()
    return set(_upwards(place, entity_of))


def located(sensor: VirtualSensor, entity_of: EntityOf, stamp: Stamp) -> Instance | None:
    """The location that the virtual sensor's entity is to have; None: leave it as it is."""
    place, entity = place_of(sensor), entity_of(sensor.entity)
    if place is None or _says_itself(entity):
        return None
    found = _found(place, entity_of)
    if found is None:
        return None
    current = default_instance(entity["attrs"].get(LOCATION, [])) if entity is not None else None
    if current is not None and value_of(current) == found.geometry and _taken_from(current) == found.place:
        return None
    created = current.get("createdAt", stamp.text) if current is not None else stamp.text
    source: Instance = {
        "type": "Relationship",
        "object": found.place,
        "createdAt": created,
        "modifiedAt": stamp.text,
    }
    return {
        "type": "GeoProperty",
        "value": found.geometry,
        "createdAt": created,
        "modifiedAt": stamp.text,
        "attrs": {TAKEN_FROM: [source]},
    }


def _says_itself(entity: Entity | None) -> bool:
    current = default_instance(entity["attrs"].get(LOCATION, [])) if entity is not None else None
    return current is not None and _taken_from(current) is None


def _taken_from(location: Instance) -> str | None:
    by = default_instance(location.get("attrs", {}).get(TAKEN_FROM, []))
    return next(iter(objects(by)), None)


def _found(place: str, entity_of: EntityOf) -> Found | None:
    for one in _upwards(place, entity_of):
        instance = _location(entity_of(one))
        if instance is not None:
            return Found(one, value_of(instance))
    return None


def _upwards(place: str, entity_of: EntityOf) -> list[str]:
    """The place and what it is in, up to the first that says where it is, or is not known."""
    found: list[str] = []
    at: str | None = place
    while at is not None and at not in found and len(found) < LEVELS:
        found.append(at)
        entity = entity_of(at)
        if entity is None or _location(entity) is not None:
            break
        ties = (default_instance(entity["attrs"].get(tie, [])) for tie in _INWARDS)
        at = next((target for tie in ties for target in objects(tie)), None)
    return found


def _location(entity: Entity | None) -> Instance | None:
    instance = default_instance(entity["attrs"].get(LOCATION, [])) if entity is not None else None
    return instance if instance is not None and instance["type"] == "GeoProperty" else None


_INWARDS: Final = (TIES[1], TIES[0], TIES[2])
"""A room is in its building before it is in anything else."""
