"""An import of many rows: tried on what is there, every row's problem at once; then applied in parts.

Nothing is applied while any row has a problem. Then the rows are applied `PART` at a time, each part whole or not at all:
one change set of ten thousand rows would hold up the uplinks for seconds. Should a part fail (another client was faster, the
store is away, the process ends), the parts before it stand, and the same import sent again goes on where it ended, as rows
that are there already change nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from broker.clock import Clock, Stamp
from broker.errors import BrokerError
from broker.pipeline.claims import Claims
from broker.pipeline.preview import load_needs
from broker.pipeline.registry.edits import Saved, put
from broker.pipeline.registry.follow import Executor, follow_model
from broker.pipeline.registry.rows import Options, Row, RowDone, TakeRow
from broker.stores.base import Needs, Snapshot, TenantStore
from broker.stores.command import Alone, Effects, View

PART: Final = 100
"""Rows in one command, count."""
TRIED_AT_ONCE: Final = 100
"""Rows whose needs are read at once in a dry run, count."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a row, by the error that refused it."""

    row: Row
    error: BrokerError


@dataclass(slots=True)
class Report:
    """What an import did, or would do."""

    rows: int
    dry_run: bool
    done: list[tuple[Row, RowDone]] = field(default_factory=list)
    """Rows that were applied, or would be, in order."""
    problems: list[Problem] = field(default_factory=list)
    replayed: int = 0
    """Kept uplinks that became values."""
    stopped: BrokerError | None = None
    """Why not all parts were applied."""


class RowRefused(BrokerError):
    """A row could not be applied after all; nothing of its part was."""

    def __init__(self, row: Row, error: BrokerError) -> None:
        super().__init__(error.detail)
        self.row, self.error = row, error
        self.status = error.status


@dataclass(frozen=True)
class TakeRows(Alone):
    """One part. Result: what became of each row."""

    rows: tuple[TakeRow, ...]

    def needs(self, seen: Snapshot) -> Needs:
        """What the rows need."""
        needs = Needs()
        for row in self.rows:
            needs.add(row.needs(seen))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[list[RowDone]]:
        """One row after another, each seeing what those before it did."""
        done: list[RowDone] = []
        effects, layer = Effects(done), view.layer()
        for row in self.rows:
            try:
                more = row.apply(layer, stamp)
            except BrokerError as error:
                raise RowRefused(row.row, error) from None
            put(effects, layer, stamp, more)
            done.append(more.result)
        return effects


@dataclass(frozen=True, slots=True)
class Importer:
    """Takes rows in."""

    store: TenantStore
    writer: Executor
    claims: Claims
    clock: Clock

    async def rehearse(self, rows: Sequence[Row], options: Options, report: Report) -> None:
        """What each row would do, in `report`: the very commands on what is there, and nothing is committed."""
        snapshot, asked = Snapshot(), Needs()
        view = View(snapshot, self.clock.new_id)
        for start in range(0, len(rows), TRIED_AT_ONCE):
            commands = [TakeRow(row, options) for row in rows[start : start + TRIED_AT_ONCE]]
            await load_needs(self.store, TakeRows(tuple(commands)), snapshot, asked)
            newest = max((stored.version for stored in snapshot.entities.values()), default=0)
            stamp = self.clock.stamp(after=newest)
            for number, command in enumerate(commands):
                try:
                    effects = command.apply(view, stamp)
                except BrokerError as error:
                    report.problems.append(Problem(command.row, error))
                    continue
                view.absorb(effects, stamp)
                report.done.append((command.row, effects.result))
                if number % 25 == 0:
                    await asyncio.sleep(0)

    async def apply(self, rows: Sequence[Row], options: Options, report: Report) -> None:
        """Apply all rows, in parts, and what follows from them. A part that fails ends it: see `Report.stopped`."""
        for part in _parts([TakeRow(row, options) for row in rows]):
            try:
                done = await self.writer.execute(TakeRows(part), wait=True, weight=len(part))
            except RowRefused as refused:
                report.problems.append(Problem(refused.row, refused.error))
                report.stopped = refused.error
                break
            except BrokerError as error:
                report.stopped = error
                break
            report.done += zip((command.row for command in part), done, strict=True)
        await self._settle(report)

    async def _settle(self, report: Report) -> None:
        """Entities of devices follow their models' names; uplinks that waited for a binding are looked at again."""
        for row, done in report.done:
            if row.kind == "models":
                await follow_model(self.store, self.writer, row.id, Saved(done.outcome, done.members))
        devices = {device for _, done in report.done for device in done.devices}
        if devices:
            waiting: set[Any] = {group.device_id for group in await self.store.quarantine()}
            waiting |= {record.id for record in await self.store.records("reattribution")}
            report.replayed = (await self.claims.settle(*sorted(devices & waiting))).applied


def _parts(commands: Sequence[TakeRow]) -> Iterator[tuple[TakeRow, ...]]:
    """Parts of at most `PART` rows, none with two of one virtual sensor: a swap looks at the history that is committed."""
    part: list[TakeRow] = []
    sensors: set[str] = set()
    for command in commands:
        if len(part) == PART or command.sensor in sensors:
            yield tuple(part)
            part, sensors = [], set()
        part.append(command)
        if command.sensor and command.row.kind != "virtual-sensors":
            sensors.add(command.sensor)
    if part:
        yield tuple(part)
