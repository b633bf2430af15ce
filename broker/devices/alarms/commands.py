"""What people do with alarms: acknowledge, close, shelve. Commands."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from broker.clock import Stamp, iso
from broker.devices.alarms.effects import (
    acknowledged,
    alarm_needs,
    change_alarm,
    closed,
    existing_alarm,
    healths,
)
from broker.devices.alarms.life import closed_by_hand, shelved
from broker.devices.alarms.model import Alarm, Shelf, as_alarm, as_health, health_write
from broker.errors import BadRequestData, PreconditionFailed, ResourceNotFound
from broker.stores.base import Needs, Snapshot
from broker.stores.command import Effects, View


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Somebody has seen the alarm and takes care. Again is another step. Result: the alarm."""

    alarm: str
    by: str
    comment: str = ""

    def needs(self, seen: Snapshot) -> Needs:
        """The alarm and its entity."""
        return alarm_needs(self.alarm)

    def apply(self, view: View, stamp: Stamp) -> Effects[Alarm]:
        """The alarm's next state. Raises ResourceNotFound, PreconditionFailed."""
        alarm, record = existing_alarm(view, self.alarm)
        _refuse_closed(alarm)
        after = acknowledged(alarm, stamp.now, self.by, self.comment)
        effects = Effects(after)
        change_alarm(effects, view, stamp, after, record)
        return effects


@dataclass(frozen=True, slots=True)
class CloseAlarm:
    """Close an alarm by hand. While it is still wrong, it does not open again. Result: the alarm."""

    alarm: str
    by: str
    comment: str = ""

    def needs(self, seen: Snapshot) -> Needs:
        """The alarm, its entity, and the health of its virtual sensor."""
        needs = alarm_needs(self.alarm)
        record = seen.records.get(("alarm", self.alarm))
        if record is not None:
            needs.records.add(("sensor_health", as_alarm(record).virtual_sensor))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Alarm]:
        """The alarm's next state. Raises ResourceNotFound, PreconditionFailed."""
        alarm, record = existing_alarm(view, self.alarm)
        _refuse_closed(alarm)
        after = closed(alarm, "by hand", stamp.now, self.by, self.comment)
        effects = Effects(after)
        change_alarm(effects, view, stamp, after, record)
        before = view.record("sensor_health", alarm.virtual_sensor)
        write = health_write(alarm.virtual_sensor, closed_by_hand(as_health(before), alarm.id), before, stamp)
        effects.records += [write] if write is not None else []
        return effects


@dataclass(frozen=True, slots=True)
class ShelveSensors:
    """No alarm of these virtual sensors opens until a time; None: from now on they do again. Result: the shelf.

    What is open stays so, and closes when it recovers.
    """

    sensors: frozenset[str]
    until: int | None
    by: str
    reason: str = ""

    def needs(self, seen: Snapshot) -> Needs:
        """The virtual sensors and their health."""
        needs = Needs()
        for sensor in self.sensors:
            needs.records |= {("virtual_sensor", sensor), ("sensor_health", sensor)}
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Shelf | None]:
        """Their health's next state. Raises ResourceNotFound, BadRequestData."""
        if self.until is not None and self.until <= stamp.now:
            raise BadRequestData(f"'until' must be in the future, got {iso(self.until)}.")
        for sensor in sorted(self.sensors):
            if view.record("virtual_sensor", sensor) is None:
                raise ResourceNotFound(f"There is no virtual sensor '{sensor[:100]}'.")
        shelf = (
            Shelf(until=self.until, by=self.by, reason=self.reason, at=stamp.now) if self.until is not None else None
        )
        effects = Effects(shelf)
        for sensor, (record, health) in healths(view, sorted(self.sensors)).items():
            if shelf is not None:
                after = shelved(health, shelf)
            elif health.shelf is None:
                continue
            else:
                # It is looked at with the next scan, so that what was held back opens.
                after = msgspec.structs.replace(health, shelf=None, look_at=stamp.now)
            write = health_write(sensor, after, record, stamp)
            effects.records += [write] if write is not None else []
        return effects


def _refuse_closed(alarm: Alarm) -> None:
    if alarm.state == "closed":
        assert alarm.closed_at is not None
        raise PreconditionFailed(f"The alarm '{alarm.id}' was closed at {iso(alarm.closed_at)} already.")
