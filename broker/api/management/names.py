"""Names of types and attributes in a virtual sensor: terms of the user's @context outside, IRIs inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from broker.errors import BadRequestData
from broker.jsonld.context import Context

NAMED: Final = ("outputs", "derived", "thresholds")
"""Members with parts that name attributes."""


def expanded(document: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """A virtual sensor, or members of one, with IRIs. Raises BadRequestData for outputs that are no list."""
    made = dict(document)
    if isinstance(made.get("entityType"), str):
        made["entityType"] = context.expand(made["entityType"])
    outputs = made.get("outputs")
    if outputs is not None and not isinstance(outputs, list):
        raise BadRequestData("'outputs' must be an array of objects with 'quantity' and 'attribute'.")
    for member in NAMED:
        if isinstance(parts := made.get(member), list):
            made[member] = [
                {**part, "attribute": context.expand(part["attribute"])}
                if isinstance(part, dict) and isinstance(part.get("attribute"), str)
                else part
                for part in parts
            ]
    return made


def compacted(document: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """A virtual sensor with names."""
    made = {**document, "entityType": context.compact(document["entityType"])}
    for member in NAMED:
        made[member] = [
            {**part, "attribute": context.compact(part["attribute"])} if part.get("attribute") is not None else part
            for part in document.get(member, ())
        ]
    return made
