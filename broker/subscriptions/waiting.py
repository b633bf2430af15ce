"""The rows of one subscription that wait in memory, and whether the store holds more.

Rows handed over right after their commit save reading them. When too many wait, when it is not certain that they are
all, or while the endpoint fails, they are forgotten here and read from the store later.
"""

from __future__ import annotations

from collections import deque

from broker.clock import Micros
from broker.stores.base import OutboxRow, TenantStore
from broker.subscriptions.settle import Settler

LANE_ROWS = 100
"""Rows of one subscription kept in memory, and read at a time."""
HELD_ROWS = 20_000
"""Rows of all subscriptions kept in memory."""


class Room:
    """How many rows all subscriptions together hold in memory."""

    def __init__(self) -> None:
        self.held = 0


class Waiting:
    """The rows of one subscription, in order. `behind`: the store may hold rows that are not here."""

    def __init__(self, subscription_id: str, store: TenantStore, settler: Settler, room: Room, *, behind: bool) -> None:
        self.behind = behind
        self._subscription_id = subscription_id
        self._store = store
        self._settler = settler
        self._room = room
        self._rows: deque[OutboxRow] = deque()
        self._meanwhile: list[OutboxRow] = []
        """Offered while reading: maybe among what is read, maybe not."""
        self._reading = False
        self._missed = False
        """It came to be behind while reading."""
        self._newest = ""
        """The id of the last row that was put here."""

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def first_at(self) -> Micros:
        """When the first row was made."""
        return self._rows[0].created_at

    @property
    def next_id(self) -> str:
        """The id of the first row."""
        return self._rows[0].id

    def offer(self, row: OutboxRow) -> None:
        """Keep a row that was just committed, if there is room and it is certainly the next."""
        if self._reading and len(self._meanwhile) < LANE_ROWS:
            self._meanwhile.append(row)
        elif self.behind or len(self._rows) >= LANE_ROWS or self._room.held >= HELD_ROWS or row.id <= self._newest:
            # The last: it was read from the store before word of its commit came.
            self.miss()
        else:
            self._add([row])

    def miss(self) -> None:
        """The store holds, or may hold, rows that are not here."""
        self.behind = self._missed = True

    def forget(self) -> None:
        """Let go of what is here; the store has it."""
        self._room.held -= len(self._rows)
        self._rows.clear()
        self.miss()

    def pop(self) -> OutboxRow:
        """The next row."""
        self._room.held -= 1
        return self._rows.popleft()

    async def read(self, after: str = "") -> None:
        """The first rows that the store holds behind the row `after`. Call it only when none are here.

        What is done with but not yet settled is still among them, and left out. Raises StoreUnavailable.
        """
        done = self._settler.unsettled(self._subscription_id)
        if len(done) >= LANE_ROWS:
            await self._settler.flush()
            done = self._settler.unsettled(self._subscription_id)
        limit = LANE_ROWS + len(done)
        self._reading, self._missed = True, False
        try:
            rows = await self._store.outbox(self._subscription_id, after=after, limit=limit)
        except BaseException:
            self._missed = True
            raise
        finally:
            self._reading = False
            meanwhile, self._meanwhile = self._meanwhile, []
        self.behind = self._missed or len(rows) >= limit
        known = {row.id for row in rows}
        later = [row for row in meanwhile if row.id not in known]
        if later and (self.behind or (rows and later[0].id < rows[-1].id)):
            self.behind, later = True, []
        self._add([*(row for row in rows if row.id not in done), *later])

    def _add(self, rows: list[OutboxRow]) -> None:
        self._rows.extend(rows)
        self._room.held += len(rows)
        if rows:
            self._newest = max(self._newest, rows[-1].id)
