"""Write an imported place: create its entity, or merge what the import says into it, and only where that differs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from broker.clock import Stamp
from broker.entities.commands import CreateEntity, effects_of
from broker.ngsild import merge
from broker.ngsild.expired import has_expired
from broker.ngsild.fragment import Fragment
from broker.ngsild.model import Attributes, Entity, Instance, Iri
from broker.stores.command import Effects, View

What = Literal["created", "changed", "unchanged"]
_APART = frozenset({"createdAt", "modifiedAt", "attrs"})


@dataclass(frozen=True, slots=True)
class Imported:
    """What became, or would become, of a place."""

    what: What
    attributes: tuple[Iri, ...] = ()
    """Those that are new or differ."""


@dataclass(frozen=True, slots=True)
class ImportPlace:
    """Create an entity, or merge (5.6.17) what differs of `fragment` into it. For a `Batch`."""

    fragment: Fragment

    def apply(self, view: View, stamp: Stamp) -> Effects[Imported]:
        """A new entity, the next state of the one that is there, or nothing."""
        assert self.fragment.id is not None
        held = view.entity(self.fragment.id)
        if held is None or has_expired(held, stamp.now):
            made = CreateEntity(self.fragment).apply(view, stamp)
            return Effects(Imported("created", tuple(self.fragment.attrs)), changes=made.changes, history=made.history)
        differing = difference(held, self.fragment, stamp.text)
        if differing is None:
            return Effects(Imported("unchanged"))
        result = Imported("changed", tuple(differing.attrs))
        return effects_of(held, merge.merge(held, differing, stamp.text), stamp, result)


def foreseen(held: Entity | None, fragment: Fragment, stamp: Stamp) -> Imported:
    """What importing would do."""
    if held is None or has_expired(held, stamp.now):
        return Imported("created", tuple(fragment.attrs))
    differing = difference(held, fragment, stamp.text)
    return Imported("unchanged") if differing is None else Imported("changed", tuple(differing.attrs))


def difference(held: Entity, fragment: Fragment, at: str) -> Fragment | None:
    """The part of `fragment` that would change the entity when merged into it; None when nothing would."""
    outcome = merge.merge(held, fragment, at)
    differing = {
        (name, dataset)
        for name, dataset, instance in outcome.touched
        if not _same(_instance(held, name, dataset), instance)
    }
    attrs: Attributes = {}
    for name, instances in fragment.attrs.items():
        kept = [each for each in instances if (name, each.get("datasetId", "")) in differing]
        if kept:
            attrs[name] = kept
    if not attrs and not outcome.whole:
        return None
    return replace(fragment, attrs=attrs)


def _instance(entity: Entity, name: Iri, dataset: str) -> Instance | None:
    for instance in entity["attrs"].get(name, ()):
        if instance.get("datasetId", "") == dataset:
            return instance
    return None


def _same(one: Instance | None, other: Instance | None) -> bool:
    """Whether two instances say the same, whenever they were written."""
    if one is None or other is None:
        return one is other
    a, b = ({name: inner for name, inner in each.items() if name not in _APART} for each in (one, other))
    subs, others = one.get("attrs", {}), other.get("attrs", {})
    return (
        _equal(a, b)
        and subs.keys() == others.keys()
        and all(len(subs[name]) == len(others[name]) and all(map(_same, subs[name], others[name])) for name in subs)
    )


def _equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are one: 1 and 1.0 are the same number, 1 and true are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
