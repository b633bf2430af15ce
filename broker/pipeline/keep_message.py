"""The command that keeps a message nobody could read: it is stored with the reason and changes nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from broker.clock import Micros, Stamp
from broker.stores.base import Needs, Snapshot, UplinkRow
from broker.stores.command import Effects, View


@dataclass(frozen=True, slots=True)
class KeepMessage:
    """Keep `raw` among the rejected uplinks."""

    uplink_id: str
    source: str
    raw: bytes
    reason: str
    meta: dict[str, Any]
    received_at: Micros

    def needs(self, seen: Snapshot) -> Needs:
        """Nothing."""
        return Needs()

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """One uplink row."""
        row = UplinkRow(
            id=self.uplink_id,
            status="rejected",
            reason=self.reason,
            source=self.source,
            received_at=self.received_at,
            device_id=None,
            frame_key=None,
            raw=self.raw,
            meta=self.meta,
        )
        return Effects(None, uplinks=[row])
