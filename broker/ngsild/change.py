"""What a command changed: the currency between commands, history, subscriptions and delivery."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from broker.ngsild.model import Entity, Iri

AttributeTrigger = Literal["attributeCreated", "attributeUpdated", "attributeDeleted"]
EntityTrigger = Literal["entityCreated", "entityUpdated", "entityDeleted"]


class EntityChange(Struct, frozen=True):
    """One entity before and after one command, and why.

    `attributes` names the attributes that changed, each with its trigger (ETSI GS CIM 009 v1.9.1, 5.2.12
    notificationTrigger). `before` is None when it was created, `after` None when it was deleted.
    """

    entity_id: str
    before: Entity | None
    after: Entity | None
    attributes: dict[Iri, AttributeTrigger] = field(default_factory=dict)

    @property
    def trigger(self) -> EntityTrigger:
        """The entity-level trigger of this change."""
        if self.before is None:
            return "entityCreated"
        return "entityDeleted" if self.after is None else "entityUpdated"

    @property
    def entity(self) -> Entity:
        """The entity after the change, or as it last was when it was deleted."""
        entity = self.after if self.after is not None else self.before
        assert entity is not None
        return entity
