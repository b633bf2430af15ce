"""The command of the scan: looks at virtual sensors that are due, and at those of devices that are. Pure.

Silence, delays that have passed, shelves that have ended, rules that are gone. Only the device that is bound now counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from broker.clock import SECOND, Micros, Stamp, iso
from broker.devices.alarms.alert import alarm_ids
from broker.devices.alarms.due import Gap, due_key, interval, silent_at
from broker.devices.alarms.effects import add_judged, alarm_needs, close_alarm, health_needs
from broker.devices.alarms.life import judge
from broker.devices.alarms.model import Health, as_health, health_write, open_key
from broker.devices.alarms.rules import Signal, rules_of, severity
from broker.devices.alarms.watched import Watched, is_watched, watched_by, watched_needs
from broker.devices.model import VirtualSensor
from broker.devices.registry import as_binding, as_sensor
from broker.stores.base import Needs, Record, RecordWrite, Snapshot
from broker.stores.command import Alone, Effects, View


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look did, counts."""

    sensors: int = 0
    opened: int = 0
    closed: int = 0


@dataclass(frozen=True, slots=True)
class LookAt(Alone):
    """Judge virtual sensors by what time alone changes. Result: Looked.

    `gaps`: when no broker was there to hear anything. Alone in its group: which records it reads follows from bindings.
    """

    sensors: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    gaps: tuple[Gap, ...] = ()

    def needs(self, seen: Snapshot) -> Needs:
        """Devices' bindings; the virtual sensors with health, open alarms, bindings; their devices, states and models."""
        needs = Needs()
        for device in self.devices:
            needs.records.add(("device_state", device))
            needs.found.add(("binding", f"device:{device}"))
        for sensor in self._sensors(lambda device: seen.found.get(("binding", f"device:{device}"), ())):
            needs.add(health_needs(sensor, seen))
            needs.found.add(("alarm", open_key(sensor)))
            for alarm in seen.found.get(("alarm", open_key(sensor)), ()):
                needs.add(alarm_needs(alarm.id))
            needs.add(watched_needs(sensor, seen))
            record = seen.records.get(("virtual_sensor", sensor))
            if record is not None:
                needs.entities.add(as_sensor(record).entity)
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Looked]:
        """What is due, done; and when to look again."""
        effects = Effects(Looked())
        opened = closed = 0
        deadlines: dict[str, Micros] = {}
        sensors = self._sensors(lambda device: view.found("binding", f"device:{device}"))
        for sensor_id in sorted(sensors):
            found = self._look(effects, view, stamp, sensor_id, deadlines)
            opened, closed = opened + found[0], closed + found[1]
        for device in sorted(self.devices):
            _put_off(effects, view, stamp, device, deadlines.get(device))
        effects.result = Looked(len(sensors), opened, closed)
        return effects

    def _sensors(self, bindings_of: Callable[[str], Sequence[Record]]) -> set[str]:
        return {
            *self.sensors,
            *(as_binding(record).virtual_sensor for device in self.devices for record in bindings_of(device)),
        }

    def _look(
        self, effects: Effects[Looked], view: View, stamp: Stamp, sensor_id: str, deadlines: dict[str, Micros]
    ) -> tuple[int, int]:
        """Judges one; (opened, closed). `deadlines`: of devices whose own state says when they are silent, the earliest."""
        record = view.record("sensor_health", sensor_id)
        health = as_health(record)
        sensor_record = view.record("virtual_sensor", sensor_id)
        if sensor_record is None:
            left = [alarm.id for alarm in view.found("alarm", open_key(sensor_id))]
            for alarm_id in left:
                close_alarm(effects, view, stamp, alarm_id, "sensor removed")
            write = health_write(sensor_id, Health(), record, stamp)
            effects.records += [write] if write is not None else []
            return 0, len(left)
        sensor = as_sensor(sensor_record)
        watched = watched_by(view, sensor, stamp.now)
        signals: list[Signal] = []
        times = [watched.begins] if watched.begins is not None else []
        if watched.since is not None and watched.allowed is not None:
            deadline = silent_at(watched.since, watched.allowed, self.gaps)
            if deadline <= stamp.now:
                signals.append(_silent(sensor, watched))
            else:
                signals.append(Signal("silence", "good"))
                if watched.device in self.devices:
                    deadlines[watched.device] = min(deadline, deadlines.get(watched.device, deadline))
                elif not is_watched(watched, deadline):
                    times.append(deadline)
        judged = judge(
            msgspec.structs.replace(health, look_at=min(times, default=None)),
            signals,
            at=stamp.now,
            now=stamp.now,
            rules=rules_of(sensor),
            device=watched.device,
            new_id=alarm_ids(sensor, view.new_id),
        )
        add_judged(effects, view, stamp, sensor, record, judged, watched.device or None)
        return len(judged.opened), len(judged.closed)


def _put_off(effects: Effects[Looked], view: View, stamp: Stamp, device: str, deadline: Micros | None) -> None:
    """The device's state is looked at again at its deadline; without one, when it is heard again."""
    record = view.record("device_state", device)
    if record is None:
        return
    keys = (due_key(deadline, stamp.now),) if deadline is not None else ()
    if keys != record.keys:
        effects.records.append(
            RecordWrite("device_state", device, record.body, record.version + 1, record.version, keys)
        )


def _silent(sensor: VirtualSensor, watched: Watched) -> Signal:
    expected = interval(sensor, watched.model)
    often = f" (expected every {_duration(expected)})" if expected is not None else ""
    assert watched.binding is not None and watched.since is not None
    seen = watched.state.last_seen
    if seen is not None and seen >= watched.binding.valid_from:
        text = f"No uplink since {_minute(seen)}{often}."
    else:
        text = f"Device {watched.device} has never been heard since it was bound at {_minute(watched.binding.valid_from)}{often}."
    data = {"lastSeen": iso(seen)} if seen is not None else {}
    return Signal("silence", "bad", severity(sensor, "silence"), text, data=data, since=watched.since)


def _minute(at: Micros) -> str:
    return f"{iso(at)[:10]} {iso(at)[11:16]}Z"


def _duration(span: Micros) -> str:
    seconds = span // SECOND
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
