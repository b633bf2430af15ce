"""Commands on subscriptions that need more than a put (ETSI GS CIM 009 v1.9.1, 5.8.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from broker.clock import Stamp
from broker.config import Limits
from broker.errors import ResourceNotFound
from broker.ngsild.names import Names
from broker.stores.base import Needs, RecordWrite, Snapshot
from broker.stores.command import Effects, View
from broker.subscriptions.model import keys_of, parse_patch


@dataclass(frozen=True, slots=True)
class UpdateSubscription:
    """5.8.2 Update Subscription. Raises ResourceNotFound, BadRequestData."""

    id: str
    patch: dict[str, Any]
    names: Names
    context: Any
    limits: Limits
    context_url: str | None = None
    """What names `context` in a Link header."""

    def needs(self, seen: Snapshot) -> Needs:
        """The subscription as it is."""
        return Needs(records={("subscription", self.id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """The next state of its record."""
        record = view.record("subscription", self.id)
        if record is None:
            raise ResourceNotFound(f"There is no subscription '{self.id}'.")
        body = parse_patch(record.body, self.patch, self.names, self.context, self.limits, stamp, self.context_url)
        write = RecordWrite("subscription", self.id, body, stamp.version, record.version, keys_of(body))
        return Effects(None, records=[write])
