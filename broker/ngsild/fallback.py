"""Entities for those who know an earlier version of NGSI-LD (ETSI GS CIM 009 v1.9.1, 4.3.6.8, tables 1 to 3)."""

from __future__ import annotations

from typing import Any, Final

from broker.ngsild.model import VALUE_MEMBER, Entity, Instance, Iri, default_instance
from broker.ngsild.names import Names

Version = tuple[int, int]
"""Major, minor."""

NATIVE: Final[Version] = (1, 9)
"""What entities conform to as they are."""

_TYPES: Final[dict[str, tuple[Version, str]]] = {
    "LanguageProperty": ((1, 4), "Property"),
    "JsonProperty": ((1, 8), "Property"),
    "VocabProperty": ((1, 8), "Property"),
    "ListProperty": ((1, 8), "Property"),
    "ListRelationship": ((1, 8), "Relationship"),
}
"""Attribute type -> the version that brought it, and what stood for it before."""

_MEMBERS: Final[dict[str, Version]] = {
    "datasetId": (1, 3),
    "observedAt": (1, 3),
    "unitCode": (1, 3),
    "objectType": (1, 8),
    "expiresAt": (1, 9),
    "valueType": (1, 9),
}
"""Members of attribute instances, and the versions that brought them."""

MANY: Final[Version] = (1, 3)
"""Brought several types of an entity, and several instances of an attribute."""

SCOPES: Final[Version] = (1, 4)
EXPIRY: Final[Version] = (1, 9)
"""Brought scopes, and entities that expire."""


def conform(entity: Entity, version: Version, names: Names) -> Entity:
    """`entity` with what `version` did not know left out or written as it would have been; itself where that is nothing."""
    if version >= NATIVE:
        return entity
    older: Entity = {**entity, "attrs": _attributes(entity["attrs"], version, names)}
    if version < MANY:
        older["type"] = entity["type"][:1]
    if version < SCOPES:
        older.pop("scope", None)
    if version < EXPIRY:
        older.pop("expiresAt", None)
    return older


def _attributes(attributes: dict[Iri, list[Instance]], version: Version, names: Names) -> dict[Iri, list[Instance]]:
    older = {}
    for name, instances in attributes.items():
        if version < MANY:
            instances = [default_instance(instances) or instances[0]]
        older[name] = [conform_instance(instance, version, names) for instance in instances]
    return older


def conform_instance(instance: Instance, version: Version, names: Names) -> Instance:
    """One attribute instance, as `conform` does it."""
    older: dict[str, Any] = {
        member: value for member, value in instance.items() if version >= _MEMBERS.get(member, version)
    }
    kind = instance["type"]
    since, before = _TYPES.get(kind, (version, kind))
    if version < since:
        value = older.pop(VALUE_MEMBER[kind], None)
        older["type"] = before
        older[VALUE_MEMBER[before]] = _compacted(value, names) if kind == "VocabProperty" else value
    if "attrs" in older:
        older["attrs"] = _attributes(instance["attrs"], version, names)
    return older  # type: ignore[return-value]  # an Instance without some of its members, or renamed to another's


def _compacted(value: Any, names: Names) -> Any:
    return [names.compact(item) for item in value] if isinstance(value, list) else names.compact(value)
