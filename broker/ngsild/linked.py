"""Linked entity retrieval: the entities that relationships lead to (ETSI GS CIM 009 v1.9.1, 4.5.23).

Pure but for `load`, which is asked once a level for all entities of that level.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from broker.errors import TooManyResults
from broker.ngsild.model import Entity, Instance, Iri
from broker.ngsild.projection import Projection

Load = Callable[[set[str]], Awaitable[dict[str, Entity]]]
"""Those of the ids that there are."""


@dataclass(frozen=True, slots=True)
class Join:
    """What the request asks for."""

    kind: Literal["flat", "inline"]
    level: int = 1
    """How many relationships are followed one after the other."""
    contained_by: frozenset[str] = frozenset()
    """Ids met before, which are not followed to."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An entity, and what is shown of it."""

    entity: Entity
    pick: Projection | None = None
    omit: Projection | None = None

    def relationships(self) -> Iterator[tuple[Iri, Instance]]:
        """The instances of relationships that are shown."""
        for name, instances in self.entity["attrs"].items():
            if self.pick is not None and name not in self.pick.names:
                continue
            if self.omit is not None and name in self.omit.plain:
                continue
            for instance in instances:
                if instance["type"] in ("Relationship", "ListRelationship"):
                    yield name, instance

    def linked(self, name: Iri, entity: Entity) -> Shown:
        """An entity that the relationship leads to: whole where nothing is said of it."""
        pick = self.pick.linked.get(name) if self.pick is not None else None
        omit = self.omit.linked.get(name) if self.omit is not None else None
        return Shown(entity, pick, omit)


def objects_of(instance: Instance) -> list[str]:
    """The ids that a relationship's instance leads to."""
    found = instance.get("objectList" if instance["type"] == "ListRelationship" else "object")
    if isinstance(found, list):
        return [each for each in found if isinstance(each, str)]
    return [found] if isinstance(found, str) else []


async def linked_entities(start: Sequence[Shown], join: Join, load: Load, most: int) -> list[Shown]:
    """All that `start` leads to, level by level: an entity as often as it is shown in another way, none of `contained_by`.

    Raises TooManyResults when there are more than `most`.
    """
    known = {shown.entity["id"]: shown.entity for shown in start}
    met = {_key(shown) for shown in start}
    found: list[Shown] = []
    level: Sequence[Shown] = start
    for _ in range(join.level):
        steps = [
            (shown, name, target)
            for shown in level
            for name, instance in shown.relationships()
            for target in objects_of(instance)
            if target not in join.contained_by
        ]
        missing = {target for _, _, target in steps} - known.keys()
        if len(known) + len(missing) > most + len(start):
            raise TooManyResults(
                f"'join' leads to more than {most} linked entities (limits.join_entities); ask for fewer entities, a lower "
                "'joinLevel', or 'pick' the relationships to follow."
            )
        if missing:
            known |= await load(missing)
        level = []
        for shown, name, target in steps:
            if target in known:
                leads_to = shown.linked(name, known[target])
                if (key := _key(leads_to)) not in met:
                    met.add(key)
                    level.append(leads_to)
        if not level:
            break
        found += level
    return found


def _key(shown: Shown) -> tuple[str, int, int]:
    """An entity and how it is shown: the parts of one request's projection are the same objects all along."""
    return shown.entity["id"], id(shown.pick), id(shown.omit)
