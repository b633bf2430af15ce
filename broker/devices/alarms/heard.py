"""The hook of the uplink: what it says of the health of the virtual sensors that its device is. Pure, and cheap.

A virtual sensor that is well costs one record read; nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from broker.clock import Micros, Stamp
from broker.devices.alarms.alert import alarm_ids
from broker.devices.alarms.due import heard_since, moved_key, silent_after, silent_at
from broker.devices.alarms.effects import add_judged, health_needs
from broker.devices.alarms.life import judge
from broker.devices.alarms.model import as_health
from broker.devices.alarms.rules import (
    Implausible,
    Radio,
    Signal,
    device_signals,
    implausible_signals,
    rules_of,
    threshold_signals,
)
from broker.devices.model import Binding, DeviceModel, DeviceState, VirtualSensor
from broker.devices.registry import as_binding, as_sensor, as_state
from broker.ngsild.change import EntityChange
from broker.ngsild.model import IMPLAUSIBLE, default_instance
from broker.stores.base import HistoryRow, Needs, Record, Snapshot
from broker.stores.command import Effects, View


def uplink_needs(bindings: Sequence[Record], at: Micros, seen: Snapshot) -> Needs:
    """The health of the virtual sensors that a device is at `at` or will be; of those with alarms, these too."""
    needs = Needs()
    for record in bindings:
        binding = as_binding(record)
        if _counts(binding, at):
            needs.add(health_needs(binding.virtual_sensor, seen))
    return needs


def judge_uplink(
    effects: Effects[Any],
    view: View,
    stamp: Stamp,
    *,
    device: str,
    at: Micros,
    model: DeviceModel | None,
    radio: Radio | None,
) -> None:
    """Add to all that an uplink did what it means for alarms.

    What became current is held against thresholds; what the history marks as implausible counts as that. `at`: when the
    uplink was observed. The device's state gets the key of when it is silent.
    """
    write = next((one for one in effects.records if one.kind == "device_state"), None)
    if write is None and not effects.changes:
        return
    record = view.record("device_state", device)
    # What was kept and is looked at again, or comes late, tells of values, and nothing of how the device is now.
    late = write is None or (record is not None and at < (record.body.get("lastSeen") or 0))
    state = as_state(record) if write is None else msgspec.convert(write.body, DeviceState)
    moment = min(at, stamp.now)
    earliest: tuple[Micros, Micros] | None = None
    for bound in view.found("binding", f"device:{device}"):
        binding = as_binding(bound)
        sensor_record = view.record("virtual_sensor", binding.virtual_sensor)
        if sensor_record is None or not _counts(binding, at):
            continue
        sensor = as_sensor(sensor_record)
        signals: list[Signal] = []
        heard = False
        if binding.covers(stamp.now):
            allowed = silent_after(sensor, model)
            if allowed is not None:
                deadline = silent_at(heard_since(binding, bound.version, state.last_seen), allowed)
                heard = write is not None and deadline > stamp.now
                if heard and (earliest is None or deadline < earliest[0]):
                    earliest = (deadline, allowed)
            if not late:
                signals += device_signals(sensor, model, state, radio)
        brought = [row for row in effects.history if row.binding_id == binding.id]
        if brought:
            signals += implausible_signals(sensor, _implausible(brought))
        if sensor.thresholds:
            signals += threshold_signals(sensor, _current(effects.changes, sensor))
        now_device = device if binding.covers(stamp.now) else None
        _judge(effects, view, stamp, sensor, now_device, signals, moment, heard=heard)
    if write is not None:
        keys = record.keys if record is not None else ()
        keys = moved_key(keys, *earliest, stamp.now) if earliest is not None else ()
        if keys != write.keys:
            effects.records[effects.records.index(write)] = msgspec.structs.replace(write, keys=keys)


def _judge(
    effects: Effects[Any],
    view: View,
    stamp: Stamp,
    sensor: VirtualSensor,
    device: str | None,
    signals: list[Signal],
    at: Micros,
    *,
    heard: bool,
) -> None:
    record = view.record("sensor_health", sensor.id)
    if record is None and all(signal.level != "bad" for signal in signals):
        return
    health = as_health(record)
    if device is None:  # last words from before a swap: about values alone
        device = health.device
    if heard:
        signals.append(Signal("silence", "good"))
        # From now on the device's state says when it is silent.
        health = msgspec.structs.replace(health, look_at=None)
    judged = judge(
        health,
        signals,
        at=at,
        now=stamp.now,
        rules=rules_of(sensor),
        device=device,
        new_id=alarm_ids(sensor, view.new_id),
    )
    add_judged(effects, view, stamp, sensor, record, judged, device or None)


def _current(changes: Sequence[EntityChange], sensor: VirtualSensor) -> dict[str, Any]:
    """What became the current value, by attribute."""
    values: dict[str, Any] = {}
    for change in changes:
        if change.entity_id in sensor.entities and change.after is not None:
            for name in change.attributes:
                instance = default_instance(change.after["attrs"].get(name, []))
                if instance is not None:
                    values[name] = instance.get("value")
    return values


def _implausible(rows: Sequence[HistoryRow]) -> Implausible:
    """(attribute, check) of the values that are marked."""
    return [
        (row.attribute, str(check))
        for row in rows
        if row.instance is not None and (marks := row.instance.get("attrs", {}).get(IMPLAUSIBLE))
        for check in marks[0].get("value", ())
    ]


def _counts(binding: Binding, at: Micros) -> bool:
    return binding.valid_to is None or binding.valid_to > at
