"""Swaps and claims, with what follows from them: quarantined uplinks of the device are replayed, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from broker.clock import Clock, Micros
from broker.devices.commands import Swap, Swapped
from broker.devices.registry import as_binding
from broker.errors import ResourceNotFound
from broker.pipeline.intake import Uplink
from broker.pipeline.uplinks import Uplinks
from broker.pipeline.writer import Writer
from broker.stores.base import TenantStore, UplinkRow

log = structlog.get_logger(__name__)

PAGE = 500
"""Quarantined uplinks read at once."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of the quarantined uplinks of a device."""

    applied: int = 0
    rejected: int = 0
    left: int = 0
    """Still in quarantine: no binding covers their time."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A swap or claim and its replay."""

    swapped: Swapped
    replayed: Replayed


class Claims:
    """Binds devices to virtual sensors and replays what waited for that."""

    def __init__(
        self,
        store: TenantStore,
        writer: Writer,
        uplinks: Uplinks,
        read_again: Callable[[UplinkRow], Uplink],
        clock: Clock,
    ) -> None:
        self._store = store
        self._writer = writer
        self._uplinks = uplinks
        self._read_again = read_again
        self._clock = clock

    async def swap(
        self, virtual_sensor: str, device: str, *, at: Micros | None, model: str | None = None, name: str = ""
    ) -> Claimed:
        """From `at` (now), `device` is `virtual_sensor`. What it sent since then and was quarantined is replayed."""
        since = at if at is not None else self._clock.now()
        swapped = await self._writer.execute(Swap(virtual_sensor, device, since, model, name))
        log.info(
            "device.swapped",
            virtual_sensor=virtual_sensor,
            device=device,
            replaced=swapped.closed.device if swapped.closed else None,
            binding=swapped.binding.id,
        )
        return Claimed(swapped, await self.replay(device))

    async def claim(
        self, device: str, virtual_sensor: str, *, at: Micros | None, model: str | None = None, name: str = ""
    ) -> Claimed:
        """`device` is `virtual_sensor` since it was first heard in quarantine (or `at`)."""
        if at is None:
            waiting = await self._store.uplinks(status="quarantined", device_id=device, limit=PAGE)
            if not waiting:
                raise ResourceNotFound(f"Nothing of device '{device}' is in quarantine; swap it in instead.")
            at = min(row.meta.get("observedAt", row.received_at) for row in waiting)
        return await self.swap(virtual_sensor, device, at=at, model=model, name=name)

    async def replay(self, device: str) -> Replayed:
        """Apply the device's quarantined uplinks in the order they came."""
        count = {"applied": 0, "rejected": 0, "quarantined": 0, "duplicate": 0}
        after = ""
        while rows := await self._store.uplinks(status="quarantined", device_id=device, after=after, limit=PAGE):
            for row in rows:
                receipt = await self._uplinks.replay(self._read_again(row), row.id)
                count[receipt.outcome] += 1
            after = rows[-1].id
        if count["applied"] or count["rejected"]:
            log.info("quarantine.replayed", device=device, **count)
        return Replayed(count["applied"], count["rejected"], count["quarantined"])

    async def catch_up(self) -> None:
        """Replay what a claim left behind when the process ended in the middle of it."""
        for group in await self._store.quarantine():
            if group.device_id is None:
                continue
            bindings = await self._store.records("binding", key=f"device:{group.device_id}")
            if any(as_binding(record).valid_from <= group.last for record in bindings):
                await self.replay(group.device_id)
