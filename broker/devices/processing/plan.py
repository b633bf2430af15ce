"""A virtual sensor's contract made ready for its uplinks: once a version of the sensor. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from broker.codecs.quantities import convert, quantity
from broker.devices.model import Output, VirtualSensor
from broker.devices.processing.calibrate import Correct, correction, described
from broker.devices.processing.contract import (
    Checks,
    Derived,
    DewPoint,
    Difference,
    Duration,
    Filling,
    Formula,
    Mean,
)
from broker.devices.processing.formula import Expression
from broker.devices.processing.plausible import names


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """What happens to one output's values."""

    key: str
    """Of its attribute, in the sensor's state."""
    name: str
    measured: str
    """The unit that measurements are converted to."""
    unit: str
    """The unit of the value, once calibrated."""
    low: float
    high: float
    """What is physically possible, in the output's unit, before calibration."""
    correct: Correct | None
    calibration: str
    """Name of the calibration, for the lineage."""
    checks: Checks | None
    checked: tuple[str, ...]
    """Names of the checks, for the lineage."""
    seen: bool
    """Whether the value is remembered: for checks or derived values."""


@dataclass(frozen=True, slots=True)
class DerivedPlan:
    """What makes one derived value."""

    derived: Derived
    key: str
    inputs: tuple[str, ...]
    """Names of what it is made of."""
    unit: str
    seen: bool
    """Whether the value is remembered, for others that are derived of it."""
    expression: Expression | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to a virtual sensor's measurements."""

    sensor: VirtualSensor
    outputs: dict[int, OutputPlan]
    """By the identity of the sensor's own `Output`s: a look-up in the hot path."""
    derived: tuple[DerivedPlan, ...]
    keys: dict[str, str]
    """Name -> key."""
    units: dict[str, str]
    """Name -> unit."""
    remembers: bool
    """Whether there is a state."""
    counts: bool
    """Whether there are meters: then the sensor's bindings must be known."""


_plans: dict[str, Plan] = {}
_REMEMBERED = 100_000
"""Plans kept: as many virtual sensors as a large city has. About 1 KB each."""


def plan_of(sensor: VirtualSensor) -> Plan:
    """The plan of a sensor, made once for each object that the registry hands out."""
    known = _plans.get(sensor.id)
    if known is not None and known.sensor is sensor:
        return known
    if len(_plans) >= _REMEMBERED:
        _plans.clear()
    _plans[sensor.id] = made = _planned(sensor)
    return made


def key_of(sensor: VirtualSensor, entity_id: str, attribute: str) -> str:
    """The key of an attribute in the sensor's state."""
    return attribute if entity_id == sensor.entity else f"{entity_id} {attribute}"


def name_of(output: Output) -> str:
    """The name by which derived values refer to an output."""
    return output.name or output.quantity


def inputs_of(derived: Derived) -> tuple[str, ...]:
    """The names of what it is made of. Raises FormulaError."""
    if isinstance(derived, DewPoint):
        return derived.temperature, derived.humidity
    if isinstance(derived, Formula):
        return tuple(sorted(Expression(derived.expression).names))
    return (derived.of,)


def unit_of(output: Output) -> str:
    """The unit that an output's attribute is kept in."""
    if output.calibration is not None and output.calibration.unit is not None:
        return output.calibration.unit
    return unit_measured(output)


def unit_measured(output: Output) -> str:
    """The unit that an output's measurements are converted to, before they are calibrated."""
    return output.unit if output.unit is not None else quantity(output.quantity).unit


def unit_of_derived(derived: Derived, units: dict[str, str]) -> str:
    """The unit of a derived value, given those of what it is made of."""
    match derived:
        case Filling(gives="level"):
            return units.get(derived.of, "")
        case Filling(gives="fraction"):
            return "C62"
        case Filling(gives="volume"):
            return derived.unit or "MTQ"
        case Filling():
            return "P1"
        case DewPoint():
            return "CEL"
        case Duration():
            return "SEC"
        case Formula():
            return derived.unit
        case Difference() | Mean():
            return units.get(derived.of, "")


def _planned(sensor: VirtualSensor) -> Plan:
    keys: dict[str, str] = {}
    units: dict[str, str] = {}
    for output in sensor.outputs:
        keys[name_of(output)] = _key(output)
        units[name_of(output)] = unit_of(output)
    for one in sensor.derived:
        if one.name:
            keys[one.name], units[one.name] = _key(one), unit_of_derived(one, units)
    remembered = {keys[name] for one in sensor.derived if _remembers(one) for name in inputs_of(one) if name in keys}
    derived = [
        DerivedPlan(
            one,
            _key(one),
            inputs_of(one),
            unit_of_derived(one, units),
            _key(one) in remembered,
            Expression(one.expression) if isinstance(one, Formula) else None,
        )
        for one in sensor.derived
    ]
    outputs = {id(output): _output(output, remembered) for output in sensor.outputs}
    counts = any(output.counter is not None for output in sensor.outputs)
    remembers = bool(remembered) or counts or any(plan.seen for plan in outputs.values())
    return Plan(sensor, outputs, tuple(derived), keys, units, remembers, counts)


def _output(output: Output, remembered: set[str]) -> OutputPlan:
    checks = output.checks
    physical = checks is None or checks.physical
    low, high = _limits(output) if physical else (-math.inf, math.inf)
    key = _key(output)
    seen = key in remembered or (
        checks is not None
        and (
            checks.max_change_per_hour is not None
            or checks.stuck_after_seconds is not None
            or checks.stuck_after_values is not None
            or checks.duplicates
        )
    )
    return OutputPlan(
        key=key,
        name=name_of(output),
        measured=unit_measured(output),
        unit=unit_of(output),
        low=low,
        high=high,
        correct=correction(output.calibration) if output.calibration is not None else None,
        calibration=described(output.calibration) if output.calibration is not None else "",
        checks=checks,
        checked=names(checks, physical=physical) if checks is not None else ("range",),
        seen=seen,
    )


def _limits(output: Output) -> tuple[float, float]:
    info = quantity(output.quantity)
    if info.kind != "number":
        return -math.inf, math.inf
    wanted = unit_measured(output)
    low, high = (
        (limit if wanted == info.unit or not info.unit else convert(limit, info.unit, wanted))
        if limit is not None
        else None
        for limit in (info.minimum, info.maximum)
    )
    return low if low is not None else -math.inf, high if high is not None else math.inf


def _remembers(derived: Derived) -> bool:
    """Whether what it is made of must be remembered: earlier values, or values that come in other uplinks."""
    if isinstance(derived, (DewPoint, Formula)):
        return len(inputs_of(derived)) > 1
    return not isinstance(derived, Filling)


def _key(part: Output | Derived) -> str:
    return part.attribute if part.entity is None else f"{part.entity} {part.attribute}"
