"""Windows of time and what was consumed in them. Pure. A window is (start, end]: what is observed at its end closes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from broker.clock import SECOND, Micros
from broker.devices.processing.exact import EXACT, exact

HOUR = 3600 * SECOND
_QUARTER = HOUR // 4
"""Midnight is at a quarter of an hour, wherever on Earth."""
KEPT = 64
"""Windows whose beginning is remembered, so that a correction of some days ago finds its own."""

Windows = tuple[tuple[Micros, float], ...]


def start_of(at: Micros, per: Literal["hour", "day"], time_zone: str) -> Micros:
    """When the window of `at` began; a moment between two windows begins the later one."""
    if per == "hour":
        return at - at % HOUR
    return _midnight(at - at % _QUARTER, time_zone) if time_zone != "UTC" else at - at % (24 * HOUR)


@lru_cache(maxsize=4096)
def _midnight(quarter: Micros, time_zone: str) -> Micros:
    local = datetime.fromtimestamp(quarter // SECOND, tz=ZoneInfo(time_zone))
    return _micros(local.replace(hour=0, minute=0, second=0, fold=0))


def end_of(start: Micros, per: Literal["hour", "day"], time_zone: str) -> Micros:
    """When the window that begins at `start` is over."""
    if per == "hour":
        return start + HOUR
    zone = ZoneInfo(time_zone)
    next_day = datetime.fromtimestamp(start // SECOND, tz=zone).date() + timedelta(days=1)
    return _micros(datetime(next_day.year, next_day.month, next_day.day, tzinfo=zone))


def difference(value: float, before: float) -> float:
    """value - before, without dust."""
    return float(EXACT.subtract(exact(value), exact(before)))


def closed_by(
    windows: Windows,
    at: Micros,
    value: float,
    before: float | None,
    *,
    per: Literal["hour", "day"],
    time_zone: str,
) -> tuple[Windows, tuple[Micros, float] | None]:
    """What a value of a cumulative quantity does: the windows after it, and (end, consumption) of one that it closed.

    `before` is the last value before it. What was consumed while nothing was heard belongs to the window that breaks the
    silence; so the windows' consumptions sum up to the whole.
    """
    start = start_of(at, per, time_zone)
    if not windows or before is None:
        return ((start, value),), None
    began, base = windows[-1]
    if start <= began:
        return windows, None
    end = end_of(began, per, time_zone)
    last = value if at == end else before
    following = (*windows, (start, last))[-KEPT:]
    return following, (end, difference(last, base))


def _micros(moment: datetime) -> Micros:
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * SECOND
