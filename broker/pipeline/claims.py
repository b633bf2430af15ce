"""Swaps, claims and undoing, with what follows: uplinks that were taken for something else are looked at again, in order.

A swap dated in the past takes back in one transaction what no longer holds, and owes a *reattribution* to each device that
it concerns: a record that stays until all the device's uplinks since were applied again by the bindings of now. Should the
process end in the middle, `catch_up` goes on; applying an uplink again is always safe.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import structlog

from broker.clock import SECOND, Clock, Micros, id_floor
from broker.config import Limits
from broker.devices.registry import as_binding, as_swap
from broker.devices.swaps import Swap, Swapped, Unbind, Unbound
from broker.devices.take_back import Reattributed
from broker.devices.undoing import TakeEffect, Undo, Undone
from broker.errors import ResourceNotFound
from broker.pipeline.expiry import Executor
from broker.pipeline.intake import Uplink
from broker.pipeline.preview import preview
from broker.pipeline.uplinks import Uplinks
from broker.stores.base import TenantStore, UplinkRow

log = structlog.get_logger(__name__)

PAGE = 500
"""Kept uplinks read at once."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of kept uplinks that were looked at again."""

    applied: int = 0
    rejected: int = 0
    left: int = 0
    """In quarantine: no binding covers their time."""

    def plus(self, other: Replayed) -> Replayed:
        """Both together."""
        return Replayed(self.applied + other.applied, self.rejected + other.rejected, self.left + other.left)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A swap or claim, and what was looked at again."""

    swapped: Swapped
    replayed: Replayed


class Claims:
    """Binds devices to virtual sensors, and settles what follows from that."""

    def __init__(
        self,
        store: TenantStore,
        writer: Executor,
        uplinks: Uplinks,
        read_again: Callable[[UplinkRow], Uplink],
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._store = store
        self._writer = writer
        self._uplinks = uplinks
        self._read_again = read_again
        self._clock = clock
        self._limits = limits

    async def swap(self, swap: Swap) -> Claimed:
        """Do it. What the devices sent since then is looked at again."""
        swapped = await self._writer.execute(swap)
        log.info(
            "device.swapped",
            swap=swapped.record.id,
            virtual_sensor=swap.virtual_sensor,
            device=swap.device,
            replaced=swapped.record.replaced,
            binding=swapped.binding.id,
            by=swap.by,
        )
        return Claimed(swapped, await self._settled(swapped.record.device, swapped.record.replaced))

    async def preview(self, swap: Swap) -> Swapped:
        """What the swap would do; nothing is done."""
        return (await preview(self._store, self._clock, swap)).result

    async def since(self, device: str) -> Micros:
        """Since when a device that waits in quarantine has been heard. Raises ResourceNotFound."""
        waiting = await self._store.uplinks(status="quarantined", device_id=device, limit=PAGE)
        if not waiting:
            raise ResourceNotFound(f"Nothing of device '{device}' is in quarantine; swap it in instead.")
        return min(int(row.meta.get("observedAt", row.received_at)) for row in waiting)

    async def unbind(self, unbind: Unbind) -> Unbound:
        """Do it. What the device sent since then goes into the quarantine."""
        unbound = await self._writer.execute(unbind)
        log.info("device.unbound", swap=unbound.record.id, virtual_sensor=unbind.virtual_sensor, by=unbind.by)
        await self._settled(unbound.closed.device)
        return unbound

    async def undo(self, undo: Undo) -> tuple[Undone, Replayed]:
        """Do it. What both devices sent since the swap is looked at again."""
        undone = await self._writer.execute(undo)
        log.info("swap.undone", swap=undo.swap_id, virtual_sensor=undone.record.virtual_sensor, by=undo.by)
        return undone, await self._settled(undone.record.device, undone.record.replaced)

    async def take_effect(self) -> None:
        """Planned swaps whose moment has come take effect."""
        for record in await self._store.records("swap", key="planned"):
            if as_swap(record).at <= self._clock.now() and await self._writer.execute(TakeEffect(record.id)):
                log.info("swap.took_effect", swap=record.id, virtual_sensor=record.body["virtualSensor"])

    async def catch_up(self) -> None:
        """Settle what a process left behind that ended in the middle, and what crossed another process's binding."""
        for record in await self._store.records("reattribution"):
            await self._settled(record.id)
        for group in await self._store.quarantine():
            if group.device_id is None:
                continue
            bindings = [
                as_binding(one) for one in await self._store.records("binding", key=f"device:{group.device_id}")
            ]
            if any(one.valid_from <= group.last and (one.valid_to or group.last) > group.first for one in bindings):
                await self._again(self._waiting(group.device_id))

    async def settle(self, *devices: str) -> Replayed:
        """What follows from bindings that another command changed: look again at what is owed to these devices."""
        return await self._settled(*devices)

    async def _settled(self, *devices: str | None) -> Replayed:
        """Look again at what is owed to the devices, each once."""
        whole = Replayed()
        for device in dict.fromkeys(devices):
            if device is None:
                continue
            owed = await self._store.record("reattribution", device)
            if owed is None:
                whole = whole.plus(await self._again(self._waiting(device)))
                continue
            since = owed.body["from"]
            whole = whole.plus(await self._again(self._since(device, since), since))
            await self._writer.execute(Reattributed(device, owed.version))
        return whole

    async def _again(self, rows: AsyncIterator[UplinkRow], since: Micros | None = None) -> Replayed:
        count = {"applied": 0, "rejected": 0, "quarantined": 0, "duplicate": 0}
        device = None
        async for row in rows:
            device = row.device_id
            try:
                uplink = self._read_again(row)
            except ValueError as error:
                # Its network is described otherwise in the settings than when it came in, or its bytes are not kept any
                # more: it stays as it is.
                log.warning("uplink.not_read_again", uplink=row.id, source=row.source, reason=str(error))
                continue
            receipt = await self._uplinks.replay(uplink, row, since)
            count[receipt.outcome] += row.status != receipt.outcome or row.status != "applied"
        if count["applied"] or count["rejected"]:
            log.info("uplinks.replayed", device=device, **count)
        return Replayed(count["applied"], count["rejected"], count["quarantined"])

    async def _waiting(self, device: str) -> AsyncIterator[UplinkRow]:
        """What waits of a device, in the order it came."""
        after = ""
        while rows := await self._store.uplinks(status="quarantined", device_id=device, after=after, limit=PAGE):
            for row in rows:
                yield row
            after = rows[-1].id

    async def _since(self, device: str, since: Micros) -> AsyncIterator[UplinkRow]:
        """What a device sent that may tell of `since` or later: a clock may run ahead."""
        after = id_floor(since - self._limits.clock_ahead_seconds * SECOND)
        while rows := await self._store.uplinks(device_id=device, after=after, limit=PAGE):
            for row in rows:
                if row.status in ("applied", "quarantined"):
                    yield row
            after = rows[-1].id
