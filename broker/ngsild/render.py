"""From the internal form to what a user reads: normalized, concise, simplified, and GeoJSON of each.

Adding '@context' is the caller's. Nothing that comes out may be changed: values are the stored objects themselves.
Source: ETSI GS CIM 009 v1.9.1, 4.5.1-4.5.5, 4.5.16-4.5.24, 4.15.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from broker.ngsild.geometry import looks_like_geometry
from broker.ngsild.language import choose_language
from broker.ngsild.members import VALUE_MEMBERS
from broker.ngsild.model import LOCATION, NGSI_LD_NULL, VALUE_MEMBER, Entity, Instance, Iri
from broker.ngsild.names import Names

Representation = Literal["normalized", "concise", "simplified"]


@dataclass(frozen=True, slots=True)
class Form:
    """How to render."""

    representation: Representation = "normalized"
    sys_attrs: bool = False
    """Show createdAt, modifiedAt, deletedAt and expiresAt (6.3.11)."""
    pick: frozenset[str] | None = None
    """Only these attributes (IRIs) and of 'id', 'type', 'scope' only those in it; None: all."""
    omit: frozenset[str] = frozenset()
    """None of these attributes (IRIs) and of 'id', 'type', 'scope'."""
    attrs: frozenset[Iri] | None = None
    """Only these attributes; 'id', 'type' and 'scope' stay. None: all."""
    datasets: frozenset[str] = frozenset()
    """Only instances of these datasetIds, '@none' for the default one; empty: all (4.5.5)."""
    languages: tuple[str, ...] = ()
    """Texts in these languages instead of LanguageProperties (`language.parse_languages`); empty: as they are."""


NORMALIZED: Final = Form()


def render_entity(entity: Entity, names: Names, form: Form = NORMALIZED) -> dict[str, Any]:
    """An entity as JSON object, in the representation of `form`."""
    shown = _head(entity, names, form, with_id=True)
    shown.update(_attributes(entity, names, form))
    return shown


def render_feature(
    entity: Entity,
    names: Names,
    form: Form = NORMALIZED,
    *,
    geometry: Iri = LOCATION,
    dataset_id: str | None = None,
) -> dict[str, Any]:
    """An entity as GeoJSON Feature; its geometry is the value of the attribute `geometry`, or null (4.5.16, 4.5.17)."""
    wanted = None if dataset_id in (None, "@none") else dataset_id
    place: Any = None
    for instance in entity["attrs"].get(geometry, ()):
        if instance["type"] == "GeoProperty" and instance.get("datasetId") == wanted:
            place = instance["value"]
    properties = _head(entity, names, form, with_id=False)
    properties.update(_attributes(entity, names, form))
    return {"id": entity["id"], "type": "Feature", "geometry": place, "properties": properties}


def render_features(features: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Features as one GeoJSON FeatureCollection (4.5.16.3)."""
    return {"type": "FeatureCollection", "features": features}


def render_instance(instance: Instance, names: Names, form: Form = NORMALIZED) -> Any:
    """One attribute instance: an object, or in concise and simplified representation maybe its value alone."""
    return _RENDERERS[form.representation](instance, names, form)


def render_object(instance: Instance, names: Names, form: Form = NORMALIZED) -> dict[str, Any]:
    """One attribute instance, normalized or concise, as an object whatever its value."""
    made: dict[str, Any] = (
        _reified(instance, _concise(instance, names, form))
        if form.representation == "concise"
        else _normalized(instance, names, form)
    )
    return made


def _head(entity: Entity, names: Names, form: Form, *, with_id: bool) -> dict[str, Any]:
    types = entity["type"]
    shown: dict[str, Any] = {}
    if with_id:
        shown["id"] = entity["id"]
    shown["type"] = names.compact(types[0]) if len(types) == 1 else [names.compact(name) for name in types]
    if "scope" in entity:
        scope = entity["scope"]
        shown["scope"] = scope[0] if len(scope) == 1 else scope
    if form.sys_attrs:
        if "expiresAt" in entity:
            shown["expiresAt"] = entity["expiresAt"]
        shown["createdAt"] = entity["createdAt"]
        shown["modifiedAt"] = entity["modifiedAt"]
    if form.pick is not None or form.omit:
        for member in ("id", "type", "scope"):
            if member in shown and (member in form.omit or (form.pick is not None and member not in form.pick)):
                del shown[member]
    return shown


def _attributes(entity: Entity, names: Names, form: Form) -> dict[str, Any]:
    attributes = entity["attrs"]
    if form.pick is not None:
        attributes = {name: held for name, held in attributes.items() if name in form.pick}
    if form.attrs is not None:
        attributes = {name: held for name, held in attributes.items() if name in form.attrs}
    if form.omit:
        attributes = {name: held for name, held in attributes.items() if name not in form.omit}
    shown: dict[str, Any] = {}
    compact = names.compact
    render = _RENDERERS[form.representation]
    for name, instances in attributes.items():
        if form.datasets:
            instances = [held for held in instances if held.get("datasetId", "@none") in form.datasets]
            if not instances:
                continue
        if form.representation == "simplified":
            shown[compact(name)] = _simplified_attribute(instances, names, form)
        elif len(instances) == 1:
            shown[compact(name)] = render(instances[0], names, form)
        else:
            # A value alone would not be told apart from a list that is the value: each stands as an object.
            shown[compact(name)] = [_reified(instance, render(instance, names, form)) for instance in instances]
    return shown


def _simplified_attribute(instances: list[Instance], names: Names, form: Form) -> Any:
    if len(instances) == 1 and ("datasetId" not in instances[0] or len(form.datasets) == 1):
        return _simplified(instances[0], names, form)
    return {"dataset": {held.get("datasetId", "@none"): _simplified(held, names, form) for held in instances}}


def _normalized(instance: Instance, names: Names, form: Form) -> dict[str, Any]:
    shown: dict[str, Any] = dict(instance)
    if not form.sys_attrs:
        shown.pop("createdAt", None)
        shown.pop("modifiedAt", None)
        shown.pop("deletedAt", None)
        shown.pop("expiresAt", None)
    kind = shown["type"]
    if kind in _SPECIAL:
        _special(shown, kind, names, form)
    if "valueType" in shown:
        shown["valueType"] = names.compact(shown["valueType"])
    if "entityTypeSealed" in shown:
        shown["entityTypeSealed"] = names.compact(shown["entityTypeSealed"])
    attrs = shown.pop("attrs", None)
    if attrs is not None:
        for name, instances in attrs.items():
            shown[names.compact(name)] = (
                _normalized(instances[0], names, form)
                if len(instances) == 1
                else [_normalized(held, names, form) for held in instances]
            )
    return shown


def _special(shown: dict[str, Any], kind: str, names: Names, form: Form) -> None:
    """What differs in normalized representation for types whose value is not kept as the user wrote it."""
    if "objectType" in shown:
        shown["objectType"] = _compacted(shown["objectType"], names)
    if kind == "VocabProperty" and "vocab" in shown:
        shown["vocab"] = _compacted(shown["vocab"], names)
    elif kind == "ListRelationship" and "objectList" in shown:
        shown["objectList"] = [uri if uri == NGSI_LD_NULL else {"object": uri} for uri in shown["objectList"]]
    elif kind == "LanguageProperty" and form.languages and shown.get("languageMap"):
        tag, text = choose_language(shown.pop("languageMap"), form.languages)
        shown["type"] = "Property"
        shown["value"] = text
        shown["lang"] = tag


def _concise(instance: Instance, names: Names, form: Form) -> Any:
    attrs = instance.get("attrs")
    shown: dict[str, Any] = {
        member: value
        for member, value in instance.items()
        if member != "attrs" and (form.sys_attrs or member not in _TIMES)
    }
    kind = instance["type"]
    if kind in _SPECIAL:
        _special(shown, kind, names, form)
        if kind == "ListRelationship":
            shown["objectList"] = instance["objectList"]
        kind = shown["type"]
    if "valueType" in shown:
        shown["valueType"] = names.compact(shown["valueType"])
    if "entityTypeSealed" in shown:
        shown["entityTypeSealed"] = names.compact(shown["entityTypeSealed"])
    value = shown.get("value")
    # A Property that looks like a geometry would be read as a GeoProperty: there, the type must be said.
    if kind != "Property" or not looks_like_geometry(value):
        del shown["type"]
    if attrs is not None:
        for name, instances in attrs.items():
            shown[names.compact(name)] = (
                _concise(instances[0], names, form)
                if len(instances) == 1
                else [_reified(held, _concise(held, names, form)) for held in instances]
            )
    elif len(shown) == 1 and "value" in shown and (kind == "GeoProperty" or _stands_alone(value)):
        return value
    return shown


def _stands_alone(value: Any) -> bool:
    """Whether a Property's value is read as just that when it stands in the place of the attribute."""
    if type(value) is dict:
        return not _MEANINGFUL.intersection(value)
    if type(value) is list and value:
        return not all(type(item) is dict and _MEANINGFUL.intersection(item) for item in value)
    return True


def _reified(instance: Instance, shown: Any) -> Any:
    """A concise rendering as an object, where a value alone cannot stand."""
    if type(shown) is dict and not _VALUE_OR_TYPE.isdisjoint(shown) and not looks_like_geometry(shown):
        return shown
    return {VALUE_MEMBER[instance["type"]]: shown}


def _simplified(instance: Instance, names: Names, form: Form) -> Any:
    kind = instance["type"]
    value = instance.get(VALUE_MEMBER[kind])
    if kind == "VocabProperty":
        return {"vocab": _compacted(value, names)}
    if kind == "JsonProperty":
        return {"json": value}
    if kind == "LanguageProperty":
        if form.languages and isinstance(value, dict) and value:
            return choose_language(value, form.languages)[1]
        return {"languageMap": value}
    return value


def _compacted(value: Any, names: Names) -> Any:
    return [names.compact(item) for item in value] if type(value) is list else names.compact(value)


_RENDERERS: Final[dict[str, Callable[[Instance, Names, Form], Any]]] = {
    "normalized": _normalized,
    "concise": _concise,
    "simplified": _simplified,
}
_SPECIAL = frozenset({"Relationship", "ListRelationship", "VocabProperty", "LanguageProperty"})
_TIMES = frozenset({"createdAt", "modifiedAt", "deletedAt", "expiresAt"})
_VALUE_OR_TYPE = VALUE_MEMBERS | {"type"}
_MEANINGFUL = _VALUE_OR_TYPE | {"@type", "@context", "dataset"}
