"""Purge Entities (ETSI GS CIM 009 v1.9.1, 5.6.21): delete what a query selects, or some of its attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from broker.clock import Stamp
from broker.entities.commands import DeleteEntity, effects_of
from broker.ngsild import merge
from broker.ngsild.change import AttributeTrigger
from broker.ngsild.merge import Outcome, Touched
from broker.ngsild.model import Entity, Iri
from broker.ngsild.names import SCOPE
from broker.stores.base import Needs, Snapshot
from broker.stores.command import Effects, View


@dataclass(frozen=True, slots=True)
class PurgeEntities:
    """Purge those of the entities that are still selected: what was changed meanwhile is looked at as it now is.

    Without `keep` and `drop` whole entities go. The result is how many entities changed.
    """

    ids: tuple[str, ...]
    selected: Callable[[Entity], bool]
    drop: frozenset[Iri] | None = None
    """The attributes that go."""
    keep: frozenset[Iri] | None = None
    """The attributes that stay; all others go. The scope is none, and stays unless it is dropped."""

    def needs(self, seen: Snapshot) -> Needs:
        """All of them."""
        return Needs(entities=set(self.ids))

    def apply(self, view: View, stamp: Stamp) -> Effects[int]:
        """What is to go of each."""
        effects = Effects(0)
        for entity_id in self.ids:
            entity = view.entity(entity_id)
            if entity is None or not self.selected(entity):
                continue
            if self.drop is None and self.keep is None:
                made = DeleteEntity(entity_id).apply(view, stamp)
            else:
                made = effects_of(entity, self._without(entity, stamp.text), stamp, None)
            effects.changes += made.changes
            effects.history += made.history
        effects.result = len(effects.changes)
        return effects

    def _without(self, entity: Entity, at: str) -> Outcome:
        going = [name for name in entity["attrs"] if self._goes(name)]
        if "scope" in entity and self.drop is not None and SCOPE in self.drop:
            going.append(SCOPE)
        attributes: dict[Iri, AttributeTrigger] = {}
        touched: list[Touched] = []
        whole = False
        for name in going:
            made = merge.delete_attribute(entity, name, at, delete_all=True)
            entity = made.entity
            attributes |= made.attributes
            touched += made.touched
            whole = whole or made.whole
        return Outcome(entity, attributes, touched, whole=whole)

    def _goes(self, name: Iri) -> bool:
        return name in self.drop if self.drop is not None else self.keep is not None and name not in self.keep
