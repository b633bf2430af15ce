"""What is done about contexts in the background: stale ones are fetched anew, uses are written, processes kept in step.

How often a context was used (5.13.3.5) is counted in memory and written every minute and at an orderly stop, in one commit
for all: counting must not cost a request anything. A process that is killed loses at most the last minute's counts; so may
a document that falls out of a full cache.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from broker.ending import end
from broker.errors import BrokerError
from broker.jsonld.resolver import ContextResolver
from broker.jsonld.stored import Shelf, Use

log = structlog.get_logger(__name__)

STEP_SECONDS: Final = 5.0
"""How soon what another process removed or refreshed is known here."""

USES_SECONDS: Final = 60.0
"""How often uses are written."""

REFRESHES: Final = 4
"""Documents refreshed at once."""


class Upkeep:
    """Looks after a resolver's contexts. `run` it in a task, `close` it before the shelf's store closes."""

    def __init__(self, contexts: ContextResolver, shelf: Shelf) -> None:
        self._contexts = contexts
        self._library = contexts.library
        self._library.shelf = shelf
        self._shelf = shelf
        self._epoch = -1
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Until `close`."""
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(one) for one in (self._refresh(), self._keep_step(), self._write_uses())]
            await self._closing.wait()
            await end(work)

    async def close(self) -> None:
        """Write what is counted, and stop."""
        self._closing.set()
        try:
            await self.write_uses()
        except BrokerError as error:
            log.warning("context.uses_not_written", reason=error.detail)

    async def refresh_due(self) -> None:
        """Fetch anew what is due now."""
        while self._library.due:
            batch = [self._library.due.pop(name) for name in list(self._library.due)[:REFRESHES]]
            async with asyncio.TaskGroup() as tasks:
                for held in batch:
                    tasks.create_task(self._contexts.refresh(held))

    async def in_step(self) -> None:
        """Take over what other processes changed."""
        epoch = await self._shelf.epoch()
        if epoch != self._epoch:
            changed = set(await self._library.in_step())
            for name in changed:
                if name not in self._library.held:
                    self._contexts.forget(name)
            await self._contexts.renewed(changed)
            self._epoch = epoch
        await self._library.keep_rest()

    async def write_uses(self) -> None:
        """Write what was counted since the last time."""
        uses = {}
        for name, held in self._library.held.items():
            if held.use.hits:
                uses[name] = Use(held.use.hits, held.use.last)
                held.use.hits = 0
        if not uses:
            return
        try:
            await self._shelf.add_uses(uses)
        except BrokerError:
            for name, use in uses.items():
                if name in self._library.held:
                    self._library.held[name].use.hits += use.hits
            raise

    async def _refresh(self) -> None:
        while True:
            await self._library.stirred.wait()
            self._library.stirred.clear()
            await self.refresh_due()

    async def _keep_step(self) -> None:
        while True:
            await asyncio.sleep(STEP_SECONDS)
            try:
                await self.in_step()
            except BrokerError as error:
                log.info("context.not_in_step", reason=error.detail)

    async def _write_uses(self) -> None:
        while True:
            await asyncio.sleep(USES_SECONDS)
            try:
                await self.write_uses()
            except BrokerError as error:
                log.info("context.uses_not_written", reason=error.detail)
