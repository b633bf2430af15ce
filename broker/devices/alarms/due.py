"""When something must be looked at again although nothing comes in: index keys by time. Pure.

A record that is due carries the key of its time, rounded up: what is due at a moment is found by a few keys, whatever
else there is. A device's state moves its key on only when half of the time has passed, so most uplinks leave it as it is,
and a device that sends is never found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from broker.clock import SECOND, Micros
from broker.devices.model import Binding, DeviceModel, VirtualSensor

STEP: Final = 5 * SECOND
"""What times are rounded up to, microseconds: how late something may be found, beside the pause between two looks."""

INTERVALS: Final = 3
"""Missing so many uplinks is silence, count: LoRaWAN loses one now and then."""
SILENT_AT_LEAST: Final = 15 * 60 * SECOND
"""However short the interval, microseconds."""
SILENT_UNKNOWN: Final = 24 * 3600 * SECOND
"""Where nobody has said an interval, microseconds: nearly every make says something once a day."""
GRACE: Final = 5 * 60 * SECOND
"""After a time in which the broker was not there, what waited at the networks comes in first, microseconds."""

PREFIX: Final = "due:"

Gap = tuple[Micros, Micros]
"""From when to when no broker was there to hear anything."""


def due_key(at: Micros, now: Micros) -> str:
    """The key of what is due at `at`; of what is overdue, that of the next moment that is looked at."""
    return f"{PREFIX}{_number(max(at, now))}"


def due_of(keys: Iterable[str]) -> Micros | None:
    """The time that a record's keys say it is due at."""
    for key in keys:
        if key.startswith(PREFIX):
            return int(key[len(PREFIX) :]) * STEP
    return None


def due_keys(after: Micros, until: Micros) -> Iterator[str]:
    """The keys of what is due behind `after` and not behind `until`."""
    for number in range(after // STEP + 1, until // STEP + 1):
        yield f"{PREFIX}{number}"


def _number(at: Micros) -> int:
    return -(-at // STEP)


def interval(sensor: VirtualSensor, model: DeviceModel | None) -> Micros | None:
    """How often something is expected."""
    seconds = sensor.expected_interval_seconds
    if seconds is None and model is not None:
        seconds = model.expected_interval_seconds
    return seconds * SECOND if seconds else None


def silent_after(sensor: VirtualSensor, model: DeviceModel | None) -> Micros | None:
    """How long nothing may be heard; None: for ever."""
    if "silence" in sensor.watch.off or sensor.silent_after_seconds == 0:
        return None
    if sensor.silent_after_seconds is not None:
        return sensor.silent_after_seconds * SECOND
    expected = interval(sensor, model)
    return max(INTERVALS * expected, SILENT_AT_LEAST) if expected is not None else SILENT_UNKNOWN


def heard_since(binding: Binding, told: Micros, last_seen: Micros | None) -> Micros:
    """From when on silence counts: the last uplink; the binding's beginning; when it was told, if that was later."""
    # A version comes from MongoDB as a kind of int that no JSON writer knows.
    return max(binding.valid_from, int(told), last_seen if last_seen is not None else 0)


def silent_at(since: Micros, allowed: Micros, gaps: Sequence[Gap] = ()) -> Micros:
    """When a device that was heard `since` is silent. The time when no broker was there does not count."""
    at = since + allowed
    for begun, ended in gaps:
        if ended > since and begun < at:
            at += ended - max(begun, since)
            at = max(at, ended + min(allowed, GRACE))
    return at


def moved_key(keys: Iterable[str], wanted: Micros, allowed: Micros, now: Micros) -> tuple[str, ...]:
    """The keys of a device's state that was just heard, and that is silent at `wanted` if nothing more comes."""
    present = due_of(keys)
    if present is not None and present <= wanted + STEP and present - now > allowed // 2:
        return (f"{PREFIX}{present // STEP}",)
    return (due_key(wanted, now),)
