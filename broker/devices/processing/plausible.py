"""Plausibility of a value (the pre-study's rimlighetskontroll). Pure.

Checks by name: range, rate, stuck, duplicate, clock; and counter, by the meter itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.clock import SECOND, Micros
from broker.devices.processing.contract import Checks
from broker.devices.processing.state import Seen, Value

HOUR = 3600 * SECOND
TIMES = 64
"""Times of observations that are remembered to know duplicates."""


def names(checks: Checks, *, physical: bool) -> tuple[str, ...]:
    """The checks that are made, for the lineage of values."""
    made = {
        "range": physical or checks.minimum is not None or checks.maximum is not None,
        "rate": checks.max_change_per_hour is not None,
        "stuck": checks.stuck_after_seconds is not None or checks.stuck_after_values is not None,
        "duplicate": checks.duplicates,
        "clock": checks.clock_ahead_seconds is not None or checks.clock_behind_seconds is not None,
    }
    return tuple(name for name, is_made in made.items() if is_made)


def alone(checks: Checks, value: Value, at: Micros, received_at: Micros) -> Iterator[str]:
    """The checks of a value by itself that it fails. `received_at`: when the network received it."""
    if not isinstance(value, (bool, str)):
        low, high = checks.minimum, checks.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            yield "range"
    ahead, behind = checks.clock_ahead_seconds, checks.clock_behind_seconds
    if (ahead is not None and at - received_at > ahead * SECOND) or (
        behind is not None and received_at - at > behind * SECOND
    ):
        yield "clock"


def after(checks: Checks, value: Value, at: Micros, seen: Seen | None) -> Iterator[str]:
    """The checks against what was seen before that it fails. Of what is late, only whether it is a duplicate."""
    if seen is None:
        return
    if checks.duplicates and (at == seen.at or at in seen.times):
        yield "duplicate"
    if at <= seen.at:
        return
    most = checks.max_change_per_hour
    if (
        most is not None
        and not isinstance(value, (bool, str))
        and not isinstance(seen.value, (bool, str))
        and abs(value - seen.value) * HOUR > most * (at - seen.at)
    ):
        yield "rate"
    if value == seen.value and _stuck(checks, at, seen):
        yield "stuck"


def _stuck(checks: Checks, at: Micros, seen: Seen) -> bool:
    seconds, values = checks.stuck_after_seconds, checks.stuck_after_values
    return (seconds is not None and at - seen.since > seconds * SECOND) or (
        values is not None and seen.count + 1 > values
    )


def taken(seen: Seen | None, value: Value, at: Micros, *, keep_times: bool) -> Seen:
    """What is remembered after a plausible value; what is late is only a time."""
    times = (*seen.times, at)[-TIMES:] if keep_times and seen is not None else (at,) if keep_times else ()
    if seen is None:
        return Seen(at=at, value=value, since=at, times=times)
    if at <= seen.at:
        return Seen(at=seen.at, value=seen.value, since=seen.since, count=seen.count, times=times)
    if value == seen.value:
        return Seen(at=at, value=value, since=seen.since, count=seen.count + 1, times=times)
    return Seen(at=at, value=value, since=at, times=times)
