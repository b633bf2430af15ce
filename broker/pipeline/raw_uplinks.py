"""How long the bytes of applied uplinks are kept, by tenant: the setting, or what a tenant says itself.

What is dropped is the message alone: what was made of it, its times and figures and its frame key stay. Rejected uplinks and
those in quarantine keep their bytes, for they may still become something.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import structlog

from broker.clock import DAY, Clock
from broker.errors import BadRequestData
from broker.stores.base import Record, TenantStore

log = structlog.get_logger(__name__)

FOREVER: Final = "forever"
MOST_DAYS: Final = 99_999
AT_ONCE: Final = 1000
"""Uplinks that one transaction looks at, count: others are written in between."""
BACK_EVERY: Final = DAY
"""How often it begins at the oldest uplink again: one that waited was applied in the meantime, maybe."""

Stores = Callable[[], Awaitable[Sequence[tuple[str, TenantStore]]]]
Own = Callable[[str], Awaitable[Record | None]]


def days_of(value: Any) -> int | None:
    """A policy as days; None for ever. Raises BadRequestData."""
    if value == FOREVER:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_DAYS:
        raise BadRequestData(
            f"'keepDays' must be 'forever' or a whole number of days from 0 to {MOST_DAYS}, got {str(value)[:60]!r}."
        )
    return value


def own_days(record: Record | None) -> str | int | None:
    """What a tenant's record says; None when it says nothing."""
    said: str | int | None = record.body.get("rawUplinks", {}).get("keepDays") if record is not None else None
    return said


class RawUplinks:
    """All tenants'. `sweep` now and then; `refresh` when a tenant's policy changed."""

    def __init__(self, setting: str, stores: Stores, own: Own, clock: Clock) -> None:
        """`setting`: for tenants that say nothing. `stores`: by name, '' for the default tenant. `own`: their records."""
        self._setting: str | int = setting if setting == FOREVER else int(setting)
        self._stores = stores
        self._own = own
        self._clock = clock
        self._reached: dict[str, tuple[int, str]] = {}
        """By tenant: when it began at the oldest, and the last uplink that was looked at since."""
        self.keeps_new = self._setting != 0
        """Whether the default tenant's uplinks are kept with their bytes when they are applied."""

    @property
    def setting(self) -> str | int:
        """The policy of tenants that say nothing."""
        return self._setting

    async def keep_days(self, tenant: str) -> int | None:
        """A tenant's policy; None for ever."""
        own = own_days(await self._own(tenant))
        return days_of(own if own is not None else self._setting)

    async def refresh(self) -> None:
        """Look again what the default tenant says: its uplinks come in now."""
        self.keeps_new = await self.keep_days("") != 0

    async def sweep(self) -> int:
        """Drop the bytes that are too old now: of how many uplinks. Raises StoreUnavailable: the next one goes on."""
        await self.refresh()
        return sum([await self._sweep(name, store) for name, store in await self._stores()])

    async def _sweep(self, name: str, store: TenantStore) -> int:
        days = await self.keep_days(name)
        if days is None:
            return 0
        now, dropped = self._clock.now(), 0
        began, after = self._reached.get(name, (now, ""))
        if now - began >= BACK_EVERY:
            began, after = now, ""
        while True:
            count, last = await store.drop_bytes(after, now - days * DAY, AT_ONCE)
            dropped += count
            if not last:
                break
            after = last
        self._reached[name] = began, after
        if dropped:
            log.info("uplinks.bytes_dropped", tenant=name, count=dropped, keep_days=days)
        return dropped
