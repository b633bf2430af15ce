"""One route as an Operation Object of OpenAPI 3.1."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

from broker.api.negotiation import GEO_JSON, JSON, LD_JSON
from broker.api.openapi.headers import ANSWER
from broker.api.openapi.parameters import OPTIONS, Known, path_parameter, query_parameter
from broker.api.openapi.schemas import reference, schemas
from broker.api.openapi.tags import tag_of
from broker.api.route import Route
from broker.config import Limits, Settings

_VARIABLE: Final = re.compile(r"\{(\w+)\}")
_CLAUSES: Final = re.compile(r"\s*\(((?:\d+(?:\.\d+)+[, ]*)+)\)\s*$")
_END: Final = re.compile(r"(?<=[.?]) ")
_NGSI_LD: Final = "/ngsi-ld/"
_MERGE_PATCH: Final = "application/merge-patch+json"
_AS: Final = {
    (GEO_JSON, "EntityShown"): "Feature",
    (GEO_JSON, "EntityShown[]"): "FeatureCollection",
    ("text/csv", "Exported"): "Table",
}
"""What a schema is in another media type than JSON."""

_MEANING: Final[dict[int, str]] = {
    200: "Done.",
    201: "Created.",
    202: "Taken on: it waits in quarantine, or is worked off from here on.",
    203: "Found, and altered to conform to the version that Prefer names.",
    204: "Done.",
    206: "In part: there are more instances than one answer holds; Content-Range says the interval.",
    207: "Done in part: which, and what not, and why.",
    304: "As If-None-Match has it already.",
    400: "The request is not valid; the detail says what, where, and what would be right.",
    401: "No token, or not one of ours; only where the broker's settings ask for one.",
    403: "Too complex, or more than one page may hold; personal data, and the token is not granted it.",
    404: "Not there, or no such tenant.",
    406: "None of the media types that the request accepts.",
    409: "It is there already, or its state forbids it.",
    411: "No Content-Length.",
    412: "Changed since: the conditions of If-Match or If-None-Match do not hold.",
    413: "The body is longer than the limit.",
    415: "Not one of the content types or codings that are read.",
    422: "The broker does not support this.",
    503: "No room, or no store, just now. Nothing was applied; try again.",
    504: "A remote @context could not be had.",
}
_WITHOUT_BODY: Final = frozenset({411, 415})


def operation(route: Route, settings: Settings) -> dict[str, Any]:
    """The Operation Object of a route."""
    name = operation_id(route)
    summary, description, clauses = described(route)
    made: dict[str, Any] = {"operationId": name, "tags": [tag_of(route.path)], "summary": summary}
    if clauses:
        description = f"{description}\n\nETSI GS CIM 009 v1.9.1, {clauses}.".strip()
        made["x-clauses"] = clauses.split(", ")
    if description:
        made["description"] = description
    parameters = list(_parameters(route, name, settings.limits))
    if parameters:
        made["parameters"] = parameters
    if route.body:
        made["requestBody"] = {
            "required": True,
            "content": {kind: _content(_body(route, kind)) for kind in _taken(route)},
        }
    made["responses"] = _responses(route)
    made["security"] = [] if route.public else [{"token": []}] if settings.http.token else [{}, {"token": []}]
    return made


def operation_id(route: Route) -> str:
    """Module and function: 'entities_query'. As lasting as the route itself, and unique."""
    module, name = route.handler.__module__.rsplit(".", 1)[-1], getattr(route.handler, "__name__", "")
    return f"{module}_{name}"


def described(route: Route) -> tuple[str, str, str]:
    """(summary, description, clauses) of the handler's docstring, whose first sentence may end with its clauses."""
    text = inspect.cleandoc(route.handler.__doc__ or operation_id(route))
    first, _, rest = text.partition("\n\n")
    first = " ".join(first.split())
    sentence, *more = _END.split(first, maxsplit=1)
    found = _CLAUSES.search(sentence.rstrip("."))
    clauses = found[1].strip() if found else ""
    summary = _CLAUSES.sub("", sentence.rstrip("."))
    paragraphs = [*more, *(" ".join(part.split()) for part in rest.split("\n\n"))]
    return summary, "\n\n".join(part for part in paragraphs if part), clauses


def _parameters(route: Route, name: str, limits: Limits) -> Iterator[dict[str, Any]]:
    for variable in _VARIABLE.findall(route.path):
        yield {**_parameter(path_parameter(variable), variable, "path"), "required": True}
    for each in sorted(route.parameters):
        made = _parameter(query_parameter(each, name, route.path), each, "query")
        if each == "options":
            keywords = sorted(route.options)
            made |= {
                "description": " ".join([made["description"], *(f"`{word}`: {OPTIONS[word]}." for word in keywords)]),
                "schema": {"type": "array", "items": {"enum": keywords}},
                "style": "form",
                "explode": False,
            }
        elif each == "limit" and route.path.startswith(_NGSI_LD):
            made["schema"] = {**made["schema"], "maximum": limits.query_results}
        elif each == "joinLevel":
            made["schema"] = {**made["schema"], "maximum": limits.join_level}
        yield made
    for header in _headers(route):
        yield {"$ref": f"#/components/parameters/{header}"}


def _parameter(known: Known, name: str, place: str) -> dict[str, Any]:
    clause = f" (clause {known.clause})" if known.clause else ""
    made: dict[str, Any] = {
        "name": name,
        "in": place,
        "description": f"{known.description.rstrip('.')}{clause}.",
        "schema": known.schema,
    }
    if known.required:
        made["required"] = True
    if known.example is not None:
        made["example"] = known.example
    return made


def _headers(route: Route) -> tuple[str, ...]:
    if not route.path.startswith(_NGSI_LD):
        return route.headers
    return ("NGSILD-Tenant", *(("Link",) if route.context else ()), *route.headers)


def _taken(route: Route) -> tuple[str, ...]:
    """Media types of a body (6.3.4)."""
    if route.takes:
        return route.takes
    patch = (_MERGE_PATCH,) if route.method == "PATCH" else ()
    return (JSON, LD_JSON, *patch) if route.path.startswith(_NGSI_LD) else (JSON, *patch)


def _body(route: Route, kind: str) -> str:
    """Schema of a body of a media type."""
    return f"{route.body}AsText" if kind.startswith("text/") else route.body


def _content(schema: str) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": reference(schema)}
    example = next(iter(schemas().get(schema.removesuffix("[]"), {}).get("examples", ())), None)
    if example is not None:
        content["example"] = [example] if schema.endswith("[]") else example
    return content


def _responses(route: Route) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for status, schema in sorted({**dict.fromkeys(_errors(route), ""), **route.answers}.items()):
        answer: dict[str, Any] = {"description": _MEANING.get(status, "See the body.")}
        if status in _WITHOUT_BODY and route.path.startswith(_NGSI_LD):
            pass  # answered by the status alone (6.3.4)
        elif status >= 400 and not schema:
            answer["content"] = {JSON: {"schema": reference("ProblemDetails")}}
        elif schema:
            answer["content"] = {
                kind: _content(_AS.get((kind, schema), schema)) for kind in (route.media if status < 207 else (JSON,))
            }
        headers = _answer_headers(route, status, schema)
        if headers:
            answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
        made[str(status)] = answer
    made["default"] = {"description": "Any other error.", "content": {JSON: {"schema": reference("ProblemDetails")}}}
    return made


def _errors(route: Route) -> Iterator[int]:
    """What follows from the rest of a route."""
    standard = route.path.startswith(_NGSI_LD)
    if standard or route.body or route.parameters:
        yield 400
    if not route.public:
        yield 401
    if standard or "{" in route.path:
        yield 404
    if route.method != "GET" or ({"q", "limit", "join"} & route.parameters and standard):
        yield 403
    if len(route.media) > 1:
        yield 406
    if route.body:
        yield from (411, 413, 415) if standard else (413, 415)
    if "If-Match" in route.headers:
        yield 412
    if route.method != "GET":
        yield 503
    if standard and route.context:
        yield 504


def _answer_headers(route: Route, status: int, schema: str) -> list[str]:
    names = []
    if status == 201 and not schema:
        names.append("Location")
    if status == 200 and route.path.startswith(_NGSI_LD) and route.context and schema:
        names.append("Link")
    if status == 200 and route.paged:
        names.append("Link")
    if status == 200 and "count" in route.parameters:
        names.append("NGSILD-Results-Count")
    if status == 206:
        names.append("Content-Range")
    tagged = 304 in route.answers or (not route.path.startswith(_NGSI_LD) and "If-Match" in route.headers)
    if status in (200, 201, 304) and tagged:
        names.append("ETag")
    if status == 503:
        names.append("Retry-After")
    return [name for name in names if name in ANSWER]
