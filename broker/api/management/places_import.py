"""POST /api/v1/places/import: buildings, rooms and any place, out of GeoJSON or CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from broker.api.body import read_body
from broker.api.management.common import answer
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.api.tenant import tenant_of
from broker.errors import BadRequestData, UnsupportedMediaType
from broker.jsonio import parse_json
from broker.ngsild.names import Names, is_name, is_uri
from broker.ngsild.parse import Rules
from broker.places.containment import vocabulary
from broker.places.geojson import read_geojson
from broker.places.given import Given, Options, Problem, parse_crs, parse_rename
from broker.places.importing import Import, Report
from broker.places.table import decode, read_table
from broker.query.builder import flag

PARAMETERS = frozenset(("dryRun", "type", "crs", "relationship", "rename"))
GEO_JSON: Final = ("application/geo+json", "application/json")
CSV: Final = "text/csv"
SHOWN: Final = 1_000
"""Places, warnings and problems in one answer, count of each."""


class ImportRefused(BadRequestData):
    """Rows have problems: nothing was written."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        rows = len({problem.row for problem in problems})
        first = problems[0]
        super().__init__(
            f"{rows} {'row has' if rows == 1 else 'rows have'} problems and nothing was written; the first, row {first.row}: "
            f"{first.problem}"
        )
        self._problems = msgspec.to_builtins(problems[:SHOWN])

    def problem(self) -> dict[str, object]:
        """With each row's problems."""
        return {**super().problem(), "problems": self._problems}


def routes(services: Services) -> list[Route]:
    """Import."""
    settings, names = services.settings, services.contexts.core
    words = vocabulary(settings.places, names)
    rules = Rules(geometry_vertices=settings.limits.geometry_vertices)

    async def import_places(request: web.Request) -> web.Response:
        """Import places. GeoJSON or CSV; each row becomes an entity, or is merged into the one that is there, of which what other systems wrote stays.

        With `dryRun=true` nothing is written: the answer says what would be created and changed, and every row's problems
        at once. Without it, rows with problems stop all of it, too. To import the same again changes nothing.
        """
        tenant = await tenant_of(request, services)
        given = parameters(request, PARAMETERS)
        dry = flag(given, "dryRun")
        options = _options(given, names, settings.places.import_rows)
        kind = request.content_type
        if kind not in (*GEO_JSON, CSV):
            known = ", ".join((*GEO_JSON, CSV))
            raise UnsupportedMediaType(f"The content type must be one of {known}, got '{kind}'.")
        body = await read_body(request, settings.limits)
        read = _table(body, request.charset, options) if kind == CSV else _geojson(body, options)
        report = await Import(read, options, names, rules, words).run(
            tenant.store, None if dry else tenant.writer, services.clock.stamp
        )
        if report.problems and not dry and not report.results:
            raise ImportRefused(report.problems)
        return answer(_shown(report, names, dry=dry))

    def _geojson(body: bytes, options: Options) -> Callable[[], list[Given]]:
        return lambda: read_geojson(parse_json(body, max_depth=settings.limits.json_depth), options)

    return [
        Route(
            "POST",
            "/api/v1/places/import",
            import_places,
            parameters=PARAMETERS,
            headers=("NGSILD-Tenant",),
            body="PlacesFile",
            takes=(*GEO_JSON, CSV),
            answers={200: "PlacesImported", 400: "PlacesRefused", 404: ""},
        )
    ]


def _table(body: bytes, charset: str | None, options: Options) -> Callable[[], list[Given]]:
    return lambda: read_table(decode(body, charset), options)


def _options(given: Mapping[str, str], names: Names, most: int) -> Options:
    for parameter in ("type", "relationship"):
        name = given.get(parameter)
        if name is not None and not is_name(name) and not is_uri(name):
            raise BadRequestData(f"'{parameter}' must be a name or an IRI, got '{name[:60]}'.")
    return Options(
        type=given.get("type"),
        crs=parse_crs(given["crs"]) if "crs" in given else None,
        relationship=given.get("relationship"),
        rename=parse_rename(given["rename"]) if "rename" in given else {},
        most=most,
    )


def _shown(report: Report, names: Names, *, dry: bool) -> dict[str, Any]:
    places = [
        {
            "row": result.row,
            "id": result.id,
            "what": result.imported.what,
            "attributes": [names.compact(name) for name in result.imported.attributes],
        }
        for result in report.results
        if result.imported.what != "unchanged"
    ]
    return {
        "dryRun": dry,
        "rows": report.rows,
        "created": report.count("created"),
        "changed": report.count("changed"),
        "unchanged": report.count("unchanged"),
        "places": places[:SHOWN],
        "warnings": report.warnings[:SHOWN],
        "problems": report.problems[:SHOWN],
        "complete": max(len(places), len(report.warnings), len(report.problems)) <= SHOWN,
    }
