"""The quarantine's way out that is not a claim: discarded by hand, or when it has waited too long."""

from __future__ import annotations

import asyncio

import structlog

from broker.clock import DAY, Clock, id_floor
from broker.devices.quarantine import Discard
from broker.errors import BrokerError, ResourceNotFound
from broker.pipeline.expiry import Executor
from broker.stores.base import TenantStore

log = structlog.get_logger(__name__)

PAGE = 500
"""Uplinks discarded at once."""
SWEEP_SECONDS = 3600.0
"""How often the quarantine is looked through for what has waited too long."""


class Quarantine:
    """Discards what waits."""

    def __init__(self, store: TenantStore, writer: Executor, clock: Clock, keep_days: int) -> None:
        """`keep_days`: how long anything waits; 0 for ever."""
        self._store = store
        self._writer = writer
        self._clock = clock
        self._keep_days = keep_days

    async def discard(self, device: str, by: str, why: str) -> int:
        """Discard what waits of a device: how many uplinks. Raises ResourceNotFound when nothing does."""
        count, after = 0, ""
        reason = f"Discarded{' by ' + by if by else ''}{': ' + why if why else '.'}"
        while rows := await self._store.uplinks(status="quarantined", device_id=device, after=after, limit=PAGE):
            count += await self._writer.execute(Discard(tuple(row.id for row in rows), reason))
            after = rows[-1].id
        if not count:
            raise ResourceNotFound(f"Nothing of device '{device}' is in quarantine.")
        log.info("quarantine.discarded", device=device, count=count, by=by)
        return count

    async def expire(self) -> int:
        """Discard what has waited longer than it is kept: how many uplinks."""
        if not self._keep_days:
            return 0
        oldest, count = id_floor(self._clock.now() - self._keep_days * DAY), 0
        reason = f"Waited longer than 'quarantine.keep_days' of {self._keep_days} days."
        while rows := await self._store.uplinks(status="quarantined", limit=PAGE):
            late = tuple(row.id for row in rows if row.id < oldest)
            if not late:
                break
            count += await self._writer.execute(Discard(late, reason), wait=True)
        if count:
            log.info("quarantine.expired", count=count)
        return count

    async def run(self, stop: asyncio.Event) -> None:
        """Expire now and then until `stop`."""
        while not stop.is_set():
            try:
                await self.expire()
            except BrokerError as error:
                log.warning("quarantine.not_expired", error=error.detail)
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue
