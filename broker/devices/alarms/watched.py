"""Which device a virtual sensor is, and since when and how long it may be silent. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from broker.clock import SECOND, Micros
from broker.devices.alarms.due import STEP, due_of, heard_since, silent_after, silent_at
from broker.devices.alarms.model import alarm_key, as_health
from broker.devices.alarms.rules import rules_of
from broker.devices.model import Binding, DeviceModel, DeviceState, VirtualSensor
from broker.devices.registry import as_binding, as_device, as_model, as_state
from broker.stores.base import Needs, Record, Snapshot
from broker.stores.command import View

SILENCE: Final = alarm_key("silence")
MISSED: Final = 600 * SECOND
"""What was due so long ago will not be found by its key any more, microseconds."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Which device a virtual sensor is at a moment, and since when it may be silent."""

    device: str = ""
    state: DeviceState = field(default_factory=DeviceState)
    state_due: Micros | None = None
    """When the device's own state is due to be looked at."""
    model: DeviceModel | None = None
    binding: Binding | None = None
    since: Micros | None = None
    """From when on silence counts; None: no device is bound."""
    allowed: Micros | None = None
    """How long nothing may be heard; None: for ever."""
    begins: Micros | None = None
    """When the next binding begins, if it is dated ahead."""


def watched_needs(sensor_id: str, seen: Snapshot) -> Needs:
    """What `watched_by` reads."""
    needs = Needs(records={("virtual_sensor", sensor_id)}, found={("binding", f"sensor:{sensor_id}")})
    for record in seen.found.get(("binding", f"sensor:{sensor_id}"), ()):
        binding = as_binding(record)
        if binding.valid_to is not None and binding.valid_to <= record.version:
            continue  # it was over when it was closed
        needs.records |= {("device", binding.device), ("device_state", binding.device)}
        device = seen.records.get(("device", binding.device))
        if device is not None:
            needs.records.add(("device_model", as_device(device).model))
    return needs


def watched_by(view: View, sensor: VirtualSensor, now: Micros) -> Watched:
    """The device that is bound at `now`, and how it is watched."""
    begins: Micros | None = None
    found: Record | None = None
    for record in view.found("binding", f"sensor:{sensor.id}"):
        binding = as_binding(record)
        if binding.covers(now):
            found = record
        elif binding.valid_from > now:
            begins = min(binding.valid_from, begins if begins is not None else binding.valid_from)
    if found is None:
        return Watched(begins=begins)
    binding = as_binding(found)
    device = view.record("device", binding.device)
    model = view.record("device_model", as_device(device).model) if device is not None else None
    state_record = view.record("device_state", binding.device)
    state = as_state(state_record)
    device_model = as_model(model) if model is not None else None
    return Watched(
        device=binding.device,
        state=state,
        state_due=due_of(state_record.keys) if state_record is not None else None,
        model=device_model,
        binding=binding,
        since=heard_since(binding, found.version, state.last_seen),
        allowed=silent_after(sensor, device_model),
        begins=begins,
    )


def is_watched(watched: Watched, deadline: Micros) -> bool:
    """Whether the device's own state will be looked at in time."""
    return watched.state_due is not None and watched.state_due <= deadline + STEP


def is_neglected(view: View, sensor: VirtualSensor, now: Micros) -> bool:
    """Whether a virtual sensor must be looked at because nothing else will see to it: bound, reconfigured, or from before.

    `view` must have what `watched_needs` and `health_needs` name.
    """
    record = view.record("sensor_health", sensor.id)
    health = as_health(record)
    if not health.open.keys() <= rules_of(sensor) or (health.due is not None and health.due < now - MISSED):
        return True
    watched = watched_by(view, sensor, now)
    if health.follows_device and health.device != watched.device:
        return True
    if watched.since is None:
        return _is_later(health.look_at, watched.begins, now)
    if watched.allowed is None or SILENCE in health.open or SILENCE in health.pending or SILENCE in health.dismissed:
        return _is_later(health.look_at, watched.begins, now)
    deadline = silent_at(watched.since, watched.allowed)
    return _is_later(watched.state_due, deadline + STEP, now) and _is_later(health.look_at, deadline, now)


def _is_later(planned: Micros | None, wanted: Micros | None, now: Micros) -> bool:
    """Whether a look is planned too late, or not at all: it should have been long ago and was not."""
    return wanted is not None and (planned is None or planned > wanted or planned < now - MISSED)
