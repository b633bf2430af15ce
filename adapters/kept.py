"""Kept messages, read again: a quarantined uplink that is claimed, by the reader of the network that brought it."""

from __future__ import annotations

from typing import Any

from adapters.coap import reading as coap
from adapters.mqtt.networks import HTTP_READERS, READERS
from broker.clock import Micros
from broker.config import Limits
from broker.pipeline.intake import Uplink


def read_kept(
    *, source: str, device_id: str, raw: bytes, meta: dict[str, Any], received_at: Micros, limits: Limits
) -> Uplink:
    """The uplink that `raw` is, as it was read when it came in. Raises NotUnderstood (it was understood then)."""
    adapter, _, network = source.partition(":")
    if adapter == "mqtt":
        uplink = READERS[network](meta["topic"], raw, source=source, received_at=received_at, limits=limits)
        if "broker" in meta:
            uplink.meta["broker"] = meta["broker"]
        return uplink
    if adapter == "http":
        return HTTP_READERS[network](meta["event"], raw, source=source, received_at=received_at, limits=limits)
    return coap.read(
        device_id,
        raw,
        meta.get("content_format"),
        exchange=bytes.fromhex(meta.get("exchange", "")),
        received_at=received_at,
        limits=limits,
        acknowledged=meta.get("ack", ""),
        base=tuple(meta.get("base", ())),
    )
