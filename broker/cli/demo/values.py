"""What there is to measure in the city at a moment. Pure: the same place and moment always give the same values.

So a meter never runs backwards, and a sensor that is swapped goes on where the other was: the room is the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from zlib import crc32

from broker.cli.demo.city import Signal
from broker.clock import SECOND, Micros

HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS
_LOCAL = HOUR_SECONDS
"""Swedish normal time, all year: the machine may have no time zones."""
_YEAR_2026 = 1_767_225_600
"""2026-01-01T00:00:00Z, when meters showed `litresBefore`."""
# How a day's water is spread over its hours, local time; any weights.
_WATER = (2, 1, 1, 1, 2, 4, 9, 12, 10, 7, 6, 7, 9, 7, 6, 6, 7, 9, 10, 9, 8, 6, 4, 3)
_OPEN = {
    "classroom": (8.0, 15.5),
    "office": (8.0, 17.0),
    "hall": (8.0, 21.0),
    "pool": (7.0, 21.0),
    "home": (7.0, 22.0),
    "store": (0.0, 0.0),
}
_CLOSED_AT_WEEKENDS = ("classroom", "office")
OUTSIDE_CO2 = 420
"""ppm."""


@dataclass(frozen=True, slots=True)
class Values:
    """Everything that some device might measure there; units as the payload encoders take them."""

    temperature: float = 0.0
    humidity: float = 0.0
    co2: int = 0
    light: int = 0
    motion: int = 0
    distance: float = 0.0
    water_level: float = 0.0
    litres: int = 0


def values(signal: Signal, place: str, at: Micros) -> Values:
    """What is at `place` at `at`."""
    seconds = at / SECOND
    if signal.kind == "meter":
        return Values(litres=litres(signal, at), temperature=7.5 + 0.8 * _noise(place, seconds, 900))
    if signal.kind == "container":
        return Values(distance=_distance(signal, place, seconds))
    if signal.kind == "lake":
        return Values(temperature=_lake(signal, place, seconds))
    if signal.kind == "sewer":
        flow = _WATER[int(seconds + _LOCAL) % DAY_SECONDS // HOUR_SECONDS] / max(_WATER)
        return Values(water_level=signal.metres * (0.6 + 0.7 * flow) + 0.04 * _noise(place, seconds, 40))
    return _indoors(signal, place, seconds)


def litres(signal: Signal, at: Micros) -> int:
    """What a water meter shows at `at`: never less than before."""
    days, second = divmod(at / SECOND - _YEAR_2026 + _LOCAL, DAY_SECONDS)
    hour, rest = divmod(second, HOUR_SECONDS)
    part = sum(_WATER[: int(hour)]) + _WATER[int(hour)] * rest / HOUR_SECONDS
    return signal.litres_before + int(signal.litres_per_day * (days + part / sum(_WATER)))


def _indoors(signal: Signal, place: str, seconds: float) -> Values:
    presence = _presence(signal.kind, place, seconds)
    swing = math.sin(2 * math.pi * ((seconds + _LOCAL) / DAY_SECONDS - 0.375))
    damp = 25.0 if signal.kind == "pool" else 4.0
    people = signal.people * presence
    co2 = OUTSIDE_CO2 + 900 * (1 - math.exp(-people / 30)) + 25 * _noise(place + "c", seconds, 30)
    return Values(
        temperature=signal.temperature + 0.5 * swing + 1.1 * presence + 0.35 * _noise(place + "t", seconds, 45),
        humidity=32 + damp + 5 * presence + 3 * _noise(place + "h", seconds, 60),
        co2=max(OUTSIDE_CO2 - 20, round(co2)),
        light=round(max(0.0, 380 * presence + 60 * max(0.0, swing) + 15 * _noise(place + "l", seconds, 30))),
        motion=max(0, round(6 * presence + 2 * _noise(place + "m", seconds, 20))),
    )


def _presence(kind: str, place: str, seconds: float) -> float:
    """0 empty … 1 full."""
    day, second = divmod(seconds + _LOCAL, DAY_SECONDS)
    opens, closes = _OPEN[kind]
    hour = second / HOUR_SECONDS
    weekend = (int(day) + 3) % 7 >= 5  # 1970-01-01 was a Thursday
    if not opens <= hour < closes or (weekend and kind in _CLOSED_AT_WEEKENDS):
        return 0.0
    return 0.7 + 0.3 * _noise(place + "p", seconds, 600)


def _distance(signal: Signal, place: str, seconds: float) -> float:
    """Down to the waste: the container fills, and is emptied when it is full."""
    filled = (seconds / (signal.days * DAY_SECONDS) + crc32(place.encode()) / 2**32) % 1.0
    return max(0.05, signal.height * (1 - 0.92 * filled) + 0.008 * _noise(place, seconds, 20))


def _lake(signal: Signal, place: str, seconds: float) -> float:
    season = math.cos(2 * math.pi * (seconds / (365.25 * DAY_SECONDS) - 0.56))
    return max(0.2, signal.temperature + 9 * season + 0.25 * _noise(place, seconds, 40))


def _noise(seed: str, seconds: float, period: float) -> float:
    """Between -1 and 1, smooth, with a new aim every `period` seconds."""
    step, part = divmod(seconds / period, 1.0)
    here, there = (crc32(f"{seed}:{int(step) + ahead}".encode()) / 2**31 - 1 for ahead in (0, 1))
    ease = (1 - math.cos(math.pi * part)) / 2
    return here + (there - here) * ease
