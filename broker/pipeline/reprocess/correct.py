"""The command that corrects what one kept uplink brought, by the models, rules and bindings of now. Pure.

    what it would bring now -> beside what it brought -> rows that differ are superseded, others added -> current values

Values that come out equal are left alone, so that doing it again changes nothing. An uplink that could not be understood
becomes one that is applied, and the other way round. Nothing else follows: no alarm is raised from the past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from broker.clock import Stamp
from broker.codecs.base import CodecError, Measurement
from broker.config import Limits
from broker.devices.located import places_needed
from broker.devices.model import Binding, VirtualSensor
from broker.devices.observe import instance_of, row_of
from broker.devices.processing.observation import Observation, Source
from broker.devices.processing.plan import plan_of
from broker.devices.processing.process import process
from broker.devices.processing.state import SensorState
from broker.devices.registry import as_binding, as_device, as_sensor, as_state
from broker.devices.resolve import resolve
from broker.pipeline.apply_uplink import UNHEARD, Decoded
from broker.pipeline.intake import Uplink
from broker.pipeline.reprocess.compare import Differing, differing, sensor_of
from broker.pipeline.reprocess.currents import correct_currents, is_current, left_without
from broker.pipeline.reprocess.model import Counts, Part, as_part, as_reprocessing, part_write
from broker.pipeline.uplink_parts import by_time, heard_again, left_out, unbound
from broker.stores.base import (
    Needs,
    Snapshot,
    Superseded,
    UplinkRow,
    UplinkStatus,
    UplinkUpdate,
)
from broker.stores.command import Effects, View

UNBOUND: Final = "Nothing was bound to its device at its time."
NONE: Final = Counts()


@dataclass(frozen=True, slots=True)
class Corrected:
    """What was done. `again`: nothing, as the device or its model changed since the uplink was decoded. `ended`: nothing, as
    the reprocessing was cancelled. `moved`: nothing, as virtual sensors are concerned that the part does not know.
    """

    how: str
    counts: Counts = NONE
    differing: Sequence[Differing] = ()


@dataclass(slots=True)
class _Made:
    """What the uplink is now."""

    status: UplinkStatus
    reason: str = ""
    observations: Sequence[Observation] = ()
    measurements: Sequence[Measurement] = ()
    states: dict[str, SensorState] = field(default_factory=dict)
    kind: str = ""
    """The reason as it is counted: of no device in particular."""


class _Moved(Exception):
    """A virtual sensor that the part does not know."""


@dataclass(frozen=True, slots=True)
class Correct:
    """Look at one kept uplink again, in its part of a reprocessing."""

    job: str
    part: str
    """Id of its record."""
    kept: UplinkRow
    uplink: Uplink | None
    """As it is read again; None where it cannot be."""
    unreadable: str
    """Why not, for people."""
    decoded: Decoded
    limits: Limits
    selected: bool
    """False: only virtual sensors that remember are concerned, for theirs builds on what was selected."""

    def needs(self, seen: Snapshot) -> Needs:
        """How far it is; the device, its bindings and virtual sensors; what the uplink brought; entities and what else is left."""
        needs = Needs(records={("reprocessing", self.job), ("reprocessing_part", self.part)})
        device = self.kept.device_id
        if self.uplink is None or device is None:
            return needs
        needs.brought = {self.kept.id}
        needs.records |= {("device", device), ("device_state", device)}
        needs.found.add(("binding", f"device:{device}"))
        known = seen.records.get(("device", device))
        if known is not None:
            needs.records.add(("device_model", as_device(known).model))
        for record in seen.found.get(("binding", f"device:{device}"), ()):
            sensor_id = as_binding(record).virtual_sensor
            needs.records.add(("virtual_sensor", sensor_id))
            sensor = seen.records.get(("virtual_sensor", sensor_id))
            if sensor is not None:
                needs.entities |= as_sensor(sensor).entities
                needs.entities |= places_needed(as_sensor(sensor), seen.entity)
                if plan_of(as_sensor(sensor)).counts:
                    needs.found.add(("binding", f"sensor:{sensor_id}"))
        for row in seen.brought.get(self.kept.id, ()):
            needs.entities.add(row.entity_id)
            stored = seen.entities.get(row.entity_id)
            if stored is not None and is_current(stored.entity["attrs"].get(row.attribute, []), row):
                needs.latest.add(left_without(row))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Corrected]:
        """Rows that hold instead of others, current values that stem from those, and how far it is."""
        job, record = view.record("reprocessing", self.job), view.record("reprocessing_part", self.part)
        if job is None or not as_reprocessing(job).is_open or record is None:
            return Effects(Corrected("ended"))
        part = as_part(record)
        if self.kept.id <= part.last:
            return Effects(Corrected("done"))
        uplink = self.uplink
        effects: Effects[Corrected] = Effects(Corrected("done"), silent=not as_reprocessing(job).notify)
        states: dict[str, SensorState] = {}
        if uplink is None:
            one = int(self.selected)
            counts = Counts(uplinks=one, unreadable=one, following=1 - one, reasons={self.unreadable: 1})
        elif self._is_stale(view, uplink):
            return Effects(Corrected("again"))
        else:
            try:
                made = self._made(view, uplink, part)
            except _Moved:
                return Effects(Corrected("moved"))
            states = made.states
            counts = self._write(effects, view, stamp, uplink, made)
        effects.result = Corrected("done", counts, effects.result.differing)
        following = msgspec.structs.replace(
            part, last=self.kept.id, counts=part.counts.plus(counts), states={**part.states, **states}
        )
        effects.records.append(part_write(following, record.id, record.version + 1, record.version))
        return effects

    def _is_stale(self, view: View, uplink: Uplink) -> bool:
        device, model = view.record("device", uplink.device_id), self.decoded.model
        if device is None:
            return model is not None
        record = view.record("device_model", as_device(device).model)
        if model is None:
            return record is not None or not self.decoded.problem
        return record is None or model.id != record.id or record.version != self.decoded.model_version

    def _made(self, view: View, uplink: Uplink, part: Part) -> _Made:
        """What the uplink is by what holds now, as of its time."""
        decoded = self.decoded
        if view.record("device", uplink.device_id) is None:
            return _Made("quarantined", UNBOUND, kind=UNBOUND)
        if uplink.kind != "up" or (uplink.payload is None and uplink.decoded is None and not uplink.values):
            return _Made("applied")
        if decoded.model is None or decoded.problem:
            return _Made("rejected", decoded.problem, kind=decoded.problem)
        timely, odd = by_time(decoded.measurements, self.kept.received_at, self.limits)
        bindings, sensors = _registry(view, uplink.device_id)
        resolution = resolve(timely, bindings, sensors)
        if timely and not resolution.resolved and not resolution.unused:
            reason = unbound(uplink.device_id, bindings, timely[0].observed_at)
            return _Made("quarantined", reason, measurements=timely, kind=UNBOUND)
        wanted = [one for one in resolution.resolved if self.selected or one.sensor.id in part.states]
        versions = {
            one.sensor.id: record.version
            for one in wanted
            if (record := view.record("virtual_sensor", one.sensor.id)) is not None
        }
        source = Source(decoded.model.id, decoded.model_version, uplink.observed_at, versions)
        try:
            processed = process(
                wanted,
                source,
                lambda sensor_id: _state(part, sensor_id),
                lambda sensor_id: [as_binding(record) for record in view.found("binding", f"sensor:{sensor_id}")],
            )
        except CodecError as error:
            return _Made("rejected", str(error), kind=str(error))
        failed = [one for one in processed.observations if one.failed]
        reason = left_out(odd, resolution, failed, self.limits)
        return _Made("applied", reason, processed.observations, timely, processed.states)

    def _write(self, effects: Effects[Corrected], view: View, stamp: Stamp, uplink: Uplink, made: _Made) -> Counts:
        if not self.selected and made.status != "applied":
            # What follows only builds on others: by itself it is left as it is.
            made = _Made("applied")
            differs: list[Differing] = []
        else:
            rows = [
                row
                for row in view.brought(self.kept.id)
                if row.lineage is not None and (self.selected or sensor_of(row) in self._remembering(view))
            ]
            differs = differing(rows, made.observations, uplink.device_id)
        for one in differs:
            self._correct(effects, stamp, uplink, one)
        correct_currents(effects, view, stamp, uplink, self.kept, differs)
        was = self.kept.status
        if self.selected and (made.status != was or (made.status == "applied" and made.reason != self.kept.reason)):
            effects.uplink_updates.append(UplinkUpdate(self.kept.id, made.status, made.reason, expected=was))
        if self.selected and as_state(view.record("device_state", uplink.device_id)).last_uplink == self.kept.id:
            effects.records += heard_again(
                view,
                uplink,
                self.kept.id,
                uplink.observed_at,
                measurements=made.measurements,
                problem=made.reason or None,
                again=UNHEARD not in self.kept.meta,
                model=self.decoded.model,
                frame=as_state(view.record("device_state", uplink.device_id)).frame,
            )
        effects.result = Corrected("done", differing=differs)
        return self._counts(made, differs)

    def _remembering(self, view: View) -> frozenset[str]:
        record = view.record("reprocessing_part", self.part)
        return frozenset(as_part(record).states) if record is not None else frozenset()

    def _counts(self, made: _Made, differs: Sequence[Differing]) -> Counts:
        counted = Counts(
            superseded=sum(len(one.before) for one in differs), added=sum(len(one.after) for one in differs)
        )
        if not self.selected:
            return msgspec.structs.replace(counted, following=1, following_changed=int(bool(differs)))
        was = self.kept.status
        if was == "rejected" and made.status != "rejected":
            kind = "accepted"
        elif was == "applied" and made.status != "applied":
            kind = "rejected"
        else:
            kind = "changed" if differs else "same"
        reasons = {made.kind: 1} if kind == "rejected" else {}
        return msgspec.structs.replace(counted, **{"uplinks": 1, kind: 1}, reasons=reasons)

    def _correct(self, effects: Effects[Corrected], stamp: Stamp, uplink: Uplink, one: Differing) -> None:
        """At one place the rows of before do not hold, and others do."""
        if one.before:
            effects.superseded.append(
                Superseded(
                    one.entity_id,
                    stamp.version,
                    uplink_id=self.kept.id,
                    since=one.at,
                    until=one.at + 1,
                    attribute=one.attribute,
                    by=self.job,
                )
            )
        for observed in one.after:
            row = row_of(
                observed, instance_of(observed, uplink.device_id, stamp), uplink.device_id, self.kept.id, stamp
            )
            effects.history.append(msgspec.structs.replace(row, lineage={**observed.lineage, "reprocessing": self.job}))


def _state(part: Part, sensor_id: str) -> SensorState:
    state = part.states.get(sensor_id)
    if state is None:
        raise _Moved
    return state


def _registry(view: View, device_id: str) -> tuple[list[Binding], dict[str, VirtualSensor]]:
    bindings = [as_binding(record) for record in view.found("binding", f"device:{device_id}")]
    sensors = {
        binding.virtual_sensor: as_sensor(record)
        for binding in bindings
        if (record := view.record("virtual_sensor", binding.virtual_sensor)) is not None
    }
    return bindings, sensors
