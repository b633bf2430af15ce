"""From what a user sent to the internal form: names expanded, rules checked, values untouched.

Normalized, concise and simplified representations are told apart member by member, as 4.5.2.3 says. A '@context' member
of the document is the caller's to read. Errors are BadRequestData and name the attribute.

Source: ETSI GS CIM 009 v1.9.1, 4.5.1-4.5.5, 4.5.18-4.5.24, 4.6.2, 4.18, 5.2.4, 5.4, 5.5.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from broker.errors import BadRequestData, InvalidRequest
from broker.jsonio import loads
from broker.ngsild.fragment import Fragment
from broker.ngsild.geometry import check_geometry, looks_like_geometry
from broker.ngsild.members import (
    IGNORED,
    MEMBERS,
    NOT_ATTRIBUTE_NAMES,
    OUTPUT_ONLY,
    PROOF,
    SEALED,
    TYPE_OF_MEMBER,
    VALUE_MEMBERS,
    check_json,
    check_language_map,
    check_member,
    check_object_list,
    check_sealed,
    check_uris,
    date_time,
    expand_vocab,
    shown,
    uri,
)
from broker.ngsild.model import LOCATION, NGSI_LD_NULL, VALUE_MEMBER, Attributes, Instance, Iri
from broker.ngsild.names import NGSI_LD, Names

Nulls = Literal["refused", "whole", "deep"]
"""Where NGSI-LD Null may stand: nowhere, as the value of an attribute or member (5.5.8), inside values too (5.5.12)."""

_GEO_ONLY: Final = frozenset({LOCATION, NGSI_LD + "observationSpace", NGSI_LD + "operationSpace"})
_SCOPE = re.compile(r"/?[^\W\d_]\w*(/[^\W\d_]\w*)*")
_KEYWORDS = frozenset({"id", "type", "@id", "@type"})
_TYPED_VALUES = frozenset({"languageMap", "vocab", "json"})
_NULLS = (NGSI_LD_NULL, [NGSI_LD_NULL], {"@none": NGSI_LD_NULL})


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits of what is parsed."""

    geometry_vertices: int = 10_000
    """Of one geometry, count."""
    attribute_depth: int = 6
    """Attributes of attributes, levels: 1 allows attributes alone."""


DEFAULT_RULES: Final = Rules()


def parse_entity(document: Any, names: Names, rules: Rules = DEFAULT_RULES, *, simplified: bool = False) -> Fragment:
    """A whole entity (5.2.4), to create or to replace with: id and type are there, nothing is NGSI-LD Null."""
    fragment = parse_fragment(document, names, rules, nulls="refused", simplified=simplified)
    if fragment.id is None:
        raise BadRequestData("The entity must have an 'id'.")
    if not fragment.types:
        raise BadRequestData("The entity must have a 'type'.")
    return fragment


def parse_fragment(
    document: Any,
    names: Names,
    rules: Rules = DEFAULT_RULES,
    *,
    nulls: Nulls = "refused",
    simplified: bool = False,
) -> Fragment:
    """A part of an entity (5.4). `nulls`: "refused" for append, "whole" for update, "deep" for merge.

    `simplified` reads every value that is not typed as a value alone (4.5.4).
    """
    if type(document) is not dict:
        raise InvalidRequest(f"An entity must be a JSON object, got {shown(document)}.")
    reader = _Reader(names, rules, nulls, simplified)
    entity_id: str | None = None
    types: list[Iri] = []
    scope: list[str] | None = None
    expires_at: str | None = None
    attrs: Attributes = {}
    for member, value in document.items():
        if member == "id" or member == "@id":
            entity_id = uri(value, "id", "The entity")
            if value == NGSI_LD_NULL:
                raise BadRequestData("The entity's 'id' must not be NGSI-LD Null.")
        elif member == "type" or member == "@type":
            types = _types(value, names)
        elif member == "scope":
            scope = _scope(value, nulls)
        elif member == "expiresAt":
            null = value == NGSI_LD_NULL and nulls != "refused"
            expires_at = value if null else date_time(value, "expiresAt", "The entity")
        elif member == "@context" or (member in IGNORED and member != "instanceId"):
            continue
        elif member in NOT_ATTRIBUTE_NAMES:
            raise BadRequestData(f"An attribute of an entity cannot be named '{member}': NGSI-LD uses the name itself.")
        else:
            name = names.expand(member)
            if name in attrs:
                raise BadRequestData(f"Attribute '{member}' is given twice, under two names of '{name}'.")
            attrs[name] = instances = reader.attribute(member, name, value)
            if name in _GEO_ONLY and any(
                given["type"] != "GeoProperty" and given.get("value") != NGSI_LD_NULL for given in instances
            ):
                raise BadRequestData(f"Attribute '{member}' must be a GeoProperty, got a {instances[0]['type']}.")
    return Fragment(entity_id, types, attrs, scope, expires_at, frozenset(reader.bare))


def parse_attribute(
    name: str, document: Any, names: Names, rules: Rules = DEFAULT_RULES, *, whole: bool = False
) -> Instance:
    """The body of a request about one attribute (`name` as the user wrote it).

    With `whole` it is a complete instance to replace with (5.6.19). Otherwise it is a fragment (5.6.4): its value may be
    missing, its type too (then it is ''), and members may be NGSI-LD Null to be removed.
    """
    reader = _Reader(names, rules, "refused" if whole else "whole", simplified=False)
    reader.partial = not whole
    if type(document) is list:
        raise BadRequestData(f"Attribute '{name}': one instance must be given, got a list.")
    if type(document) is dict and "@context" in document:
        # Here, the top of the document is the attribute.
        document = {member: value for member, value in document.items() if member != "@context"}
    return reader.instance(name, document, 1)


def _types(value: Any, names: Names) -> list[Iri]:
    given = [value] if type(value) is str else value
    if type(given) is not list or not given or not all(type(name) is str and name for name in given):
        raise BadRequestData(f"The entity's 'type' must be one or more type names, got {shown(value)}.")
    for name in given:
        if name in _KEYWORDS:
            raise BadRequestData(f"The entity's 'type' must be a type's name, got '{name}', which JSON-LD uses itself.")
    if len(given) == 1:
        return [names.expand(given[0])]
    return list(dict.fromkeys(names.expand(name) for name in given))


def _scope(value: Any, nulls: Nulls) -> list[str]:
    if nulls != "refused" and value in _NULLS:
        return []
    given = [value] if type(value) is str else value
    if type(given) is not list or not given:
        raise BadRequestData(f"The entity's 'scope' must be one or more scopes, got {shown(value)}.")
    for scope in given:
        if type(scope) is not str or _SCOPE.fullmatch(scope) is None:
            raise BadRequestData(
                f"The entity's 'scope' must be like '/Madrid/Gardens' (letters, digits and '_'), got {shown(scope)}."
            )
    return given if len(given) == 1 else list(dict.fromkeys(given))


class _Reader:
    """One document's attributes. `bare` collects attributes given as a value alone."""

    __slots__ = ("bare", "deep_nulls", "names", "nulls", "partial", "rules", "simplified")

    def __init__(self, names: Names, rules: Rules, nulls: Nulls, simplified: bool) -> None:
        self.names = names
        self.rules = rules
        self.nulls = nulls != "refused"
        self.deep_nulls = nulls == "deep"
        self.simplified = simplified
        self.partial = False
        self.bare: set[Iri] = set()

    def attribute(self, term: str, name: Iri, value: Any, depth: int = 1) -> list[Instance]:
        """All instances of an attribute, in the order given, with different datasetIds (4.5.5)."""
        if type(value) is list and value and (depth > 1 or not self.simplified) and all(map(_is_reified, value)):
            instances = [self.instance(term, given, depth) for given in value]
            datasets = [given.get("datasetId", "") for given in instances]
            if len(set(datasets)) < len(datasets):
                raise BadRequestData(_twice(term, datasets))
            return instances
        if self.simplified and type(value) is dict and len(value) == 1 and type(value.get("dataset")) is dict:
            return self._datasets(term, name, value["dataset"])
        if depth == 1 and not _is_reified(value):
            self.bare.add(name)
        return [self.instance(term, value, depth)]

    def instance(self, term: str, body: Any, depth: int) -> Instance:
        """One instance from any representation."""
        if type(body) is not dict or (self.simplified and not _is_typed_value(body)):
            return self._bare(term, body)
        kind = body.get("type")
        if kind is None:
            kind = _keyword_type(body)
        if kind is None:
            for member in body:
                if member in VALUE_MEMBERS:
                    kind = TYPE_OF_MEMBER[member]
                    if kind == "Property" and looks_like_geometry(body["value"]):
                        kind = "GeoProperty"
                    break
            else:
                if not (self.partial and depth == 1):
                    return self._bare(term, body)
                kind = ""
        elif type(kind) is not str or kind not in VALUE_MEMBER:
            if looks_like_geometry(body):
                return self._bare(term, body)
            raise BadRequestData(
                f"Attribute '{term}': 'type' must be one of {', '.join(VALUE_MEMBER)}, got {shown(kind)}."
            )
        return self._members(term, body, kind, depth)

    def _members(self, term: str, body: dict[str, Any], kind: str, depth: int) -> Instance:
        made: dict[str, Any] = {"type": kind}
        attrs: Attributes | None = None
        value_member = VALUE_MEMBER.get(kind)
        for member, value in body.items():
            if member == value_member:
                made[member] = self._value(term, kind, value)
            elif member in MEMBERS:
                where = f"Attribute '{term}'"
                if value == NGSI_LD_NULL and self.nulls and member != "datasetId":
                    made[member] = value
                else:
                    kept = check_member(kind, member, value, where, self.names)
                    if kept != "@none":
                        made[member] = kept
            elif member == "type" or member == "@type" or member in IGNORED:
                continue
            elif member in SEALED:
                if not self._is_proof(term):
                    raise BadRequestData(f"Attribute '{term}': only ngsildproof has '{member}'.")
                made[member] = check_sealed(member, value, f"Attribute '{term}'", self.names)
            elif member in VALUE_MEMBERS or member in OUTPUT_ONLY:
                raise BadRequestData(f"Attribute '{term}': a {kind} must not have '{member}'.")
            elif member == "@context":
                raise BadRequestData(f"Attribute '{term}': '@context' is allowed at the top of the document only.")
            else:
                if depth >= self.rules.attribute_depth:
                    raise BadRequestData(
                        f"Attribute '{term}': attributes of attributes go deeper than the limit of "
                        f"{self.rules.attribute_depth} levels."
                    )
                if attrs is None:
                    attrs = {}
                path = f"{term}.{member}"
                name = self.names.expand(member)
                if name in attrs:
                    raise BadRequestData(f"Attribute '{path}' is given twice, under two names of '{name}'.")
                attrs[name] = self.attribute(path, name, value, depth + 1)
        if attrs is not None:
            made["attrs"] = attrs
        if value_member is not None and value_member not in made and not (self.partial and depth == 1):
            raise BadRequestData(f"Attribute '{term}': a {kind} must have '{value_member}'.")
        return cast("Instance", made)

    def _value(self, term: str, kind: str, value: Any) -> Any:
        """The value of an attribute, checked; the same object wherever the type leaves it to the user."""
        where = f"Attribute '{term}'"
        if value is None:
            raise BadRequestData(
                f"{where}: '{VALUE_MEMBER[kind]}' must not be null; to delete an attribute, its value is '{NGSI_LD_NULL}'."
            )
        if value in _NULLS:
            if self.nulls:
                return NGSI_LD_NULL
            raise _null_refused(term)
        match kind:
            case "Property" | "JsonProperty":
                if kind == "JsonProperty":
                    check_json(value, where)
                elif self._is_proof(term) and type(value) is not dict:
                    raise BadRequestData(f"{where}: 'value' must be the proof, a JSON object, got {shown(value)}.")
                if type(value) is dict and not self.deep_nulls and _has_null(value.values()):
                    raise _null_refused(term)
                return value
            case "GeoProperty":
                value = _decoded(value)
                check_geometry(value, f"{where}: 'value'", self.rules.geometry_vertices)
                return value
            case "Relationship":
                return check_uris(value, "object", where)
            case "LanguageProperty":
                if not self.deep_nulls and type(value) is dict and _has_null(value.values()):
                    raise _null_refused(term)
                return check_language_map(value, where)
            case "VocabProperty":
                return expand_vocab(value, where, self.names)
            case "ListProperty":
                if type(value) is not list:
                    raise BadRequestData(f"{where}: 'valueList' must be a list, got {shown(value)}.")
                return value
            case _:
                return check_object_list(value, where)

    def _is_proof(self, term: str) -> bool:
        """Whether the path ends at ngsildproof (4.5.2.2)."""
        return "proof" in term and self.names.expand(term.rpartition(".")[2]) == PROOF

    def _bare(self, term: str, value: Any) -> Instance:
        """A value alone: a Property, or a GeoProperty when it is a geometry (4.5.2.3, 4.5.4)."""
        if type(value) is dict and "@context" in value:
            raise BadRequestData(f"Attribute '{term}': '@context' is allowed at the top of the document only.")
        kind = "GeoProperty" if looks_like_geometry(value) else "Property"
        return {"type": kind, "value": self._value(term, kind, value)}

    def _datasets(self, term: str, name: Iri, values: dict[str, Any]) -> list[Instance]:
        """The simplified representation of several instances: datasetId -> value (4.5.4)."""
        self.bare.add(name)
        instances: list[Instance] = []
        for dataset, value in values.items():
            instance = self.instance(term, value, 1)
            if dataset != "@none":
                instance["datasetId"] = uri(dataset, "datasetId", f"Attribute '{term}'")
            instances.append(instance)
        if not instances:
            raise BadRequestData(f"Attribute '{term}': 'dataset' must have at least one value.")
        return instances


def _decoded(value: Any) -> Any:
    """A geometry that stands as JSON in a string, as an object (4.7.2); anything else as it is."""
    if type(value) is str and value.startswith("{"):
        try:
            return loads(value.encode())
        except ValueError:
            return value
    return value


def _is_reified(value: Any) -> bool:
    """Whether `value` is an attribute instance rather than a value alone."""
    if type(value) is not dict:
        return False
    kind = value.get("type")
    if kind is not None:
        return type(kind) is str and kind in VALUE_MEMBER
    return not VALUE_MEMBERS.isdisjoint(value) or _keyword_type(value) is not None


def _keyword_type(body: dict[str, Any]) -> str | None:
    """The attribute type said by '@type'; None where that is a JSON-LD value's type, or not there."""
    kind = body.get("@type")
    return kind if type(kind) is str and kind in VALUE_MEMBER else None


def _is_typed_value(value: dict[str, Any]) -> bool:
    """Whether `value` is how the simplified representation writes a value whose type would be lost otherwise (4.5.4)."""
    return len(value) == 1 and not _TYPED_VALUES.isdisjoint(value)


def _has_null(values: Iterable[Any]) -> bool:
    return any(value == NGSI_LD_NULL or (type(value) is dict and _has_null(value.values())) for value in values)


def _null_refused(term: str) -> BadRequestData:
    return BadRequestData(
        f"Attribute '{term}': '{NGSI_LD_NULL}' asks for a deletion, which this operation does not do here."
    )


def _twice(term: str, datasets: list[str]) -> str:
    double = next(dataset for dataset in datasets if datasets.count(dataset) > 1)
    if not double:
        return f"Attribute '{term}': only one instance can be without 'datasetId'."
    return f"Attribute '{term}': 'datasetId' must differ between instances, got '{double}' twice."
