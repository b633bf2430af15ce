"""Names of types and attributes in a virtual sensor: terms of the user's @context outside, IRIs inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.errors import BadRequestData
from broker.jsonld.context import Context


def expanded(document: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """A virtual sensor, or members of one, with IRIs. Raises BadRequestData for outputs that are no list."""
    made = dict(document)
    if isinstance(made.get("entityType"), str):
        made["entityType"] = context.expand(made["entityType"])
    outputs = made.get("outputs")
    if outputs is None:
        return made
    if not isinstance(outputs, list):
        raise BadRequestData("'outputs' must be an array of objects with 'quantity' and 'attribute'.")
    made["outputs"] = [
        {**output, "attribute": context.expand(output["attribute"])}
        if isinstance(output, dict) and isinstance(output.get("attribute"), str)
        else output
        for output in outputs
    ]
    return made


def compacted(document: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """A virtual sensor with names."""
    outputs = [{**output, "attribute": context.compact(output["attribute"])} for output in document["outputs"]]
    return {**document, "entityType": context.compact(document["entityType"]), "outputs": outputs}
