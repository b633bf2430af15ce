"""What a virtual sensor must remember from one uplink to the next. Pure.

One record of kind 'sensor_state' a virtual sensor, by its id, written only where something of its contract needs it. All
members are by *key*: the attribute's IRI, or 'entity attribute' where it is of another entity than the sensor's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import Struct

from broker.clock import Micros
from broker.devices.processing.exact import EXACT, exact, plain
from broker.stores.base import Record

Value = float | int | bool | str
Reason = Literal["start", "swap", "reset", "rollover"]


class Segment(Struct, frozen=True, rename={"since": "from", "last_raw": "lastRaw", "last_at": "lastAt"}, kw_only=True):
    """A meter's register for as long as it counts on undisturbed: the value is what it shows plus `offset`.

    Numbers are exact decimals as text, in the output's unit.
    """

    binding: str
    device: str
    since: Micros
    """When it was first observed."""
    offset: str
    reason: Reason
    last_raw: str
    last_at: Micros


class Seen(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The newest plausible value of an attribute."""

    at: Micros
    value: Value
    since: Micros
    """Since when it has been the same."""
    count: int = 1
    """How often it was the same in a row, those that were found stuck among them."""
    times: tuple[Micros, ...] = ()
    """Of the last observations; where duplicates are looked for."""


class Memory(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """What one derived value remembers beside what was seen."""

    windows: tuple[tuple[Micros, float], ...] = ()
    """difference: when each window began and the value then, newest last."""
    opened: tuple[Micros, ...] = ()
    """When the value came that opened each of them, newest last; of the oldest it may not be known, or 0."""
    samples: tuple[tuple[Micros, float], ...] = ()
    """mean: the values in the window, oldest first."""

    @property
    def openings(self) -> tuple[Micros, ...]:
        """`opened` for each of the windows; 0 where it is not known."""
        return (0,) * (len(self.windows) - len(self.opened)) + self.opened


class SensorState(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """All that is remembered of a virtual sensor."""

    meters: dict[str, tuple[Segment, ...]] = {}
    """Oldest first."""
    seen: dict[str, Seen] = {}
    derived: dict[str, Memory] = {}


class Remaining(Struct, frozen=True):
    """The newest value of an attribute that is left when later ones are taken away."""

    at: Micros
    value: Value


EMPTY = SensorState()


def as_sensor_state(record: Record | None) -> SensorState:
    """The state of a record of kind 'sensor_state'; an empty one when there is none."""
    return msgspec.convert(record.body, SensorState) if record is not None else EMPTY


def state_body(state: SensorState) -> dict[str, Any]:
    """The state as the body of its record."""
    made: dict[str, Any] = msgspec.to_builtins(state)
    return made


def rewind(state: SensorState, at: Micros, latest: Mapping[str, Remaining]) -> SensorState:
    """The state as if nothing had been observed at or after `at`; what came then can be applied again after it.

    `latest` has, by key, the newest plausible value that remains of each attribute (before `at`); what has none begins
    anew. Of a running mean the values that had left its window by then are not known any more.
    """
    meters = {key: _meter(segments, at, latest.get(key)) for key, segments in state.meters.items()}
    seen = {key: _seen(one, at, latest.get(key)) for key, one in state.seen.items()}
    derived = {key: _memory(memory, at) for key, memory in state.derived.items()}
    return SensorState(
        meters={key: segments for key, segments in meters.items() if segments},
        seen={key: one for key, one in seen.items() if one is not None},
        derived={key: memory for key, memory in derived.items() if memory is not None},
    )


def _meter(segments: tuple[Segment, ...], at: Micros, remaining: Remaining | None) -> tuple[Segment, ...]:
    kept = tuple(segment for segment in segments if segment.since < at)
    if remaining is None or isinstance(remaining.value, (bool, str)):
        return ()
    while kept and kept[-1].since > remaining.at:
        kept = kept[:-1]
    if not kept or kept[-1].last_at < at:
        return kept
    raw = EXACT.subtract(exact(remaining.value), Decimal(kept[-1].offset))
    return (*kept[:-1], msgspec.structs.replace(kept[-1], last_raw=plain(raw), last_at=remaining.at))


def _seen(seen: Seen, at: Micros, remaining: Remaining | None) -> Seen | None:
    if seen.at < at:
        return seen
    if remaining is None:
        return None
    since = seen.since if seen.since < at and seen.value == remaining.value else remaining.at
    times = tuple(time for time in seen.times if time < at)
    return Seen(at=remaining.at, value=remaining.value, since=since, times=times)


def _memory(memory: Memory, at: Micros) -> Memory | None:
    # A window may have begun before, and been opened by a value that is taken away: then it closes the one before anew.
    left = [
        (window, opened)
        for window, opened in zip(memory.windows, memory.openings, strict=True)
        if window[0] < at and opened < at
    ]
    samples = tuple(sample for sample in memory.samples if sample[0] < at)
    if not left and not samples:
        return None
    windows = tuple(window for window, _ in left)
    return Memory(windows=windows, opened=tuple(opened for _, opened in left), samples=samples)
