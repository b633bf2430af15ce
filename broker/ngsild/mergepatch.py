"""How one attribute instance changes: stamped, partially updated (5.5.8), merged (5.5.12).

Source: ETSI GS CIM 009 v1.9.1, 5.5.8, 5.5.12, 4.8, and RFC 7396 with NGSI-LD Null in the place of null.
"""

from __future__ import annotations

from typing import Any, cast

from broker.ngsild.fragment import is_null
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBER, Attributes, Instance


def settled(instance: Instance, at: str, created: str | None = None) -> Instance:
    """A given instance as it is stored: stamped, its sub-attributes too, nothing in it NGSI-LD Null.

    `created` is the createdAt of the one it replaces; without, it is new.
    """
    made: dict[str, Any] = {**instance, "createdAt": created or at, "modifiedAt": at}
    if NGSI_LD_NULL in made.values():
        made = {member: value for member, value in made.items() if value != NGSI_LD_NULL}
    if instance["type"] in _PATCHED:
        member = VALUE_MEMBER[instance["type"]]
        if type(made[member]) is dict:
            made[member] = _without_nulls(made[member])
    attrs = instance.get("attrs")
    if attrs is not None:
        kept = {
            name: [settled(given, at) for given in instances if not is_null(given)] for name, instances in attrs.items()
        }
        made["attrs"] = {name: instances for name, instances in kept.items() if instances}
        if not made["attrs"]:
            del made["attrs"]
    return cast("Instance", made)


def patch_instance(held: Instance, given: Instance, at: str) -> Instance:
    """`held` with the members of `given` in the place of its own (5.5.8, one level deep)."""
    return _changed(held, given, at, deep=False)


def merge_instance(held: Instance, given: Instance, at: str) -> Instance:
    """`held` and `given` merged to any depth, values that are JSON objects included (5.5.12)."""
    if given["type"] not in ("", held["type"]):
        return settled(given, at, held.get("createdAt"))
    return _changed(held, given, at, deep=True)


def retype(given: Instance, held: Instance, lang: str | None) -> Instance:
    """A value given alone, read as the type that the existing attribute has (5.6.17, simplified representation)."""
    kind = held["type"]
    if kind == given["type"] or given["type"] != "Property":
        return given
    value = given.get("value")
    rest = {member: inner for member, inner in given.items() if member != "value"}
    if kind == "LanguageProperty":
        # A text alone speaks of one language; without a common language tag, of the default one.
        value = {lang or "@none": value} if isinstance(value, str) else value
        if not isinstance(value, dict):
            return given
    elif kind in ("ListProperty", "ListRelationship"):
        if not isinstance(value, list):
            return given
    elif (kind == "Relationship" and not isinstance(value, (str, list))) or kind == "GeoProperty":
        return given
    return cast("Instance", {**rest, "type": kind, VALUE_MEMBER[kind]: value})


# Types whose value is merged member by member when it is a JSON object; the others' values are replaced.
_PATCHED = frozenset({"Property", "LanguageProperty", "JsonProperty"})


def _changed(held: Instance, given: Instance, at: str, *, deep: bool) -> Instance:
    made: dict[str, Any] = dict(held)
    value_member = VALUE_MEMBER[held["type"]] if deep and held["type"] in _PATCHED else None
    for member, value in given.items():
        if member == "attrs":
            attrs = _changed_attributes(held.get("attrs", {}), cast("Attributes", value), at, deep=deep)
            if attrs:
                made["attrs"] = attrs
            else:
                made.pop("attrs", None)
        elif member == "type":
            continue
        elif value == NGSI_LD_NULL:
            made.pop(member, None)
        elif member == value_member:
            made[member] = merge_patch(made.get(member), value)
        else:
            made[member] = value
    made["modifiedAt"] = at
    return cast("Instance", made)


def _changed_attributes(held: Attributes, given: Attributes, at: str, *, deep: bool) -> Attributes:
    made = dict(held)
    for name, instances in given.items():
        kept = list(made.get(name, ()))
        for instance in instances:
            dataset = instance.get("datasetId")
            index = next((i for i, other in enumerate(kept) if other.get("datasetId") == dataset), None)
            if is_null(instance):
                if index is not None:
                    del kept[index]
            elif index is None:
                kept.append(settled(instance, at))
            elif deep:
                kept[index] = merge_instance(kept[index], instance, at)
            else:
                kept[index] = settled(instance, at, kept[index].get("createdAt"))
        if kept:
            made[name] = kept
        else:
            made.pop(name, None)
    return made


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396 with NGSI-LD Null for null. What does not change is shared with `target`."""
    if not isinstance(patch, dict):
        return patch
    made = dict(target) if isinstance(target, dict) else {}
    for member, value in patch.items():
        if value == NGSI_LD_NULL:
            made.pop(member, None)
        else:
            made[member] = merge_patch(made.get(member), value)
    return made


def _without_nulls(value: dict[str, Any]) -> Any:
    """`value` without members that are NGSI-LD Null; the same object when it has none."""
    return merge_patch(None, value) if _has_null(value) else value


def _has_null(value: dict[str, Any]) -> bool:
    return any(inner == NGSI_LD_NULL or (isinstance(inner, dict) and _has_null(inner)) for inner in value.values())
