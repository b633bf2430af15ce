"""Which times of networks and devices are believed."""

from __future__ import annotations

from broker.clock import SECOND, Micros, iso
from broker.config import Limits

_DAY = 24 * 3600 * SECOND


def distrust(at: Micros, received_at: Micros, limits: Limits) -> str:
    """Why `at` cannot be when something received at `received_at` was observed; '' when it can.

    Gateways and devices without a set clock say 1970 or years ahead. Such a time must not move an entity's state: ahead,
    it would make every later observation look old; far behind, it would file today's value under a day long past.
    """
    if at > received_at + limits.clock_ahead_seconds * SECOND:
        return f"more than {limits.clock_ahead_seconds} s ahead of {iso(received_at)}"
    if at < received_at - limits.clock_behind_days * _DAY:
        return f"more than {limits.clock_behind_days} days before {iso(received_at)}"
    return ""
