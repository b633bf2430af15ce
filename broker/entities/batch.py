"""Batch operations: many commands on entities in one commit, each refused alone (ETSI GS CIM 009 v1.9.1, 5.5.11, 5.6.7-5.6.10, 5.6.20).

Elements that name the same entity are applied in the order of the array, each seeing what those before it did, and each
is a change of its own: one notification and one history row each, "as if they had all arrived in separate requests"
(5.5.11.0). All of one `Batch` have the same moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from broker.clock import Stamp
from broker.entities.commands import CreateEntity, replace_entity, update_attributes
from broker.errors import BrokerError, InternalError
from broker.ngsild.expired import has_expired
from broker.ngsild.fragment import Fragment
from broker.ngsild.merge import Outcome
from broker.stores.base import Needs, Snapshot
from broker.stores.command import Effects, View

log = structlog.get_logger(__name__)

CHUNK: Final = 200
"""Entities of one batch in one command, count. A longer batch is several commands, one after the other, so that what others
send is applied in between; some milliseconds each."""


class EntityCommand(Protocol):
    """A command on one entity that needs nothing but the entity."""

    def apply(self, view: View, stamp: Stamp) -> Effects[Any]:
        """The effects. Raises BrokerError to refuse."""
        ...


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a batch."""

    entity_id: str
    command: EntityCommand


@dataclass(frozen=True, slots=True)
class Batch:
    """The result: for each element in order what its command gave, or the BrokerError that refused it."""

    elements: Sequence[Element]
    _ids: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ids", frozenset([element.entity_id for element in self.elements]))

    def needs(self, seen: Snapshot) -> Needs:
        """All the entities."""
        return Needs(entities=set(self._ids))

    def apply(self, view: View, stamp: Stamp) -> Effects[list[Any]]:
        """What of it is not refused."""
        repeated = len(self._ids) < len(self.elements)
        if repeated:
            view = view.layer()
        effects: Effects[list[Any]] = Effects([])
        results, changes, history = effects.result, effects.changes, effects.history
        for element in self.elements:
            try:
                made = element.command.apply(view, stamp)
            except BrokerError as error:
                results.append(error)
                continue
            except Exception:
                log.exception("batch.element_failed", entity=element.entity_id)
                results.append(InternalError("This element failed; nothing of it was applied."))
                continue
            if repeated:
                view.absorb(made, stamp)
            results.append(made.result)
            changes += made.changes
            history += made.history
        return effects


@dataclass(frozen=True, slots=True)
class UpsertEntity:
    """Create an entity, or change it when it is there (5.6.8). The result is what became of it, None: it was created.

    `update`: the existing one is updated (5.6.2), else replaced. `refusal`: why `fragment` cannot be an entity, though it
    can update one (it has no type, or asks for deletions); raised when there is none to update.
    """

    fragment: Fragment
    update: bool = False
    refusal: BrokerError | None = None

    def apply(self, view: View, stamp: Stamp) -> Effects[None] | Effects[Outcome]:
        """A new entity, or the next state of the one that is there."""
        assert self.fragment.id is not None
        held = view.entity(self.fragment.id)
        if held is None or has_expired(held, stamp.now):
            if self.refusal is not None:
                raise self.refusal
            return CreateEntity(self.fragment).apply(view, stamp)
        change = update_attributes if self.update else replace_entity
        return change(self.fragment.id, self.fragment).apply(view, stamp)
