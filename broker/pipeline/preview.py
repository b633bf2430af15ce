"""What a command would do, without doing it: for dry runs."""

from __future__ import annotations

from typing import TypeVar

from broker.clock import Clock
from broker.stores.base import Needs, Snapshot, TenantStore
from broker.stores.command import Command, Effects, View

ResultT = TypeVar("ResultT")

PHASES = 6
"""As the writer: how often a command may ask for more."""


async def preview(store: TenantStore, clock: Clock, command: Command[ResultT]) -> Effects[ResultT]:
    """The effects that the command would have now. Raises what the command raises."""
    snapshot = Snapshot()
    await load_needs(store, command, snapshot, Needs())
    newest = max((stored.version for stored in snapshot.entities.values()), default=0)
    return command.apply(View(snapshot, clock.new_id), clock.stamp(after=newest))


async def load_needs(store: TenantStore, command: Command[ResultT], snapshot: Snapshot, asked: Needs) -> None:
    """Read what the command needs and was not `asked` before into `snapshot`, phase by phase."""
    for _ in range(PHASES):
        missing = command.needs(snapshot).minus(asked)
        if not missing and asked:
            return
        snapshot.add(await store.load(missing))
        asked.add(missing)
