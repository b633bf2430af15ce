"""Time and ids, passed in everywhere so that the core is pure.

Times are integers: microseconds since 1970-01-01T00:00:00Z. Texts are ISO 8601 with 'Z' (ETSI GS CIM 009 v1.9.1, 4.6.3).
"""

from __future__ import annotations

import random
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from msgspec import Struct

Micros = int
"""Microseconds since the Unix epoch, UTC."""

SECOND: Micros = 1_000_000
DAY: Micros = 24 * 3600 * SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# 4.6.3: complete date and time, seconds, an optional fraction after '.' or ',', and 'Z'.
_DATE_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?Z", re.ASCII)
# What networks send: the same with an offset instead of 'Z'.
_OFFSET = re.compile(r"(.*[0-9])([+-])(\d\d):?(\d\d)", re.ASCII)


def iso(at: Micros) -> str:
    """`at` as NGSI-LD's DateTime: milliseconds when that is exact, else microseconds. 1 ms -> '…T00:00:00.001Z'."""
    second, micro = divmod(at, SECOND)
    return (
        f"{_to_the_second(second)}.{micro // 1000:03d}Z"
        if micro % 1000 == 0
        else f"{_to_the_second(second)}.{micro:06d}Z"
    )


@lru_cache(maxsize=4096)
def _to_the_second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).isoformat()[:19]


@lru_cache(maxsize=8192)
def parse_iso(text: str) -> Micros | None:
    """An NGSI-LD DateTime (with 'Z') as microseconds, or None when `text` is not one. Nanoseconds are cut."""
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction = found.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError:
        return None
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + int((fraction or "0")[:6].ljust(6, "0"))


def parse_network_time(text: str) -> Micros | None:
    """A time as networks write it: NGSI-LD's DateTime, or the same with an offset ('+02:00') instead of 'Z'."""
    at = parse_iso(text)
    if at is not None:
        return at
    found = _OFFSET.fullmatch(text)
    if found is None:
        return None
    local, sign, hours, minutes = found.groups()
    at = parse_iso(local + "Z")
    if at is None:
        return None
    offset = (int(hours) * 60 + int(minutes)) * 60 * SECOND
    return at - offset if sign == "+" else at + offset


class Stamp(Struct, frozen=True):
    """What a command is given instead of a clock: the moment, its text, and the version its writes get."""

    now: Micros
    text: str
    """`now` as NGSI-LD DateTime, for createdAt and modifiedAt."""
    version: int
    """Unique in this process, larger than any before it: versions order changes and the outbox."""


class Clock:
    """Wall clock, a never-repeating version, and ids. Tests pass `now` to control time."""

    def __init__(self, now: Callable[[], Micros] | None = None) -> None:
        self._now = now or (lambda: time.time_ns() // 1000)
        self._last = 0
        # Ids must not collide; they need not be secret, and the system's generator costs a call to the kernel each.
        self._random = random.Random(secrets.randbits(256))  # noqa: S311

    def now(self) -> Micros:
        """Microseconds since the epoch."""
        return self._now()

    def stamp(self, after: int = 0) -> Stamp:
        """The stamp of the next command: its version is the time, or one more than the last (or `after`)."""
        now = self._now()
        self._last = max(now, self._last + 1, after + 1)
        return Stamp(now, iso(now), self._last)

    def new_id(self) -> str:
        """A time-ordered unique id (UUID version 7, RFC 9562) as text."""
        milli = self._now() // 1000
        chance = self._random.getrandbits(74)
        value = (milli & (1 << 48) - 1) << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & (1 << 62) - 1
        digits = f"{value:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def id_floor(at: Micros) -> str:
    """What sorts before every id that `Clock.new_id` made at `at` or later, and behind those made a millisecond before."""
    digits = f"{max(at // 1000, 0) & (1 << 48) - 1:012x}"
    return f"{digits[:8]}-{digits[8:]}-"
