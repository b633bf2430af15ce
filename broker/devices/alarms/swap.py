"""What another device cures: for swaps and unbinding, and for their dry run. Pure.

Silence, battery, radio and frame loss go with the device that had them. A threshold and implausible values are about what
is measured: they wait for the new device's first value.

In the command of a swap:

    needs:  needs.add(health_needs(sensor_id, seen))
    apply:  alarms = cure(effects, view, stamp, sensor_id, at=self.at)

A command that changes bindings and does not do this is noticed by the next scan, which closes the same alarms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from broker.clock import Micros, Stamp
from broker.devices.alarms.effects import close_alarm, health_needs
from broker.devices.alarms.life import without_device
from broker.devices.alarms.model import FOLLOW_DEVICE, Alarm, Because, as_alarm, as_health, health_write
from broker.stores.command import Effects, View

__all__ = ["cure", "cured_by_swap", "health_needs", "would_close"]


def cure(
    effects: Effects[Any],
    view: View,
    stamp: Stamp,
    sensor_id: str,
    *,
    at: Micros | None = None,
    because: Because = "swap",
) -> tuple[Alarm, ...]:
    """Add to a command's effects what it closes that the virtual sensor's device changes at `at`; gives these alarms.

    `because` 'unbound' when no other device takes over. What `health_needs` names must have been read. With `at` ahead
    nothing closes before that. The new device is looked at with the first scan from then on: that sees to it that it is
    known when it is silent, should it never be heard.
    """
    record = view.record("sensor_health", sensor_id)
    health = as_health(record)
    if at is not None and at > stamp.now:
        look_at = min(at, health.look_at) if health.look_at is not None else at
        write = health_write(sensor_id, msgspec.structs.replace(health, look_at=look_at), record, stamp)
        effects.records += [write] if write is not None else []
        return ()
    judged = without_device(health, because)
    alarms = [as_alarm(found) for one, _ in judged.closed if (found := view.record("alarm", one)) is not None]
    for alarm in alarms:
        close_alarm(effects, view, stamp, alarm.id, because)
    write = health_write(sensor_id, msgspec.structs.replace(judged.health, look_at=stamp.now), record, stamp)
    effects.records += [write] if write is not None else []
    return tuple(alarms)


def cured_by_swap(
    view: View, sensor_id: str, stamp: Stamp, *, at: Micros | None = None, because: Because = "swap"
) -> Effects[tuple[Alarm, ...]]:
    """The same as effects of their own; the result: the alarms that close."""
    effects: Effects[tuple[Alarm, ...]] = Effects(())
    effects.result = cure(effects, view, stamp, sensor_id, at=at, because=because)
    return effects


def would_close(alarms: Sequence[Alarm]) -> tuple[Alarm, ...]:
    """Those of a virtual sensor's alarms that a change of its device closes."""
    return tuple(alarm for alarm in alarms if alarm.state != "closed" and alarm.kind in FOLLOW_DEVICE)
