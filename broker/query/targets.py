"""Which values of an entity a path speaks of (ETSI GS CIM 009 v1.9.1, 4.9): one *target* an attribute instance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from broker.ngsild.model import VALUE_MEMBER, Entity, Instance
from broker.query.ast import Path
from broker.query.values import scalars

INSTANCE_MEMBERS: Final = frozenset(
    {"observedAt", "createdAt", "modifiedAt", "deletedAt", "expiresAt", "unitCode", "datasetId", "instanceId"}
)
"""Last names of a path that are members of an instance, not sub-attributes; they stand unexpanded in the path."""

ENTITY_MEMBERS: Final = frozenset({"createdAt", "modifiedAt", "expiresAt"})
"""Names that, alone in a path and unexpanded, are members of the entity."""

RELATIONSHIPS: Final = frozenset({"Relationship", "ListRelationship"})
"""Attribute types whose target is an object (URI): only == and != can match it."""

Target = tuple[tuple[Any, ...], bool]
"""The scalars to compare with, and whether they are objects of a relationship."""


def targets(path: Path, entity: Entity) -> Iterator[Target]:
    """Every target that exists: one for each instance (any datasetId) of the attribute or sub-attribute addressed."""
    if not path.subattributes and not path.members and path.attribute in ENTITY_MEMBERS:
        if path.attribute in entity:
            yield (entity[path.attribute],), False  # type: ignore[literal-required]
        return
    instances = entity["attrs"].get(path.attribute)
    if instances is None:
        return
    if not path.subattributes and not path.members:
        for instance in instances:
            yield _target(instance)
        return
    yield from _walk(instances, path.subattributes, path.members)


def _walk(instances: list[Instance], names: tuple[str, ...], members: tuple[str, ...]) -> Iterator[Target]:
    for instance in instances:
        if not names:
            yield from _addressed(instance, members)
            continue
        name = names[0]
        if len(names) == 1 and name in INSTANCE_MEMBERS:
            if not members and name in instance:
                yield (instance[name],), False  # type: ignore[literal-required]
            continue
        inner = instance.get("attrs")
        if inner is not None and name in inner:
            yield from _walk(inner[name], names[1:], members)


def _addressed(instance: Instance, members: tuple[str, ...]) -> Iterator[Target]:
    """The instance's target, with `members` only if they lead to a value in it (a MemberExpression of ECMA-262)."""
    if not members:
        yield _target(instance)
        return
    kind = instance["type"]
    value: Any = instance.get(VALUE_MEMBER[kind])
    if kind == "LanguageProperty" and members == ("*",):
        yield _target(instance)
        return
    for member in members:
        if not isinstance(value, dict) or member not in value:
            return
        value = value[member]
    yield tuple(scalars(value)), False


def _target(instance: Instance) -> Target:
    kind = instance["type"]
    value: Any = instance.get(VALUE_MEMBER[kind])
    if kind == "LanguageProperty" and isinstance(value, dict):
        return tuple(text for texts in value.values() for text in scalars(texts)), False
    return tuple(scalars(value)), kind in RELATIONSHIPS
