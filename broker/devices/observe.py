"""Observations onto an entity: the current values, the history rows, the change. Pure.

Late data is history, not news: an observation older than the current one is kept in the history and changes nothing
else. So is one that is not plausible, and it says so. Everything observed carries the device that observed it.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.clock import Stamp, iso, parse_iso
from broker.devices.frame import OBSERVED_BY as OBSERVED_BY
from broker.devices.frame import framed
from broker.devices.placing import first_tie, tie_row
from broker.devices.processing.observation import Observation
from broker.ngsild.change import AttributeTrigger, EntityChange
from broker.ngsild.model import IMPLAUSIBLE, LOCATION, Attributes, Entity, Instance, Iri, default_instance
from broker.stores.base import HistoryRow


def device_urn(device_id: str) -> str:
    """The URN of a device's entity."""
    return f"urn:ngsi-ld:Device:{device_id}"


def observe(
    entity: Entity | None,
    observations: Sequence[Observation],
    *,
    device_id: str,
    uplink_id: str,
    stamp: Stamp,
    location: Instance | None = None,
) -> tuple[EntityChange | None, list[HistoryRow]]:
    """The change of one entity by an uplink's observations (oldest first), and their history rows.

    The change is None when nothing is newer than what the entity has. With it, the entity's frame follows, and its
    location becomes `location` where one is given.
    """
    first = observations[0]
    attrs: Attributes = dict(entity["attrs"]) if entity is not None else {}
    triggers: dict[Iri, AttributeTrigger] = {}
    history: list[HistoryRow] = []
    newest = 0
    for observation in observations:
        name, at = observation.attribute, observation.at
        instance = instance_of(observation, device_id, stamp)
        instances = attrs.get(name, [])
        current = default_instance(instances)
        if current is not None:
            instance["createdAt"] = current.get("createdAt", stamp.text)
        history.append(row_of(observation, instance, device_id, uplink_id, stamp))
        if not observation.current or (
            current is not None and (_observed_at(current) > at or same_observation(current, instance))
        ):
            continue
        attrs[name] = [instance, *(one for one in instances if "datasetId" in one)]
        newest = max(newest, at)
        if name not in triggers:
            triggers[name] = "attributeCreated" if not instances else "attributeUpdated"
    if not triggers:
        return None, history
    types = entity["type"] if entity is not None else [first.sensor.entity_type]
    beside = framed(attrs, types, stamp, newest)
    if location is not None:
        beside[LOCATION] = location
    for name, made in beside.items():
        triggers[name] = "attributeUpdated" if name in attrs else "attributeCreated"
        if made is not None:
            attrs[name] = [made, *(one for one in attrs.get(name, ()) if "datasetId" in one)]
            if name == LOCATION:  # when and by which device a value was observed, its own history tells
                history.append(tie_row(first.entity_id, name, made, stamp))
    after: Entity
    if entity is None:
        tied = first_tie(first.sensor, stamp) if first.entity_id == first.sensor.entity else None
        if tied is not None and tied[0] not in attrs:
            attrs[tied[0]], triggers[tied[0]] = [tied[1]], "attributeCreated"
            history.append(tie_row(first.entity_id, *tied, stamp))
        after = {
            "id": first.entity_id,
            "type": types,
            "attrs": attrs,
            "createdAt": stamp.text,
            "modifiedAt": stamp.text,
        }
    else:
        after = {**entity, "attrs": attrs, "modifiedAt": stamp.text}
    return EntityChange(first.entity_id, entity, after, triggers), history


def row_of(observation: Observation, instance: Instance, device_id: str, uplink_id: str, stamp: Stamp) -> HistoryRow:
    """The history row of what is observed."""
    return HistoryRow(
        entity_id=observation.entity_id,
        attribute=observation.attribute,
        dataset_id="",
        observed_at=observation.at,
        recorded_at=stamp.now,
        version=stamp.version,
        instance=instance,
        uplink_id=uplink_id,
        device_id=device_id,
        binding_id=observation.binding.id,
        lineage=observation.lineage,
    )


def same_observation(one: Instance, other: Instance) -> bool:
    """Whether two instances tell of one observation: an uplink that is looked at again is no news."""
    return all(one.get(member) == other.get(member) for member in ("type", "value", "unitCode", "observedAt")) and (
        _source(one) == _source(other)
    )


def _source(instance: Instance) -> object:
    source = default_instance(instance.get("attrs", {}).get(OBSERVED_BY, []))
    return source.get("object") if source is not None else None


def _observed_at(instance: Instance) -> int:
    """When the current value was observed; before everything where it does not say."""
    text = instance.get("observedAt")
    return (parse_iso(text) or 0) if text is not None else 0


def instance_of(observation: Observation, device_id: str, stamp: Stamp) -> Instance:
    """What is observed, as an attribute's instance."""
    instance: Instance = {"type": "Property", "value": observation.value, "observedAt": iso(observation.at)}
    if observation.unit:
        instance["unitCode"] = observation.unit
    instance["createdAt"] = instance["modifiedAt"] = stamp.text
    instance["attrs"] = {
        OBSERVED_BY: [
            {
                "type": "Relationship",
                "object": device_urn(device_id),
                "createdAt": stamp.text,
                "modifiedAt": stamp.text,
            }
        ]
    }
    if observation.failed:
        instance["attrs"][IMPLAUSIBLE] = [
            {
                "type": "Property",
                "value": list(observation.failed),
                "createdAt": stamp.text,
                "modifiedAt": stamp.text,
            }
        ]
    return instance
