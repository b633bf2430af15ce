"""The removal of what has expired (ETSI GS CIM 009 v1.9.1, 4.22): a change like any other, told to subscribers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.clock import Stamp
from broker.entities.commands import DeleteEntity, effects_of
from broker.ngsild import merge
from broker.ngsild.expired import has_expired
from broker.stores.base import Needs, Snapshot
from broker.stores.command import Effects, View


@dataclass(frozen=True, slots=True)
class RemoveExpired:
    """Remove the entities that have expired and, of the others, the instances of attributes that have.

    The result: how many entities changed.
    """

    ids: Sequence[str]

    def needs(self, seen: Snapshot) -> Needs:
        """All the entities."""
        return Needs(entities=set(self.ids))

    def apply(self, view: View, stamp: Stamp) -> Effects[int]:
        """Looked at again here: what was given more time meanwhile stays."""
        effects: Effects[int] = Effects(0)
        for entity_id in self.ids:
            entity = view.entity(entity_id)
            if entity is None:
                continue
            if has_expired(entity, stamp.now):
                made: Effects[None] = DeleteEntity(entity_id).removal(entity, stamp)
            else:
                made = effects_of(entity, merge.expire(entity, stamp.now, stamp.text), stamp, None)
            effects.changes += made.changes
            effects.history += made.history
        effects.result = len(effects.changes)
        return effects
