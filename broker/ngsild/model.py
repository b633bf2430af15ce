"""The internal form of entities: plain data with expanded names, the user's values untouched.

Names of attributes, sub-attributes and types are IRIs (expanded by `broker.jsonld`). What the user wrote as a value is
never looked into on the way to the store and back. Source: ETSI GS CIM 009 v1.9.1, 4.5 and 5.2.

An entity:

    {"id": "urn:ngsi-ld:Room:214", "type": ["https://…/Room"], "createdAt": "…Z", "modifiedAt": "…Z",
     "scope": ["/a/b"]?, "expiresAt": "…Z"?,
     "attrs": {"https://…/temperature": [instance, …]}}

An instance (one per datasetId; the default instance has none):

    {"type": "Property", "value": 21.5, "observedAt": "…Z"?, "unitCode": "CEL"?, "datasetId": "urn:…"?,
     "createdAt": "…Z", "modifiedAt": "…Z", "attrs": {"https://…/accuracy": [instance]}?}

These dicts are immutable by agreement: whoever changes one makes a new one (copying the path to the change), because
the store, the matcher and other commands hold the same object.
"""

from __future__ import annotations

from typing import Any, Final, NotRequired, Required, TypedDict

Iri = str


class Instance(TypedDict, total=False):
    """One attribute instance (5.2.5–5.2.7, 5.2.32, 5.2.35–5.2.38). Sub-attributes stand in `attrs`, never beside."""

    type: Required[str]
    value: Any
    object: str | list[str]
    languageMap: dict[str, Any]
    vocab: Any
    json: Any
    valueList: list[Any]
    objectList: list[Any]
    objectType: Iri | list[Iri]
    valueType: Iri
    unitCode: str
    observedAt: str
    datasetId: str
    expiresAt: str
    instanceId: str
    entityIdSealed: str
    entityTypeSealed: Iri
    createdAt: str
    modifiedAt: str
    deletedAt: str
    attrs: dict[Iri, list[Instance]]


Attributes = dict[Iri, list[Instance]]


class Entity(TypedDict):
    """One entity (5.2.4) with expanded names."""

    id: str
    type: list[Iri]
    attrs: Attributes
    createdAt: str
    modifiedAt: str
    scope: NotRequired[list[str]]
    expiresAt: NotRequired[str]


VALUE_MEMBER: Final[dict[str, str]] = {
    "Property": "value",
    "GeoProperty": "value",
    "Relationship": "object",
    "LanguageProperty": "languageMap",
    "VocabProperty": "vocab",
    "JsonProperty": "json",
    "ListProperty": "valueList",
    "ListRelationship": "objectList",
}
"""The member that holds the value, by attribute type (4.5)."""

NGSI_LD_NULL: Final = "urn:ngsi-ld:null"
"""Stands for 'delete this' in update and merge (3.1, 4.5.0)."""

DEFAULT_VOCAB: Final = "https://uri.etsi.org/ngsi-ld/default-context/"
"""What the core @context prefixes unknown terms with."""

IMPLAUSIBLE: Final[Iri] = DEFAULT_VOCAB + "implausible"
"""Sub-attribute of a device's value that failed checks of plausibility: their names."""

PERSONAL_ALERTS: Final = "urn:ngsi-ld:Alert:personal-"
"""How the ids of alarms' entities begin that tell of personal data."""

LOCATION: Final[Iri] = "https://uri.etsi.org/ngsi-ld/location"


def default_instance(instances: list[Instance]) -> Instance | None:
    """The instance without datasetId, if there is one (4.5.5)."""
    for instance in instances:
        if "datasetId" not in instance:
            return instance
    return None


def value_of(instance: Instance) -> Any:
    """The instance's value, whatever its attribute type calls it."""
    return instance.get(VALUE_MEMBER[instance["type"]])
