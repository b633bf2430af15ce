"""Commands of NGSI-LD provision on one entity (ETSI GS CIM 009 v1.9.1, 5.6.1-5.6.6, 5.6.17-5.6.19).

Each is a pure function of the entity it names: the rules are `broker.ngsild.merge`'s, here they meet the entity and
become changes and history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from broker.clock import Stamp, parse_iso
from broker.errors import AlreadyExists, ResourceNotFound
from broker.ngsild import merge
from broker.ngsild.change import EntityChange
from broker.ngsild.expired import has_expired
from broker.ngsild.fragment import Fragment
from broker.ngsild.merge import Outcome
from broker.ngsild.model import Entity, Instance, Iri
from broker.ngsild.names import SCOPE
from broker.stores.base import ENTITY_DELETED, HistoryRow, Needs, Snapshot
from broker.stores.command import Effects, View

ResultT = TypeVar("ResultT")


def existing(view: View, entity_id: str, stamp: Stamp) -> Entity:
    """The entity, or ResourceNotFound: when it has expired too (4.22)."""
    entity = view.entity(entity_id)
    if entity is None or ("expiresAt" in entity and has_expired(entity, stamp.now)):
        raise ResourceNotFound(f"There is no entity '{entity_id}'.")
    return entity


def effects_of(before: Entity | None, outcome: Outcome, stamp: Stamp, result: ResultT) -> Effects[ResultT]:
    """An outcome as effects: nothing when nothing changed."""
    effects = Effects(result)
    if before is not None and not outcome.changed:
        return effects
    effects.changes.append(EntityChange(outcome.entity["id"], before, outcome.entity, outcome.attributes))
    effects.history = [
        history_row(outcome.entity["id"], name, dataset, instance, stamp) for name, dataset, instance in outcome.touched
    ]
    effects.history += _scope_rows(outcome.entity["id"], before, outcome.entity, stamp)
    return effects


def history_row(
    entity_id: str,
    name: Iri,
    dataset_id: str,
    instance: Instance | None,
    stamp: Stamp,
    lineage: dict[str, Any] | None = None,
) -> HistoryRow:
    """What a client wrote or deleted, for the history: observed when it says so, else when it was recorded."""
    observed = parse_iso(instance["observedAt"]) if instance is not None and "observedAt" in instance else None
    return HistoryRow(
        entity_id=entity_id,
        attribute=name,
        dataset_id=dataset_id,
        observed_at=observed if observed is not None else stamp.now,
        recorded_at=stamp.now,
        version=stamp.version,
        instance=instance,
        lineage=lineage,
    )


def _scope_rows(entity_id: str, before: Entity | None, after: Entity | None, stamp: Stamp) -> list[HistoryRow]:
    """A scope that changed, for the history: there it is a Property, observed when it was modified (4.5.6)."""
    scope = after.get("scope") if after is not None else None
    if scope == (before.get("scope") if before is not None else None):
        return []
    instance: Instance | None = None
    if scope is not None:
        at = stamp.text
        value = scope[0] if len(scope) == 1 else scope
        instance = {"type": "Property", "value": value, "observedAt": at, "createdAt": at, "modifiedAt": at}
    return [history_row(entity_id, SCOPE, "", instance, stamp)]


@dataclass(frozen=True, slots=True)
class CreateEntity:
    """5.6.1 Create Entity. Raises AlreadyExists."""

    fragment: Fragment

    def needs(self, seen: Snapshot) -> Needs:
        """Whether it is there."""
        assert self.fragment.id is not None
        return Needs(entities={self.fragment.id})

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """A new entity."""
        assert self.fragment.id is not None
        held = view.entity(self.fragment.id)
        if held is None:
            return effects_of(None, merge.create(self.fragment, stamp.text), stamp, None)
        if not has_expired(held, stamp.now):
            raise AlreadyExists(f"The entity '{self.fragment.id}' exists already.")
        # It is not there any more, only not removed yet.
        gone = DeleteEntity(self.fragment.id).removal(held, stamp)
        made = effects_of(None, merge.create(self.fragment, stamp.text), stamp, None)
        return Effects(None, changes=gone.changes + made.changes, history=gone.history + made.history)


@dataclass(frozen=True, slots=True)
class ChangeEntity:
    """A change of one existing entity by one of the rules of `broker.ngsild.merge`. Result: the rule's outcome."""

    entity_id: str
    rule: Callable[[Entity, str], Outcome]
    """(entity as it is, moment as text) -> outcome. Pure."""

    def needs(self, seen: Snapshot) -> Needs:
        """The entity."""
        return Needs(entities={self.entity_id})

    def apply(self, view: View, stamp: Stamp) -> Effects[Outcome]:
        """What the rule makes of it."""
        before = existing(view, self.entity_id, stamp)
        outcome = self.rule(before, stamp.text)
        return effects_of(before, outcome, stamp, outcome)


def update_attributes(entity_id: str, fragment: Fragment) -> ChangeEntity:
    """5.6.2 Update Attributes."""
    return ChangeEntity(entity_id, lambda entity, at: merge.update(entity, fragment, at))


def append_attributes(entity_id: str, fragment: Fragment, *, overwrite: bool) -> ChangeEntity:
    """5.6.3 Append Attributes."""
    return ChangeEntity(entity_id, lambda entity, at: merge.append(entity, fragment, overwrite, at))


def partial_update(entity_id: str, attribute: Iri, instance: Instance) -> ChangeEntity:
    """5.6.4 Partial Attribute Update."""
    return ChangeEntity(entity_id, lambda entity, at: merge.partial_update(entity, attribute, instance, at))


def delete_attribute(entity_id: str, attribute: Iri, *, dataset_id: str | None, delete_all: bool) -> ChangeEntity:
    """5.6.5 Delete Attribute."""
    return ChangeEntity(
        entity_id,
        lambda entity, at: merge.delete_attribute(entity, attribute, at, dataset_id=dataset_id, delete_all=delete_all),
    )


def merge_entity(
    entity_id: str, fragment: Fragment, *, observed_at: str | None = None, lang: str | None = None
) -> ChangeEntity:
    """5.6.17 Merge Entity."""
    return ChangeEntity(
        entity_id, lambda entity, at: merge.merge(entity, fragment, at, observed_at=observed_at, lang=lang)
    )


def replace_entity(entity_id: str, fragment: Fragment) -> ChangeEntity:
    """5.6.18 Replace Entity."""
    return ChangeEntity(entity_id, lambda entity, at: merge.replace(entity, fragment, at))


def replace_attribute(entity_id: str, attribute: Iri, instance: Instance) -> ChangeEntity:
    """5.6.19 Replace Attribute."""
    return ChangeEntity(entity_id, lambda entity, at: merge.replace_attribute(entity, attribute, instance, at))


@dataclass(frozen=True, slots=True)
class DeleteEntity:
    """5.6.6 Delete Entity. Raises ResourceNotFound, and what `check` raises for the entity that is there."""

    entity_id: str
    check: Callable[[Entity], None] | None = None

    def needs(self, seen: Snapshot) -> Needs:
        """The entity."""
        return Needs(entities={self.entity_id})

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """The entity is gone; its history says when."""
        before = existing(view, self.entity_id, stamp)
        if self.check is not None:
            self.check(before)
        return self.removal(before, stamp)

    def removal(self, before: Entity, stamp: Stamp) -> Effects[None]:
        """The entity as it was is gone."""
        # Of an entity that is gone, its history alone can say what it was.
        gone = {ENTITY_DELETED: before["type"]}
        history = [
            history_row(self.entity_id, name, instance.get("datasetId", ""), None, stamp, gone)
            for name, instances in before["attrs"].items()
            for instance in instances
        ]
        history += _scope_rows(self.entity_id, before, None, stamp)
        change = EntityChange(self.entity_id, before, None, dict.fromkeys(before["attrs"], "attributeDeleted"))
        return Effects(None, changes=[change], history=history)
