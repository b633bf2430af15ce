"""An import from its bytes to the store: read, planned, told beforehand or written in parts.

What takes long is done in a thread, so that others are served meanwhile. Each part is durable as a whole before the next
is begun; to import the same again changes nothing that is there already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from broker.clock import Stamp
from broker.entities.batch import CHUNK, Batch, Element
from broker.entities.place import Imported, ImportPlace, foreseen
from broker.errors import BrokerError
from broker.ngsild.model import Entity, Iri
from broker.ngsild.names import Names
from broker.ngsild.parse import Rules
from broker.places.containment import Vocabulary
from broker.places.given import Given, Options, Problem
from broker.places.plan import Place, plan, settle
from broker.stores.base import Needs, TenantStore
from broker.stores.command import Command

ResultT = TypeVar("ResultT")
AT_ONCE: Final = 1_000
"""Places compared with what is there before others are served, count: some 20 ms."""


class Executor(Protocol):
    """The tenant's writer."""

    async def execute(self, command: Command[ResultT], *, wait: bool = False, weight: int = 1) -> ResultT:
        """The command's result once it is durable."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """What became, or would become, of one place."""

    row: int
    id: str
    imported: Imported


@dataclass(slots=True)
class Report:
    """What an import did, or would do. With problems nothing was written, unless they came up while writing."""

    rows: int
    results: list[Result] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def count(self, what: str) -> int:
        """How many places were created, changed or unchanged."""
        return sum(result.imported.what == what for result in self.results)


@dataclass(frozen=True, slots=True)
class Import:
    """One import; `read` gives the rows, or raises a BrokerError that is about the file as a whole."""

    read: Callable[[], list[Given]]
    options: Options
    names: Names
    rules: Rules
    words: Vocabulary

    async def run(self, store: TenantStore, writer: Executor | None, stamp: Callable[[], Stamp]) -> Report:
        """Write the places with `writer`; without one, say what would be done. Rows with problems stop all of it."""
        rows = await asyncio.to_thread(self.read)
        planned = await asyncio.to_thread(plan, rows, self.options, self.names, self.rules)
        snapshot = await store.load(Needs(entities=planned.ids()))
        there = {entity_id: stored.entity for entity_id, stored in snapshot.entities.items()}
        relationship: Iri | None = self.options.relationship
        places, warnings = settle(planned, there, self.words, relationship and self.names.expand(relationship))
        report = Report(len(rows), warnings=warnings, problems=planned.problems)
        if writer is None:
            for part in _parts(places, AT_ONCE):
                report.results += _foreseen(part, there, stamp())
                await asyncio.sleep(0)
        elif not report.problems:
            for part in _parts(places, CHUNK):
                await _write(part, writer, report)
        return report


def _foreseen(places: Sequence[Place], there: Mapping[str, Entity], stamp: Stamp) -> list[Result]:
    return [Result(place.row, place.id, foreseen(there.get(place.id), place.fragment, stamp)) for place in places]


async def _write(places: Sequence[Place], writer: Executor, report: Report) -> None:
    batch = Batch([Element(place.id, ImportPlace(place.fragment)) for place in places])
    # What is behind the first part waits for room: to refuse it would leave half of the import undone.
    results = await writer.execute(batch, wait=bool(report.results), weight=len(places))
    for place, result in zip(places, results, strict=True):
        if isinstance(result, BrokerError):
            report.problems.append(Problem(place.row, place.id, None, result.detail))
        else:
            report.results.append(Result(place.row, place.id, result))


def _parts(places: Sequence[Place], size: int) -> list[Sequence[Place]]:
    return [places[start : start + size] for start in range(0, len(places), size)]
