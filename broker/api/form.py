"""How a client wants entities rendered (ETSI GS CIM 009 v1.9.1, 6.3.7, 6.3.11, 4.15, 4.21)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from broker.api.parameters import options
from broker.config import Limits
from broker.errors import BadRequestData, InvalidRequest, TooComplexQuery
from broker.ngsild.language import parse_languages
from broker.ngsild.linked import Join, Shown
from broker.ngsild.model import LOCATION, Entity, Iri
from broker.ngsild.names import Names, is_uri
from broker.ngsild.projection import MEMBERS, Projection, parse_projection
from broker.ngsild.render import Form, Representation
from broker.query.builder import names_of

PARAMETERS: Final = frozenset({"attrs", "datasetId", "format", "geometryProperty", "lang", "omit", "options", "pick"})

Formats = Mapping[str, Representation]
"""The values of `format`, and what each asks for."""

FORMATS: Final[Formats] = {
    "normalized": "normalized",
    "concise": "concise",
    "simplified": "simplified",
    "keyValues": "simplified",
}
OPTIONS: Final = frozenset({*FORMATS, "sysAttrs"})
JOIN: Final = frozenset({"containedBy", "join", "joinLevel"})

Shows = Callable[[Entity], Shown]
_PLAIN: Final = Form()


def read_form(given: Mapping[str, str], names: Names, limits: Limits, formats: Formats = FORMATS) -> Form:
    """The form that the parameters ask for, one of `formats`. Raises BadRequestData, InvalidRequest.

    `options` is the deprecated way to say the format; where both speak, `format` decides (6.3.7).
    """
    if PARAMETERS.isdisjoint(given):
        return _PLAIN
    keywords = options(given, frozenset({*formats, "sysAttrs"}))
    attributes = names_of(given.get("attrs"), "attrs", limits)
    for name in attributes:
        if name in MEMBERS:
            raise BadRequestData(f"The parameter 'attrs' names attributes, and '{name}' is none; 'pick' takes it.")
    pick, omit = _projection(given, "pick", names, limits), _projection(given, "omit", names, limits)
    if attributes and (pick is not None or omit is not None):
        raise BadRequestData("The parameter 'attrs' must not be given together with 'pick' or 'omit'.")
    if pick is not None and omit is not None and (both := pick.names & omit.plain):
        raise BadRequestData(f"'pick' and 'omit' must not name the same, got {', '.join(sorted(both))} in both.")
    return Form(
        representation=_representation(given.get("format"), keywords, formats),
        sys_attrs="sysAttrs" in keywords,
        pick=pick.names if pick is not None else None,
        omit=omit.plain if omit is not None else frozenset(),
        attrs=frozenset(map(names.expand, attributes)) if attributes else None,
        datasets=_datasets(given, limits),
        languages=parse_languages(given["lang"]) if "lang" in given else (),
    )


def geometry_property(given: Mapping[str, str], names: Names, *, geojson: bool) -> Iri:
    """The attribute that becomes a Feature's geometry. Raises BadRequestData where there are no Features (5.7.1.4)."""
    name = given.get("geometryProperty")
    if name is None:
        return LOCATION
    if not geojson:
        raise BadRequestData("The parameter 'geometryProperty' needs the header 'Accept: application/geo+json'.")
    return names.expand(name)


def _representation(format_: str | None, keywords: frozenset[str], formats: Formats) -> Representation:
    if format_ is not None:
        if format_ not in formats:
            raise InvalidRequest(f"The parameter 'format' must be one of {', '.join(formats)}, got '{format_[:100]}'.")
        return formats[format_]
    asked = {formats[keyword] for keyword in keywords if keyword in formats}
    if len(asked) > 1:
        raise InvalidRequest("The parameter 'options' asks for more than one representation; one is possible.")
    return asked.pop() if asked else "normalized"


def _projection(given: Mapping[str, str], parameter: str, names: Names, limits: Limits) -> Projection | None:
    return (
        parse_projection(given[parameter], parameter, names.expand, limits.query_results)
        if parameter in given
        else None
    )


def read_join(given: Mapping[str, str], names: Names, limits: Limits) -> tuple[Join | None, Shows]:
    """(how linked entities are retrieved, what is shown of each entity) (4.5.23, 4.21). Raises BadRequestData."""
    join: Join | None = None
    kind = given.get("join", "@none")
    if kind not in ("flat", "inline", "@none"):
        raise BadRequestData(f"'join' must be flat, inline or @none, got '{kind[:60]}'.")
    if kind != "@none":
        contained = names_of(given.get("containedBy"), "containedBy", limits)
        for each in contained:
            if not is_uri(each):
                raise BadRequestData(f"'containedBy' must be a list of URIs, got '{each[:60]}'.")
        join = Join("flat" if kind == "flat" else "inline", _level(given, limits), frozenset(contained))
    pick, omit = _projection(given, "pick", names, limits), _projection(given, "omit", names, limits)
    for parameter, projection in (("pick", pick), ("omit", omit)):
        if projection is not None and projection.depth > (join.level if join is not None else 0):
            raise BadRequestData(
                f"'{parameter}' asks for members of linked entities deeper than 'join' and 'joinLevel' retrieve them."
            )
    return join, lambda entity: Shown(entity, pick, omit)


def _level(given: Mapping[str, str], limits: Limits) -> int:
    text = given.get("joinLevel", "1")
    if not (text.isascii() and text.isdigit() and len(text) < 10) or int(text) < 1:
        raise BadRequestData(f"'joinLevel' must be a whole number from 1, got '{text[:60]}'.")
    if int(text) > limits.join_level:
        raise TooComplexQuery(f"'joinLevel' must be at most {limits.join_level} (limits.join_level), got {text}.")
    return int(text)


def _datasets(given: Mapping[str, str], limits: Limits) -> frozenset[str]:
    datasets = names_of(given.get("datasetId"), "datasetId", limits)
    for dataset in datasets:
        if dataset != "@none" and not is_uri(dataset):
            raise BadRequestData(f"The parameter 'datasetId' must be URIs or '@none', got '{dataset[:100]}'.")
    return frozenset(datasets)
