"""A part of a reprocessing begins and ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from broker.clock import Micros, Stamp
from broker.devices.processing.state import as_sensor_state, state_body
from broker.devices.registry import as_binding, as_state
from broker.pipeline.reprocess.model import Part, as_part, as_reprocessing, digest, part_write
from broker.pipeline.reprocess.rehearse import Memories
from broker.stores.base import Needs, RecordWrite, Snapshot
from broker.stores.command import Alone, Effects, View

Hindrance = Literal["", "more", "moved"]
"""Nothing; more uplinks have come; its bindings are others."""


@dataclass(frozen=True, slots=True)
class BeginPart:
    """Take the states of its virtual sensors back to when it begins. Result: the part; None when the job has ended.

    A part that was begun by the same bindings is left as it is: it goes on; by others it begins anew, which is safe.
    """

    job: str
    id: str
    bindings: str
    since: Micros
    memories: Memories

    def needs(self, seen: Snapshot) -> Needs:
        """The job, the part, the states."""
        records = {("sensor_state", sensor) for sensor in self.memories.remaining}
        return Needs(records={("reprocessing", self.job), ("reprocessing_part", self.id), *records})  # type: ignore[arg-type]

    def apply(self, view: View, stamp: Stamp) -> Effects[Part | None]:
        """The part's record."""
        job, record = view.record("reprocessing", self.job), view.record("reprocessing_part", self.id)
        if job is None or not as_reprocessing(job).is_open:
            return Effects(None)
        present = as_part(record) if record is not None else None
        goes_on = (
            present is not None
            and present.bindings == self.bindings
            and present.states.keys() == self.memories.remaining.keys()
        )
        if present is not None and (present.done or goes_on):
            return Effects(present)
        states = {
            sensor: self.memories.state(sensor, as_sensor_state(view.record("sensor_state", sensor)), self.since)
            for sensor in self.memories.remaining
        }
        part = Part(job=self.job, bindings=self.bindings, states=states)
        version, expected = (record.version + 1, record.version) if record is not None else (1, 0)
        return Effects(part, records=[part_write(part, self.id, version, expected)])


@dataclass(frozen=True)
class EndPart(Alone):
    """All was looked at: the states are the virtual sensors' own from now on. Result: what hinders that, if something does."""

    job: str
    id: str
    heard: Mapping[str, int]
    """How many uplinks had been heard of each device, before it was found that there are no more."""
    keys: Sequence[str]
    """Of the bindings that it relies on."""

    def needs(self, seen: Snapshot) -> Needs:
        """The part, its devices' states, its virtual sensors' states."""
        needs = Needs(records={("reprocessing", self.job), ("reprocessing_part", self.id)})
        needs.records |= {("device_state", device) for device in self.heard}
        needs.found |= {("binding", key) for key in self.keys}
        record = seen.records.get(("reprocessing_part", self.id))
        if record is not None:
            needs.records |= {("sensor_state", sensor) for sensor in as_part(record).states}
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Hindrance]:
        """The states, and that it is done."""
        job, record = view.record("reprocessing", self.job), view.record("reprocessing_part", self.id)
        if job is None or not as_reprocessing(job).is_open or record is None or (part := as_part(record)).done:
            return Effects("")
        bindings = {one.id: as_binding(one) for key in self.keys for one in view.found("binding", key)}
        if digest(bindings.values()) != part.bindings:
            return Effects("moved")
        if any(as_state(view.record("device_state", one)).uplinks != count for one, count in self.heard.items()):
            return Effects("more")
        effects: Effects[Hindrance] = Effects("")
        for sensor, state in part.states.items():
            present = view.record("sensor_state", sensor)
            if as_sensor_state(present) != state:
                version, expected = (present.version + 1, present.version) if present is not None else (1, 0)
                effects.records.append(RecordWrite("sensor_state", sensor, state_body(state), version, expected))
        ended = msgspec.structs.replace(part, done=True, states={})
        effects.records.append(part_write(ended, self.id, record.version + 1, record.version))
        return effects
