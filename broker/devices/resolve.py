"""Which entity attribute each measurement becomes: device -> binding at the time -> virtual sensor -> output. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from broker.codecs.base import Measurement
from broker.devices.model import Binding, Output, VirtualSensor


@dataclass(frozen=True, slots=True)
class Resolved:
    """One measurement that becomes one attribute's value."""

    measurement: Measurement
    binding: Binding
    sensor: VirtualSensor
    output: Output

    @property
    def entity_id(self) -> str:
        """The entity it is written to."""
        return self.output.entity or self.sensor.entity


@dataclass(slots=True)
class Resolution:
    """What became of an uplink's measurements."""

    resolved: list[Resolved] = field(default_factory=list)
    unbound: list[Measurement] = field(default_factory=list)
    """No binding covered their time: the quarantine's business if there is nothing else."""
    unused: list[Measurement] = field(default_factory=list)
    """Bound, but the virtual sensor has no output for the quantity (battery voltages and the like)."""


def resolve(
    measurements: Sequence[Measurement], bindings: Sequence[Binding], sensors: Mapping[str, VirtualSensor]
) -> Resolution:
    """Each measurement by the binding that held when it was observed, oldest first."""
    resolution = Resolution()
    for measurement in sorted(measurements, key=lambda one: one.observed_at):
        held = [
            binding
            for binding in bindings
            if binding.covers(measurement.observed_at) and binding.channel in ("", measurement.channel)
        ]
        if not held:
            resolution.unbound.append(measurement)
            continue
        used = [
            Resolved(measurement, binding, sensor, output)
            for binding in held
            if (sensor := sensors.get(binding.virtual_sensor)) is not None
            for output in sensor.outputs
            if output.quantity == measurement.quantity and _same_channel(output, binding, measurement)
        ]
        if used:
            resolution.resolved += used
        else:
            resolution.unused.append(measurement)
    return resolution


def _same_channel(output: Output, binding: Binding, measurement: Measurement) -> bool:
    """A binding of one channel hands its measurements to outputs that name none; otherwise the channels are the same."""
    if binding.channel:
        return output.channel in ("", measurement.channel)
    return output.channel == measurement.channel
