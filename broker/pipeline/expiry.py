"""Looks for what has expired in one tenant, and has it removed; forgets who was told of changes long ago."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog

from broker.clock import DAY, SECOND, Clock, Micros
from broker.entities.expiry import RemoveExpired
from broker.errors import BrokerError
from broker.stores.base import TenantStore
from broker.stores.command import Command, ResultT

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 2.0
"""How often it is looked: how long after its time something stands in the store at most, when the broker keeps up."""

AT_ONCE: Final = 200
"""Entities that one command looks after, count: others' commands are applied in between."""

FORGET_EVERY: Final[Micros] = 3600 * SECOND


class Executor(Protocol):
    """The writer."""

    async def execute(self, command: Command[ResultT], *, wait: bool = False) -> ResultT:
        """The command's result once it is durable."""
        ...


class Expiry:
    """One tenant's. `run` until `stop`."""

    def __init__(self, store: TenantStore, writer: Executor, clock: Clock, told_days: int) -> None:
        """`told_days`: how long it is remembered who was told of a change."""
        self._told_days = told_days
        self._forget_at: Micros = 0
        self._store = store
        self._writer = writer
        self._clock = clock
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    async def run(self) -> None:
        """Remove what has expired, every `LOOK_SECONDS`."""
        while not self._stopped.is_set():
            try:
                await self._sweep()
                await self._forget()
            except BrokerError as error:
                log.warning("expiry.put_off", reason=error.detail)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._stopped.wait()
            except TimeoutError:
                continue

    async def _forget(self) -> None:
        now = self._clock.now()
        if now >= self._forget_at:
            await self._store.forget_told(now - self._told_days * DAY)
            self._forget_at = now + FORGET_EVERY

    async def _sweep(self) -> None:
        while not self._stopped.is_set():
            ids = await self._store.expiring(self._clock.now(), AT_ONCE)
            if not ids:
                return
            removed = await self._writer.execute(RemoveExpired(ids), wait=True)
            if len(ids) < AT_ONCE or not removed:
                return
