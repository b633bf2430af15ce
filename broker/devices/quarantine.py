"""What waits in quarantine and is not wanted: discarded, which keeps it and says so. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from broker.clock import Stamp
from broker.stores.base import Needs, Snapshot, UplinkUpdate
from broker.stores.command import Effects, View


@dataclass(frozen=True, slots=True)
class Discard:
    """Discard quarantined uplinks, all of them or, when one is claimed at the same time, none. Result: how many."""

    uplinks: tuple[str, ...]
    reason: str

    def needs(self, seen: Snapshot) -> Needs:
        """Nothing: each update expects its uplink in quarantine."""
        return Needs()

    def apply(self, view: View, stamp: Stamp) -> Effects[int]:
        """Their next status."""
        updates = [UplinkUpdate(uplink, "discarded", self.reason) for uplink in self.uplinks]
        return Effects(len(updates), uplink_updates=updates)
