"""Uplinks looked at again without writing anything: for what would change, and for what virtual sensors remembered then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from broker.clock import Clock, Micros
from broker.devices.processing.state import EMPTY, Memory, Remaining, SensorState, as_sensor_state, rewind
from broker.pipeline.preview import load_needs
from broker.pipeline.reprocess.correct import Correct, Corrected
from broker.pipeline.reprocess.looking import Looking
from broker.pipeline.reprocess.model import Part, Reprocessing, Selection, as_part, job_write, part_write
from broker.pipeline.reprocess.select import Group, Selector
from broker.stores.base import Needs, Record, RecordWrite, Snapshot, TenantStore, UplinkRow
from broker.stores.command import Effects, View

AT_ONCE: Final = 100
"""Uplinks whose needs are read together, count."""
JOB: Final = "preview"
PART: Final = "preview:"
_JOB: Final = Reprocessing(id=JOB, state="running", selection=Selection(0, 0), created_at=0)

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Memories:
    """What virtual sensors remembered when the first uplink came that is selected; by virtual sensor."""

    first: str | None = None
    """That uplink; None when there is none, and so nothing to take back."""
    start: Micros = 0
    """Since when it was rehearsed."""
    remaining: Mapping[str, Mapping[str, Remaining]] = field(default_factory=dict)
    """By key: the newest values that the history has from before."""
    rehearsed: Mapping[str, SensorState] = field(default_factory=dict)
    """By what came before, as it would be understood now."""

    def state(self, sensor: str, live: SensorState, since: Micros) -> SensorState:
        """A virtual sensor's state as it was at a time.

        Meters and consumptions count on from what the history has. What was rehearsed knows more of the newest values (since
        when they were the same, and how often), where it agrees with the history; and which windows had begun.
        """
        back, rehearsed = rewind(live, since, self.remaining[sensor]), self.rehearsed.get(sensor, EMPTY)
        seen = dict(back.seen)
        for key, one in rehearsed.seen.items():
            held = back.seen.get(key)
            if held is None or (held.at, held.value) == (one.at, one.value):
                seen[key] = one
        derived = {}
        for key in {*back.derived, *rehearsed.derived}:
            kept, known = back.derived.get(key, Memory()), rehearsed.derived.get(key, Memory())
            begun = known.windows[-1][0] if known.windows else self.start
            count = sum(window[0] <= begun for window in kept.windows)
            source, count = (kept, count) if count else (known, len(known.windows))
            if count or known.samples:
                derived[key] = Memory(
                    windows=source.windows[:count], opened=source.openings[:count], samples=known.samples
                )
        return SensorState(meters=back.meters, seen=seen, derived=derived)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Looks at uplinks again in one store."""

    store: TenantStore
    looking: Looking
    clock: Clock

    async def page(
        self, part: Part, page: Sequence[tuple[UplinkRow, bool]]
    ) -> tuple[Part, list[tuple[Correct, Corrected]]]:
        """The part after these uplinks (with whether they are selected), and what would be done for each."""
        commands = [await self.looking.command(JOB, PART, row, selected=chosen) for row, chosen in page]
        snapshot, asked = Snapshot(), Needs()
        await load_needs(self.store, _Together(commands), snapshot, asked)
        done = []
        for command in commands:
            snapshot.records["reprocessing", JOB] = _record(job_write(_JOB, 1, 0))
            snapshot.records["reprocessing_part", PART] = _record(part_write(part, PART, 1, 0))
            effects = command.apply(View(snapshot, self.clock.new_id), self.clock.stamp())
            if effects.result.how != "done":
                # The registry changes just now: it is decided when it is done.
                await self.looking.uplinks.in_step()
                continue
            for write in effects.records:
                if write.kind == "reprocessing_part":
                    part = as_part(_record(write))
            done.append((command, effects.result))
        return part, done

    async def memories(self, selector: Selector, group: Group, since: Micros) -> Memories:
        """What the group's virtual sensors remembered when the first uplink came that is selected.

        The history says what the newest values were; for the rest the uplinks of some time before are looked at.
        """
        first = await selector.first(group) if group.remembering else None
        if first is None:
            return Memories()
        start = since - await selector.horizon(group)
        states = await self.states(group, start, await selector.remaining(group, start, first))
        part = Part(job=JOB, bindings="", states=states)
        async for page in pages(selector.before(group, start, first)):
            part, _ = await self.page(part, [(row, False) for row in page])
        return Memories(first, start, await selector.remaining(group, since, first), part.states)

    async def states(
        self, group: Group, at: Micros, remaining: Mapping[str, Mapping[str, Remaining]]
    ) -> dict[str, SensorState]:
        """The live states taken back to a time."""
        return {
            sensor: rewind(as_sensor_state(await self.store.record("sensor_state", sensor)), at, remaining[sensor])
            for sensor in group.remembering
        }


class _Together:
    """What several commands need, as one."""

    def __init__(self, commands: Sequence[Correct]) -> None:
        self._commands = commands

    def needs(self, seen: Snapshot) -> Needs:
        """All of it but the job and its part, which are not there."""
        needs = Needs()
        for command in self._commands:
            needs.add(command.needs(seen))
        needs.records -= {("reprocessing", JOB), ("reprocessing_part", PART)}
        return needs

    def apply(self, view: View, stamp: object) -> Effects[None]:
        """Each is applied by itself."""
        raise AssertionError("Only what it needs is asked for.")


def _record(write: RecordWrite) -> Record:
    assert write.body is not None
    return Record(write.kind, write.id, write.body, write.version, write.keys)


async def pages(rows: AsyncIterator[ItemT]) -> AsyncIterator[list[ItemT]]:
    """`rows` in lists of AT_ONCE."""
    page: list[ItemT] = []
    async for row in rows:
        page.append(row)
        if len(page) == AT_ONCE:
            yield page
            page = []
    if page:
        yield page
