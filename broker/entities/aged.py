"""What is taken away because it is older than it may be kept: changes like any other, told to subscribers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.clock import Micros, Stamp
from broker.entities.commands import DeleteEntity, effects_of
from broker.ngsild import merge
from broker.ngsild.model import Iri
from broker.stores.base import Needs, RecordWrite, Snapshot
from broker.stores.command import Effects, View


@dataclass(frozen=True, slots=True)
class RemoveAged:
    """Remove the values of an entity's attributes that were observed before a time. Result: how many."""

    entity_id: str
    attributes: Sequence[Iri]
    before: Micros

    def needs(self, seen: Snapshot) -> Needs:
        """The entity."""
        return Needs(entities={self.entity_id})

    def apply(self, view: View, stamp: Stamp) -> Effects[int]:
        """Looked at again here: what was observed meanwhile stays."""
        entity = view.entity(self.entity_id)
        if entity is None:
            return Effects(0)
        outcome = merge.without_aged(entity, self.attributes, self.before, stamp.text)
        return effects_of(entity, outcome, stamp, len(outcome.touched))


@dataclass(frozen=True, slots=True)
class RemoveAlarm:
    """Remove an alarm that was closed before a time, and its entity. Result: whether it went."""

    alarm_id: str
    entity_id: str
    before: Micros

    def needs(self, seen: Snapshot) -> Needs:
        """Both."""
        return Needs(entities={self.entity_id}, records={("alarm", self.alarm_id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[bool]:
        """A record and an entity go."""
        record = view.record("alarm", self.alarm_id)
        if record is None or not is_closed_before(record.body, self.before):
            return Effects(False)
        effects = Effects(True, records=[RecordWrite("alarm", record.id, None, stamp.version, record.version)])
        entity = view.entity(self.entity_id)
        if entity is not None:
            removal: Effects[None] = DeleteEntity(self.entity_id).removal(entity, stamp)
            effects.changes += removal.changes
            effects.history += removal.history
        return effects


def is_closed_before(alarm: dict[str, object], before: Micros) -> bool:
    """Whether an alarm (its record's body) was closed before a time."""
    closed_at = alarm.get("closedAt")
    return isinstance(closed_at, int) and closed_at < before
