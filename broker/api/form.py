"""How a client wants entities rendered (ETSI GS CIM 009 v1.9.1, 6.3.7, 6.3.11, 4.15, 4.21)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from broker.api.parameters import options
from broker.config import Limits
from broker.errors import BadRequestData, InvalidRequest
from broker.ngsild.language import parse_languages
from broker.ngsild.model import LOCATION, Iri
from broker.ngsild.names import Names, is_uri
from broker.ngsild.render import Form, Representation
from broker.query.builder import names_of

PARAMETERS: Final = frozenset({"attrs", "datasetId", "format", "geometryProperty", "lang", "omit", "options", "pick"})

_REPRESENTATIONS: Final[dict[str, Representation]] = {
    "normalized": "normalized",
    "concise": "concise",
    "simplified": "simplified",
    "keyValues": "simplified",
}
_OPTIONS: Final = frozenset({*_REPRESENTATIONS, "sysAttrs"})
_MEMBERS: Final = frozenset({"id", "type", "scope"})
_PLAIN: Final = Form()


def read_form(given: Mapping[str, str], names: Names, limits: Limits) -> Form:
    """The form that the parameters ask for. Raises BadRequestData, InvalidRequest.

    `options` is the deprecated way to say the format; where both speak, `format` decides (6.3.7).
    """
    if PARAMETERS.isdisjoint(given):
        return _PLAIN
    keywords = options(given, _OPTIONS)
    attributes = names_of(given.get("attrs"), "attrs", limits)
    return Form(
        representation=_representation(given.get("format"), keywords),
        sys_attrs="sysAttrs" in keywords,
        pick=_projection(given, "pick", names, limits),
        omit=_projection(given, "omit", names, limits) or frozenset(),
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


def _representation(format_: str | None, keywords: frozenset[str]) -> Representation:
    if format_ is not None:
        if format_ not in _REPRESENTATIONS:
            raise InvalidRequest(
                f"The parameter 'format' must be one of {', '.join(_REPRESENTATIONS)}, got '{format_[:100]}'."
            )
        return _REPRESENTATIONS[format_]
    asked = {_REPRESENTATIONS[keyword] for keyword in keywords if keyword in _REPRESENTATIONS}
    if len(asked) > 1:
        raise InvalidRequest("The parameter 'options' asks for more than one representation; one is possible.")
    return asked.pop() if asked else "normalized"


def _projection(given: Mapping[str, str], parameter: str, names: Names, limits: Limits) -> frozenset[str] | None:
    if parameter not in given:
        return None
    listed = names_of(given[parameter], parameter, limits)
    return frozenset(name if name in _MEMBERS else names.expand(name) for name in listed)


def _datasets(given: Mapping[str, str], limits: Limits) -> frozenset[str]:
    datasets = names_of(given.get("datasetId"), "datasetId", limits)
    for dataset in datasets:
        if dataset != "@none" and not is_uri(dataset):
            raise BadRequestData(f"The parameter 'datasetId' must be URIs or '@none', got '{dataset[:100]}'.")
    return frozenset(datasets)
