"""What the indexes over entities hold of one entity: pure, so that the rows before and after a change can be compared."""

from __future__ import annotations

from typing import Any

from broker.clock import Micros, parse_iso
from broker.ngsild.model import Entity, Iri, value_of
from broker.query.ast import Path
from broker.query.geometry import Box, bounds
from broker.query.sql import (
    ANYTHING,
    CREATED,
    ENDS,
    EXPIRES,
    LONGEST_TEXT,
    MODIFIED,
    NUMBER,
    OTHER,
    REFERENCE,
    kind_and_key,
)
from broker.query.targets import targets
from broker.query.values import comparable

ValueRow = tuple[int, Any]
"""Kind and key."""

MOST = 1 << 63
"""SQLite's integers are below this, and not below its negative."""

MOST_VALUES = 64
"""Rows that one attribute of one entity may have; with more values it is left to the matcher (one row ANYTHING)."""

MomentRow = tuple[int, Micros]
"""Kind and moment."""

UNINDEXED: frozenset[ValueRow] = frozenset({(ANYTHING, 0)})


def value_rows(entity: Entity | None, attribute: Iri) -> frozenset[ValueRow]:
    """The rows of `value` for an attribute: its scalars by the rules of `broker.query.match`."""
    instances = entity["attrs"].get(attribute) if entity is not None else None
    if not instances:
        return frozenset()
    assert entity is not None
    if len(instances) == 1:
        instance = instances[0]
        value = instance.get("value")
        if instance["type"] == "Property" and (type(value) is float or (type(value) is int and -MOST <= value < MOST)):
            return frozenset(((NUMBER, value),))  # what sensors write, without the general way's cost
    rows: set[ValueRow] = set()
    found = 0
    for scalars, related in targets(Path(attribute), entity):
        for scalar in scalars:
            found += 1
            compared = comparable(scalar)
            if compared is None:
                continue
            kind, key = kind_and_key(compared)
            if related:
                if compared[0] != "string":
                    return UNINDEXED
                kind = REFERENCE
            if kind == NUMBER and isinstance(key, int) and not -MOST <= key < MOST:
                return UNINDEXED
            rows.add((kind, key[:LONGEST_TEXT] if isinstance(key, str) else key))
        if len(rows) > MOST_VALUES:
            return UNINDEXED
    if len(instances) != 1 or len(rows) != 1 or found != 1 or not isinstance(value_of(instances[0]), (str, int, float)):
        rows.add((OTHER, 0))
    return frozenset(rows)


def moment_rows(
    before: Entity | None, after: Entity | None, touched: frozenset[Iri] | None
) -> tuple[set[MomentRow], set[MomentRow]]:
    """The rows of `moment` before and after a change, or those that differ of them."""
    if before is not None and after is not None and touched is not None:
        unmoved = before["createdAt"] == after["createdAt"] and before.get("expiresAt") == after.get("expiresAt")
        if unmoved and not _may_expire(before, touched) and not _may_expire(after, touched):
            return _at(MODIFIED, before["modifiedAt"]), _at(MODIFIED, after["modifiedAt"])
    return _moments(before), _moments(after)


def _moments(entity: Entity | None) -> set[MomentRow]:
    if entity is None:
        return set()
    rows = _at(CREATED, entity["createdAt"]) | _at(MODIFIED, entity["modifiedAt"])
    ends = _at(ENDS, entity["expiresAt"]) if "expiresAt" in entity else set()
    moments = [at for _, at in ends]
    for instances in entity["attrs"].values():
        for instance in instances:
            if "expiresAt" in instance:
                moments += [at for _, at in _at(EXPIRES, instance["expiresAt"])]
    return rows | ends | ({(EXPIRES, min(moments))} if moments else set())


def _at(kind: int, text: str) -> set[MomentRow]:
    at = parse_iso(text)
    return set() if at is None else {(kind, at)}


def _may_expire(entity: Entity, touched: frozenset[Iri]) -> bool:
    attributes = entity["attrs"]
    return any("expiresAt" in instance for name in touched for instance in attributes.get(name, ()))


def box_of(entity: Entity | None, attribute: Iri) -> Box | None:
    """The box around all geometries that the entity has under an attribute."""
    instances = entity["attrs"].get(attribute) if entity is not None else None
    if not instances:
        return None
    boxes = [
        box
        for instance in instances
        if instance["type"] == "GeoProperty" and (box := bounds(instance.get("value"))) is not None
    ]
    if not boxes:
        return None
    west, south, east, north = zip(*boxes, strict=True)
    return float(min(west)), float(min(south)), float(max(east)), float(max(north))


def types_of(entity: Entity | None) -> set[Iri]:
    """Its types."""
    return set(entity["type"]) if entity is not None else set()


def scopes_of(entity: Entity | None) -> set[str]:
    """Its scopes as `entity_scope` has them: levels joined by '/', none before or after."""
    return {scope.strip("/") for scope in entity.get("scope", ())} if entity is not None else set()
