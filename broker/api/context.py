"""The @context of a request: where it must stand, and where it must not (ETSI GS CIM 009 v1.9.1, 6.3.4 and 6.3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from broker.api.body import read_body
from broker.api.negotiation import JSON, LD_JSON
from broker.api.problem import LengthRequired
from broker.api.services import Services
from broker.errors import BadRequestData, InvalidRequest, UnsupportedMediaType
from broker.jsonio import parse_json
from broker.jsonld.context import Context
from broker.jsonld.core import CORE_URL
from broker.jsonld.documents import without_core
from broker.jsonld.link import parse_context_link

MERGE_PATCH = "application/merge-patch+json"
"""The same as application/json in a PATCH (6.3.4; RFC 7396)."""


@dataclass(slots=True)
class Document:
    """A body and the @context that its names are in."""

    value: Any
    """The JSON value, with '@context' still in it where it was."""
    names: Context
    source: Any
    """The @context as the client gave it: a URL, a list, an object; None when it gave none."""


async def read_document(request: web.Request, services: Services) -> Document:
    """The body of a POST, PATCH or PUT and its @context, which stands in the body or in the Link header, never in both.

    Raises LengthRequired, UnsupportedMediaType, PayloadTooLarge, InvalidRequest (no JSON), BadRequestData (the @context
    at the wrong place, or invalid), LdContextNotAvailable.
    """
    headers = request.headers
    in_body = headers.get("Content-Type") != JSON and _context_in_body(request)
    if "Content-Length" not in headers:
        raise LengthRequired("The header Content-Length is missing.")
    limits = services.settings.limits
    document = parse_json(await read_body(request, limits), max_depth=limits.json_depth)
    linked = parse_context_link(headers.getall("Link")) if "Link" in headers else None
    given = document.get("@context") if type(document) is dict else None
    if in_body:
        if linked is not None:
            raise BadRequestData(
                f"The Link header must not name a JSON-LD @context when the content type is {LD_JSON}: it stands in the body."
            )
        if type(document) is not dict:
            raise InvalidRequest("The body must be a JSON object.")
        if given is None:
            raise BadRequestData(f"The body must have an '@context' when the content type is {LD_JSON}.")
        return Document(document, await services.contexts.resolve(given), given)
    if given is not None or (type(document) is dict and "@context" in document):
        raise BadRequestData(
            f"The body must not have an '@context' when the content type is {JSON}: name it in the Link header, "
            f"or send {LD_JSON}."
        )
    names = services.contexts.core if linked is None else await services.contexts.resolve(linked)
    return Document(document, names, linked)


async def read_json_document(request: web.Request, services: Services) -> Any:
    """The JSON value of a body in which an '@context', if there is one, is data. Raises as `read_document` does."""
    _context_in_body(request)
    if "Content-Length" not in request.headers:
        raise LengthRequired("The header Content-Length is missing.")
    limits = services.settings.limits
    return parse_json(await read_body(request, limits), max_depth=limits.json_depth)


async def request_context(request: web.Request, services: Services) -> Context:
    """The @context of a GET or DELETE: the Link header's, or the core one. Raises BadRequestData, LdContextNotAvailable."""
    headers = request.headers
    linked = parse_context_link(headers.getall("Link")) if "Link" in headers else None
    return services.contexts.core if linked is None else await services.contexts.resolve(linked)


def base_url(request: web.Request, services: Services) -> str:
    """How the client reaches this broker, e.g. 'http://host:1026': as the settings say, else as its request says."""
    return services.settings.base_url.rstrip("/") or f"{request.scheme}://{request.host}"


async def shared_url(request: web.Request, services: Services, source: Any, tenant: str) -> str:
    """A URL that names an '@context' as sent, for a Link header; for an inline one, an @context is created (5.13.1).

    `tenant` is the name of the request's. Raises BadRequestData, StoreUnavailable, Overloaded.
    """
    user = without_core(source) if source is not None else None
    if user is None:
        return CORE_URL
    if isinstance(user, str):
        return user
    stored = await services.contexts.library.share(_served(user), tenant)
    return stored.url_at(base_url(request, services))


def _served(user: Any) -> list[Any]:
    """The content of the @context created for an inline one: with the core @context last (4.4)."""
    return [*user, CORE_URL] if isinstance(user, list) else [user, CORE_URL]


def _context_in_body(request: web.Request) -> bool:
    content_type = request.content_type
    if content_type == LD_JSON:
        return True
    if content_type == JSON or (content_type == MERGE_PATCH and request.method == "PATCH"):
        return False
    raise UnsupportedMediaType(f"The content type must be {JSON} or {LD_JSON}, got '{content_type}'.")
