"""Temporal evolutions: what a client sends of one, and how one is shown.

An EntityTemporal is an entity whose attributes are lists of instances, or one instance; here every attribute is shown as
a list. The scope is a Property in it, without sub-attributes (4.5.6). A deletion is an instance whose value is NGSI-LD
Null, with deletedAt (4.5.7, 4.5.8). Source: ETSI GS CIM 009 v1.9.1, 4.5.6-4.5.9, 5.2.20, 5.5.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from broker.clock import Micros
from broker.errors import BadRequestData, InvalidRequest
from broker.ngsild.fallback import EXPIRY, MANY, NATIVE, SCOPES, Version, conform_instance
from broker.ngsild.fragment import is_null
from broker.ngsild.members import IGNORED, VALUE_MEMBERS, date_time, shown
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBER, Instance, Iri
from broker.ngsild.names import SCOPE, Names
from broker.ngsild.parse import DEFAULT_RULES, Rules, parse_fragment
from broker.ngsild.render import NORMALIZED, Form, render_instance, render_object

_HEAD: Final = frozenset({"id", "@id", "type", "@type", "expiresAt", "@context"}) | (IGNORED - {"instanceId"})
_NULLS: Final = (NGSI_LD_NULL, [NGSI_LD_NULL], {"@none": NGSI_LD_NULL})
_OF_A_DELETION: Final = frozenset({"type", "datasetId", "observedAt", "deletedAt"})
_OF_A_SCOPE: Final = frozenset({"type", "value", "observedAt"}) | IGNORED


# --- what is sent -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EvolutionFragment:
    """What a request said of an evolution: parsed, expanded, without createdAt and modifiedAt."""

    id: str
    types: list[Iri] = field(default_factory=list)
    instances: list[tuple[Iri, Instance]] = field(default_factory=list)
    """In the order given. A deletion has NGSI-LD Null as its value (`is_null`), and deletedAt if it was said."""
    expires_at: str | None = None


def parse_evolution(document: Any, names: Names, rules: Rules = DEFAULT_RULES) -> EvolutionFragment:
    """An EntityTemporal to create or add to (5.6.11). Raises InvalidRequest, BadRequestData."""
    if type(document) is not dict:
        raise InvalidRequest(f"A temporal evolution must be a JSON object, got {shown(document)}.")
    head = parse_fragment({member: document[member] for member in document.keys() & _HEAD}, names, rules)
    if head.id is None:
        raise BadRequestData("The temporal evolution must have an 'id'.")
    instances: list[tuple[Iri, Instance]] = []
    terms: dict[Iri, str] = {}
    for term, value in document.items():
        if term in _HEAD:
            continue
        if term == "scope":
            instances += [(SCOPE, scope) for scope in _scopes(value, names, rules)]
            continue
        for each in _listed(term, value):
            name, instance = _instance(term, each, names, rules)
            if terms.setdefault(name, term) != term:
                raise BadRequestData(f"Attribute '{term}' is given twice, under two names of '{name}'.")
            instances.append((name, instance))
    return EvolutionFragment(head.id, head.types, instances, head.expires_at)


def _listed(term: str, value: Any) -> list[Any]:
    if type(value) is list and not value:
        raise BadRequestData(f"Attribute '{term}': at least one instance must be given, got an empty list.")
    return value if type(value) is list else [value]


def _instance(term: str, body: Any, names: Names, rules: Rules) -> tuple[Iri, Instance]:
    null = type(body) is dict and any(body.get(member) in _NULLS for member in VALUE_MEMBERS)
    if type(body) is dict:
        made = parse_fragment({term: body}, names, rules, nulls="whole" if null else "refused")
        ((name, (instance,)),) = made.attrs.items()
        if not made.bare:
            return name, _deletion(term, body, instance) if null else instance
    raise BadRequestData(
        f"Attribute '{term}': each instance must be an object that has its value as 'value', 'object' or the like, "
        f"got {shown(body)}."
    )


def _deletion(term: str, body: dict[str, Any], instance: Instance) -> Instance:
    """5.5.4: NGSI-LD Null stands as the value of an instance, and nowhere else in it."""
    where = f"Attribute '{term}'"
    more = instance.keys() - _OF_A_DELETION - {VALUE_MEMBER[instance["type"]]}
    if more or not is_null(instance):
        raise BadRequestData(f"{where}: an instance that says a deletion must not have '{min(more, default='attrs')}'.")
    for member in ("observedAt", "deletedAt"):
        if member in body:
            instance = {**instance, member: date_time(body[member], member, where)}  # type: ignore[misc]
    return instance


def _scopes(value: Any, names: Names, rules: Rules) -> Iterator[Instance]:
    """The scope's instances; as in a current entity, it may be a text or texts too."""
    several = value if type(value) is list and value and type(value[0]) is dict else [value]
    for each in several:
        if type(each) is not dict:
            yield {"type": "Property", "value": _scope(each, names, rules)}
            continue
        more = each.keys() - _OF_A_SCOPE
        if more or each.get("type", "Property") != "Property":
            raise BadRequestData(
                "The entity's 'scope' must be a Property with 'value' and maybe 'observedAt' alone, "
                f"got {shown(min(more)) if more else shown(each['type'])}."
            )
        given = each.get("value")
        made: Instance = {"type": "Property", "value": given if given in _NULLS else _scope(given, names, rules)}
        if "observedAt" in each:
            made["observedAt"] = date_time(each["observedAt"], "observedAt", "The entity's 'scope'")
        yield _deletion("scope", each, {**made, "value": NGSI_LD_NULL}) if given in _NULLS else made


def _scope(value: Any, names: Names, rules: Rules) -> str | list[str]:
    scopes = parse_fragment({"scope": value}, names, rules).scope or []
    return scopes[0] if len(scopes) == 1 else scopes


# --- what is shown ----------------------------------------------------------------------------------------------------


class Moment(NamedTuple):
    """One instance in its place in time."""

    at: Micros
    """By the timeproperty; where an instance has none, and none was asked for, when it was recorded."""
    text: str
    """The same, as the instance has it."""
    instance: Instance


@dataclass(frozen=True, slots=True)
class Evolution:
    """An evolution, or a part of one."""

    id: str
    types: list[Iri]
    attributes: dict[Iri, list[Moment]] = field(default_factory=dict)
    """In the order in which they are shown; the scope among them. One without instances has some outside the part."""
    created_at: str | None = None
    modified_at: str | None = None
    expires_at: str | None = None


def render_evolution(evolution: Evolution, names: Names, form: Form = NORMALIZED) -> dict[str, Any]:
    """An evolution as JSON object: normalized, concise, or simplified, which is 4.5.9's pairs of value and time."""
    made: dict[str, Any] = {}
    if _is_shown("id", form):
        made["id"] = evolution.id
    if _is_shown("type", form):
        types = [names.compact(name) for name in evolution.types]
        made["type"] = types[0] if len(types) == 1 else types
    if form.sys_attrs:
        system = {
            "expiresAt": evolution.expires_at,
            "createdAt": evolution.created_at,
            "modifiedAt": evolution.modified_at,
        }
        made |= {member: text for member, text in system.items() if text is not None}
    for name, moments in evolution.attributes.items():
        if form.attrs is not None and name not in form.attrs:
            continue
        if not _is_shown("scope" if name == SCOPE else name, form):
            continue
        term = "scope" if name == SCOPE else names.compact(name)
        if form.representation == "simplified":
            made[term] = _pairs(moments, names, form)
        else:
            made[term] = [_object(moment.instance, names, form) for moment in moments]
    return made


def conform_evolution(evolution: Evolution, version: Version, names: Names) -> Evolution:
    """The evolution as the version of NGSI-LD had it (4.3.6.8)."""
    if version >= NATIVE:
        return evolution
    attributes: dict[Iri, list[Moment]] = {}
    for name, moments in evolution.attributes.items():
        if name == SCOPE and version < SCOPES:
            continue
        if version < MANY:
            moments = [moment for moment in moments if "datasetId" not in moment.instance] or moments
        attributes[name] = [
            moment._replace(instance=conform_instance(moment.instance, version, names)) for moment in moments
        ]
    return replace(
        evolution,
        types=evolution.types[:1] if version < MANY else evolution.types,
        attributes=attributes,
        expires_at=None if version < EXPIRY else evolution.expires_at,
    )


def _is_shown(member: str, form: Form) -> bool:
    return member not in form.omit and (form.pick is None or member in form.pick)


def _object(instance: Instance, names: Names, form: Form) -> dict[str, Any]:
    """deletedAt tells a deletion from a value: it is shown whether or not the system's times are."""
    made = render_object(instance, names, form)
    if "deletedAt" in instance:
        made["deletedAt"] = instance["deletedAt"]
    return made


def _pairs(moments: list[Moment], names: Names, form: Form) -> Any:
    """[value, time] for each, in one object for each type and datasetId that there was (4.5.5); alone, it is no list."""
    found: dict[tuple[str, str], list[list[Any]]] = {}
    for moment in moments:
        kind = moment.instance["type"]
        if kind == "LanguageProperty" and form.languages:
            kind = "Property"
        pair = [render_instance(moment.instance, names, form), moment.text]
        found.setdefault((moment.instance.get("datasetId", ""), kind), []).append(pair)
    made: list[dict[str, Any]] = []
    for (dataset, kind), pairs in sorted(found.items(), key=lambda each: each[0]):
        made.append({"type": kind, VALUE_MEMBER[kind] + "s": pairs})
        if dataset:
            made[-1]["datasetId"] = dataset
    return made[0] if len(made) == 1 else made
