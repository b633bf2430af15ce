"""What another device cures: for the swap, its dry run, and unbinding. Pure.

Silence, battery, radio and frame loss go with the device that had them. A threshold and an implausible value are about what
is measured: they wait for the new device's first value.

    needs.add(health_needs(sensor_id, seen))                      # in the swap's `needs`
    cured = cured_by_swap(view, sensor_id, stamp)                 # in its `apply`: add records, changes, history
    would_close(health, alarms)                                   # for `dryRun`
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from broker.clock import Stamp
from broker.devices.alarms.effects import close_alarm, health_needs
from broker.devices.alarms.life import without_device
from broker.devices.alarms.model import FOLLOW_DEVICE, Alarm, Because, as_alarm, as_health, health_write
from broker.stores.command import Effects, View

__all__ = ["cured_by_swap", "health_needs", "would_close"]


def cured_by_swap(view: View, sensor_id: str, stamp: Stamp, because: Because = "swap") -> Effects[tuple[Alarm, ...]]:
    """What a swap of the virtual sensor's device (or with 'unbound' its end) closes, as effects; the result: these alarms.

    What `health_needs` names must have been read. The new device is looked at with the next scan: from then on it is known
    when it is silent, should it never be heard.
    """
    record = view.record("sensor_health", sensor_id)
    health = as_health(record)
    judged = without_device(health, because)
    effects: Effects[tuple[Alarm, ...]] = Effects(())
    for alarm_id, _ in judged.closed:
        close_alarm(effects, view, stamp, alarm_id, because)
    after = msgspec.structs.replace(judged.health, look_at=stamp.now)
    write = health_write(sensor_id, after, record, stamp)
    if write is not None:
        effects.records.append(write)
    closed_ids = {alarm_id for alarm_id, _ in judged.closed}
    effects.result = tuple(
        as_alarm(alarm) for alarm_id in sorted(closed_ids) if (alarm := view.record("alarm", alarm_id)) is not None
    )
    return effects


def would_close(alarms: Sequence[Alarm]) -> tuple[Alarm, ...]:
    """Those of a virtual sensor's alarms that a swap of its device closes."""
    return tuple(alarm for alarm in alarms if alarm.state != "closed" and alarm.kind in FOLLOW_DEVICE)
