"""What a reprocessing would change, found without changing anything: the same commands, on what is read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from broker.devices.processing.state import as_sensor_state
from broker.ngsild.model import Iri
from broker.pipeline.reprocess.compare import Differing
from broker.pipeline.reprocess.correct import Correct, Corrected
from broker.pipeline.reprocess.model import Counts, Part, Selection
from broker.pipeline.reprocess.rehearse import JOB, Memories, Rehearsal, pages
from broker.pipeline.reprocess.select import Selector

MOST_ATTRIBUTES: Final = 1000
"""Attributes that are told of one by one, count."""


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

    def add(self, command: Correct, corrected: Corrected, examples: int) -> None:
        """What would be done for one uplink."""
        self.counts = self.counts.plus(corrected.counts)
        for one in corrected.differing:
            place = (one.sensor, one.entity_id, one.attribute)
            if place not in self.attributes and len(self.attributes) >= MOST_ATTRIBUTES:
                self.more_attributes = True
            else:
                tally = self.attributes.setdefault(place, Tally())
                changed = min(len(one.before), len(one.after))
                tally.changed += changed
                tally.removed += len(one.before) - changed
                tally.added += len(one.after) - changed
            if len(self.examples) < examples:
                self.examples.append(Example(command.kept.id, command.kept.device_id or "", one))


class Differences:
    """Finds differences in one store."""

    def __init__(self, rehearsal: Rehearsal, seconds: float) -> None:
        """`seconds`: how long it may take; what was found by then is told."""
        self._rehearsal = rehearsal
        self._seconds = seconds

    async def find(self, selection: Selection, examples: int) -> Difference:
        """What a reprocessing of the selection would change, with so many examples. Raises ResourceNotFound."""
        looking = self._rehearsal.looking
        selector = Selector(self._rehearsal.store, selection, looking.limits.clock_ahead_seconds)
        await selector.check()
        await looking.uplinks.in_step()
        found = Difference()
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._seconds
        async for group in selector.groups():
            memories = await self._rehearsal.memories(selector, group, selection.since)
            part = await self._part(memories, selection)
            async for page in pages(selector.uplinks(group, memories.first)):
                part, done = await self._rehearsal.page(part, page)
                for command, corrected in done:
                    found.add(command, corrected, examples)
                if loop.time() > ends:
                    found.complete = False
                    return found
        return found

    async def _part(self, memories: Memories, selection: Selection) -> Part:
        """As it would begin."""
        states = {}
        for sensor in memories.remaining:
            live = as_sensor_state(await self._rehearsal.store.record("sensor_state", sensor))
            states[sensor] = memories.state(sensor, live, selection.since)
        return Part(job=JOB, bindings="", states=states)
