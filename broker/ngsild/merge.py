"""What an operation makes of an entity: pure rules, each giving the next entity and what changed.

`at` is a moment as NGSI-LD DateTime text. Entities and instances are never changed in place: the path to a change is
copied, the rest is shared. Source: ETSI GS CIM 009 v1.9.1, 5.5.8, 5.5.12, 5.6.1-5.6.5, 5.6.17-5.6.19, 4.8.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from broker.clock import Micros, parse_iso
from broker.errors import BadRequestData, ResourceNotFound
from broker.ngsild.change import AttributeTrigger
from broker.ngsild.expired import has_expired
from broker.ngsild.fragment import Fragment, is_null
from broker.ngsild.mergepatch import merge_instance, patch_instance, retype, settled
from broker.ngsild.model import NGSI_LD_NULL, Attributes, Entity, Instance, Iri
from broker.ngsild.names import SCOPE

Touched = tuple[Iri, str, Instance | None]


@dataclass(slots=True)
class Outcome:
    """What an operation made of an entity. When nothing changed, `entity` is the very object that went in."""

    entity: Entity
    attributes: dict[Iri, AttributeTrigger] = field(default_factory=dict)
    """The attributes that changed, and how (5.2.12, notificationTrigger)."""
    touched: list[Touched] = field(default_factory=list)
    """(attribute, datasetId or '', instance as it now is; None: deleted), for the history."""
    not_updated: list[tuple[Iri, str]] = field(default_factory=list)
    """(attribute, reason) of what was asked for and not done (5.2.19)."""
    whole: bool = False
    """Whether types, scope or expiry changed too: then all of the entity's index entries may differ."""

    @property
    def changed(self) -> bool:
        """Whether anything changed at all."""
        return self.whole or bool(self.attributes)


def create(fragment: Fragment, at: str) -> Outcome:
    """5.6.1: a new entity. `fragment` must have an id and types."""
    attrs: Attributes = {}
    touched: list[Touched] = []
    for name, given in fragment.attrs.items():
        attrs[name] = instances = [settled(instance, at) for instance in given]
        touched += [(name, instance.get("datasetId", ""), instance) for instance in instances]
    return Outcome(_entity(fragment, attrs, at, at), dict.fromkeys(attrs, "attributeCreated"), touched, whole=True)


def _entity(fragment: Fragment, attrs: Attributes, created: str, at: str) -> Entity:
    assert fragment.id is not None
    entity: Entity = {
        "id": fragment.id,
        "type": fragment.types,
        "attrs": attrs,
        "createdAt": created,
        "modifiedAt": at,
    }
    if fragment.scope:
        entity["scope"] = fragment.scope
    if fragment.expires_at is not None and fragment.expires_at != NGSI_LD_NULL:
        entity["expiresAt"] = fragment.expires_at
    return entity


def append(entity: Entity, fragment: Fragment, overwrite: bool, at: str) -> Outcome:
    """5.6.3: add attributes; existing instances are replaced, or left untouched when `overwrite` is False."""
    work = _Work(entity, at)
    for name, given in fragment.attrs.items():
        for instance in given:
            if work.find(name, instance.get("datasetId", "")) is None or overwrite:
                work.put(name, instance)
            else:
                work.refuse(name, instance)
    work.types(fragment)
    if fragment.scope is not None:
        if overwrite:
            work.scope(fragment.scope)
        else:
            held = entity.get("scope", [])
            work.scope([*held, *(scope for scope in fragment.scope if scope not in held)])
    work.expiry(fragment)
    return work.outcome()


def update(entity: Entity, fragment: Fragment, at: str) -> Outcome:
    """5.6.2: replace existing instances, add those that are not there, delete those given as NGSI-LD Null."""
    work = _Work(entity, at)
    for name, given in fragment.attrs.items():
        for instance in given:
            if is_null(instance):
                work.remove(name, instance.get("datasetId", ""))
            else:
                work.put(name, instance)
    work.types(fragment)
    if fragment.scope is not None:
        if "scope" in entity:
            work.scope(fragment.scope)
        elif fragment.scope:
            work.refuse_scope()
    work.expiry(fragment)
    return work.outcome()


def merge(
    entity: Entity, fragment: Fragment, at: str, *, observed_at: str | None = None, lang: str | None = None
) -> Outcome:
    """5.6.17: merge what is given into what is there, to any depth (5.5.12).

    `observed_at` is the common time for merged attributes that already have one and are given none; `lang` the common
    language of texts given for existing LanguageProperties.
    """
    work = _Work(entity, at)
    for name, given in fragment.attrs.items():
        for instance in given:
            dataset = instance.get("datasetId", "")
            held = work.find(name, dataset)
            if is_null(instance):
                work.remove(name, dataset)
            elif held is None:
                work.put(name, instance)
            else:
                patch = retype(instance, held, lang) if name in fragment.bare else instance
                if observed_at is not None and "observedAt" in held and "observedAt" not in patch:
                    patch = cast("Instance", {**patch, "observedAt": observed_at})
                work.place(name, dataset, merge_instance(held, patch, at))
    work.types(fragment)
    if fragment.scope is not None:
        work.scope(fragment.scope)
    work.expiry(fragment)
    return work.outcome()


def replace(entity: Entity, fragment: Fragment, at: str) -> Outcome:
    """5.6.18: the entity's whole content gives way to what is given; its createdAt stays, its types where none are given."""
    if not fragment.types:
        fragment = dataclasses.replace(fragment, types=entity["type"])
    before = entity["attrs"]
    attrs: Attributes = {}
    attributes: dict[Iri, AttributeTrigger] = {}
    touched: list[Touched] = []
    for name, given in fragment.attrs.items():
        held = before.get(name, ())
        attributes[name] = "attributeUpdated" if held else "attributeCreated"
        attrs[name] = instances = [settled(instance, at, _created(instance, held)) for instance in given]
        touched += [(name, instance.get("datasetId", ""), instance) for instance in instances]
    for name, instances in before.items():
        if name not in attrs:
            attributes[name] = "attributeDeleted"
        touched += [
            (name, instance.get("datasetId", ""), None)
            for instance in instances
            if not any(_same_dataset(instance, other) for other in attrs.get(name, ()))
        ]
    return Outcome(_entity(fragment, attrs, entity["createdAt"], at), attributes, touched, whole=True)


def partial_update(entity: Entity, attribute: Iri, fragment: Instance, at: str) -> Outcome:
    """5.6.4: change the given members of one instance (its datasetId chooses which), leave the others.

    A value of NGSI-LD Null deletes the instance, as ETSI's conformance tests have it (5.5.8).
    `fragment` may have the type '' (not given). Raises ResourceNotFound when there is no such instance, BadRequestData
    when the attribute would change its type.
    """
    if attribute == SCOPE:
        raise BadRequestData("'scope' is not an attribute that can be partially updated; update the entity instead.")
    work = _Work(entity, at)
    dataset = fragment.get("datasetId", "")
    held = work.expect(attribute, dataset)
    if fragment["type"] not in ("", held["type"]):
        raise BadRequestData(
            f"Attribute '{attribute}' is a {held['type']} and cannot become a {fragment['type']}; "
            "replace the attribute to change its type."
        )
    if is_null(fragment):
        work.remove(attribute, dataset)
    else:
        work.place(attribute, dataset, patch_instance(held, fragment, at))
    return work.outcome()


def replace_attribute(entity: Entity, attribute: Iri, instance: Instance, at: str) -> Outcome:
    """5.6.19: one existing instance gives way to what is given; its createdAt stays. Raises ResourceNotFound."""
    if attribute == SCOPE:
        raise BadRequestData("'scope' is not an attribute that can be replaced; update the entity instead.")
    work = _Work(entity, at)
    work.expect(attribute, instance.get("datasetId", ""))
    work.put(attribute, instance)
    return work.outcome()


def delete_attribute(
    entity: Entity, attribute: Iri, at: str, *, dataset_id: str | None = None, delete_all: bool = False
) -> Outcome:
    """5.6.5: delete the default instance, the instance of a dataset, or all. Raises ResourceNotFound."""
    work = _Work(entity, at)
    if attribute == SCOPE:
        if "scope" not in entity:
            raise ResourceNotFound(f"Entity '{entity['id']}' has no scope.")
        work.scope([])
    elif delete_all:
        if attribute not in entity["attrs"]:
            raise ResourceNotFound(f"Entity '{entity['id']}' has no attribute '{attribute}'.")
        for instance in entity["attrs"][attribute]:
            work.remove(attribute, instance.get("datasetId", ""))
    else:
        dataset = "" if dataset_id in (None, "@none") else str(dataset_id)
        work.expect(attribute, dataset)
        work.remove(attribute, dataset)
    return work.outcome()


def _same_dataset(one: Instance, other: Instance) -> bool:
    return one.get("datasetId") == other.get("datasetId")


def _created(instance: Instance, held: Iterable[Instance]) -> str | None:
    """The createdAt of the one of `held` that `instance` replaces (4.8)."""
    for other in held:
        if _same_dataset(instance, other):
            return other.get("createdAt")
    return None


def expire(entity: Entity, now: Micros, at: str) -> Outcome:
    """4.22: the instances of attributes that have expired are gone."""
    work = _Work(entity, at)
    for name, instances in entity["attrs"].items():
        for instance in instances:
            if has_expired(instance, now):
                work.remove(name, instance.get("datasetId", ""))
    return work.outcome()


def without_aged(entity: Entity, names: Iterable[Iri], before: Micros, at: str) -> Outcome:
    """The instances of these attributes that were observed (or else modified) before a time are gone."""
    work = _Work(entity, at)
    for name in names:
        for instance in entity["attrs"].get(name, ()):
            observed = parse_iso(instance.get("observedAt") or instance.get("modifiedAt") or "")
            if observed is not None and observed < before:
                work.remove(name, instance.get("datasetId", ""))
    return work.outcome()


class _Work:
    """An entity in the course of one operation: copies the path to each change once, and notes what changed."""

    __slots__ = ("_at", "_attrs", "_before", "_members", "_not_updated", "_owned", "_touched", "_whole")

    def __init__(self, entity: Entity, at: str) -> None:
        self._before = entity
        self._at = at
        self._attrs: Attributes = entity["attrs"]
        self._owned: set[Iri] = set()
        self._members: dict[str, Any] = {}
        self._touched: dict[tuple[Iri, str], Instance | None] = {}
        self._not_updated: list[tuple[Iri, str]] = []
        self._whole = False

    def find(self, name: Iri, dataset: str) -> Instance | None:
        """The instance of a dataset ('' for the default one)."""
        for instance in self._attrs.get(name, ()):
            if instance.get("datasetId", "") == dataset:
                return instance
        return None

    def expect(self, name: Iri, dataset: str) -> Instance:
        """The instance of a dataset, or ResourceNotFound."""
        held = self.find(name, dataset)
        if held is None:
            which = f"instance '{dataset}' of attribute" if dataset else "attribute"
            raise ResourceNotFound(f"Entity '{self._before['id']}' has no {which} '{name}'.")
        return held

    def put(self, name: Iri, instance: Instance) -> None:
        """Add an instance as given, or let it replace the one of its dataset, whose createdAt stays."""
        dataset = instance.get("datasetId", "")
        held = self.find(name, dataset)
        self.place(name, dataset, settled(instance, self._at, None if held is None else held.get("createdAt")))

    def place(self, name: Iri, dataset: str, instance: Instance) -> None:
        """Put a finished instance in the place of its dataset."""
        instances = self._own(name)
        for index, held in enumerate(instances):
            if held.get("datasetId", "") == dataset:
                instances[index] = instance
                break
        else:
            instances.append(instance)
        self._touched[name, dataset] = instance

    def remove(self, name: Iri, dataset: str) -> None:
        """Delete an instance, if it is there."""
        if self.find(name, dataset) is None:
            return
        instances = self._own(name)
        instances[:] = [held for held in instances if held.get("datasetId", "") != dataset]
        self._touched[name, dataset] = None
        if not instances:
            del self._attrs[name]
            self._owned.discard(name)

    def refuse(self, name: Iri, instance: Instance) -> None:
        """Note that an instance was left as it was."""
        which = f"Instance '{instance['datasetId']}' of the attribute" if "datasetId" in instance else "The attribute"
        self._not_updated.append((name, f"{which} exists already and overwriting was not asked for."))

    def refuse_scope(self) -> None:
        """Note that the scope was passed over."""
        self._not_updated.append((SCOPE, "The entity has no scope that could be updated; append one instead."))

    def types(self, fragment: Fragment) -> None:
        """Add the types that the entity does not have yet."""
        held = self._before["type"]
        more = [name for name in fragment.types if name not in held]
        if more:
            self._set("type", [*held, *more])

    def scope(self, scope: list[str]) -> None:
        """Set the scope; an empty one removes it."""
        if scope != self._before.get("scope", []):
            self._set("scope", scope or None)

    def expiry(self, fragment: Fragment) -> None:
        """Set or remove expiresAt where the fragment says so."""
        if fragment.expires_at is not None:
            expiry = None if fragment.expires_at == NGSI_LD_NULL else fragment.expires_at
            if expiry != self._before.get("expiresAt"):
                self._set("expiresAt", expiry)

    def outcome(self) -> Outcome:
        """The next entity and what changed."""
        if not self._touched and not self._whole:
            return Outcome(self._before, not_updated=self._not_updated)
        after = {**self._before, "attrs": self._attrs, "modifiedAt": self._at, **self._members}
        for member, value in self._members.items():
            if value is None:
                del after[member]
        before = self._before["attrs"]
        attributes: dict[Iri, AttributeTrigger] = {}
        for name, _ in self._touched:
            if name not in before:
                if name in self._attrs:
                    attributes[name] = "attributeCreated"
            else:
                attributes[name] = "attributeUpdated" if name in self._attrs else "attributeDeleted"
        touched = [(name, dataset, instance) for (name, dataset), instance in self._touched.items()]
        return Outcome(cast("Entity", after), attributes, touched, self._not_updated, self._whole)

    def _set(self, member: str, value: Any) -> None:
        self._members[member] = value
        self._whole = True

    def _own(self, name: Iri) -> list[Instance]:
        if self._attrs is self._before["attrs"]:
            self._attrs = dict(self._attrs)
        if name not in self._owned:
            self._owned.add(name)
            self._attrs[name] = list(self._attrs.get(name, ()))
        return self._attrs[name]
