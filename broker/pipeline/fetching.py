"""Commands that a device fetches itself (CoAP): with the answer to its message it gets the one that is its turn."""

from __future__ import annotations

import structlog

from broker.clock import Clock
from broker.devices.commanding import COAP, BeginSending, as_command
from broker.devices.registry import as_binding
from broker.errors import BrokerError
from broker.pipeline.command_log import as_downlink, since, tell
from broker.pipeline.decoding import Decoders
from broker.pipeline.encoding import begin
from broker.pipeline.expiry import Executor
from broker.pipeline.intake import Downlink
from broker.stores.base import Needs, Record, RecordKind, TenantStore

log = structlog.get_logger(__name__)


class Fetching:
    """An `Outlet`."""

    def __init__(self, store: TenantStore, writer: Executor, clock: Clock, decoders: Decoders) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._decoders = decoders

    async def fetch(self, device_id: str) -> Downlink | None:
        """The oldest command for a device that asks: one that it has not acknowledged, or the next."""
        try:
            for record in await self._found("binding", f"device:{device_id}"):
                binding = as_binding(record)
                if binding.covers(self._clock.now()):
                    found = await self._next_of(binding.virtual_sensor, device_id)
                    if found is not None:
                        return found
        except BrokerError as error:
            log.warning("command.not_fetched", device=device_id, reason=error.detail)
        return None

    async def _next_of(self, sensor_id: str, device_id: str) -> Downlink | None:
        waiting = await self._found("device_command", f"open:{sensor_id}")
        for command in sorted(map(as_command, waiting), key=since):
            if self._clock.now() >= command.expires_at:
                continue
            if command.status == "queued":
                begun = await begin(self._writer, self._decoders, BeginSending(command.id, _elsewhere, device_id))
                if begun is None or begun.command.status == "queued":
                    return None
                command = begun.command
                tell(command)
            if command.status == "sent" and command.device == device_id and command.network == COAP:
                return as_downlink(command)
        return None

    async def _found(self, kind: RecordKind, key: str) -> tuple[Record, ...]:
        """As a command's needs are read: from memory where the store has that."""
        return (await self._store.load(Needs(found={(kind, key)}))).found.get((kind, key), ())


def _elsewhere(source: str, broker: str) -> str:
    """See `BeginSending.networks`: who fetches was heard just now, unless another network's clock runs ahead."""
    return f"Its device was last heard over '{source}'."
