"""Commands that a model's script encodes: it runs in its thread, between two tries of the writer's command."""

from __future__ import annotations

from dataclasses import replace

from broker.devices.commanding import BeginSending, Begun
from broker.pipeline.decoding import Decoders
from broker.pipeline.expiry import Executor


async def begin(writer: Executor, decoders: Decoders, command: BeginSending) -> Begun | None:
    """Execute it; with what the script has made of it where one is needed. When its model is changed meanwhile it stays queued.

    Raises Overloaded when the scripts are behind.
    """
    begun = await writer.execute(command, wait=True)
    if begun is None or begun.to_encode is None:
        return begun
    encoded = await decoders.encode(begun.to_encode)
    return await writer.execute(replace(command, encoded=encoded), wait=True)
