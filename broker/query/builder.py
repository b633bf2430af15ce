"""Request parameters -> EntityQuery (ETSI GS CIM 009 v1.9.1, 5.7.2.4, 6.4.3.2, 6.3.10, 6.3.13)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from broker.config import Limits
from broker.errors import BadRequestData, TooComplexQuery, TooManyResults
from broker.ngsild.model import Iri
from broker.query.ast import And, EntityQuery, EntitySelector, GeoQuery, Linked, Or, OrderTerm, Q, TypeSelection
from broker.query.collation import collation
from broker.query.geo import parse_geo, parse_reference
from broker.query.literals import is_uri
from broker.query.order import parse_order
from broker.query.pattern import check_pattern
from broker.query.q import parse_q
from broker.query.scope import parse_scope
from broker.query.targets import ENTITY_MEMBERS
from broker.query.types import parse_types

DEFAULT_LIMIT: Final = 20
"""Entities on a page when the request does not say (5.5.9.1)."""

_LARGEST_OFFSET: Final = (1 << 63) - 1
_DEFAULT_INSTANCE: Final = "@none"


def entity_query(
    parameters: Mapping[str, str],
    expand: Callable[[str], str],
    limits: Limits,
    *,
    narrowed: bool = True,
    selectors: tuple[EntitySelector, ...] = (),
    linked: bool = False,
) -> EntityQuery:
    """What `parameters` (decoded, as in a URL) select: id, idPattern, type, attrs, q with expandValues and jsonKeys,
    georel with geometry, coordinates and geoproperty, scopeQ, datasetId, orderBy with collation, orderFrom and
    orderGeometry, limit, offset, count, local. Others are left alone. `selectors` stand beside them (5.2.23), each with
    a type. `linked`: q may ask for linked entities.

    `narrowed`: at least one of type, attrs, q, georel must be there, unless local=true or type=* (5.7.2.4). Raises
    BadRequestData, TooComplexQuery, TooManyResults, each naming the parameter.
    """
    types = _types(parameters, expand, limits)
    attributes = names_of(parameters.get("attrs"), "attrs", limits)
    q = _q(parameters, expand, limits, linked=linked)
    geo = _geo(parameters, expand, limits)
    local = flag(parameters, "local") or parameters.get("type") == "*"
    if parameters.get("type") == "*" and parameters.get("local") == "false":
        raise BadRequestData("'type=*' asks for local entities: 'local' must not be false then.")
    if narrowed and not local and not selectors and not (types or _narrows(attributes, q) or geo):
        raise BadRequestData(
            "The query is too wide: at least one of 'type', 'attrs', 'q' and 'georel' must be given, or 'local=true'."
        )
    pattern = parameters.get("idPattern")
    if pattern is not None:
        check_pattern(pattern, "idPattern", limits)
    count = flag(parameters, "count")
    scope = parameters.get("scopeQ")
    return EntityQuery(
        ids=_ids(parameters, limits),
        id_pattern=pattern,
        types=types,
        selectors=selectors,
        attributes=tuple(map(expand, attributes)),
        q=q,
        geo=geo,
        scope=None if scope is None else parse_scope(scope, limits),
        datasets=_datasets(parameters, limits),
        order=_order(parameters, expand, limits),
        collation=parameters.get("collation"),
        limit=_limit(parameters, limits, count=count),
        offset=_whole(parameters, "offset", 0),
        count=count,
    )


def names_of(text: str | None, name: str, limits: Limits) -> tuple[str, ...]:
    """The comma-separated list of parameter `name`, empty when absent. Raises BadRequestData, TooComplexQuery."""
    if text is None:
        return ()
    names = tuple(text.split(","))
    if not all(names) or any(any(map(str.isspace, each)) for each in names):
        raise BadRequestData(f"'{name}' must be a list of names with ',' between them, got '{text[:60]}'.")
    if len(names) > limits.query_results:
        raise TooComplexQuery(
            f"'{name}' has {len(names)} names; the limit (limits.query_results) is {limits.query_results}."
        )
    return names


def flag(parameters: Mapping[str, str], name: str) -> bool:
    """The Boolean parameter `name`, false when absent. Raises BadRequestData."""
    text = parameters.get(name, "false")
    if text not in ("true", "false"):
        raise BadRequestData(f"'{name}' must be true or false, got '{text[:60]}'.")
    return text == "true"


def _types(parameters: Mapping[str, str], expand: Callable[[str], str], limits: Limits) -> TypeSelection | None:
    text = parameters.get("type")
    return None if text is None or text == "*" else parse_types(text, expand, limits)


def _order(parameters: Mapping[str, str], expand: Callable[[str], str], limits: Limits) -> tuple[OrderTerm, ...]:
    """4.23; a point unless `orderGeometry` says otherwise."""
    if "collation" in parameters:
        collation(parameters["collation"])
    if "orderBy" not in parameters:
        return ()
    reference = None
    if "orderFrom" in parameters:
        reference = parse_reference(parameters.get("orderGeometry", "Point"), parameters["orderFrom"], limits)
    return parse_order(parameters["orderBy"], reference, expand, limits)


def _q(parameters: Mapping[str, str], expand: Callable[[str], str], limits: Limits, *, linked: bool) -> Q | None:
    expanded = names_of(parameters.get("expandValues"), "expandValues", limits)
    kept = names_of(parameters.get("jsonKeys"), "jsonKeys", limits)
    text = parameters.get("q")
    return (
        None
        if text is None
        else parse_q(text, expand, limits, expand_values=frozenset(expanded) - frozenset(kept), linked=linked)
    )


def _geo(parameters: Mapping[str, str], expand: Callable[[str], str], limits: Limits) -> GeoQuery | None:
    together = ("georel", "geometry", "coordinates")
    missing = [name for name in together if name not in parameters]
    if len(missing) == len(together):
        return None
    if missing:
        raise BadRequestData(
            f"'georel', 'geometry' and 'coordinates' must be given together; '{missing[0]}' is missing."
        )
    georel, geometry, coordinates = (parameters[name] for name in together)
    return parse_geo(georel, geometry, coordinates, parameters.get("geoproperty"), expand, limits)


def _narrows(attributes: tuple[str, ...], q: Q | None) -> bool:
    """5.7.2.4: at least one attribute that is not the system's."""
    return any(name not in ENTITY_MEMBERS for name in attributes) or (q is not None and _names_attribute(q))


def _names_attribute(q: Q) -> bool:
    if isinstance(q, And | Or):
        return any(map(_names_attribute, q.terms))
    if isinstance(q, Linked):
        return True
    return q.path.attribute not in ENTITY_MEMBERS


def _ids(parameters: Mapping[str, str], limits: Limits) -> tuple[str, ...]:
    ids = names_of(parameters.get("id"), "id", limits)
    for each in ids:
        if not is_uri(each):
            raise BadRequestData(f"'id' must be a list of URIs, got '{each[:60]}'.")
    return ids


def _datasets(parameters: Mapping[str, str], limits: Limits) -> tuple[Iri, ...]:
    datasets = names_of(parameters.get("datasetId"), "datasetId", limits)
    for each in datasets:
        if each != _DEFAULT_INSTANCE and not is_uri(each):
            raise BadRequestData(f"'datasetId' must be a list of URIs or '@none', got '{each[:60]}'.")
    return datasets


def _limit(parameters: Mapping[str, str], limits: Limits, *, count: bool) -> int:
    limit = _whole(parameters, "limit", min(DEFAULT_LIMIT, limits.query_results))
    if limit > limits.query_results:
        raise TooManyResults(f"'limit' must be at most {limits.query_results} (limits.query_results), got {limit}.")
    if limit == 0 and not count:
        raise BadRequestData("'limit' must be at least 1, or 0 together with 'count=true', got 0.")
    return limit


def _whole(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 19) or int(text) > _LARGEST_OFFSET:
        raise BadRequestData(f"'{name}' must be a whole number from 0, got '{text[:60]}'.")
    return int(text)
