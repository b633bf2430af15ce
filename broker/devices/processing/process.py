"""Resolved measurements made into what is observed: calibrated, counted, checked, with what is derived from them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from broker.devices.model import Binding
from broker.devices.processing.observation import Observation, Source, calibrated, lineage_of, observation, united
from broker.devices.processing.plan import Plan, plan_of
from broker.devices.processing.plausible import alone
from broker.devices.processing.run import Run
from broker.devices.processing.state import EMPTY, SensorState
from broker.devices.resolve import Resolved


@dataclass(slots=True)
class Processed:
    """What an uplink's measurements became."""

    observations: list[Observation] = field(default_factory=list)
    """Oldest first for each virtual sensor; derived values behind what they are made of."""
    states: dict[str, SensorState] = field(default_factory=dict)
    """The next states of virtual sensors whose state changed."""


def process(
    resolved: Sequence[Resolved],
    source: Source,
    state_of: Callable[[str], SensorState],
    bindings_of: Callable[[str], Sequence[Binding]],
) -> Processed:
    """All of an uplink. `state_of` and `bindings_of` are asked, by virtual sensor, only where the contract needs it.

    Raises CodecError for a value that has no number in the wanted unit.
    """
    processed = Processed()
    runs: dict[str, Run] = {}
    for one in resolved:
        plan = plan_of(one.sensor)
        if not plan.remembers and not plan.derived:
            processed.observations.append(_stateless(one, plan, source))
            continue
        run = runs.get(one.sensor.id)
        if run is None:
            state = state_of(one.sensor.id) if plan.remembers else EMPTY
            runs[one.sensor.id] = run = Run(plan, source, state, bindings_of)
        run.take(one)
    for sensor_id, run in runs.items():
        run.end_group()
        processed.observations += run.observations
        if run.changed:
            processed.states[sensor_id] = run.state()
    return processed


def _stateless(one: Resolved, plan: Plan, source: Source) -> Observation:
    output = plan.outputs[id(one.output)]
    value, unit, failed = calibrated(one, output)
    if output.checks is not None:
        failed = united(failed, alone(output.checks, value, one.measurement.observed_at, source.received_at))
    return observation(one, value, unit, failed, lineage_of(one, output, source))
