"""Cumulative meters: a virtual counter that goes on over swaps, resets and roll-overs. Pure.

    value = what the register shows + the offset of its segment

A segment lasts while one register counts on undisturbed. Numbers are exact decimals in the output's unit. The newest
segment is the one that counts; what is observed late belongs to the segment of its binding and time, and changes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from broker.clock import Micros
from broker.devices.model import Binding
from broker.devices.processing.contract import Counter
from broker.devices.processing.exact import EXACT, exact, plain, rounded
from broker.devices.processing.state import Reason, Segment

SEGMENTS = 500
"""Kept of a meter, the newest: one a year is usual."""
NEAR_THE_EDGE = Decimal(10)
"""A register rolls over in a step of less than its tenth."""
RESET = Decimal(2)
"""A register that shows less than its half was reset, and began at 0; one that shows more runs backwards for a while."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A reading's value, and the segments after it."""

    value: float
    offset: str
    segments: tuple[Segment, ...]


class NotBelieved(Exception):
    """The reading cannot be, by the contract of the counter."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What people read off at a swap: the old meter when it was taken down, the new one when it was put up."""

    end: float | None = None
    start: float | None = None


def readings_at_swap(binding: Binding, bindings: Sequence[Binding], names: Sequence[str]) -> Readings:
    """The readings with which `binding` began, by the first of `names` (attribute, quantity) that has one."""
    before = max(
        (one for one in bindings if one.valid_to is not None and one.valid_to <= binding.valid_from),
        key=lambda one: (one.valid_to or 0, one.id),
        default=None,
    )
    end = named(before.end_readings, names) if before is not None else None
    return Readings(end, named(binding.start_readings, names))


def count(
    segments: tuple[Segment, ...],
    raw: float,
    at: Micros,
    *,
    binding: Binding,
    counter: Counter,
    readings: Readings | None = None,
) -> Counted:
    """A meter's reading as the virtual counter's value. Raises NotBelieved.

    `readings` are those of the swap, looked at when the binding's first reading comes.
    """
    reading = rounded(exact(raw), counter.resolution)
    newest = segments[-1] if segments else None
    if newest is None:
        return _begun(segments, reading, at, binding, "start", Decimal(0))
    if at <= newest.last_at:
        return _late(segments, reading, at, binding)
    last_raw, offset = Decimal(newest.last_raw), Decimal(newest.offset)
    if newest.binding != binding.id:
        return _begun(segments, reading, at, binding, "swap", _after_swap(newest, reading, readings, counter))
    if reading >= last_raw:
        return _on(segments, reading, at, offset)
    if modulus := _rolled_over(last_raw, reading, counter):
        return _begun(segments, reading, at, binding, "rollover", EXACT.add(offset, modulus))
    if reading * RESET > last_raw:
        # Water that flows back: the counter stands until the register is past its last reading.
        return _on(segments, last_raw, at, offset)
    if counter.resets == "implausible":
        raise NotBelieved
    value = EXACT.add(last_raw, offset)
    return _begun(segments, reading, at, binding, "reset", EXACT.subtract(value, min(reading, Decimal(0))))


def _rolled_over(before: Decimal, after: Decimal, counter: Counter) -> Decimal:
    """The register's size if it rolled over between two readings, else 0."""
    if counter.rolls_over_at is None or after >= before:
        return Decimal(0)
    size = exact(counter.rolls_over_at)
    return size if 0 <= size - before + after < size / NEAR_THE_EDGE else Decimal(0)


def _after_swap(newest: Segment, reading: Decimal, readings: Readings | None, counter: Counter) -> Decimal:
    """The new meter's offset: the virtual value goes on from where the old meter ended."""
    last_raw, start = Decimal(newest.last_raw), reading
    end = last_raw
    if readings is not None and readings.end is not None:
        end = exact(readings.end)
        # The old meter cannot have ended before its last reading.
        end = max(last_raw, EXACT.add(end, _rolled_over(last_raw, end, counter)))
    if readings is not None and readings.start is not None:
        start = exact(readings.start)
        # … nor the new one have begun after its first.
        start = min(reading, EXACT.subtract(start, _rolled_over(start, reading, counter)))
    return EXACT.subtract(EXACT.add(end, Decimal(newest.offset)), start)


def _begun(
    segments: tuple[Segment, ...], reading: Decimal, at: Micros, binding: Binding, reason: Reason, offset: Decimal
) -> Counted:
    begun = Segment(
        binding=binding.id,
        device=binding.device,
        since=at,
        offset=plain(offset),
        reason=reason,
        last_raw=plain(reading),
        last_at=at,
    )
    return Counted(float(EXACT.add(reading, offset)), begun.offset, (*segments, begun)[-SEGMENTS:])


def _on(segments: tuple[Segment, ...], reading: Decimal, at: Micros, offset: Decimal) -> Counted:
    newest = msgspec.structs.replace(segments[-1], last_raw=plain(reading), last_at=at)
    return Counted(float(EXACT.add(reading, offset)), newest.offset, (*segments[:-1], newest))


def _late(segments: tuple[Segment, ...], reading: Decimal, at: Micros, binding: Binding) -> Counted:
    own = [segment for segment in segments if segment.binding == binding.id]
    if not own:
        return _of_nobody(segments, reading, at, binding)
    position = max((index for index, segment in enumerate(own) if segment.since <= at), default=0)
    covering = own[position]
    if at > covering.last_at and position + 1 < len(own) and reading < Decimal(covering.last_raw):
        # Between two segments: the register had been reset by then.
        covering = own[position + 1]
    return Counted(float(EXACT.add(reading, Decimal(covering.offset))), covering.offset, segments)


def _of_nobody(segments: tuple[Segment, ...], reading: Decimal, at: Micros, binding: Binding) -> Counted:
    """The first reading of an earlier binding that was not heard of: it gets its segment, at its place."""
    before = [segment for segment in segments if segment.since <= at]
    if before:
        value = EXACT.add(Decimal(before[-1].last_raw), Decimal(before[-1].offset))
        made = _begun(tuple(before), reading, at, binding, "swap", EXACT.subtract(value, reading))
    else:
        made = _begun((), reading, at, binding, "start", Decimal(0))
    return Counted(made.value, made.offset, (*made.segments, *segments[len(before) :])[-SEGMENTS:])


def named(readings: dict[str, float], names: Sequence[str]) -> float | None:
    """The reading by the first of the names that has one."""
    return next((readings[name] for name in names if name in readings), None)
