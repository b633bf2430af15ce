"""A recording intake for tests of adapters: what was handed in, in order, with delay and failure under the test's control."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from broker.pipeline.intake import Outcome, Receipt, Uplink


@dataclass(frozen=True, slots=True)
class Rejected:
    """What `reject` was given."""

    source: str
    raw: bytes
    reason: str
    meta: dict[str, Any]


class RecordingIntake:
    """Implements `broker.pipeline.intake.Intake` in memory.

    - `open`: while it is cleared, nothing is committed and callers wait (a store that is stuck).
    - `failure`: raised instead of committing while it is set (a store that is away).
    - `fail_on`: called with every uplink before it is committed; what it returns is raised.
    - `outcome`, `reason`: what receipts say.
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.failure: Exception | None = None
        self.fail_on: Callable[[Uplink], Exception | None] = lambda _: None
        self.outcome: Outcome = "applied"
        self.reason = ""
        self.attempts = 0
        self.waiting = 0
        """Callers inside `submit` or `reject` now."""
        self.uplinks: list[Uplink] = []
        """Committed, in order."""
        self.rejected: list[Rejected] = []
        self._changed = asyncio.Condition()

    async def submit(self, uplink: Uplink, *, wait: bool) -> Receipt:
        """Commit to `uplinks`, or fail as the test wants."""
        await self._pass()
        failure = self.fail_on(uplink)
        if failure is not None:
            raise failure
        self.uplinks.append(uplink)
        await self._tell()
        return Receipt(f"uplink-{len(self.uplinks)}", self.outcome, self.reason)

    async def reject(self, *, source: str, raw: bytes, reason: str, meta: dict[str, Any], wait: bool) -> Receipt:
        """Commit to `rejected`, or fail as the test wants."""
        await self._pass()
        self.rejected.append(Rejected(source, raw, reason, meta))
        await self._tell()
        return Receipt(f"rejected-{len(self.rejected)}", "rejected", reason)

    async def until(self, condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
        """Wait until `condition`, which is asked again after each commit. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    async def until_committed(self, count: int, *, seconds: float = 30.0) -> None:
        """Wait until `count` uplinks are committed."""
        await self.until(lambda: len(self.uplinks) >= count, seconds=seconds)

    async def _pass(self) -> None:
        self.attempts += 1
        self.waiting += 1
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1
        if self.failure is not None:
            await self._tell()
            raise self.failure

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
