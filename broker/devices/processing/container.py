"""How full a container is. Pure geometry."""

from __future__ import annotations

import math
from bisect import bisect_right

from broker.devices.processing.contract import Container


def level(container: Container, distance: float) -> float:
    """The content's height above the bottom, between 0 and the container's height."""
    height = container.distance_empty - container.distance_full
    # To the distance's own decimals: 1.4 - 1.35 is 0.05.
    return min(max(round(container.distance_empty - distance, 9), 0.0), round(height, 9))


def fraction(container: Container, distance: float) -> float:
    """The part of the full volume, 0..1."""
    height = container.distance_empty - container.distance_full
    at = level(container, distance)
    if container.shape == "table":
        return _by_table(container.table, at)
    part = min(max(at / height, 0.0), 1.0)
    return round(_lying(part) if container.shape == "horizontalCylinder" else part, 9)


def _lying(part: float) -> float:
    """A lying cylinder: the segment of a circle, `part` of its diameter high, as a part of the circle."""
    chord = 1 - 2 * part
    return min(max((math.acos(chord) - chord * math.sqrt(max(1 - chord * chord, 0.0))) / math.pi, 0.0), 1.0)


def _by_table(table: tuple[tuple[float, float], ...], at: float) -> float:
    if at <= table[0][0]:
        return table[0][1]
    if at >= table[-1][0]:
        return table[-1][1]
    right = bisect_right(table, at, key=lambda row: row[0])
    (low, low_part), (high, high_part) = table[right - 1], table[right]
    return round(low_part + (at - low) / (high - low) * (high_part - low_part), 9)
