"""What a reprocessing would change, found without changing anything: the same commands, on what is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from broker.clock import Clock, Micros
from broker.devices.processing.state import SensorState, as_sensor_state, rewind
from broker.ngsild.model import Iri
from broker.pipeline.preview import load_needs
from broker.pipeline.reprocess.compare import Differing
from broker.pipeline.reprocess.correct import Correct
from broker.pipeline.reprocess.looking import Looking
from broker.pipeline.reprocess.model import (
    Counts,
    Part,
    Reprocessing,
    Selection,
    as_part,
    job_write,
    part_write,
)
from broker.pipeline.reprocess.select import Group, Selector
from broker.stores.base import Needs, Record, RecordWrite, Snapshot, TenantStore, UplinkRow
from broker.stores.command import Effects, View

AT_ONCE: Final = 100
"""Uplinks whose needs are read together, count."""
MOST_ATTRIBUTES: Final = 1000
"""Attributes that are told of one by one, count."""
JOB: Final = "preview"
PART: Final = "preview:"


@dataclass(slots=True)
class Tally:
    """Values of one attribute, count."""

    changed: int = 0
    removed: int = 0
    added: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """One place that would differ."""

    uplink: str
    device: str
    differing: Differing


@dataclass(slots=True)
class Difference:
    """What would change."""

    counts: Counts = field(default_factory=Counts)
    complete: bool = True
    """False: it took too long, and what follows was not looked at."""
    attributes: dict[tuple[str, str, Iri], Tally] = field(default_factory=dict)
    """By virtual sensor, entity and attribute; `MOST_ATTRIBUTES` at most."""
    more_attributes: bool = False
    examples: list[Example] = field(default_factory=list)


class Differences:
    """Finds differences in one store."""

    def __init__(self, store: TenantStore, looking: Looking, clock: Clock, seconds: float) -> None:
        """`seconds`: how long it may take; what was found by then is told."""
        self._store = store
        self._looking = looking
        self._clock = clock
        self._seconds = seconds

    async def find(self, selection: Selection, examples: int) -> Difference:
        """What a reprocessing of the selection would change, with so many examples. Raises ResourceNotFound."""
        selector = Selector(self._store, selection, self._looking.limits.clock_ahead_seconds)
        await selector.check()
        await self._looking.uplinks.in_step()
        found = Difference()
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._seconds
        async for group in selector.groups():
            part = Part(job=JOB, bindings="", states=await self._states(selector, group, selection.since))
            async for page in _pages(selector.uplinks(group)):
                part = await self._page(part, page, found, examples)
                if loop.time() > ends:
                    found.complete = False
                    return found
        return found

    async def _states(self, selector: Selector, group: Group, since: Micros) -> dict[str, SensorState]:
        return {
            sensor: rewind(as_sensor_state(await self._store.record("sensor_state", sensor)), since, remaining)
            for sensor, remaining in (await selector.remaining(group)).items()
        }

    async def _page(self, part: Part, page: Sequence[tuple[UplinkRow, bool]], found: Difference, examples: int) -> Part:
        commands = [await self._looking.command(JOB, PART, row, selected=chosen) for row, chosen in page]
        snapshot, asked = Snapshot(), Needs()
        await load_needs(self._store, _Together(commands), snapshot, asked)
        for command in commands:
            snapshot.records["reprocessing", JOB] = _record(job_write(_JOB, 1, 0))
            snapshot.records["reprocessing_part", PART] = _record(part_write(part, PART, 1, 0))
            effects = command.apply(View(snapshot, self._clock.new_id), self._clock.stamp())
            if effects.result.how != "done":
                # The registry changes just now: it is decided when it is done.
                await self._looking.uplinks.in_step()
                continue
            for write in effects.records:
                if write.kind == "reprocessing_part":
                    part = as_part(_record(write))
            _tell(found, command, effects.result.counts, effects.result.differing, examples)
        return part


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
        """Not applied."""
        raise NotImplementedError


_JOB: Final = Reprocessing(id=JOB, state="running", selection=Selection(0, 0), created_at=0)


def _record(write: RecordWrite) -> Record:
    assert write.body is not None
    return Record(write.kind, write.id, write.body, write.version, write.keys)


def _tell(found: Difference, command: Correct, counts: Counts, differing: Sequence[Differing], examples: int) -> None:
    found.counts = found.counts.plus(counts)
    for one in differing:
        place = (one.sensor, one.entity_id, one.attribute)
        if place not in found.attributes and len(found.attributes) >= MOST_ATTRIBUTES:
            found.more_attributes = True
        else:
            tally = found.attributes.setdefault(place, Tally())
            changed = min(len(one.before), len(one.after))
            tally.changed += changed
            tally.removed += len(one.before) - changed
            tally.added += len(one.after) - changed
        if len(found.examples) < examples:
            found.examples.append(Example(command.kept.id, command.kept.device_id or "", one))


async def _pages(rows: AsyncIterator[tuple[UplinkRow, bool]]) -> AsyncIterator[list[tuple[UplinkRow, bool]]]:
    page: list[tuple[UplinkRow, bool]] = []
    async for row in rows:
        page.append(row)
        if len(page) == AT_ONCE:
            yield page
            page = []
    if page:
        yield page
