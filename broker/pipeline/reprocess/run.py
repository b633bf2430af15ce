"""Reprocessings: asked for, shown beforehand, done one after another, as durable work in the background.

    waiting -> running: group by group, uplink by uplink, each in a transaction of its own -> done

A process that ends in the middle goes on at its next start, behind the uplink that was done last. With several processes
one of them works, under a lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import structlog

from broker.access.personal import ACCESS, Access, is_granted
from broker.clock import Clock
from broker.devices.registry import as_state
from broker.errors import BrokerError, Overloaded, ResourceNotFound
from broker.pipeline.expiry import Executor
from broker.pipeline.reprocess.difference import Difference, Differences
from broker.pipeline.reprocess.job import Ask, End, ForgetParts, Start
from broker.pipeline.reprocess.looking import Looking
from broker.pipeline.reprocess.model import (
    OPEN,
    Counts,
    Reprocessing,
    Selection,
    as_part,
    as_reprocessing,
    part_id,
    part_key,
    summed,
)
from broker.pipeline.reprocess.part import BeginPart, EndPart
from broker.pipeline.reprocess.rehearse import Rehearsal
from broker.pipeline.reprocess.select import Group, Selector
from broker.stores.base import TenantStore, UplinkRow

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 2.0
"""How often it is looked for one that another process wrote down."""
AT_ONCE: Final = 8
"""Groups that are worked on at once, count: their uplinks share commits."""
LEASE: Final = "reprocessing"
LEASE_SECONDS: Final = 30.0
TRIES: Final = 5
"""How often an uplink is tried whose device, model or status changes at the same time."""
PAUSE_SECONDS: Final = 1.0
"""Before it is tried again after the store, or a codec, was behind."""
PAGE: Final = 500
"""Records read or deleted at once, count."""


class _Stopped(Exception):
    """It was cancelled, the broker stops, or another process goes on."""


class Reprocessings:
    """One tenant's. `run` until stopped."""

    def __init__(
        self,
        store: TenantStore,
        writer: Executor,
        own_writer: Executor,
        looking: Looking,
        clock: Clock,
        preview_seconds: float,
    ) -> None:
        """`store` and `writer` look at on whose behalf they are asked; `own_writer` is for the work itself."""
        self._store = store
        self._writer = writer
        self._own_writer = own_writer
        self._looking = looking
        self._clock = clock
        self._rehearsal = Rehearsal(store, looking, clock)
        self._differences = Differences(self._rehearsal, preview_seconds)
        self._owner = clock.new_id()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._renewed = 0.0

    # --- asked for ----------------------------------------------------------------------------------------------------

    async def difference(self, selection: Selection, examples: int) -> Difference:
        """What it would change; nothing is changed. Raises ResourceNotFound."""
        return await self._differences.find(selection, examples)

    async def ask(self, selection: Selection, *, by: str, note: str, notify: bool) -> Reprocessing:
        """It is durable, and done in its turn. Raises ResourceNotFound."""
        await Selector(self._store, selection, 0).check()
        job = await self._writer.execute(Ask(selection, by, note, notify, is_granted()))
        log.info("reprocessing.asked", reprocessing=job.id, by=by)
        self._wake.set()
        return job

    async def cancel(self, job_id: str, *, by: str, why: str) -> Reprocessing:
        """It ends; what is done stays. Raises ResourceNotFound; Conflict when it has ended."""
        if await self._store.record("reprocessing", job_id) is None:
            raise ResourceNotFound(f"There is no reprocessing '{job_id[:100]}'.")
        said = f"Cancelled{' by ' + by if by else ''}{': ' + why if why else '.'}"
        job = await self._writer.execute(End(job_id, "cancelled", reason=said))
        log.info("reprocessing.cancelled", reprocessing=job.id, by=by)
        await self._forget_parts(job.id)
        return job

    async def counts(self, job: Reprocessing) -> Counts:
        """How far it is."""
        if not job.is_open:
            return job.counts
        return summed(await self._store.records("reprocessing_part", key=part_key(job.id)))

    # --- done ---------------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Do what is asked for, until `stop`."""
        self._stop = stop
        while not stop.is_set():
            self._wake.clear()
            try:
                await self.work()
            except BrokerError as error:
                log.warning("reprocessing.put_off", reason=error.detail)
            await _first_of(stop, self._wake, LOOK_SECONDS)

    async def work(self) -> None:
        """Do all that is asked for. Raises StoreUnavailable, Overloaded: then it goes on the next time."""
        waiting = await self._store.records("reprocessing", key=OPEN)
        if not waiting and not await self._store.records("reprocessing_part", limit=1):
            return
        if not await self._leased():
            return
        try:
            for record in waiting:
                await self._job(record.id)
            await self._forget_ended()
        except _Stopped:
            return
        finally:
            await self._store.release([LEASE], self._owner)

    async def _leased(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._renewed < LEASE_SECONDS / 3:
            return True
        held = await self._store.lease(LEASE, self._owner, LEASE_SECONDS)
        self._renewed = now if held else 0.0
        return held

    async def _job(self, job_id: str) -> None:
        job = await self._own_writer.execute(Start(job_id))
        if job is None:
            return
        log.info("reprocessing.running", reprocessing=job.id)
        # On behalf of whoever asked: without the grant, what is personal is not there.
        access = ACCESS.set(None if job.granted else Access(granted=False, route="reprocessing"))
        try:
            await self._groups(job)
        except (BrokerError, _Stopped):
            raise
        except Exception as error:
            log.exception("reprocessing.failed", reprocessing=job.id)
            await self._own_writer.execute(End(job.id, "failed", reason=f"{type(error).__name__}: see the log."))
        else:
            ended = await self._own_writer.execute(End(job.id, "done"))
            log.info("reprocessing.done", reprocessing=job.id, uplinks=ended.counts.uplinks)
        finally:
            ACCESS.reset(access)
        await self._forget_parts(job.id)

    async def _groups(self, job: Reprocessing) -> None:
        selector = Selector(self._store, job.selection, self._looking.limits.clock_ahead_seconds)
        room = asyncio.Semaphore(AT_ONCE)

        async def one(group: Group) -> None:
            try:
                await self._group(job, selector, group)
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as tasks:
                async for group in selector.groups():
                    await room.acquire()
                    tasks.create_task(one(group))
        except BaseExceptionGroup as failed:
            raise _worst(failed) from None

    async def _group(self, job: Reprocessing, selector: Selector, group: Group) -> None:
        record_id = part_id(job.id, group.key)
        known = await self._store.record("reprocessing_part", record_id)
        if known is not None and as_part(known).done:
            return
        for _ in range(TRIES):
            memories = await self._rehearsal.memories(selector, group, job.selection.since)
            begin = BeginPart(job.id, record_id, group.bindings, job.selection.since, memories)
            part = await self._own_writer.execute(begin, wait=True)
            if part is None:
                raise _Stopped
            if part.done:
                return
            if await self._done(job, selector, group, record_id, memories.first, part.last):
                return
            group = await selector.group(group.key)
        raise Overloaded(f"What belongs to device '{group.key}' changes all the time; it is tried later.")

    async def _done(
        self, job: Reprocessing, selector: Selector, group: Group, record_id: str, first: str | None, after: str
    ) -> bool:
        """Look at all there is behind `after`; False when the bindings are found to be others."""
        while True:
            heard = await self._heard(group)
            if not await self._rows(job, record_id, selector.uplinks(group, first, after)):
                return False
            hindrance = await self._own_writer.execute(EndPart(job.id, record_id, heard, group.keys), wait=True)
            if hindrance != "more":
                return not hindrance
            record = await self._store.record("reprocessing_part", record_id)
            after = as_part(record).last if record is not None else after

    async def _heard(self, group: Group) -> dict[str, int]:
        """How many uplinks have been heard of devices that follow each other: another one would have to be looked at."""
        if not group.remembering:
            return {}
        return {device: as_state(await self._store.record("device_state", device)).uplinks for device in group.devices}

    async def _rows(self, job: Reprocessing, record_id: str, rows: AsyncIterator[tuple[UplinkRow, bool]]) -> bool:
        """All of these uplinks; False when the bindings are found to be others."""
        async for row, chosen in rows:
            if self._stop.is_set() or not await self._leased():
                raise _Stopped
            if not await self._row(job, record_id, row, chosen):
                return False
        return True

    async def _row(self, job: Reprocessing, record_id: str, row: UplinkRow, chosen: bool) -> bool:
        for _ in range(TRIES):
            try:
                command = await self._looking.command(job.id, record_id, row, selected=chosen)
                corrected = await self._own_writer.execute(command, wait=True)
            except Overloaded:
                if self._stop.is_set():
                    raise _Stopped from None
                await asyncio.sleep(PAUSE_SECONDS)
                row = await self._store.uplink(row.id) or row
                continue
            if corrected.how == "ended":
                raise _Stopped
            if corrected.how != "again":
                return corrected.how != "moved"
            await self._looking.uplinks.in_step()
        raise Overloaded(f"The uplink '{row.id}' could not be looked at again yet; it is tried later.")

    async def _forget_parts(self, job_id: str) -> None:
        while records := await self._store.records("reprocessing_part", key=part_key(job_id), limit=PAGE):
            await self._own_writer.execute(ForgetParts([record.id for record in records]), wait=True)

    async def _forget_ended(self) -> None:
        """Parts that a process left behind which ended just then."""
        after = ""
        while records := await self._store.records("reprocessing_part", after=after, limit=PAGE):
            for job_id in {as_part(record).job for record in records}:
                job = await self._store.record("reprocessing", job_id)
                if job is None or not as_reprocessing(job).is_open:
                    await self._forget_parts(job_id)
            after = records[-1].id


async def _first_of(stop: asyncio.Event, wake: asyncio.Event, seconds: float) -> None:
    """Wait for either, so long at most."""
    waiting = [asyncio.create_task(stop.wait()), asyncio.create_task(wake.wait())]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _worst(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of what ended the groups: what nobody expected, else what is tried again later, else that it was stopped."""
    leaves = [_worst(error) if isinstance(error, BaseExceptionGroup) else error for error in failed.exceptions]
    return min(leaves, key=lambda error: (isinstance(error, (BrokerError, _Stopped)), isinstance(error, _Stopped)))
