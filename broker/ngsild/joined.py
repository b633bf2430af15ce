"""Linked entities within those that link to them, as a user reads them (ETSI GS CIM 009 v1.9.1, 4.5.23.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from broker.ngsild.linked import Join, Shown, objects_of
from broker.ngsild.model import Entity, Instance, Iri
from broker.ngsild.names import Names
from broker.ngsild.render import Form, render_entity

_Within = Callable[[str], dict[str, Any] | None]


def form_of(form: Form, shown: Shown) -> Form:
    """`form` with what is shown of one entity."""
    pick = shown.pick.names if shown.pick is not None else None
    omit = shown.omit.plain if shown.omit is not None else frozenset()
    return replace(form, pick=pick, omit=omit)


def with_linked(
    shown: Shown, item: dict[str, Any], known: Mapping[str, Entity], names: Names, form: Form, join: Join
) -> dict[str, Any]:
    """`item`, which shows the entity (maybe as a Feature), with what its relationships lead to within them.

    `known` are the entities that were found. `item` is changed.
    """
    return _with_linked(shown, item, known, names, form, join.level, join.contained_by)


def _with_linked(
    shown: Shown,
    item: dict[str, Any],
    known: Mapping[str, Entity],
    names: Names,
    form: Form,
    levels: int,
    above: frozenset[str],
) -> dict[str, Any]:
    if not levels:
        return item
    members = item["properties"] if item.get("type") == "Feature" and "properties" in item else item
    above |= {shown.entity["id"]}
    for name, instances in shown.entity["attrs"].items():
        term = names.compact(name)
        if term not in members or not any(True for each, _ in shown.relationships() if each == name):
            continue
        kept = [each for each in instances if not form.datasets or each.get("datasetId", "@none") in form.datasets]

        def within(target: str, name: Iri = name) -> dict[str, Any] | None:
            if target in above or target not in known:
                return None
            inner = shown.linked(name, known[target])
            plain = render_entity(inner.entity, names, form_of(form, inner))
            return _with_linked(inner, plain, known, names, form, levels - 1, above)

        members[term] = (
            _simplified(members[term], within)
            if form.representation == "simplified"
            else _annotated(members[term], kept, within)
        )
    return item


def _annotated(shown: Any, instances: list[Instance], within: _Within) -> Any:
    """A relationship's instances, each with `entity`, or `entityList`."""
    several = shown if isinstance(shown, list) else [shown]
    for item, instance in zip(several, instances, strict=False):
        found = [entity for target in objects_of(instance) if (entity := within(target)) is not None]
        if not found:
            continue
        if instance["type"] == "ListRelationship":
            item["entityList"] = found
        else:
            item["entity"] = found if isinstance(instance.get("object"), list) else found[0]
    return shown


def _simplified(shown: Any, within: _Within) -> Any:
    """A relationship's objects, each replaced by the entity it leads to."""

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(each) for each in value]
        return within(value) or value if isinstance(value, str) else value

    if isinstance(shown, dict) and "dataset" in shown:
        return {"dataset": {dataset: replaced(value) for dataset, value in shown["dataset"].items()}}
    return replaced(shown)
