"""Taking rows out of a subscription's outbox, on an operator's word."""

from __future__ import annotations

import asyncio
from typing import Final

from broker.clock import Micros
from broker.stores.base import ChangeSet, Conflict, OutboxRow, TenantStore

PAGE: Final = 1000
"""Rows of one commit, count."""
TRIES: Final = 20
"""How often a commit is tried that meets the delivery's own."""
REASON: Final = "An operator discarded it."


async def discard(store: TenantStore, subscription_id: str, before: Micros, *, keep: bool) -> int:
    """Take the rows owed from before a time out of the outbox: how many. `keep`: they become dead letters, else they go.

    Who delivers must be told (`OutboxChanged`). What is on its way just then may still arrive.
    """
    taken, after = 0, ""
    while rows := await store.outbox(subscription_id, after=after, limit=PAGE):
        after = rows[-1].id
        old = [row for row in rows if row.created_at < before]
        if old:
            await _commit(store, old, keep=keep)
            taken += len(old)
    return taken


async def _commit(store: TenantStore, rows: list[OutboxRow], *, keep: bool) -> None:
    ids = [row.id for row in rows]
    changes = ChangeSet(given_up=[(one, REASON) for one in ids]) if keep else ChangeSet(delivered=ids)
    for attempt in range(TRIES):
        try:
            await store.commit(changes)
        except Conflict:
            if attempt == TRIES - 1:
                raise
            await asyncio.sleep(0.02 * attempt)
        else:
            return
