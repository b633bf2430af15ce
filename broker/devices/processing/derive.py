"""Derived values: what a group of values of one moment is made into. Pure.

Values that came late are made into what needs nothing but themselves; all else would have to know the past.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.clock import SECOND, Micros
from broker.codecs.quantities import convert
from broker.devices.processing.container import fraction, level
from broker.devices.processing.contract import DewPoint, Difference, Duration, Filling, Formula, Mean
from broker.devices.processing.plan import DerivedPlan
from broker.devices.processing.state import Memory, Seen, Value
from broker.devices.processing.windows import closed_by, difference

MAGNUS_A, MAGNUS_B = 17.625, 243.04
"""Alduchov and Eskridge (1996), "Improved Magnus form approximation of saturation vapor pressure", J. Appl. Meteor. 35,
601-609: over water, within 0.4 % between -40 and 50 °C. B is in °C."""
SAMPLES = 1000
"""Values that a running mean takes, the newest."""


@dataclass(slots=True)
class Group:
    """The plausible values of one moment, by name."""

    at: Micros
    values: dict[str, Value] = field(default_factory=dict)
    before: dict[str, Seen | None] = field(default_factory=dict)
    """By key, what was the newest before them; only of those that are news."""


@dataclass(frozen=True, slots=True)
class Made:
    """A derived value."""

    value: Value
    at: Micros
    inputs: dict[str, Value]
    """What it is made of, by name."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a virtual sensor knows when values of a moment have come."""

    group: Group
    seen: Mapping[str, Seen]
    keys: Mapping[str, str]
    units: Mapping[str, str]

    def number(self, name: str, max_age_seconds: float) -> float | None:
        """The value of that name now, or the last one if it is not too old."""
        value = self.group.values.get(name)
        if value is None:
            seen = self.seen.get(self.keys.get(name, ""))
            if seen is None or not 0 <= self.group.at - seen.at <= max_age_seconds * SECOND:
                return None
            value = seen.value
        return None if isinstance(value, str) else value

    def news(self, name: str) -> bool:
        """Whether a newer value of that name has come than any before it."""
        return name in self.group.values and self.keys[name] in self.group.before

    def before(self, name: str) -> Seen | None:
        """The newest value of that name before this moment."""
        return self.group.before.get(self.keys[name])


def derive(plan: DerivedPlan, known: Known, memory: Memory | None) -> tuple[Made | None, Memory | None]:
    """The derived value of this moment, if there is one, and what is remembered for the next."""
    if not any(name in known.group.values for name in plan.inputs):
        return None, memory
    match plan.derived:
        case Filling() as filling:
            return _made(plan, known, _filled(filling, known.number(filling.of, 0))), memory
        case DewPoint() as dew:
            return _made(plan, known, _dew_point(dew, known)), memory
        case Formula() as formula:
            return _made(plan, known, _calculated(plan, formula, known)), memory
        case Duration() as duration:
            return (_made(plan, known, _lasted(known, duration.of)) if known.news(duration.of) else None), memory
        case Mean() as mean:
            return _averaged(plan, mean, known, memory)
        case Difference() as consumed:
            return _consumed(plan, consumed, known, memory)


def dew_point(celsius: float, humidity_percent: float) -> float | None:
    """The dew point in °C; None where the air is dry or the formula has no meaning."""
    if humidity_percent <= 0 or celsius <= -MAGNUS_B:
        return None
    gamma = math.log(humidity_percent / 100) + MAGNUS_A * celsius / (MAGNUS_B + celsius)
    return MAGNUS_B * gamma / (MAGNUS_A - gamma) if gamma < MAGNUS_A else None


def _made(plan: DerivedPlan, known: Known, value: Value | None) -> Made | None:
    if value is None:
        return None
    inputs = {
        name: known.group.values[name] if name in known.group.values else known.seen[known.keys[name]].value
        for name in plan.inputs
    }
    return Made(value, known.group.at, inputs)


def _filled(filling: Filling, distance: float | None) -> float | None:
    if distance is None:
        return None
    container = filling.container
    if filling.gives == "level":
        return level(container, distance)
    full = fraction(container, distance)
    if filling.gives == "fraction":
        return full
    return round(full * (100 if filling.gives == "percentage" else container.capacity or 0), 6)


def _dew_point(dew: DewPoint, known: Known) -> float | None:
    temperature = known.number(dew.temperature, dew.max_age_seconds)
    humidity = known.number(dew.humidity, dew.max_age_seconds)
    if temperature is None or humidity is None:
        return None
    celsius = convert(temperature, known.units[dew.temperature], "CEL")
    found = dew_point(celsius, convert(humidity, known.units[dew.humidity], "P1"))
    return round(found, 2) if found is not None else None


def _calculated(plan: DerivedPlan, formula: Formula, known: Known) -> float | bool | None:
    assert plan.expression is not None
    values: dict[str, float] = {}
    for name in plan.inputs:
        value = known.number(name, formula.max_age_seconds)
        if value is None:
            return None
        values[name] = value
    return plan.expression.value(values)


def _lasted(known: Known, name: str) -> float | None:
    """Seconds that a boolean has been true; when it ends, how long it was."""
    seen = known.before(name)
    if not isinstance(known.group.values[name], bool):
        return None
    return (known.group.at - seen.since) / SECOND if seen is not None and seen.value is True else 0.0


def _averaged(plan: DerivedPlan, mean: Mean, known: Known, memory: Memory | None) -> tuple[Made | None, Memory | None]:
    value = known.group.values[mean.of]
    if not known.news(mean.of) or isinstance(value, (bool, str)):
        return None, memory
    since = known.group.at - mean.window_seconds * SECOND
    earlier = memory.samples if memory is not None else ()
    samples = (*(sample for sample in earlier if sample[0] > since), (known.group.at, float(value)))[-SAMPLES:]
    average = math.fsum(sample[1] for sample in samples) / len(samples)
    return _made(plan, known, average), Memory(samples=samples)


def _consumed(
    plan: DerivedPlan, consumed: Difference, known: Known, memory: Memory | None
) -> tuple[Made | None, Memory | None]:
    value, seen = known.group.values[consumed.of], known.before(consumed.of)
    if not known.news(consumed.of) or isinstance(value, (bool, str)):
        return None, memory
    before = seen.value if seen is not None and not isinstance(seen.value, (bool, str)) else None
    if consumed.per == "observation":
        return (_made(plan, known, difference(value, before)) if before is not None else None), memory
    earlier = memory or Memory()
    windows, closed = closed_by(
        earlier.windows,
        known.group.at,
        value,
        before,
        per=consumed.per,
        time_zone=consumed.time_zone,
    )
    made = Made(closed[1], closed[0], {consumed.of: value}) if closed is not None else None
    opened = earlier.opened if windows == earlier.windows else (*earlier.opened, known.group.at)[-len(windows) :]
    return made, Memory(windows=windows, opened=opened)
