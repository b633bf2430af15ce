"""Personal data: what of a store's things is personal, and what a request without the grant is told of it. Pure.

Without the grant, personal things are as if they were not there. What is personal follows from virtual sensors, which
`broker.pipeline.personal` knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from broker.errors import AccessDenied
from broker.ngsild.model import PERSONAL_ALERTS
from broker.query.ast import Excluded
from broker.stores.base import Needs, Record, RecordKind


@dataclass(frozen=True, slots=True)
class Access:
    """On whose behalf something is read or written."""

    granted: bool
    """Whether personal data may be seen."""
    route: str = ""
    """For the log."""


ACCESS: ContextVar[Access | None] = ContextVar("access", default=None)
"""Of the request that is answered; None: it is the broker's own work, which needs no grant."""


@dataclass(frozen=True, slots=True)
class Personal:
    """What is personal in one store."""

    entities: frozenset[str] = frozenset()
    """URNs: of what virtual sensors write, of their devices and of their alarms (but for those named by PERSONAL_ALERTS)."""
    sensors: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    excluded: Excluded = field(init=False)
    """The entities, for queries."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "excluded", Excluded(self.entities, PERSONAL_ALERTS))

    def __bool__(self) -> bool:
        return bool(self.sensors)

    def entity(self, entity_id: str) -> bool:
        """Whether an entity is personal."""
        return self.excluded.has(entity_id)

    def device(self, device_id: str | None) -> bool:
        """Whether a device is or was a personal virtual sensor."""
        return device_id in self.devices

    def record(self, record: Record) -> bool:
        """Whether a record tells of something personal, or was made by somebody who was granted it."""
        body = record.body
        match record.kind:
            case "binding" | "swap" | "device_command" | "alarm":
                return body.get("virtualSensor") in self.sensors
            case "revision":
                return body.get("of") == "virtual_sensor" and body.get("id") in self.sensors
            case "reprocessing":
                selection = body.get("selection", {})
                return selection.get("device") in self.devices or selection.get("virtualSensor") in self.sensors
            case "device_key":
                return body.get("device") in self.devices
            case "subscription":
                return granted_of(body)
            case _:
                return self.named(record.kind, record.id)

    def named(self, kind: RecordKind, record_id: str) -> bool:
        """Whether a record is personal by its id alone."""
        match kind:
            case "virtual_sensor" | "sensor_state" | "sensor_health":
                return record_id in self.sensors
            case "device" | "device_state" | "reattribution":
                return record_id in self.devices
            case "evolution":
                return self.entity(record_id)
            case _:
                return False

    def among(self, entity_ids: Iterable[str]) -> list[str]:
        """Those that are personal."""
        return [entity_id for entity_id in entity_ids if self.entity(entity_id)]


NOTHING: Final = Personal()
"""Nothing is personal."""


def granted_of(subscription: dict[str, object]) -> bool:
    """Whether a subscription (its record's body) was made with the grant, and so is told of personal data."""
    return subscription.get("granted") is True


def is_granted() -> bool:
    """Whether the request that is answered may see personal data."""
    access = ACCESS.get()
    return access is None or access.granted


def check_needs(needs: Needs, personal: Personal) -> None:
    """Raises AccessDenied where a command without the grant would touch what is personal."""
    if any(map(personal.entity, needs.entities)) or any(personal.named(*record) for record in needs.records):
        raise denied()


def denied() -> AccessDenied:
    """It does not say what is there."""
    return AccessDenied("This is personal data: it asks for a token that is granted it (http.personal_token).")


def publishable(entity_ids: Iterable[str], personal: Personal) -> list[str]:
    """The entities that may be published as open data: none that is personal, whoever asks."""
    return [entity_id for entity_id in entity_ids if not personal.entity(entity_id)]
