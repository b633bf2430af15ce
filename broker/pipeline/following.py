"""Keeps this process in step with the others that use the same store, and says when it is not.

What others write to a registry is heard of within a second (a change stream), and caches catch up before the next write
needs them. Every commit checks that what it relied on has not moved, whatever was heard: following saves time and conflicts,
the check makes it exact. A process that has heard nothing for `BOUND_SECONDS`, not even that there was nothing, admits no
writes until it does: it cannot tell whether it would be wasting its clients' time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from broker import metrics
from broker.ending import end
from broker.stores.base import Store

log = structlog.get_logger(__name__)

BOUND_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.25


class Following:
    """`run` in a task; without it, and with a store of this process alone (`alone`), it is always in step."""

    def __init__(
        self,
        store: Store,
        moved: Callable[[str], None],
        *,
        alone: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`moved` is told the name of a tenant whose registry changed."""
        self._store = store
        self._moved = moved
        self._alone = alone
        self._now = now
        self._heard = now()
        self._was_in_step = True
        metrics.in_step.set(1)

    @property
    def silent_seconds(self) -> float:
        """For how long nothing was heard."""
        return 0.0 if self._alone else self._now() - self._heard

    def in_step(self) -> bool:
        """Whether writes may be admitted."""
        return self.silent_seconds <= BOUND_SECONDS

    async def run(self) -> None:
        """Follow, until cancelled."""
        if self._alone:
            return
        self._hear()
        following = asyncio.create_task(self._store.follow(self._moved, self._hear), name="follow")
        try:
            while not following.done():
                self._say()
                await asyncio.wait([following], timeout=LOOK_SECONDS)
            following.result()
        finally:
            await end([following])

    def _hear(self) -> None:
        self._heard = self._now()

    def _say(self) -> None:
        in_step = self.in_step()
        if in_step != self._was_in_step:
            self._was_in_step = in_step
            metrics.in_step.set(int(in_step))
            if in_step:
                log.info("following.in_step")
            else:
                log.error("following.out_of_step", seconds=round(self.silent_seconds, 1))
