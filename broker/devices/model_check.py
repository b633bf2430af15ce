"""Does an entity keep to the published model of its type? Pure; what the models say is in `broker.devices.published`.

The models describe the simplified representation. What NGSI-LD makes of that is let pass: a DateTime is its text, one
target of a relationship is as good as a list of one (JSON-LD 1.1, 4.3), and a value of a language is a text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import jsonschema_rs
import msgspec
from msgspec import Struct

from broker.devices.defaults import EntityModel, entity_models
from broker.devices.published import PACKAGE, Published, retriever, schema_file
from broker.ngsild.model import VALUE_MEMBER

Rule = Literal["required", "unknown", "kind", "unit"] | str
_ALWAYS_OURS: Final = frozenset({"containedInPlace", "isSpaceOfBuilding", "refPointOfInterest"})
"""What ties an entity to its place, whatever its type."""
_MEMBERS: Final = frozenset({"id", "type", "@context", "scope", "createdAt", "modifiedAt", "deletedAt", "expiresAt"})
_KINDS: Final = {
    "Relationship": "Relationship",
    "ListRelationship": "Relationship",
    "GeoProperty": "GeoProperty",
}
_TIMES: Final = frozenset({"DateTime", "Date", "Time"})
_LONGEST: Final = 200
"""Characters of a value or a message."""


class Deviation(Struct, frozen=True, rename="camel"):
    """One thing in which an entity is not as the published model has it."""

    entity: str
    type: str
    attribute: str
    rule: Rule
    """'required', 'type', 'enum', 'format', 'minimum' … as JSON Schema has them; 'kind': a Relationship where a Property
    is wanted; 'unit'; 'unknown': an attribute that neither the model nor we know, which the models allow."""
    value: Any
    message: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of the entities of one type."""

    name: str
    source: str
    """Where that is from, for people."""
    validator: Any
    """None: the type is ours, and has no published model."""
    kinds: Mapping[str, str]
    """Attribute -> Property, Relationship or GeoProperty."""
    lists: frozenset[str]
    """Relationships that are lists."""
    units: Mapping[str, frozenset[str]]
    """Attribute -> UN/CEFACT codes of the units that the model has it in."""
    own: frozenset[str]
    """Ours, and known."""


class NoModel(Exception):
    """There is nothing to hold a type against; the text says why."""


def rules_of(name: str, published: Published, schemas: Path | None = None) -> Rules:
    """What is asked of a type, by the package, or where `schemas` has its JSON Schema, by that. Raises NoModel."""
    ours = entity_models().get(name)
    if ours is not None and not ours.subject:
        return Rules(name, "our own", None, {}, frozenset(), _units(ours), frozenset(ours.attributes()))
    subjects = published.subjects(name)
    subject = ours.subject if ours is not None else subjects[0] if len(subjects) == 1 else ""
    if not subjects:
        raise NoModel("there is no published model of that name")
    if not subject:
        raise NoModel(f"there are several published models of that name: {', '.join(subjects)}")
    rows = published.attributes(subject, name)
    source = f"{subject} {published.model_version(subject, name)}, {PACKAGE} {published.version}"
    options: dict[str, Any] = {"validate_formats": True}
    schema = published.schema(subject, name)
    if schemas is not None and schema_file(schemas, subject, name).is_file():
        schema = msgspec.json.decode(schema_file(schemas, subject, name).read_bytes())
        source = f"{subject} {schema.get('$schemaVersion', '')}, its JSON Schema"
        options["retriever"] = retriever(schemas)
    try:
        validator = jsonschema_rs.validator_for(schema, **options)
    except (ValueError, LookupError) as error:
        raise NoModel(f"its JSON Schema cannot be used: {str(error)[:_LONGEST]}") from None
    return Rules(
        name,
        source,
        validator,
        {row.name: row.kind for row in rows.values() if row.kind},
        frozenset(row.name for row in rows.values() if row.json_type == "array" and row.kind == "Relationship"),
        _units(ours) if ours is not None else {},
        frozenset(_own(ours)) if ours is not None else _ALWAYS_OURS,
    )


class Check:
    """One look at many entities: what it was held against, and what deviates."""

    def __init__(
        self, published: Published, schemas: Path | None = None, *, strict: bool = False, keep: int | None = None
    ) -> None:
        """`strict`: attributes that nobody knows deviate, too. `keep`: most deviations that are kept; the rest is counted."""
        self.published = published
        self.checked: Counter[str] = Counter()
        self.deviating: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()
        """'TYPE: why' -> entities."""
        self.found: list[Deviation] = []
        self.total = 0
        """Deviations, count."""
        self._keep = keep
        self._schemas = schemas
        self._strict = strict
        self._rules: dict[str, Rules | str] = {}
        self._several: set[str] = set()
        """Entities of several types, which may come once with each."""

    def look_at(self, entities: Iterable[Mapping[str, Any]]) -> None:
        """Several entities."""
        for entity in entities:
            self.look(entity)

    def look(self, entity: Mapping[str, Any]) -> None:
        """One entity, normalized, with names."""
        names = entity.get("type", "")
        names = names if isinstance(names, list) else [names]
        if entity["id"] in self._several:
            return
        if len(names) > 1:
            self._several.add(entity["id"])
        rules = self._first(names)
        if isinstance(rules, str):
            self.passed_over[f"{names[0]}: {rules}"] += 1
            return
        self.checked[rules.name] += 1
        found = [one for one in deviations(entity, rules) if self._strict or one.rule != "unknown"]
        self.deviating[rules.name] += bool(found)
        self.total += len(found)
        self.found += found if self._keep is None else found[: max(0, self._keep - len(self.found))]

    def source(self, name: str) -> str:
        """What a type was held against."""
        rules = self._rules[name]
        return rules.source if isinstance(rules, Rules) else rules

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "package": self.published.version,
            "entities": self.checked.total(),
            "found": self.total,
            "types": [
                {"type": name, "model": self.source(name), "entities": count, "deviating": self.deviating[name]}
                for name, count in sorted(self.checked.items())
            ],
            "passedOver": dict(sorted(self.passed_over.items())),
            "deviations": [msgspec.to_builtins(one) for one in self.found],
        }

    def _first(self, names: Sequence[str]) -> Rules | str:
        """The rules of the first type that has some; why there are none."""
        for name in names:
            if name not in self._rules:
                try:
                    self._rules[name] = rules_of(name, self.published, self._schemas)
                except NoModel as error:
                    self._rules[name] = str(error)
            if not isinstance(self._rules[name], str):
                return self._rules[name]
        return self._rules[names[0]]


def _units(ours: EntityModel) -> dict[str, frozenset[str]]:
    units: dict[str, set[str]] = {}
    for mapped in ours.quantities.values():
        if mapped.unit:
            units.setdefault(mapped.attribute, set()).add(mapped.unit)
    return {attribute: frozenset(codes) for attribute, codes in units.items()}


def _own(ours: EntityModel) -> set[str]:
    return {one.attribute for one in ours.quantities.values() if one.own} | set(ours.own) | _ALWAYS_OURS


def deviations(entity: Mapping[str, Any], rules: Rules) -> list[Deviation]:
    """What is not as it should be in an entity, given in the normalized representation with names."""
    return list(_found(entity, rules))


def _found(entity: Mapping[str, Any], rules: Rules) -> Iterator[Deviation]:
    def deviation(attribute: str, rule: Rule, value: Any, message: str) -> Deviation:
        return Deviation(str(entity.get("id", "")), rules.name, attribute, rule, _short(value), message[:_LONGEST])

    simple: dict[str, Any] = {"id": entity.get("id"), "type": rules.name}
    passed_over = set()
    for name, instances in entity.items():
        if name in _MEMBERS:
            continue
        known = name in rules.kinds or (rules.validator is None and name in rules.own)
        if not known and name not in rules.own:
            yield deviation(name, "unknown", None, "Neither the published model nor we have this attribute.")
        for instance in instances if isinstance(instances, list) else [instances]:
            kind = _KINDS.get(instance.get("type", ""), "Property")
            value = _value(instance)
            wanted = rules.kinds.get(name)
            if wanted is not None and kind != wanted:
                yield deviation(name, "kind", value, f"It is a {kind}, and a {wanted} in the model.")
                passed_over.add(name)
            units = rules.units.get(name)
            code = instance.get("unitCode")
            if units and code is not None and code not in units:
                yield deviation(
                    name, "unit", code, f"Its unitCode is '{code}'; the model has {' or '.join(sorted(units))}."
                )
            if "datasetId" not in instance or name not in simple:
                simple[name] = [value] if name in rules.lists and isinstance(value, str) else value
    if rules.validator is None:
        return
    for error in rules.validator.iter_errors(simple):
        rule = str(error.schema_path[-1]) if error.schema_path else "schema"
        path = [str(part) for part in error.instance_path]
        attribute = path[0] if path else str(getattr(error.kind, "property", "")).strip('"')
        if attribute not in passed_over:
            value = simple.get(attribute) if len(path) < 2 else error.instance
            yield deviation(".".join(path) or attribute, rule, value, _said(rule, error.message))


def _value(instance: Mapping[str, Any]) -> Any:
    kind = instance.get("type", "")
    value = instance.get(VALUE_MEMBER.get(kind, "value"))
    if kind == "LanguageProperty" and isinstance(value, dict):
        return next((text for text in value.values() if isinstance(text, str)), None)
    if isinstance(value, dict) and value.get("@type") in _TIMES and "@value" in value:
        return value["@value"]
    return value


def _said(rule: str, message: str) -> str:
    if rule in ("anyOf", "oneOf"):
        return "It is none of the forms that the model allows."
    if rule == "required":
        return "The model requires it."
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…"


def _short(value: Any) -> Any:
    text = msgspec.json.encode(value).decode()
    return value if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
