"""What was judged of a virtual sensor, as effects: its health, the alarms that open and close, and their entities. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from broker.clock import Micros, Stamp
from broker.devices.alarms.alert import alert_entity, alert_urn, location_of
from broker.devices.alarms.life import Judged
from broker.devices.alarms.model import (
    Alarm,
    Because,
    Health,
    Pending,
    Step,
    alarm_write,
    as_alarm,
    as_health,
    health_write,
)
from broker.devices.model import VirtualSensor
from broker.errors import ResourceNotFound
from broker.stores.base import Needs, Record, Snapshot
from broker.stores.command import Effects, View


def health_needs(sensor_id: str, seen: Snapshot) -> Needs:
    """A virtual sensor's health, its open alarms, and their entities."""
    needs = Needs(records={("sensor_health", sensor_id)})
    record = seen.records.get(("sensor_health", sensor_id))
    if record is not None and record.body.get("open"):
        for alarm_id in record.body["open"].values():
            needs.add(alarm_needs(alarm_id))
    return needs


def alarm_needs(alarm_id: str) -> Needs:
    """An alarm and its entity."""
    return Needs(records={("alarm", alarm_id)}, entities={alert_urn(alarm_id)})


def add_judged(
    effects: Effects[Any],
    view: View,
    stamp: Stamp,
    sensor: VirtualSensor,
    before: Record | None,
    judged: Judged,
    device: str | None,
) -> None:
    """Add what follows from `judged` to a command's effects. `before`: the health as it was read."""
    for alarm_id, pending in judged.opened:
        _write(effects, view, stamp, _opened(alarm_id, pending, sensor, device, stamp.now), None)
    for alarm_id, because in judged.closed:
        close_alarm(effects, view, stamp, alarm_id, because)
    if judged.health != as_health(before):
        write = health_write(sensor.id, judged.health, before, stamp)
        if write is not None:
            effects.records.append(write)


def close_alarm(effects: Effects[Any], view: View, stamp: Stamp, alarm_id: str, because: Because) -> None:
    """Add that an alarm is closed; nothing when it is already."""
    record = view.record("alarm", alarm_id)
    if record is None:
        return
    alarm = as_alarm(record)
    if alarm.state != "closed":
        _write(effects, view, stamp, closed(alarm, because, stamp.now), record)


def change_alarm(effects: Effects[Any], view: View, stamp: Stamp, alarm: Alarm, before: Record) -> None:
    """Add an alarm's next state."""
    _write(effects, view, stamp, alarm, before)


def closed(alarm: Alarm, because: Because, at: Micros, by: str = "", comment: str = "") -> Alarm:
    """The alarm, closed."""
    return msgspec.structs.replace(
        alarm,
        state="closed",
        closed_at=at,
        closed_because=because,
        comment=comment or alarm.comment,
        steps=(*alarm.steps, Step(at=at, state="closed", by=by, comment=comment, because=because)),
    )


def acknowledged(alarm: Alarm, at: Micros, by: str, comment: str) -> Alarm:
    """The alarm, acknowledged; once more, when somebody adds a comment."""
    return msgspec.structs.replace(
        alarm,
        state="acknowledged",
        acknowledged_at=at,
        acknowledged_by=by,
        comment=comment or alarm.comment,
        steps=(*alarm.steps, Step(at=at, state="acknowledged", by=by, comment=comment)),
    )


def existing_alarm(view: View, alarm_id: str) -> tuple[Alarm, Record]:
    """The alarm and its record. Raises ResourceNotFound."""
    record = view.record("alarm", alarm_id)
    if record is None:
        raise ResourceNotFound(f"There is no alarm '{alarm_id[:100]}'.")
    return as_alarm(record), record


def healths(view: View, sensor_ids: Iterable[str]) -> dict[str, tuple[Record | None, Health]]:
    """By virtual sensor: the record of its health, and the health."""
    return {
        sensor_id: (record := view.record("sensor_health", sensor_id), as_health(record)) for sensor_id in sensor_ids
    }


def _opened(alarm_id: str, pending: Pending, sensor: VirtualSensor, device: str | None, at: Micros) -> Alarm:
    return Alarm(
        id=alarm_id,
        virtual_sensor=sensor.id,
        kind=pending.kind,
        rule=pending.rule,
        severity=pending.severity,
        text=pending.text,
        entity=sensor.entity,
        device=device,
        since=pending.since,
        opened_at=at,
        data=pending.data,
        steps=(Step(at=at, state="open"),),
    )


def _write(effects: Effects[Any], view: View, stamp: Stamp, alarm: Alarm, before: Record | None) -> None:
    effects.records.append(alarm_write(alarm, stamp, before.version if before is not None else 0))
    change, history = alert_entity(
        view.entity(alert_urn(alarm.id)),
        alarm,
        location_of(view.entity(alarm.entity)) if before is None else None,
        stamp,
    )
    if change is not None:
        effects.changes.append(change)
        effects.history += history
