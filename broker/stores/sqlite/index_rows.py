"""What the indexes over entities hold of one entity: pure, so that the rows before and after a change can be compared."""

from __future__ import annotations

from typing import Any

from broker.clock import Micros, parse_iso
from broker.ngsild.model import Entity, Instance, Iri, value_of
from broker.query.ast import Path
from broker.query.geometry import Box, bounds
from broker.query.sql import (
    ANYTHING,
    CREATED,
    ENDS,
    EXPIRES,
    LONGEST_TEXT,
    NUMBER,
    OTHER,
    REFERENCE,
    kind_and_key,
)
from broker.query.targets import targets
from broker.query.values import comparable

_SCALARS = frozenset({str, int, float, bool})

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
        plain = _plain_row(instances[0])
        if plain is not None:
            return frozenset((plain,))
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


def _plain_row(instance: Instance) -> ValueRow | None:
    """The only row of what sensors write, without the general way's cost; None: not one of these."""
    kind = instance["type"]
    if kind == "Property":
        value = instance.get("value")
        if type(value) is float or (type(value) is int and -MOST <= value < MOST):
            return NUMBER, value
    elif kind == "Relationship":
        related = instance.get("object")
        if type(related) is str and related[-1:] != "Z":
            return REFERENCE, related[:LONGEST_TEXT]
    elif kind == "GeoProperty":
        geometry = instance.get("value")
        if type(geometry) is dict and "@value" not in geometry:
            return OTHER, 0
    return None


def same_rows(was: list[Instance], now: list[Instance]) -> bool:
    """Whether two states of an attribute surely have the same rows of `value`, and the same box."""
    if len(was) != 1 or len(now) != 1:
        return False
    kind = now[0]["type"]
    if was[0]["type"] != kind:
        return False
    before, after = value_of(was[0]), value_of(now[0])
    # Python takes 1 and True for equal; the index does not.
    return (kind == "GeoProperty" or type(before) is type(after) in _SCALARS) and bool(before == after)


def moment_rows(
    before: Entity | None, after: Entity | None, touched: frozenset[Iri] | None
) -> tuple[set[MomentRow], set[MomentRow]]:
    """The rows of `moment` before and after a change, or those that differ of them.

    modifiedAt has none: to keep it in step would make every update half as dear again.
    """
    if before is not None and after is not None and touched is not None:
        unmoved = before["createdAt"] == after["createdAt"] and before.get("expiresAt") == after.get("expiresAt")
        if unmoved and not _may_expire(before, touched) and not _may_expire(after, touched):
            return set(), set()
    return _moments(before), _moments(after)


def _moments(entity: Entity | None) -> set[MomentRow]:
    if entity is None:
        return set()
    rows = _at(CREATED, entity["createdAt"])
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
    for name in touched:
        for instance in attributes.get(name, ()):
            if "expiresAt" in instance:
                return True
    return False


def box_of(entity: Entity | None, attribute: Iri) -> Box | None:
    """The box around all geometries that the entity has under an attribute."""
    instances = entity["attrs"].get(attribute) if entity is not None else None
    if not instances or (len(instances) == 1 and instances[0]["type"] != "GeoProperty"):
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
