"""What a request said about an entity, before it meets the entity: parsed, expanded, without system times.

Source: ETSI GS CIM 009 v1.9.1, 5.4 (NGSI-LD Fragments), 4.5.0 (NGSI-LD Null).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBER, Attributes, Instance, Iri


@dataclass(frozen=True, slots=True)
class Fragment:
    """An entity or a part of one. A whole entity to create or replace with has `id` and `types`.

    An instance that stands for a deletion has NGSI-LD Null as its value, whatever its type (`is_null`). Where the
    operation allows it, its other members may be NGSI-LD Null too.
    """

    id: str | None = None
    types: list[Iri] = field(default_factory=list)
    attrs: Attributes = field(default_factory=dict)
    scope: list[str] | None = None
    """None: not given. Empty: to be removed (NGSI-LD Null)."""
    expires_at: str | None = None
    """None: not given. NGSI-LD Null: to be removed."""
    bare: frozenset[Iri] = frozenset()
    """Attributes given as a value alone: their type is a guess, which an existing attribute's type overrides (5.6.17)."""


def is_null(instance: Instance) -> bool:
    """Whether this instance asks for the deletion of what it names."""
    member = VALUE_MEMBER.get(instance["type"])
    return member is not None and instance.get(member) == NGSI_LD_NULL


def deleted_instance(instance: Instance, at: str) -> Instance:
    """What stands for an instance that was deleted, in notifications and in the temporal evolution (4.5.0, 4.8)."""
    kind = instance["type"]
    null: Any = NGSI_LD_NULL
    if kind == "LanguageProperty":
        null = {"@none": NGSI_LD_NULL}
    elif kind in ("ListProperty", "ListRelationship"):
        null = [NGSI_LD_NULL]
    made: dict[str, Any] = {"type": kind, VALUE_MEMBER[kind]: null}
    if "datasetId" in instance:
        made["datasetId"] = instance["datasetId"]
    made["deletedAt"] = at
    return cast("Instance", made)
