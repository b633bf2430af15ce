"""A reprocessing is asked for, begins, is cancelled, ends. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from broker.clock import Stamp, iso
from broker.errors import Conflict, ResourceNotFound
from broker.pipeline.reprocess.model import (
    Reprocessing,
    Selection,
    State,
    as_reprocessing,
    job_write,
    part_key,
    summed,
)
from broker.stores.base import Needs, RecordWrite, Snapshot
from broker.stores.command import Alone, Effects, View


@dataclass(frozen=True, slots=True)
class Ask:
    """Write down that it is wanted: it is done in its turn."""

    selection: Selection
    by: str
    note: str
    notify: bool
    granted: bool

    def needs(self, seen: Snapshot) -> Needs:
        """Nothing."""
        return Needs()

    def apply(self, view: View, stamp: Stamp) -> Effects[Reprocessing]:
        """Its record."""
        job = Reprocessing(
            id=view.new_id(),
            state="waiting",
            selection=self.selection,
            created_at=stamp.now,
            by=self.by,
            note=self.note,
            notify=self.notify,
            granted=self.granted,
        )
        return Effects(job, records=[job_write(job, stamp.version, 0)])


@dataclass(frozen=True, slots=True)
class Start:
    """It is its turn."""

    id: str

    def needs(self, seen: Snapshot) -> Needs:
        """The job."""
        return Needs(records={("reprocessing", self.id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[Reprocessing | None]:
        """Its record; None when it has ended."""
        record = view.record("reprocessing", self.id)
        job = as_reprocessing(record) if record is not None else None
        if record is None or job is None or not job.is_open:
            return Effects(None)
        if job.state == "running":
            return Effects(job)
        started = replace(job, state="running", started_at=stamp.now)
        return Effects(started, records=[job_write(started, stamp.version, record.version)])


@dataclass(frozen=True)
class End(Alone):
    """It ends, as its parts are done or as it is cancelled or cannot go on; their counts are its own from now on."""

    id: str
    state: State
    by: str = ""
    reason: str = ""

    def needs(self, seen: Snapshot) -> Needs:
        """The job and its parts."""
        return Needs(records={("reprocessing", self.id)}, found={("reprocessing_part", part_key(self.id))})

    def apply(self, view: View, stamp: Stamp) -> Effects[Reprocessing]:
        """Its record. Raises ResourceNotFound; Conflict when it has ended."""
        record = view.record("reprocessing", self.id)
        if record is None:
            raise ResourceNotFound(f"There is no reprocessing '{self.id[:100]}'.")
        job = as_reprocessing(record)
        if not job.is_open:
            ended = f" at {iso(job.ended_at)}" if job.ended_at is not None else ""
            raise Conflict(f"The reprocessing '{self.id}' has ended: it was {job.state}{ended}.")
        counts = summed(view.found("reprocessing_part", part_key(self.id)))
        ended_job = replace(job, state=self.state, ended_at=stamp.now, reason=self.reason, counts=counts)
        return Effects(ended_job, records=[job_write(ended_job, stamp.version, record.version)])


@dataclass(frozen=True, slots=True)
class ForgetParts:
    """Of a reprocessing that has ended: what its parts remembered goes."""

    ids: Sequence[str]

    def needs(self, seen: Snapshot) -> Needs:
        """The parts."""
        return Needs(records={("reprocessing_part", one) for one in self.ids})

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """They go."""
        found = [view.record("reprocessing_part", one) for one in self.ids]
        return Effects(
            None,
            records=[
                RecordWrite("reprocessing_part", one.id, None, stamp.version, one.version)
                for one in found
                if one is not None
            ],
        )
