"""/api/v1/export and /api/v1/import: the registry as tables and lists, out of it and into it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from aiohttp import web

from broker.api.body import read_long_body
from broker.api.management.common import answer
from broker.api.management.exports import Exports
from broker.api.management.listing import boolean
from broker.api.management.rows import MEMBERS, Read, from_csv, from_json, in_order
from broker.api.negotiation import JSON, negotiate
from broker.api.parameters import parameters
from broker.api.problem import problem_response
from broker.api.route import Route
from broker.api.services import Services
from broker.api.stream import Stream
from broker.errors import BadRequestData, BrokerError, ResourceNotFound, UnsupportedMediaType
from broker.jsonio import parse_json
from broker.pipeline.registry.columns import columns
from broker.pipeline.registry.imports import Importer, Problem, Report
from broker.pipeline.registry.rows import Options, Row, RowDone, RowKind

CSV: Final = "text/csv"
WHOLE: Final = "registry"
"""The name of the whole registry among the tables; JSON only."""
EXPORT: Final = frozenset({"format", "excel"})
IMPORT: Final = frozenset({"dryRun", "swap", "by", "why"})

_MEMBER: Final = re.compile(r"(?:`\$?\.?|'|\$\.)([A-Za-z@][A-Za-z0-9]*)")


def routes(services: Services) -> list[Route]:
    """Export, import."""
    tenant, core, limits = services.tenants.default, services.contexts.core, services.settings.limits
    exports = Exports(tenant.store, core, services.clock)
    importer = Importer(tenant.store, tenant.writer, services.claims, services.clock)

    async def export(request: web.Request) -> web.Response:
        """Export a part of the registry, or all of it. CSV by `format=csv` or the header Accept; `excel=true` as Swedish Excel has it. The import of an export changes nothing."""
        given = parameters(request, EXPORT)
        kind = _kind(request)
        wanted = given.get("format")
        if wanted not in (None, "csv", "json"):
            raise BadRequestData(f"'format' must be csv or json, got '{wanted[:40]}'.")
        excel = boolean(given, "excel") or False
        if wanted is None:
            csv = excel or negotiate(request.headers.get("Accept"), (JSON, CSV)) == CSV
        else:
            csv = wanted == "csv"
        if csv and kind is None:
            raise BadRequestData(f"'format': {WHOLE} is no table; take {', '.join(MEMBERS.values())} one by one.")
        pieces: AsyncIterator[bytes]
        if csv and kind is not None:
            pieces = exports.as_csv(kind, excel=excel)
        else:
            pieces = exports.as_json(kind) if kind is not None else exports.whole()
        response = web.Response(body=Stream(pieces), headers={"Content-Type": CSV if csv else JSON, "Vary": "Accept"})
        name = f"{kind or WHOLE}.{'csv' if csv else 'json'}"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    async def import_(request: web.Request) -> web.Response:
        """Import rows. All of them are looked at first, and nothing is applied while one has a problem; with `dryRun` the answer says what would be created, changed and left, and every problem.

        A row of a table changes the members that have a column; a JSON object is the whole thing, as with PUT. A row of a
        device may name the virtual sensor that it is, which is made where it is not there. Rows are applied in parts; should
        one of them fail, send the import again: what is there already is left alone.
        """
        given = parameters(request, IMPORT)
        dry_run = boolean(given, "dryRun") or False
        options = Options(core.expand, boolean(given, "swap") or False, given.get("by", ""), given.get("why", "import"))
        read = await rows(request, _kind(request))
        taken = in_order(read.rows)
        report = Report(read.count, dry_run, problems=read.problems)
        await importer.rehearse(taken, options, report)
        report.problems.sort(key=lambda problem: (list(MEMBERS.values()).index(problem.row.kind), problem.row.number))
        if dry_run:
            return answer(shown(report))
        if report.problems:
            many = len(report.problems)
            error = BadRequestData(
                f"{many} {'row has a problem' if many == 1 else 'rows have problems'}; nothing was applied. The first, in "
                f"row {report.problems[0].row.number}: {report.problems[0].error.detail}"
            )
            return _with_report(error, Report(read.count, dry_run, problems=report.problems))
        left = {id(row) for row, did in report.done if did.outcome == "unchanged"}
        done = Report(read.count, dry_run, [(row, did) for row, did in report.done if did.outcome == "unchanged"])
        await importer.apply([row for row in taken if id(row) not in left], options, done)
        if done.stopped is not None:
            done.stopped.detail = (
                f"{len(done.done)} of {read.count} rows were applied, then it stopped: {done.stopped.detail} "
                "Send the import again: what is there already is left alone."
            )
            return _with_report(done.stopped, done)
        return answer(shown(done))

    async def rows(request: web.Request, kind: RowKind | None) -> Read:
        if request.content_type not in (JSON, CSV):
            raise UnsupportedMediaType(f"The content type must be {JSON} or {CSV}, got '{request.content_type}'.")
        body = await read_long_body(request, limits.import_bytes, "limits.import_bytes")
        if request.content_type == CSV:
            if kind is None:
                raise BadRequestData(f"{WHOLE} is no table; send {', '.join(MEMBERS.values())} one by one, or JSON.")
            return await from_csv(body, kind, core, limits.import_rows)
        document = parse_json(body, max_depth=limits.json_depth)
        return await from_json(document, kind, core, services.contexts.resolve, limits.import_rows)

    return [
        Route(
            "GET",
            "/api/v1/export/{table}",
            export,
            parameters=EXPORT,
            answers={200: "Exported"},
            media=(JSON, CSV),
        ),
        Route(
            "POST",
            "/api/v1/import/{table}",
            import_,
            parameters=IMPORT,
            body="Imported",
            takes=(JSON, CSV),
            answers={200: "ImportReport", 400: "ImportRefused", 409: "ImportRefused"},
        ),
    ]


def _kind(request: web.Request) -> RowKind | None:
    """The table of the path; None for the whole registry."""
    name = request.match_info["table"]
    if name == WHOLE:
        return None
    for kind in MEMBERS.values():
        if name == kind:
            return kind
    raise ResourceNotFound(f"There is no table '{name[:60]}'; there are {', '.join((*MEMBERS.values(), WHOLE))}.")


def _with_report(error: BrokerError, report: Report) -> web.Response:
    """A ProblemDetail that has the report as a member (RFC 7807, 3.2)."""
    response = problem_response(error)
    shown_error = error.problem()
    plain = answer({**shown_error, "report": shown(report)}, error.status)
    if "Retry-After" in response.headers:
        plain.headers["Retry-After"] = response.headers["Retry-After"]
    return plain


def shown(report: Report) -> dict[str, Any]:
    """The report as JSON."""
    count = dict.fromkeys(("created", "changed", "unchanged"), 0)
    for _, done in report.done:
        count[done.outcome] += 1
    return {
        "dryRun": report.dry_run,
        "rows": report.rows,
        **count,
        "replayedUplinks": report.replayed,
        "problems": [_shown_problem(problem) for problem in report.problems],
        "changes": [_shown_change(row, done) for row, done in report.done if done.outcome != "unchanged"],
    }


def _shown_change(row: Row, done: RowDone) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "row": row.number,
        "id": row.id,
        "outcome": done.outcome,
        "what": list(done.what),
        "members": list(done.members),
    }


def _shown_problem(problem: Problem) -> dict[str, Any]:
    row, error = problem.row, problem.error
    return {
        "kind": row.kind,
        "row": row.number,
        "id": row.id,
        "member": _member(error.detail, columns(row.kind)),
        "detail": error.detail,
    }


def _member(detail: str, known: Mapping[str, object]) -> str | None:
    """The member that an error's text names first."""
    named = next((name for name in _MEMBER.findall(detail) if name in known), None)
    return "id" if named is None and "'s id must be" in detail else named
