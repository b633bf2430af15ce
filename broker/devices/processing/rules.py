"""What the processing part of a virtual sensor's contract must hold beyond its shape. Pure.

Each refusal names the member and the rule.
"""

from __future__ import annotations

import math
import re
import zoneinfo
from collections.abc import Iterator, Sequence
from itertools import pairwise

from broker.codecs.quantities import accepted_units, quantity, unit
from broker.devices.model import Output, VirtualSensor
from broker.devices.processing.contract import (
    Calibration,
    Checks,
    Container,
    Counter,
    Derived,
    DewPoint,
    Difference,
    Duration,
    Filling,
    Formula,
    Mean,
)
from broker.devices.processing.formula import FormulaError
from broker.devices.processing.plan import inputs_of, name_of, unit_of, unit_of_derived
from broker.errors import BadRequestData

ROWS = 200
"""Rows of a table."""
TERMS = 10
"""Coefficients of a polynomial."""
DERIVED = 50
"""Derived values of a virtual sensor."""
LONGEST_WINDOW = 31 * 24 * 3600
"""Seconds of a running mean."""
HIGHEST_READING = 10**15
"""What no meter shows; more digits a double does not hold."""
LONGEST_TEXT = 200
"""Characters of a value's text."""
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)


def check_processing(sensor: VirtualSensor) -> None:
    """Raises BadRequestData for the first rule that does not hold."""
    for refused in _refusals(sensor):
        raise BadRequestData(refused)


def check_readings(sensor: VirtualSensor, readings: dict[str, float], member: str) -> None:
    """What was read off at a swap is of the sensor's meters. Raises BadRequestData."""
    meters = [output for output in sensor.outputs if output.counter is not None]
    known = {name for output in meters for name in (output.quantity, output.attribute)}
    for name, reading in readings.items():
        if name not in known:
            there = ", ".join(sorted({output.quantity for output in meters})) or "none"
            raise BadRequestData(f"'{member}': '{sensor.id}' has no meter of '{name[:100]}'; its meters are: {there}.")
        if not 0 <= reading <= HIGHEST_READING:
            raise BadRequestData(f"'{member}.{name}' must be from 0 to {HIGHEST_READING}.")


def _refusals(sensor: VirtualSensor) -> Iterator[str]:
    kinds: dict[str, str] = {}
    units: dict[str, str] = {}
    names: dict[str, tuple[str | None, str]] = {}
    for index, output in enumerate(sensor.outputs):
        where = f"outputs[{index}]"
        yield from _output(output, where)
        name, attribute = name_of(output), (output.entity, output.attribute)
        if output.name and _NAME.fullmatch(output.name) is None:
            yield f"'{where}.name' must be a letter or '_', then letters, digits or '_', got '{output.name[:70]}'."
        if names.setdefault(name, attribute) != attribute:
            names[name] = (None, "")
        kinds[name], units[name] = quantity(output.quantity).kind, unit_of(output)
    if len(sensor.derived) > DERIVED:
        yield f"'derived' may have at most {DERIVED} values, got {len(sensor.derived)}."
    written = {(output.entity, output.attribute) for output in sensor.outputs}
    for index, derived in enumerate(sensor.derived):
        where = f"derived[{index}]"
        if (derived.entity, derived.attribute) in written:
            yield f"'{where}.attribute': another output or derived value has the attribute '{derived.attribute}'."
        written.add((derived.entity, derived.attribute))
        yield from _inputs(derived, where, names, kinds)
        yield from _derived(derived, where, units)
        if derived.name:
            if _NAME.fullmatch(derived.name) is None:
                yield f"'{where}.name' must be a letter or '_', then letters, digits or '_', got '{derived.name[:70]}'."
            if derived.name in names:
                yield f"'{where}.name': there is another '{derived.name}'."
            names[derived.name] = (derived.entity, derived.attribute)
            kinds[derived.name], units[derived.name] = "number", unit_of_derived(derived, units)


def _output(output: Output, where: str) -> Iterator[str]:
    is_number = quantity(output.quantity).kind == "number"
    for member, given in (("calibration", output.calibration), ("counter", output.counter)):
        if given is not None and not is_number:
            yield f"'{where}.{member}' is for numbers; '{output.quantity}' is a {quantity(output.quantity).kind}."
    if output.calibration is not None:
        yield from _calibration(output.calibration, f"{where}.calibration")
    if output.counter is not None:
        yield from _counter(output.counter, f"{where}.counter")
    if output.checks is not None:
        yield from _checks(output.checks, f"{where}.checks", is_number=is_number)
    if output.values:
        yield from _values(output, f"{where}.values")


def _values(output: Output, where: str) -> Iterator[str]:
    if output.counter is not None:
        yield f"'{where}' must not be there with 'counter': a meter's value is a number."
    if len(output.values) > ROWS:
        yield f"'{where}' may have at most {ROWS} members, got {len(output.values)}."
    kind = quantity(output.quantity).kind
    for name, value in output.values.items():
        if kind == "boolean" and name not in ("true", "false"):
            yield f"'{where}' may have 'true' and 'false': '{output.quantity}' is a boolean; got '{name[:60]}'."
        if kind == "number" and _NUMBER.fullmatch(name) is None:
            yield f"'{where}' must have numbers as names: '{output.quantity}' is a number; got '{name[:60]}'."
        if isinstance(value, str) and not 0 < len(value) <= LONGEST_TEXT:
            yield f"'{where}.{name[:60]}' must have 1 to {LONGEST_TEXT} characters, got {len(value)}."


def _calibration(calibration: Calibration, where: str) -> Iterator[str]:
    is_line = calibration.scale is not None or calibration.offset is not None
    if is_line + bool(calibration.polynomial) + bool(calibration.table) != 1:
        yield f"'{where}' must have one of: 'scale' and 'offset', 'polynomial', 'table'."
    if calibration.unit is not None and not _is_unit(calibration.unit):
        yield f"'{where}.unit' must be a UN/CEFACT common code of the table of units, got '{calibration.unit[:20]}'."
    if calibration.scale == 0:
        yield f"'{where}.scale' must not be 0."
    if len(calibration.polynomial) > TERMS:
        yield f"'{where}.polynomial' may have at most {TERMS} coefficients, got {len(calibration.polynomial)}."
    if calibration.table:
        yield from _table(calibration.table, f"{where}.table")


def _table(table: Sequence[tuple[float, float]], where: str) -> Iterator[str]:
    if not 2 <= len(table) <= ROWS:
        yield f"'{where}' must have 2 to {ROWS} rows, got {len(table)}."
    for before, row in pairwise(table):
        if row[0] <= before[0]:
            yield f"'{where}' must rise in its first column, but {row[0]} follows {before[0]}."


def _counter(counter: Counter, where: str) -> Iterator[str]:
    yield from _positive(where, rollsOverAt=counter.rolls_over_at, resolution=counter.resolution)


def _checks(checks: Checks, where: str, *, is_number: bool) -> Iterator[str]:
    if checks.minimum is not None and checks.maximum is not None and checks.minimum > checks.maximum:
        yield f"'{where}.minimum' must not be more than 'maximum', got {checks.minimum} and {checks.maximum}."
    numeric = {"minimum": checks.minimum, "maximum": checks.maximum, "maxChangePerHour": checks.max_change_per_hour}
    for member, given in numeric.items():
        if given is not None and not is_number:
            yield f"'{where}.{member}' is for numbers."
    yield from _positive(
        where,
        maxChangePerHour=checks.max_change_per_hour,
        stuckAfterSeconds=checks.stuck_after_seconds,
        clockAheadSeconds=checks.clock_ahead_seconds,
        clockBehindSeconds=checks.clock_behind_seconds,
    )
    if checks.stuck_after_values is not None and checks.stuck_after_values < 1:
        yield f"'{where}.stuckAfterValues' must be at least 1, got {checks.stuck_after_values}."


def _inputs(
    derived: Derived, where: str, names: dict[str, tuple[str | None, str]], kinds: dict[str, str]
) -> Iterator[str]:
    try:
        inputs = inputs_of(derived)
    except FormulaError as error:
        yield f"'{where}.expression': {error}."
        return
    if not inputs:
        yield f"'{where}.expression' must use at least one of {', '.join(names)}."
    for name in inputs:
        if name not in names:
            yield f"'{where}': there is no output or earlier derived value '{name[:60]}'; there are {', '.join(names)}."
        elif names[name] == (None, ""):
            yield f"'{where}': several outputs are '{name}'; give those that are meant a 'name'."
        elif isinstance(derived, Duration) != (kinds[name] == "boolean") and not isinstance(derived, Formula):
            yield f"'{where}': '{name}' must be a {'boolean' if isinstance(derived, Duration) else 'number'}."
        elif kinds[name] == "text":
            yield f"'{where}': '{name}' is a text; expressions are of numbers and booleans."


def _derived(derived: Derived, where: str, units: dict[str, str]) -> Iterator[str]:
    match derived:
        case Filling():
            yield from _container(derived.container, f"{where}.container")
            if derived.gives == "volume" and derived.container.capacity is None:
                yield f"'{where}.container.capacity' must be given for a volume."
            if derived.unit is not None and (derived.gives != "volume" or derived.unit not in accepted_units("volume")):
                yield f"'{where}.unit' is for a volume: one of {', '.join(accepted_units('volume'))}."
        case DewPoint():
            for member, name, like in (
                ("temperature", derived.temperature, "temperature"),
                ("humidity", derived.humidity, "humidity"),
            ):
                if units.get(name) not in accepted_units(like):
                    yield f"'{where}.{member}': '{name}' must be in one of {', '.join(accepted_units(like))}."
            yield from _positive(where, maxAgeSeconds=derived.max_age_seconds)
        case Mean():
            if not 0 < derived.window_seconds <= LONGEST_WINDOW:
                yield f"'{where}.windowSeconds' must be more than 0 and at most {LONGEST_WINDOW}, got {derived.window_seconds}."
        case Difference():
            if derived.time_zone not in zoneinfo.available_timezones():
                yield f"'{where}.timeZone' must be a name of the IANA database such as Europe/Stockholm, got '{derived.time_zone[:60]}'."
        case Formula():
            if derived.unit and not _is_unit(derived.unit):
                yield f"'{where}.unit' must be a UN/CEFACT common code of the table of units, got '{derived.unit[:20]}'."
            yield from _positive(where, maxAgeSeconds=derived.max_age_seconds)
        case Duration():
            pass


def _container(container: Container, where: str) -> Iterator[str]:
    if not 0 <= container.distance_full < container.distance_empty:
        yield f"'{where}.distanceEmpty' must be more than 'distanceFull', and that at least 0."
    if (container.shape == "table") != bool(container.table):
        yield f"'{where}.table' is for shape 'table', and must be there for it."
    if container.table:
        yield from _table(container.table, f"{where}.table")
        if any(not 0 <= part <= 1 for _, part in container.table):
            yield f"'{where}.table' must have parts of the full volume from 0 to 1 in its second column."
    yield from _positive(where, capacity=container.capacity)


def _positive(where: str, **given: float | None) -> Iterator[str]:
    for member, value in given.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            yield f"'{where}.{member}' must be more than 0, got {value}."


def _is_unit(code: str) -> bool:
    try:
        unit(code)
    except ValueError:
        return False
    return True
