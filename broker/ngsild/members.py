"""The members that an attribute instance may have, and what each must be.

Source: ETSI GS CIM 009 v1.9.1, 4.5.2, 4.5.3, 4.5.18, 4.5.20-4.5.24, 4.8, 4.22.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from broker.clock import parse_iso
from broker.errors import BadRequestData
from broker.ngsild.model import NGSI_LD_NULL, VALUE_MEMBER
from broker.ngsild.names import NGSI_LD, Names, is_uri

IGNORED: Final = frozenset({"createdAt", "modifiedAt", "deletedAt", "instanceId"})
"""System-generated: from a client they are ignored."""

TYPE_OF_MEMBER: Final[dict[str, str]] = {
    "value": "Property",
    "object": "Relationship",
    "languageMap": "LanguageProperty",
    "vocab": "VocabProperty",
    "json": "JsonProperty",
    "valueList": "ListProperty",
    "objectList": "ListRelationship",
}
"""The attribute type that a value member implies when 'type' is missing (concise representation)."""

OUTPUT_ONLY: Final = frozenset(
    {"entity", "entityList"} | {f"previous{member[0].upper()}{member[1:]}" for member in TYPE_OF_MEMBER}
)

_UNITLESS = frozenset({"Relationship", "LanguageProperty", "VocabProperty", "JsonProperty", "ListRelationship"})
_RELATIONSHIPS = frozenset({"Relationship", "ListRelationship"})
# RFC 5646 in its outline; "@none" stands for the default language.
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*|@none")


@lru_cache(maxsize=4096)
def is_date_time(text: str) -> bool:
    """Whether `text` is an NGSI-LD DateTime (4.6.3)."""
    return parse_iso(text) is not None


def shown(value: Any) -> str:
    """`value` for an error message: short."""
    text = f"'{value}'" if isinstance(value, str) else repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def date_time(value: Any, member: str, where: str) -> str:
    """A DateTime member."""
    if type(value) is not str or not is_date_time(value):
        raise BadRequestData(f"{where}: '{member}' must be an ISO 8601 date-time with 'Z', got {shown(value)}.")
    return value


def uri(value: Any, member: str, where: str) -> str:
    """A URI member."""
    if type(value) is not str or not is_uri(value):
        raise BadRequestData(f"{where}: '{member}' must be a URI, got {shown(value)}.")
    return value


def check_member(kind: str, member: str, value: Any, where: str, names: Names) -> Any:
    """The non-reified member `member` of an attribute of type `kind`, as it is kept."""
    return _CHECKS[member](kind, value, where, names)


def _observed_at(_: str, value: Any, where: str, __: Names) -> str:
    return date_time(value, "observedAt", where)


def _expires_at(_: str, value: Any, where: str, __: Names) -> str:
    return date_time(value, "expiresAt", where)


def _dataset_id(_: str, value: Any, where: str, __: Names) -> str:
    if value == NGSI_LD_NULL:
        raise BadRequestData(f"{where}: 'datasetId' cannot be NGSI-LD Null; it names the instance that is meant.")
    return value if value == "@none" else uri(value, "datasetId", where)


def _unit_code(kind: str, value: Any, where: str, _: Names) -> str:
    if kind in _UNITLESS:
        raise BadRequestData(f"{where}: a {kind} has no unit, so 'unitCode' must not be given.")
    if type(value) is not str or not value:
        raise BadRequestData(f"{where}: 'unitCode' must be a UN/CEFACT unit code, got {shown(value)}.")
    return value


def _value_type(kind: str, value: Any, where: str, names: Names) -> str:
    if kind in _RELATIONSHIPS:
        raise BadRequestData(f"{where}: a {kind} must not have 'valueType'; 'objectType' names the type of its object.")
    if type(value) is not str or not value:
        raise BadRequestData(f"{where}: 'valueType' must be the name of a data type, got {shown(value)}.")
    if kind == "LanguageProperty" and value not in ("langString", NGSI_LD_NULL):
        raise BadRequestData(f"{where}: the 'valueType' of a LanguageProperty must be langString, got {shown(value)}.")
    return value if value == NGSI_LD_NULL else names.expand(value)


def _object_type(kind: str, value: Any, where: str, names: Names) -> str | list[str]:
    if kind and kind not in _RELATIONSHIPS:
        raise BadRequestData(f"{where}: only a Relationship has 'objectType', not a {kind}.")
    if type(value) is str and value:
        return value if value == NGSI_LD_NULL else names.expand(value)
    if type(value) is list and value and all(type(name) is str and name for name in value):
        return [names.expand(name) for name in value]
    raise BadRequestData(f"{where}: 'objectType' must be one or more entity type names, got {shown(value)}.")


_CHECKS: Final[dict[str, Callable[[str, Any, str, Names], Any]]] = {
    "observedAt": _observed_at,
    "unitCode": _unit_code,
    "datasetId": _dataset_id,
    "expiresAt": _expires_at,
    "valueType": _value_type,
    "objectType": _object_type,
}
MEMBERS: Final = frozenset(_CHECKS)

VALUE_MEMBERS: Final = frozenset(TYPE_OF_MEMBER)
NOT_ATTRIBUTE_NAMES: Final = VALUE_MEMBERS | OUTPUT_ONLY | IGNORED | (MEMBERS - {"expiresAt"})
"""Names that an attribute of an entity cannot have, because they are members of attributes (4.5.1)."""


PROOF: Final = NGSI_LD + "ngsildproof"
SEALED: Final = frozenset({"entityIdSealed", "entityTypeSealed"})
"""Members of ngsildproof alone: which entity a proof was made of (4.5.2.2)."""


def check_sealed(member: str, value: Any, where: str, names: Names) -> str:
    """A member of ngsildproof, as it is kept: a URI, or the IRI of a type."""
    if member == "entityIdSealed":
        return uri(value, member, where)
    if type(value) is not str or not value:
        raise BadRequestData(f"{where}: '{member}' must be the name of an entity type, got {shown(value)}.")
    return names.expand(value)


def check_json(value: Any, where: str) -> Any:
    """What a JsonProperty holds: an object or a list of objects (4.5.24.2)."""
    if type(value) is dict or (type(value) is list and all(type(item) is dict for item in value)):
        return value
    raise BadRequestData(f"{where}: 'json' must be a JSON object or a list of JSON objects, got {shown(value)}.")


def check_uris(value: Any, member: str, where: str) -> str | list[str]:
    """The object of a Relationship: a URI, or a list of URIs."""
    if type(value) is str and is_uri(value):
        return value
    if type(value) is list and value and all(type(item) is str and is_uri(item) for item in value):
        return value
    raise BadRequestData(f"{where}: '{member}' must be a URI or a list of URIs, got {shown(value)}.")


def check_object_list(value: Any, where: str) -> list[str]:
    """The objects of a ListRelationship: URIs, or objects with a URI as 'object'; kept as URIs (4.5.22)."""
    if type(value) is list:
        uris: list[Any] = [item.get("object") if type(item) is dict and len(item) == 1 else item for item in value]
        if all(type(item) is str and is_uri(item) for item in uris):
            return uris
    raise BadRequestData(
        f"{where}: 'objectList' must be a list of URIs or of objects with a URI as 'object', got {shown(value)}."
    )


def check_language_map(value: Any, where: str) -> dict[str, Any]:
    """The texts of a LanguageProperty by language tag (4.5.18)."""
    if type(value) is not dict or not value:
        raise BadRequestData(
            f"{where}: 'languageMap' must be an object with a text for each language, got {shown(value)}."
        )
    for tag, text in value.items():
        if _LANGUAGE.fullmatch(tag) is None:
            raise BadRequestData(f"{where}: '{tag}' in 'languageMap' is not a language tag (RFC 5646) or '@none'.")
        if type(text) is not str and not (type(text) is list and all(type(item) is str for item in text)):
            raise BadRequestData(
                f"{where}: 'languageMap' must have a text or a list of texts for '{tag}', got {shown(text)}."
            )
    return value


def expand_vocab(value: Any, where: str, names: Names) -> str | list[str]:
    """The terms of a VocabProperty, expanded (4.5.20)."""
    if type(value) is str and value:
        return names.expand_value(value)
    if type(value) is list and value and all(type(item) is str and item for item in value):
        return [names.expand_value(item) for item in value]
    raise BadRequestData(f"{where}: 'vocab' must be a term or a list of terms, got {shown(value)}.")


assert set(TYPE_OF_MEMBER) == set(VALUE_MEMBER.values())
