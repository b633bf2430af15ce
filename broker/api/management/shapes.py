"""Registry things as the management API shows them."""

from __future__ import annotations

import base64
from typing import Any

from broker.api.management.common import shown_times
from broker.clock import iso
from broker.devices.model import SwapRecord
from broker.devices.registry import to_body
from broker.devices.swaps import Swapped
from broker.jsonld.context import Context
from broker.pipeline.claims import Claimed, Replayed
from broker.stores.base import BYTES_DROPPED, HistoryRow, Record, UplinkRow

BINDING_TIMES = ("validFrom", "validTo")


def shown_binding(record: Record) -> dict[str, Any]:
    """A binding, its times as text."""
    return shown_times(record.body, BINDING_TIMES)


def shown_swap(swap: SwapRecord) -> dict[str, Any]:
    """The record of a swap, its times as text."""
    return shown_times(to_body(swap), ("at", "recordedAt", "undoneAt"))


def shown_plan(swapped: Swapped, names: Context) -> dict[str, Any]:
    """What a swap does."""
    differences = swapped.differences
    before, after = differences.interval_seconds
    return {
        "swap": shown_swap(swapped.record),
        "binding": shown_times(to_body(swapped.binding), BINDING_TIMES),
        "closed": shown_times(to_body(swapped.closed), BINDING_TIMES) if swapped.closed else None,
        "registered": to_body(swapped.registered) if swapped.registered else None,
        "notServed": list(differences.not_served),
        "intervalSeconds": {"before": before, "after": after},
        "units": [{"quantity": one.quantity, "before": one.before, "after": one.after} for one in differences.units],
        "alarmsClosing": [
            {"id": one.id, "kind": one.kind, "severity": one.severity, "text": one.text} for one in swapped.cured
        ],
        "meters": [
            {
                "entity": one.entity,
                "attribute": names.compact(one.attribute),
                "value": one.value,
                "offset": one.offset,
            }
            for one in differences.meters
        ],
    }


def shown_claim(claimed: Claimed, names: Context) -> dict[str, Any]:
    """A swap's or claim's result."""
    return {**shown_plan(claimed.swapped, names), "replayed": shown_replayed(claimed.replayed)}


def shown_replayed(replayed: Replayed) -> dict[str, int]:
    """What became of uplinks that were looked at again."""
    return {"applied": replayed.applied, "rejected": replayed.rejected, "left": replayed.left}


def shown_uplink(row: UplinkRow) -> dict[str, Any]:
    """A raw uplink without its bytes."""
    return {
        "id": row.id,
        "status": row.status,
        "reason": row.reason,
        "source": row.source,
        "receivedAt": iso(row.received_at),
        "device": row.device_id,
        "frame": row.frame_key,
        "bytes": len(row.raw),
        "meta": shown_times(row.meta, ("observedAt",)),
    }


def raw_of(row: UplinkRow) -> str | None:
    """A raw uplink's bytes as base64; None where they are not kept any more."""
    return None if BYTES_DROPPED in row.meta else base64.b64encode(row.raw).decode()


def shown_history(row: HistoryRow, name: str) -> dict[str, Any]:
    """A history row; `name` is its attribute as the reader's @context has it."""
    return {
        "attribute": name,
        "datasetId": row.dataset_id or None,
        "observedAt": iso(row.observed_at),
        "recordedAt": iso(row.recorded_at),
        "value": row.instance,
        "uplink": row.uplink_id,
        "device": row.device_id,
        "binding": row.binding_id,
    }
