"""An alarm as an NGSI-LD entity, so that apps subscribe to it like to anything else. Pure.

Type and attribute names of the Smart Data Models' Alert (dataModel.Alert). Its categories know nothing of sensors: all of
ours are 'environment', and `subCategory` is the kind of alarm. Beyond the model: `alarmState`, `acknowledgedBy`, `comment`,
`closedBecause`, and `refDevice` as other models have it. It stays after the alarm was closed, with `validTo`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from broker.clock import Micros, Stamp, iso
from broker.devices.alarms.model import Alarm
from broker.devices.model import VirtualSensor
from broker.devices.observe import device_urn
from broker.ngsild.change import AttributeTrigger, EntityChange
from broker.ngsild.model import (
    DEFAULT_VOCAB,
    LOCATION,
    PERSONAL_ALERTS,
    Attributes,
    Entity,
    Instance,
    Iri,
    default_instance,
    value_of,
)
from broker.stores.base import HistoryRow

ALERT_TYPE: Final[Iri] = DEFAULT_VOCAB + "Alert"
ALERT_SOURCE: Final[Iri] = DEFAULT_VOCAB + "alertSource"
ALARM_STATE: Final[Iri] = DEFAULT_VOCAB + "alarmState"
# These two are terms of the core @context.
_DESCRIPTION: Final[Iri] = "http://purl.org/dc/terms/description"
_DATA: Final[Iri] = "https://uri.etsi.org/ngsi-ld/data"


def alarm_ids(sensor: VirtualSensor, new_id: Callable[[], str]) -> Callable[[], str]:
    """Makes ids of alarms: those of a personal virtual sensor are told by them."""
    if sensor.personal is None:
        return new_id
    return lambda: PERSONAL_ALERTS.removeprefix(alert_urn("")) + new_id()


def alert_urn(alarm_id: str) -> str:
    """The URN of an alarm's entity."""
    return f"urn:ngsi-ld:Alert:{alarm_id}"


def alert_entity(
    entity: Entity | None, alarm: Alarm, location: Any, stamp: Stamp
) -> tuple[EntityChange | None, list[HistoryRow]]:
    """The change that brings the alarm's entity in step with it; None when it is already. `location`: GeoJSON or None."""
    attrs: Attributes = dict(entity["attrs"]) if entity is not None else {}
    triggers: dict[Iri, AttributeTrigger] = {}
    for name, instance in _wanted(alarm, location).items():
        current = default_instance(attrs.get(name, []))
        if current is not None and value_of(current) == value_of(instance):
            continue
        created = current.get("createdAt", stamp.text) if current is not None else stamp.text
        attrs[name] = [{**instance, "createdAt": created, "modifiedAt": stamp.text}]
        triggers[name] = "attributeUpdated" if current is not None else "attributeCreated"
    if not triggers:
        return None, []
    after: Entity
    if entity is None:
        after = {
            "id": alert_urn(alarm.id),
            "type": [ALERT_TYPE],
            "attrs": attrs,
            "createdAt": stamp.text,
            "modifiedAt": stamp.text,
        }
    else:
        after = {**entity, "attrs": attrs, "modifiedAt": stamp.text}
    history = [
        HistoryRow(
            entity_id=after["id"],
            attribute=name,
            dataset_id="",
            observed_at=stamp.now,
            recorded_at=stamp.now,
            version=stamp.version,
            instance=attrs[name][0],
            device_id=alarm.device,
        )
        for name in triggers
    ]
    return EntityChange(after["id"], entity, after, triggers), history


def location_of(entity: Entity | None) -> Any:
    """Where an entity is, as GeoJSON; None when it does not say."""
    if entity is None:
        return None
    instance = default_instance(entity["attrs"].get(LOCATION, []))
    return instance.get("value") if instance is not None else None


def _wanted(alarm: Alarm, location: Any) -> dict[Iri, Instance]:
    values: dict[Iri, Any] = {
        DEFAULT_VOCAB + "category": "environment",
        DEFAULT_VOCAB + "subCategory": alarm.kind,
        DEFAULT_VOCAB + "severity": alarm.severity,
        _DESCRIPTION: alarm.text,
        DEFAULT_VOCAB + "dateIssued": _moment(alarm.opened_at),
        DEFAULT_VOCAB + "validFrom": _moment(alarm.since),
        DEFAULT_VOCAB + "validTo": _moment(alarm.closed_at),
        _DATA: {"virtualSensor": alarm.virtual_sensor, **({"rule": alarm.rule} if alarm.rule else {}), **alarm.data},
        ALARM_STATE: alarm.state,
        DEFAULT_VOCAB + "acknowledgedBy": alarm.acknowledged_by,
        DEFAULT_VOCAB + "comment": alarm.comment,
        DEFAULT_VOCAB + "closedBecause": alarm.closed_because,
    }
    wanted: dict[Iri, Instance] = {
        name: {"type": "Property", "value": value} for name, value in values.items() if value is not None
    }
    wanted[ALERT_SOURCE] = {"type": "Relationship", "object": alarm.entity}
    if alarm.device is not None:
        wanted[DEFAULT_VOCAB + "refDevice"] = {"type": "Relationship", "object": device_urn(alarm.device)}
    if location is not None:
        wanted[LOCATION] = {"type": "GeoProperty", "value": location}
    return wanted


def _moment(at: Micros | None) -> dict[str, str] | None:
    return {"@type": "DateTime", "@value": iso(at)} if at is not None else None
