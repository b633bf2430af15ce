from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from broker.clock import Clock
from broker.errors import StoreUnavailable
from broker.stores.base import ChangeSet, Conflict, TenantStore
from broker.subscriptions.settle import Settler


class Busy:
    """A store in which others are first, so often."""

    def __init__(self, conflicts: int) -> None:
        self.conflicts = conflicts
        self.committed: list[list[str]] = []

    async def commit(self, changes: ChangeSet) -> None:
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict("Another was first.")
        self.committed.append(changes.delivered)


async def test_what_was_delivered_is_written_down_though_others_write_to_the_same_outbox() -> None:
    store = Busy(5)
    settler = Settler(cast("TenantStore", store), Clock())
    settler.delivered("urn:s:1", ["a", "b"])
    await settler.flush()
    assert store.committed == [["a", "b"]]


async def test_when_they_never_stop_it_is_kept_for_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = asyncio.sleep

    async def quickly(_: float) -> Any:
        await slept(0)

    monkeypatch.setattr(asyncio, "sleep", quickly)
    store = Busy(10_000)
    settler = Settler(cast("TenantStore", store), Clock())
    settler.delivered("urn:s:1", ["a"])
    with pytest.raises(StoreUnavailable):
        await settler.flush()
    assert settler.unsettled("urn:s:1") == {"a"}
    store.conflicts = 0
    await settler.flush()
    assert store.committed == [["a"]]
