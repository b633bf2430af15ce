"""What must follow a change of a device model: its entity and those of its devices, which say its name and its vendor."""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

from broker.pipeline.registry.edits import FollowModel, Saved
from broker.stores.base import TenantStore
from broker.stores.command import Command

ResultT = TypeVar("ResultT")

PART: Final = 100
"""Devices in one command, count."""
SHOWN: Final = frozenset({"name", "vendor", "quantities", "network"})
"""What the entities say of a model."""


class Executor(Protocol):
    """The writer."""

    async def execute(self, command: Command[ResultT], *, wait: bool = False, weight: int = 1) -> ResultT:
        """See `broker.pipeline.writer.Writer`."""
        ...


async def follow_model(store: TenantStore, writer: Executor, model_id: str, saved: Saved) -> int:
    """Bring the entities of the model's devices in step with its names, `PART` at a time. How many changed.

    Should the process end in the middle, the rest follows with the next change of the model's names or of the device.
    """
    if saved.outcome != "changed" or not SHOWN & set(saved.members):
        return 0
    changed, after = 0, ""
    while records := await store.records("device", key=f"model:{model_id}", after=after, limit=PART):
        devices = tuple(record.id for record in records)
        changed += await writer.execute(FollowModel(devices), wait=True, weight=len(devices))
        after = devices[-1]
    return changed
