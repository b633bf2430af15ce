"""The intake: an uplink's way from an adapter to its receipt.

decode -> command -> writer -> count, log -> receipt
"""

from __future__ import annotations

from functools import cache
from typing import Any

import structlog
from prometheus_client import Counter

from broker import metrics
from broker.clock import Clock, Micros
from broker.config import Limits
from broker.devices.registry import as_device, as_model
from broker.errors import Overloaded
from broker.logs import TRACE
from broker.pipeline.apply_uplink import UNHEARD, ApplyUplink, Decoded, Stale
from broker.pipeline.decoding import Decoders
from broker.pipeline.intake import Receipt, Uplink
from broker.pipeline.keep_message import KeepMessage
from broker.pipeline.raw_uplinks import RawUplinks
from broker.pipeline.writer import Writer
from broker.stores.base import TenantStore, UplinkRow
from broker.stores.cache import RecordCache

log = structlog.get_logger(__name__)

_MEASURED = metrics.measurements.labels("applied")

DECODE_TRIES = 5
"""How often a device model may change under an uplink before its network is asked to send it again."""


class Uplinks:
    """The `Intake` that adapters are given."""

    def __init__(
        self,
        store: TenantStore,
        writer: Writer,
        clock: Clock,
        limits: Limits,
        decoders: Decoders,
        raw: RawUplinks | None = None,
    ) -> None:
        """`raw`: how long bytes are kept; None for ever."""
        self._raw = raw
        self._store = store
        self._writer = writer
        self._registry = RecordCache(store)
        self._clock = clock
        self._limits = limits
        self._decoders = decoders

    async def submit(self, uplink: Uplink, *, wait: bool) -> Receipt:
        """Apply an uplink durably (see `Intake`)."""
        return await self._apply(uplink, self._clock.new_id(), wait=wait)

    async def replay(self, uplink: Uplink, kept: UplinkRow, since: Micros | None = None) -> Receipt:
        """Apply an uplink again that is kept as `kept`, by the bindings and models of now, if it tells of `since` or later."""
        return await self._apply(uplink, kept.id, wait=True, kept=kept, since=since)

    async def reject(self, *, source: str, raw: bytes, reason: str, meta: dict[str, Any], wait: bool) -> Receipt:
        """Keep a message that could not be understood (see `Intake`)."""
        uplink_id = self._clock.new_id()
        kept = KeepMessage(uplink_id, source, raw[: self._limits.uplink_kept_bytes], reason, meta, self._clock.now())
        await self._writer.execute(kept, wait=wait)
        metrics.uplinks.labels(source, "rejected").inc()
        log.warning("uplink.not_understood", trace=uplink_id, source=source, reason=reason)
        return Receipt(uplink_id, "rejected", reason)

    async def _apply(
        self, uplink: Uplink, uplink_id: str, *, wait: bool, kept: UplinkRow | None = None, since: Micros | None = None
    ) -> Receipt:
        request = TRACE.get()
        TRACE.set(uplink_id)
        for _ in range(DECODE_TRIES):
            decoded = await self.decode(uplink)
            command = ApplyUplink(
                uplink,
                uplink_id,
                decoded,
                self._limits,
                was=kept.status if kept is not None else None,
                heard=kept is not None and UNHEARD not in kept.meta,
                since=since,
                keep_bytes=self._raw is None or self._raw.keeps_new,
            )
            receipt = await self._writer.execute(command, wait=wait)
            if not isinstance(receipt, Stale):
                self._tell(uplink, receipt, decoded, request)
                return receipt
            await self.in_step()
        raise Overloaded("The device's model is being changed; send the uplink again.")

    async def in_step(self) -> None:
        """Look again at devices and models that have changed."""
        self._registry.in_step(await self._store.epochs())

    async def decode(self, uplink: Uplink) -> Decoded:
        """What it says by its device's model, as it was at the last `in_step`. Raises Overloaded."""
        device = await self._registry.get("device", uplink.device_id)
        if device is None:
            return Decoded()
        record = await self._registry.get("device_model", as_device(device).model)
        if record is None:
            return Decoded(model=None, problem=f"Device {uplink.device_id} has no device model.")
        model = as_model(record)
        if uplink.kind != "up":
            return Decoded(model, record.version)
        return await self._decoders.decode(model, record.version, uplink)

    def _tell(self, uplink: Uplink, receipt: Receipt, decoded: Decoded, request: str) -> None:
        _counter(uplink.source, receipt.outcome).inc()
        if receipt.command:
            metrics.device_commands.labels(receipt.command).inc()
            log.info(
                "command." + receipt.command, device=uplink.device_id, command=uplink.downlink and uplink.downlink.id
            )
        if receipt.outcome == "applied":
            _MEASURED.inc(len(decoded.measurements))
        for check in receipt.implausible:
            metrics.implausible.labels(check).inc()
        report = log.info if receipt.outcome in ("applied", "duplicate") and not receipt.reason else log.warning
        report(
            "uplink." + receipt.outcome,
            device=uplink.device_id,
            source=uplink.source,
            frame=uplink.frame_key,
            **({"reason": receipt.reason} if receipt.reason else {}),
            **({"request": request} if request else {}),
        )


@cache
def _counter(source: str, outcome: str) -> Counter:
    return metrics.uplinks.labels(source, outcome)
