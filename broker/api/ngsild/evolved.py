"""How one request wants temporal evolutions, and they as an answer (ETSI GS CIM 009 v1.9.1, 5.7.3, 5.7.4, 6.3.6, 6.3.10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from broker.api.answer import answer
from broker.api.form import Formats, read_form
from broker.api.negotiation import DATA, negotiate
from broker.api.preference import preferred_version
from broker.api.services import Services
from broker.clock import iso
from broker.config import Limits
from broker.errors import BadRequestData, OperationNotSupported
from broker.history.instances import Wanted
from broker.history.page import Found
from broker.jsonld.context import Context
from broker.ngsild.model import Iri
from broker.ngsild.names import SCOPE
from broker.ngsild.projection import MEMBERS
from broker.ngsild.render import Form
from broker.ngsild.temporal import Evolution, Moment, conform_evolution, render_evolution
from broker.query.ast import EntityQuery
from broker.query.builder import flag
from broker.query.q import parse_q
from broker.query.temporal import TemporalQuery, parse_temporal

FORMATS: Final[Formats] = {
    "normalized": "normalized",
    "concise": "concise",
    "simplified": "simplified",
    "temporalValues": "simplified",
}
OPTIONS: Final = frozenset({*FORMATS, "sysAttrs"})

_AGGREGATED: Final = "aggregatedValues"
READ: Final = frozenset(
    {
        *("aggrMethods", "aggrPeriodDuration", "attrs", "datasetId", "endTimeAt", "entityMap", "entityMapLifetime"),
        *("format", "lang", "lastN", "local", "omit", "options", "pick", "timeAt", "timeproperty", "timerel"),
    }
)
"""Parameters of retrieval."""

QUERY: Final = READ | {
    *(
        "collation",
        "coordinates",
        "count",
        "csf",
        "expandValues",
        "geometry",
        "geoproperty",
        "georel",
        "id",
        "idPattern",
    ),
    *("jsonKeys", "limit", "offset", "orderBy", "q", "scopeQ", "splitEntities", "type"),
}
"""Parameters of a query."""


class Answering:
    """How one request wants evolutions."""

    def __init__(
        self,
        request: web.Request,
        services: Services,
        given: Mapping[str, str],
        names: Context,
        *,
        required: bool = False,
    ) -> None:
        """`required`: an interval must be given. Raises NotAcceptable, BadRequestData, InvalidRequest,
        OperationNotSupported.
        """
        self._request, self._given, self._names = request, given, names
        limits = services.settings.limits
        self.media_type = negotiate(request.headers.get("Accept"), DATA)
        given = _without_aggregation(given)
        for name in ("pick", "omit"):
            if "{" in given.get(name, ""):
                raise BadRequestData(f"'{name}' must not ask for linked entities of a temporal evolution.")
        self.form: Form = read_form(given, names, limits, FORMATS)
        self.query: TemporalQuery = parse_temporal(given, required=required)
        # With one broker there is nobody to map entities to, and no entity is split: said, and of no effect (5.7.4).
        flag(given, "entityMap")
        flag(given, "splitEntities")
        attributes = _attributes(self.form)
        omitted = frozenset(SCOPE if name == "scope" else name for name in self.form.omit)
        self.instances = Wanted(
            self.query, attributes or None, omitted, self.form.datasets, most=limits.temporal_instances
        )
        self.shows_attributes = attributes is None or bool(attributes)

    def rendered(self, evolution: Evolution) -> tuple[dict[str, Any], bool]:
        """What is shown of the evolution, and whether it was altered for an older version (4.3.6.8)."""
        made = render_evolution(evolution, self._names, self.form)
        version = preferred_version(self._request)
        if version is None:
            return made, False
        older = render_evolution(conform_evolution(evolution, version, self._names), self._names, self.form)
        return older, older != made

    def answer(
        self, found: Found, rendered: tuple[dict[str, Any], bool] | list[tuple[dict[str, Any], bool]]
    ) -> web.Response:
        """The response, to one evolution or to a list of them."""
        several = rendered if isinstance(rendered, list) else [rendered]
        return answer(
            self._request,
            [body for body, _ in several] if isinstance(rendered, list) else rendered[0],
            self._names,
            self.media_type,
            altered=any(altered for _, altered in several),
            partial=None if found.whole else self._range(found),
        )

    def _range(self, found: Found) -> str:
        """Content-Range of an answer in part: from the bound that the request set, if there, to the last instance shown."""
        moments = [
            moment
            for evolution in found.evolutions
            for each in evolution.attributes.values()
            for moment in each[:1] + each[-1:]
        ]
        oldest, newest = min(moments, key=_at).text, max(moments, key=_at).text
        query = self.query
        if query.last is not None:
            return f"date-time {newest if query.until is None else iso(query.until)}-{oldest}/{query.last}"
        return f"date-time {oldest if query.since is None else iso(query.since)}-{newest}/*"


def _at(moment: Moment) -> int:
    return moment.at


def _attributes(form: Form) -> frozenset[Iri] | None:
    """The attributes that the request names (5.7.4.4: "the Attributes specified by the query"); None: none, so all."""
    if form.attrs is not None or form.pick is None:
        return form.attrs
    return (form.pick - MEMBERS) | ({SCOPE} if "scope" in form.pick else frozenset())


def _without_aggregation(given: Mapping[str, str]) -> Mapping[str, str]:
    """The parameters where aggregated values are not what is asked for: `format` decides over `options` (6.3.7)."""
    keywords = [word.strip() for word in given.get("options", "").split(",")]
    if given.get("format", _AGGREGATED if _AGGREGATED in keywords else "") == _AGGREGATED:
        raise OperationNotSupported(
            "Aggregated values of temporal evolutions are not supported yet; ask for the values."
        )
    if _AGGREGATED not in keywords:
        return given
    return {**given, "options": ",".join(word for word in keywords if word != _AGGREGATED)}


def check_filters(given: Mapping[str, str], asked: EntityQuery, names: Context, limits: Limits) -> None:
    """What is not built yet is refused when it is valid, not passed over. Raises BadRequestData, OperationNotSupported."""
    if "csf" in given:
        parse_q(given["csf"], names.expand, limits)
    filters = {"q": asked.q, "georel": asked.geo, "scopeQ": asked.scope, "csf": given.get("csf")}
    for name, value in filters.items():
        if value is not None:
            raise OperationNotSupported(f"'{name}' is not supported yet for temporal evolutions.")
