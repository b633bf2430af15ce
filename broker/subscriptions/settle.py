"""Writes down what was delivered, given up, and how it went: for all subscriptions together, a few times a second.

A notification costs a share of one commit. What is not yet written when the process dies is sent again: at least once.
"""

from __future__ import annotations

import asyncio
import random

import structlog

from broker.clock import Clock
from broker.errors import StoreUnavailable
from broker.stores.base import ChangeSet, Conflict, RecordWrite, TenantStore
from broker.subscriptions.state import DeliveryState

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 0.1
SETTLE_ROWS = 500
"""So many rows are written down without waiting for the interval."""
RETRY_SECONDS = 1.0
CONFLICT_TRIES = 20
"""How often a commit is tried that meets another one: a replay, an operator's discard."""


class Settler:
    """Gathers; `run` commits. `flush` returns when all that was gathered before the call is committed."""

    def __init__(self, store: TenantStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._delivered: list[str] = []
        self._dropped: list[str] = []
        """As delivered, but nobody need know that they were."""
        self._given_up: list[tuple[str, str]] = []
        self._states: dict[str, DeliveryState | None] = {}
        self._writing: dict[str, DeliveryState | None] = {}
        self._under_way: dict[str, DeliveryState] = {}
        self._unsettled: dict[str, set[str]] = {}
        self._committing: dict[str, set[str]] = {}
        self._something = asyncio.Event()
        self._plenty = asyncio.Event()
        self._lock = asyncio.Lock()

    def delivered(self, subscription_id: str, row_ids: list[str]) -> None:
        """These rows are settled and go."""
        self._delivered += row_ids
        self._unsettled.setdefault(subscription_id, set()).update(row_ids)
        self._noticed()

    def dropped(self, subscription_id: str, row_ids: list[str]) -> None:
        """These rows go, and it is not remembered who was told: of no change, or nothing."""
        self._dropped += row_ids
        self._unsettled.setdefault(subscription_id, set()).update(row_ids)
        self._noticed()

    def given_up(self, subscription_id: str, rows: list[tuple[str, str]]) -> None:
        """These rows (id, reason) go to the dead letters."""
        self._given_up += rows
        self._unsettled.setdefault(subscription_id, set()).update(row for row, _ in rows)
        self._noticed()

    def unsettled(self, subscription_id: str) -> frozenset[str]:
        """The rows of a subscription that are done with, but that the store may still hold."""
        none: set[str] = set()
        return frozenset(self._unsettled.get(subscription_id, none) | self._committing.get(subscription_id, none))

    def state(self, subscription_id: str, state: DeliveryState | None) -> None:
        """How the delivery of a subscription stands now; None: forget it."""
        self._states[subscription_id] = state
        self._noticed()

    def unwritten(self, subscription_id: str) -> DeliveryState | None:
        """How the delivery of a subscription stands, where that is newer than what the store says; else None."""
        return (
            self._under_way.get(subscription_id)
            or self._states.get(subscription_id)
            or self._writing.get(subscription_id)
        )

    def under_way(self, subscription_id: str, state: DeliveryState | None) -> None:
        """How it stands while a notification is sent; None: it is not any more. Never written down."""
        if state is None:
            self._under_way.pop(subscription_id, None)
        else:
            self._under_way[subscription_id] = state

    async def run(self) -> None:
        """Commit what gathers, until cancelled."""
        while True:
            await self._something.wait()
            try:
                async with asyncio.timeout(INTERVAL_SECONDS):
                    await self._plenty.wait()
            except TimeoutError:
                pass
            try:
                await self.flush()
            except StoreUnavailable as error:
                log.warning("delivery.settle_delayed", reason=error.detail)
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Commit what was gathered. Raises StoreUnavailable; then it is kept for the next time."""
        async with self._lock:
            if not self._something.is_set():
                return
            delivered, given_up, states = self._delivered, self._given_up, self._states
            dropped = self._dropped
            self._delivered, self._given_up, self._states, self._dropped = [], [], {}, []
            self._committing, self._unsettled = self._unsettled, {}
            self._writing = states
            self._something.clear()
            self._plenty.clear()
            version = self._clock.stamp().version
            changes = ChangeSet(
                delivered=delivered,
                delivered_at=self._clock.now(),
                given_up=given_up,
                records=[
                    RecordWrite("delivery_state", name, state.body() if state is not None else None, version)
                    for name, state in states.items()
                ],
            )
            try:
                await self._commit(changes)
                if dropped:
                    await self._commit(ChangeSet(delivered=dropped))
            except BaseException:
                # Whether it was written cannot be told; writing it again does no harm.
                self._delivered = delivered + self._delivered
                self._dropped = dropped + self._dropped
                self._given_up = given_up + self._given_up
                self._states = states | self._states
                for name, rows in self._committing.items():
                    self._unsettled.setdefault(name, set()).update(rows)
                self._something.set()
                raise
            finally:
                self._committing, self._writing = {}, {}

    async def _commit(self, changes: ChangeSet) -> None:
        """Commit; again where others write to the same outbox just then. Nothing here depends on what was there before."""
        for attempt in range(CONFLICT_TRIES):
            try:
                await self._store.commit(changes)
            except Conflict:
                await asyncio.sleep(random.uniform(0, min(0.005 * 2**attempt, 0.25)))  # noqa: S311 - jitter, no secret
            else:
                return
        raise StoreUnavailable("Others write to the same outbox all the time.")

    def _noticed(self) -> None:
        self._something.set()
        if len(self._delivered) + len(self._dropped) + len(self._given_up) >= SETTLE_ROWS:
            self._plenty.set()
