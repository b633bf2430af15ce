"""Alarms and the health of virtual sensors as the management API shows them."""

from __future__ import annotations

from typing import Any

import msgspec

from broker.api.management.common import shown_times
from broker.clock import SECOND, Micros, iso
from broker.devices.alarms.alert import alert_urn
from broker.devices.alarms.due import interval, silent_at
from broker.devices.alarms.frames import lost_share
from broker.devices.alarms.model import Alarm, Pending, Shelf, as_alarm, as_health
from broker.devices.alarms.watched import Watched
from broker.devices.model import VirtualSensor
from broker.stores.command import View

_ALARM_TIMES = ("since", "openedAt", "acknowledgedAt", "closedAt")


def shown_alarm(alarm: Alarm) -> dict[str, Any]:
    """An alarm, its times as text, with the id of its entity."""
    made = shown_times(msgspec.to_builtins(alarm), _ALARM_TIMES)
    made["steps"] = [shown_times(step, ("at",)) for step in made["steps"]]
    return {**made, "alert": alert_urn(alarm.id)}


def shown_shelf(shelf: Shelf) -> dict[str, Any]:
    """Planned work, its times as text."""
    return shown_times(msgspec.to_builtins(shelf), ("until", "at"))


def shown_health(view: View, sensor: VirtualSensor, watched: Watched, now: Micros) -> dict[str, Any]:
    """A virtual sensor's health: in a word, in figures, and what is wrong."""
    health = as_health(view.record("sensor_health", sensor.id))
    shelf = health.shelf if health.shelf is not None and health.shelf.until > now else None
    alarms = [
        as_alarm(record)
        for alarm_id in sorted(health.open.values())
        if (record := view.record("alarm", alarm_id)) is not None
    ]
    return {
        "virtualSensor": sensor.id,
        "health": _word(watched, alarms, health.pending, shelf),
        **_figures(sensor, watched),
        "alarms": [shown_alarm(alarm) for alarm in alarms],
        "pending": [_shown_pending(one) for one in health.pending.values()],
        "dismissed": list(health.dismissed),
        "shelf": shown_shelf(shelf) if shelf is not None else None,
    }


def _word(watched: Watched, alarms: list[Alarm], pending: dict[str, Pending], shelf: Shelf | None) -> str:
    if shelf is not None:
        return "shelved"
    if alarms:
        return "alarm"
    if watched.binding is None:
        return "unbound"
    if watched.state.last_seen is None:
        return "never heard"
    return "pending" if pending else "good"


def _figures(sensor: VirtualSensor, watched: Watched) -> dict[str, Any]:
    """What the device that is bound now is known by."""
    state, share = watched.state, lost_share(watched.state)
    expected = interval(sensor, watched.model)
    silent = (
        silent_at(watched.since, watched.allowed) if watched.since is not None and watched.allowed is not None else None
    )
    return {
        "device": watched.device or None,
        "lastSeen": iso(state.last_seen) if state.last_seen is not None else None,
        "expectedIntervalSeconds": expected // SECOND if expected is not None else None,
        "silentAfterSeconds": watched.allowed // SECOND if watched.allowed is not None else None,
        "silentAt": iso(silent) if silent is not None else None,
        "batteryPercent": state.battery_percent,
        "batteryVolts": state.battery_volts,
        "batteryDerived": state.battery_derived,
        "rssi": state.rssi,
        "snr": state.snr,
        "lostShare": round(share, 3) if share is not None else None,
        "framesKnown": state.frames_known,
    }


def _shown_pending(pending: Pending) -> dict[str, Any]:
    return {
        "kind": pending.kind,
        "rule": pending.rule,
        "severity": pending.severity,
        "text": pending.text,
        "since": iso(pending.since),
        "uplinks": pending.count,
        "due": iso(pending.due) if pending.due is not None else None,
    }
