"""The hook of the uplink: what it says of the health of the virtual sensors that its device is. Pure, and cheap.

A virtual sensor that is well costs one record read; nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from broker.clock import Stamp
from broker.devices.alarms.due import heard_since, moved_key, silent_after, silent_at
from broker.devices.alarms.effects import add_judged, health_needs
from broker.devices.alarms.life import judge
from broker.devices.alarms.model import as_health
from broker.devices.alarms.rules import (
    Implausible,
    Radio,
    Signal,
    device_signals,
    implausible_signal,
    rules_of,
    threshold_signals,
)
from broker.devices.model import Binding, DeviceModel, DeviceState, VirtualSensor
from broker.devices.registry import as_binding, as_sensor
from broker.ngsild.change import EntityChange
from broker.ngsild.model import default_instance
from broker.stores.base import Needs, Record, Snapshot
from broker.stores.command import Effects, View


def uplink_needs(bindings: Sequence[Record], at: int, seen: Snapshot) -> Needs:
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
    at: int,
    bindings: Sequence[Record],
    model: DeviceModel | None,
    before: DeviceState,
    state: DeviceState,
    state_keys: Sequence[str] = (),
    radio: Radio | None,
    values: bool,
    implausible: Mapping[str, Implausible] | None = None,
) -> tuple[str, ...]:
    """Add to an uplink's effects what it means for alarms; gives the keys that the device's state is to be written with.

    `effects` holds the entities' changes already: what became current is held against thresholds. `at`: when the uplink
    was observed. `before`, `state`: the device's, without and with this uplink; `state_keys`: its record's. `values`: it
    brought measurements. `implausible`: by virtual sensor, what was held to be.
    """
    late = before.last_seen is not None and at < before.last_seen
    moment = min(at, stamp.now)
    earliest: tuple[int, int] | None = None
    for record in bindings:
        binding = as_binding(record)
        sensor_record = view.record("virtual_sensor", binding.virtual_sensor)
        if sensor_record is None or not _counts(binding, at):
            continue
        sensor = as_sensor(sensor_record)
        signals: list[Signal] = []
        heard = False
        if binding.covers(stamp.now):
            allowed = silent_after(sensor, model)
            if allowed is not None:
                deadline = silent_at(heard_since(binding, record.version, state.last_seen), allowed)
                heard = deadline > stamp.now
                if heard and (earliest is None or deadline < earliest[0]):
                    earliest = (deadline, allowed)
            if not late:
                signals += device_signals(sensor, model, state, radio)
        if values:
            signal = implausible_signal(sensor, (implausible or {}).get(sensor.id, ()))
            signals += [signal] if signal is not None else []
        if sensor.thresholds:
            signals += threshold_signals(sensor, _current(effects.changes, sensor))
        device = binding.device if binding.covers(stamp.now) else None
        _judge(effects, view, stamp, sensor, device, signals, moment, heard=heard)
    if earliest is None:
        return moved_key(state_keys, None, 0, stamp.now)
    return moved_key(state_keys, *earliest, stamp.now)


def _judge(
    effects: Effects[Any],
    view: View,
    stamp: Stamp,
    sensor: VirtualSensor,
    device: str | None,
    signals: list[Signal],
    at: int,
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
    judged = judge(health, signals, at=at, now=stamp.now, rules=rules_of(sensor), device=device, new_id=view.new_id)
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


def _counts(binding: Binding, at: int) -> bool:
    return binding.valid_to is None or binding.valid_to > at
