"""A Query in a body as what the same query would be in a URL (ETSI GS CIM 009 v1.9.1, 5.2.23, 5.2.33, 5.2.13, 5.2.43).

So one reader, `broker.query.builder` and whoever reads how to render, knows what each parameter means and may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from broker.config import Limits
from broker.errors import BadRequestData
from broker.jsonio import dumps
from broker.query.ast import EntitySelector
from broker.query.literals import is_uri
from broker.query.pattern import check_pattern
from broker.query.types import parse_types

_TEXTS: Final = ("q", "scopeQ", "csf", "expandValues", "jsonKeys", "entityMapLifetime", "join", "lang")
_LISTS: Final = ("attrs", "containedBy", "datasetId", "omit", "pick")
_FLAGS: Final = ("entityMap", "splitEntities")
_MEMBERS: Final = frozenset({"type", "entities", "geoQ", "ordering", "joinLevel", *_TEXTS, *_LISTS, *_FLAGS})
_TEMPORAL: Final = frozenset({"temporalQ", "aggrParams"})
_GEO: Final = frozenset({"geometry", "coordinates", "georel", "geoproperty"})
_ORDERING: Final = frozenset({"orderBy", "collation", "coordinates", "geometry"})
_SELECTOR: Final = frozenset({"id", "idPattern", "type"})


def read_query(
    document: Any, expand: Callable[[str], str], limits: Limits
) -> tuple[dict[str, str], tuple[EntitySelector, ...]]:
    """(parameters as in a URL, the selectors of `entities`) of a Query. Raises BadRequestData, TooComplexQuery."""
    if not isinstance(document, dict):
        raise BadRequestData("A Query must be a JSON object.")
    _known(document, _MEMBERS | _TEMPORAL | {"@context", "@type"}, "A Query")
    if document.get("type", document.get("@type")) != "Query":
        raise BadRequestData("A Query must have the 'type' Query.")
    for member in sorted(_TEMPORAL & document.keys()):
        raise BadRequestData(f"'{member}' belongs to queries of the temporal evolution; this one is not.")
    given: dict[str, str] = {}
    for name in _TEXTS:
        if name in document:
            given[name] = _text(document[name], name)
    for name in _LISTS:
        if name in document:
            given[name] = ",".join(_texts(document[name], name))
    for name in _FLAGS:
        if name in document:
            if not isinstance(document[name], bool):
                raise BadRequestData(f"'{name}' must be true or false.")
            given[name] = "true" if document[name] else "false"
    if "joinLevel" in document:
        level = document["joinLevel"]
        if isinstance(level, bool) or not isinstance(level, int) or level < 1:
            raise BadRequestData("'joinLevel' must be a whole number from 1.")
        given["joinLevel"] = str(level)
    if "geoQ" in document:
        given |= _geo(document["geoQ"])
    if "ordering" in document:
        given |= _ordering(document["ordering"])
    selectors = _selectors(document["entities"], expand, limits) if "entities" in document else ()
    return given, selectors


def _selectors(value: Any, expand: Callable[[str], str], limits: Limits) -> tuple[EntitySelector, ...]:
    if not isinstance(value, list) or not value:
        raise BadRequestData("'entities' must be a list of at least one selector.")
    if len(value) > limits.query_terms:
        raise BadRequestData(
            f"'entities' has {len(value)} selectors; the limit (limits.query_terms) is {limits.query_terms}."
        )
    return tuple([_selector(each, expand, limits) for each in value])


def _selector(value: Any, expand: Callable[[str], str], limits: Limits) -> EntitySelector:
    if not isinstance(value, dict):
        raise BadRequestData("Each of 'entities' must be a JSON object.")
    _known(value, _SELECTOR, "A selector in 'entities'")
    if "type" not in value:
        raise BadRequestData("Each of 'entities' must have a 'type'; '*' stands for any.")
    types = _text(value["type"], "entities.type")
    ids = [value["id"]] if isinstance(value.get("id"), str) else value.get("id", [])
    if (
        not isinstance(ids, list)
        or ("id" in value and not ids)
        or not all(isinstance(each, str) and is_uri(each) for each in ids)
    ):
        raise BadRequestData("'entities.id' must be a URI or a list of URIs.")
    if len(ids) > limits.query_results:
        raise BadRequestData(
            f"'entities.id' has {len(ids)} URIs; the limit (limits.query_results) is {limits.query_results}."
        )
    pattern = None
    # An id takes precedence over a pattern (5.2.33).
    if "idPattern" in value:
        pattern = _text(value["idPattern"], "entities.idPattern")
        check_pattern(pattern, "entities.idPattern", limits)
    return EntitySelector(
        tuple(ids), None if ids else pattern, None if types == "*" else parse_types(types, expand, limits)
    )


def _geo(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise BadRequestData("'geoQ' must be a JSON object.")
    _known(value, _GEO, "'geoQ'")
    given = {
        name: _text(value[name], f"geoQ.{name}") for name in ("geometry", "georel", "geoproperty") if name in value
    }
    if "coordinates" in value:
        given["coordinates"] = _coordinates(value["coordinates"], "geoQ.coordinates")
    return given


def _ordering(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise BadRequestData("'ordering' must be a JSON object.")
    _known(value, _ORDERING, "'ordering'")
    if "orderBy" not in value:
        raise BadRequestData("'ordering' must have 'orderBy'.")
    given = {"orderBy": ",".join(_texts(value["orderBy"], "ordering.orderBy"))}
    if "collation" in value:
        given["collation"] = _text(value["collation"], "ordering.collation")
    if "coordinates" in value:
        given["orderFrom"] = _coordinates(value["coordinates"], "ordering.coordinates")
    if "geometry" in value:
        given["orderGeometry"] = _text(value["geometry"], "ordering.geometry")
    return given


def _coordinates(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise BadRequestData(f"'{name}' must be a JSON array.")
    return dumps(value).decode()


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise BadRequestData(f"'{name}' must be a non-empty string.")
    return value


def _texts(value: Any, name: str) -> list[str]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise BadRequestData(f"'{name}' must be a list of at least one string.")
    return [_text(each, name) for each in value]


def _known(document: Mapping[str, Any], known: frozenset[str], what: str) -> None:
    for member in document:
        if member not in known:
            raise BadRequestData(
                f"{what} has no member '{member[:100]}'; it has {', '.join(sorted(known - {'@context', '@type'}))}."
            )
