"""Commands that a device fetches itself (CoAP): with the answer to its message it gets the one that is its turn."""

from __future__ import annotations

import asyncio

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
        self._lookup = _Lookup(store)
        self._writer = writer
        self._clock = clock
        self._decoders = decoders

    async def fetch(self, device_id: str) -> Downlink | None:
        """The oldest command for a device that asks: one that it has not acknowledged, or the next."""
        try:
            for record in await self._lookup.found("binding", f"device:{device_id}"):
                binding = as_binding(record)
                if binding.covers(self._clock.now()):
                    found = await self._next_of(binding.virtual_sensor, device_id)
                    if found is not None:
                        return found
        except BrokerError as error:
            log.warning("command.not_fetched", device=device_id, reason=error.detail)
        return None

    async def _next_of(self, sensor_id: str, device_id: str) -> Downlink | None:
        waiting = await self._lookup.found("device_command", f"open:{sensor_id}")
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


class _Lookup:
    """Reads keys for many callers at once: messages are committed in groups, and then all of a group ask."""

    def __init__(self, store: TenantStore) -> None:
        self._store = store
        self._asked: dict[tuple[RecordKind, str], asyncio.Future[tuple[Record, ...]]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def found(self, kind: RecordKind, key: str) -> tuple[Record, ...]:
        """The records with a key, as they are now or later. Raises BrokerError."""
        waiting = self._asked.get((kind, key))
        if waiting is None:
            waiting = self._asked[kind, key] = asyncio.get_running_loop().create_future()
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        return await asyncio.shield(waiting)

    async def _read(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                snapshot = await self._store.load(Needs(found=set(asked)))
            except Exception as error:
                for waiting in asked.values():
                    waiting.set_exception(error)
                    waiting.exception()  # whoever asked may be gone
            else:
                for key, waiting in asked.items():
                    waiting.set_result(snapshot.found.get(key, ()))
        self._reading = None


def _elsewhere(source: str, broker: str) -> str:
    """See `BeginSending.networks`: who fetches was heard just now, unless another network's clock runs ahead."""
    return f"Its device was last heard over '{source}'."
