"""One virtual sensor's measurements of one uplink, oldest first, and its state as it changes with them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from broker.devices.model import Binding
from broker.devices.processing.derive import Group, Known, Made, derive
from broker.devices.processing.exact import EXACT, exact
from broker.devices.processing.meter import Counted, NotBelieved, count, readings_at_swap
from broker.devices.processing.observation import Observation, Source, calibrated, lineage_of, observation, united
from broker.devices.processing.plan import DerivedPlan, OutputPlan, Plan
from broker.devices.processing.plausible import after, alone, taken
from broker.devices.processing.state import SensorState, Value
from broker.devices.resolve import Resolved


class Run:
    """`take` each measurement, then `end_group`; `observations`, and where `changed`, `state`, are the result."""

    def __init__(
        self, plan: Plan, source: Source, state: SensorState, bindings_of: Callable[[str], Sequence[Binding]]
    ) -> None:
        self._plan = plan
        self._source = source
        self._bindings_of = bindings_of
        self._meters = dict(state.meters)
        self._seen = dict(state.seen)
        self._memory = dict(state.derived)
        self._group: Group | None = None
        self._last: Resolved | None = None
        self.changed = False
        self.observations: list[Observation] = []

    def state(self) -> SensorState:
        """The state after what was taken."""
        return SensorState(meters=self._meters, seen=self._seen, derived=self._memory)

    def take(self, one: Resolved) -> None:
        """One measurement more, not older than the one before."""
        at = one.measurement.observed_at
        if self._group is None or self._group.at != at:
            self.end_group()
            self._group = Group(at)
        self._last = one
        output = self._plan.outputs[id(one.output)]
        value, unit, failed = calibrated(one, output)
        lineage = lineage_of(one, output, self._source)
        if output.checks is not None:
            failed = united(failed, alone(output.checks, value, at, self._source.received_at))
        counted = None
        if one.output.counter is not None:
            value, counted, failed = self._counted(one, output, value, failed, lineage)
        if output.checks is not None:
            failed = united(failed, after(output.checks, value, at, self._seen.get(output.key)))
        if failed:
            self._stuck(output, failed)
        else:
            self._believed(output, value, counted)
        self.observations.append(observation(one, value, unit, failed, lineage))

    def end_group(self) -> None:
        """Nothing more comes of this moment: what is derived of it follows."""
        if self._group is not None and self._group.values:
            for plan in self._plan.derived:
                made, memory = derive(plan, self._known(self._group), self._memory.get(plan.key))
                if memory is not None and memory is not self._memory.get(plan.key):
                    self._memory[plan.key] = memory
                    self.changed = True
                if made is not None:
                    self._derived(plan, made)
        self._group = None

    def _known(self, group: Group) -> Known:
        return Known(group, self._seen, self._plan.keys, self._plan.units)

    def _counted(
        self, one: Resolved, output: OutputPlan, value: Value, failed: tuple[str, ...], lineage: dict[str, Any]
    ) -> tuple[Value, Counted | None, tuple[str, ...]]:
        """The virtual counter's value. A reading that is not believed is shown as what it would have been."""
        assert one.output.counter is not None
        if isinstance(value, (bool, str)):
            return value, None, failed
        segments = self._meters.get(output.key, ())
        if not failed:
            readings = None
            if segments and segments[-1].binding != one.binding.id:
                names = (one.output.attribute, one.output.quantity)
                readings = readings_at_swap(one.binding, self._bindings_of(one.sensor.id), names)
            try:
                counted = count(
                    segments,
                    value,
                    one.measurement.observed_at,
                    binding=one.binding,
                    counter=one.output.counter,
                    readings=readings,
                )
            except NotBelieved:
                failed = ("counter",)
            else:
                lineage["offset"] = counted.offset
                return counted.value, counted, failed
        if segments:
            value = float(EXACT.add(exact(value), Decimal(segments[-1].offset)))
        return value, None, failed

    def _stuck(self, output: OutputPlan, failed: tuple[str, ...]) -> None:
        """A value that is only stuck goes on being the same."""
        seen = self._seen.get(output.key)
        if failed == ("stuck",) and seen is not None:
            self._seen[output.key] = msgspec.structs.replace(seen, count=seen.count + 1)
            self.changed = True

    def _believed(self, output: OutputPlan, value: Value, counted: Counted | None) -> None:
        assert self._group is not None
        self._group.values[output.name] = value
        if counted is not None and counted.segments is not self._meters.get(output.key):
            self._meters[output.key] = counted.segments
            self.changed = True
        if output.seen:
            self._see(output.key, value, keep_times=output.checks is not None and output.checks.duplicates)

    def _see(self, key: str, value: Value, *, keep_times: bool) -> None:
        assert self._group is not None
        seen, at = self._seen.get(key), self._group.at
        if seen is None or at > seen.at:
            self._group.before[key] = seen
        elif not keep_times:
            return
        self._seen[key] = taken(seen, value, at, keep_times=keep_times)
        self.changed = True

    def _derived(self, plan: DerivedPlan, made: Made) -> None:
        one, derived, group = self._last, plan.derived, self._group
        assert one is not None
        assert group is not None
        if derived.name and made.at == group.at:
            group.values[derived.name] = made.value
            if plan.seen:
                self._see(plan.key, made.value, keep_times=False)
        self.observations.append(
            Observation(
                derived.entity or one.sensor.entity,
                one.sensor,
                derived.attribute,
                made.value,
                plan.unit,
                made.at,
                one.binding,
                {
                    "derived": type(derived).__struct_config__.tag,
                    "from": made.inputs,
                    "model": [self._source.model, self._source.model_version],
                    "sensor": [one.sensor.id, self._source.versions.get(one.sensor.id, 0)],
                },
            )
        )
