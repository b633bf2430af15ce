"""What is observed: one value for one attribute, with how it was made. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.quantities import UnitError, convert
from broker.devices.model import Binding, VirtualSensor
from broker.devices.processing.plan import OutputPlan
from broker.devices.processing.state import Value
from broker.devices.resolve import Resolved


class Observation(Struct, frozen=True):
    """One value for one attribute of one entity, measured or derived."""

    entity_id: str
    sensor: VirtualSensor
    attribute: str
    value: Value
    unit: str
    at: Micros
    binding: Binding
    lineage: dict[str, Any]
    failed: tuple[str, ...] = ()
    """The checks that it failed; empty: it is plausible."""
    current: bool = True
    """Whether it may become the entity's current value."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where an uplink's measurements come from."""

    model: str
    model_version: int
    received_at: Micros
    """When the network received the uplink."""
    versions: Mapping[str, int]
    """Of the virtual sensors."""


def in_unit(measurement: Measurement, wanted: str) -> tuple[Value, str]:
    """The measurement's value and unit as the virtual sensor's contract wants them. CodecError when it cannot be."""
    value = measurement.value
    if wanted == measurement.unit or isinstance(value, (bool, str)):
        return value, measurement.unit
    try:
        return convert(value, measurement.unit, wanted), wanted
    except UnitError as error:
        raise CodecError(f"Quantity '{measurement.quantity}': {error}") from None


def calibrated(one: Resolved, output: OutputPlan) -> tuple[Value, str, tuple[str, ...]]:
    """Value, unit, and 'range' where the device cannot have measured that."""
    value, unit = in_unit(one.measurement, output.measured)
    if isinstance(value, (bool, str)):
        return value, unit, ()
    try:
        if not math.isfinite(value):
            raise CodecError(f"Quantity '{one.measurement.quantity}': {value} is not a number.")
        failed = () if output.low <= value <= output.high else ("range",)
        if output.correct is None:
            return value, unit, failed
        return output.correct(value), output.unit, failed
    except OverflowError:
        raise CodecError(f"Quantity '{one.measurement.quantity}': its value is too large.") from None


def spelled(value: Value) -> str:
    """A value as the keys of an output's `values` have it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def united(failed: tuple[str, ...], more: Iterable[str]) -> tuple[str, ...]:
    """The names of both, each once."""
    return tuple(dict.fromkeys((*failed, *more)))


def observation(
    one: Resolved, value: Value, unit: str, failed: tuple[str, ...], lineage: dict[str, Any]
) -> Observation:
    """What a measurement became."""
    output = one.output
    if output.values:
        named = output.values.get(spelled(value))
        if named is not None:
            value, unit = named, ""
    return Observation(
        one.entity_id,
        one.sensor,
        output.attribute,
        value,
        unit,
        one.measurement.observed_at,
        one.binding,
        lineage,
        failed,
        not failed or output.implausible == "current",
    )


def lineage_of(one: Resolved, output: OutputPlan, source: Source) -> dict[str, Any]:
    """How a measurement's value is made, for the history."""
    measurement = one.measurement
    made: dict[str, Any] = {
        "raw": measurement.value,
        "unit": measurement.unit,
        "quantity": measurement.quantity,
        "model": [source.model, source.model_version],
        "sensor": [one.sensor.id, source.versions.get(one.sensor.id, 0)],
    }
    if measurement.channel:
        made["channel"] = measurement.channel
    if output.calibration:
        made["calibration"] = output.calibration
    if output.checks is not None:
        made["checks"] = list(output.checked)
    return made
