"""Kept messages, read again: a quarantined uplink that is claimed, by the reader of the network that brought it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.coap import reading as coap
from adapters.members import NotUnderstood
from adapters.mqtt.networks.base import Part
from adapters.mqtt.networks.known import Networks
from broker.clock import Micros
from broker.config import Limits
from broker.pipeline.intake import Uplink


def read_kept(
    networks: Networks,
    *,
    source: str,
    device_id: str,
    raw: bytes,
    meta: dict[str, Any],
    received_at: Micros,
    limits: Limits,
) -> Uplink:
    """The uplink that `raw` is, as it was read when it came in.

    Raises NotUnderstood: it was understood then, but its network may have left the settings since, or be described otherwise.
    """
    adapter, _, network = source.partition(":")
    if adapter in ("mqtt", "http"):
        server = networks.get(network)
        if server is None:
            raise NotUnderstood(f"It came by network '{network[:60]}', which is not in the settings any more.")
        parts: Sequence[Part] = ()
        if adapter == "mqtt":
            parts = server.read(meta["topic"], raw, source=source, received_at=received_at, limits=limits)
        elif server.read_http is not None:
            parts = server.read_http(meta["event"], raw, source=source, received_at=received_at, limits=limits)
        for part in parts:
            if isinstance(part, Uplink) and part.device_id == device_id:
                part.meta.update({name: meta[name] for name in ("broker", "origin") if name in meta})
                return part
        raise NotUnderstood(
            f"By network '{network[:60]}' as it is in the settings now, it is no message of {device_id}."
        )
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
