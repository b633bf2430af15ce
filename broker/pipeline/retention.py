"""Personal data is deleted when it is older than its virtual sensor's retention: every hour, for good.

History, superseded rows too, and that of its devices; raw uplinks; notifications that wait or were given up on; closed
alarms and the history of their entities. With it go the bytes of uplinks that their tenant does not keep any longer. A current value that is as old goes by a command of its own, so that subscribers are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from broker import metrics
from broker.clock import DAY, Clock, Micros
from broker.devices.alarms.alert import alert_urn
from broker.devices.model import Binding
from broker.devices.observe import device_urn
from broker.devices.registry import as_binding
from broker.entities.aged import RemoveAged, RemoveAlarm, is_closed_before
from broker.errors import BrokerError
from broker.ngsild.model import Iri
from broker.pipeline.expiry import Executor
from broker.pipeline.personal import Kept, PersonalData
from broker.pipeline.raw_uplinks import RawUplinks
from broker.stores.base import TenantStore

log = structlog.get_logger(__name__)

SWEEP_SECONDS: Final = 3600.0
"""How often it is looked: so long is something kept beyond its retention, when the broker runs."""
AT_ONCE: Final = 1000
"""Rows that one transaction deletes, count: others are written in between."""
MARGIN: Final = DAY
"""An uplink may be received so much later, or earlier by the device's clock, than it was observed: a device's that was
another virtual sensor before or afterwards."""
FOREVER: Final[Micros] = (1 << 63) - 1


@dataclass(slots=True)
class Deleted:
    """What went, count."""

    history: int = 0
    uplinks: int = 0
    notifications: int = 0
    alarms: int = 0
    values: int = 0
    """Current ones."""
    bytes: int = 0
    """Of uplinks that stay otherwise."""


class Retention:
    """One tenant's. `run` until stopped."""

    def __init__(
        self,
        store: TenantStore,
        writer: Executor,
        personal: PersonalData,
        clock: Clock,
        seconds: float = SWEEP_SECONDS,
        raw: RawUplinks | None = None,
    ) -> None:
        """`raw`: how long bytes are kept, of all tenants."""
        self._raw_uplinks = raw
        self._store = store
        self._writer = writer
        self._personal = personal
        self._clock = clock
        self._seconds = seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Delete what is too old, every hour."""
        while not stop.is_set():
            try:
                await self.sweep()
            except BrokerError as error:
                log.warning("retention.put_off", reason=error.detail)
            try:
                async with asyncio.timeout(self._seconds):
                    await stop.wait()
            except TimeoutError:
                continue

    async def sweep(self) -> Deleted:
        """Delete what is too old now. Raises StoreUnavailable, Overloaded: the next sweep goes on."""
        deleted = Deleted()
        await self._personal.now()
        for sensor, kept in list(self._personal.kept.items()):
            before = self._clock.now() - kept.keep
            await self._values(kept, before, deleted)
            await self._alarms(sensor, before, deleted)
            await self._devices(sensor, before, deleted)
        if self._raw_uplinks is not None:
            deleted.bytes = await self._raw_uplinks.sweep()
        counts = {name: getattr(deleted, name) for name in Deleted.__dataclass_fields__}
        for name, count in counts.items():
            metrics.retention_deleted.labels(name).inc(count)
        if any(counts.values()):
            log.info("retention.deleted", **counts)
        return deleted

    async def _values(self, kept: Kept, before: Micros, deleted: Deleted) -> None:
        attributes: dict[str, list[Iri]] = {}
        for entity, attribute in sorted(kept.written):
            attributes.setdefault(entity, []).extend([attribute] if attribute else [])
        for entity, names in attributes.items():
            deleted.values += await self._writer.execute(RemoveAged(entity, names, before), wait=True)
            for name in names:
                await self._history(entity, name, 0, before, deleted)
        deleted.notifications += await self._store.forget_letters(attributes.keys(), before)

    async def _alarms(self, sensor: str, before: Micros, deleted: Deleted) -> None:
        for record in await self._store.records("alarm", key=f"sensor:{sensor}"):
            urn = alert_urn(record.id)
            await self._history(urn, None, 0, before, deleted)
            if is_closed_before(record.body, before):
                deleted.alarms += await self._writer.execute(RemoveAlarm(record.id, urn, before), wait=True)
            deleted.notifications += await self._store.forget_letters((urn,), before)

    async def _devices(self, sensor: str, before: Micros, deleted: Deleted) -> None:
        for record in await self._store.records("binding", key=f"sensor:{sensor}"):
            binding = as_binding(record)
            if binding.empty:
                continue
            others = await self._store.records("binding", key=f"device:{binding.device}")
            since, until = period(binding, map(as_binding, others))
            await self._raw(binding.device, since, min(until, before), deleted)
            await self._history(device_urn(binding.device), None, since, min(until, before), deleted)

    async def _raw(self, device: str, since: Micros, before: Micros, deleted: Deleted) -> None:
        deleted.uplinks += await _all(lambda: self._store.forget_uplinks(device, since, before, AT_ONCE))

    async def _history(
        self, entity: str, attribute: Iri | None, since: Micros, before: Micros, deleted: Deleted
    ) -> None:
        deleted.history += await _all(lambda: self._store.forget_history(entity, attribute, since, before, AT_ONCE))


def period(binding: Binding, others: Iterable[Binding]) -> tuple[Micros, Micros]:
    """When a device's uplinks were received that tell of a binding's time: all there are, where the device was nothing else."""
    held = [one for one in others if not one.empty and one.virtual_sensor != binding.virtual_sensor]
    earlier = any(one.valid_from < binding.valid_from for one in held)
    later = any(one.valid_from > binding.valid_from for one in held)
    until = FOREVER if binding.valid_to is None or not later else binding.valid_to + MARGIN
    return binding.valid_from - MARGIN if earlier else 0, until


async def _all(delete: Callable[[], Awaitable[int]]) -> int:
    total = 0
    while True:
        count = await delete()
        total += count
        if count < AT_ONCE:
            return total
