"""Answers with data: the @context in the body or in the Link header (ETSI GS CIM 009 v1.9.1, 6.3.6)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broker.api.negotiation import GEO_JSON, JSON
from broker.jsonio import dumps
from broker.jsonld.context import Context
from broker.jsonld.link import format_context_link


def answer(
    request: web.Request, body: Any, context: Context, media_type: str, *, url: str | None = None
) -> web.Response:
    """200 with `body`, an object or a list of them, as `media_type`; its names are compacted by `context`.

    `url` names the context in a Link header where it takes more than one to say it (`broker.api.context.shared_url`).
    """
    if media_type == JSON or (media_type == GEO_JSON and _prefers_plain(request)):
        headers = {"Content-Type": media_type}
        url = context.url or url
        if url is not None:
            headers["Link"] = format_context_link(url)
        return web.Response(body=dumps(body), headers=headers)
    if isinstance(body, list):
        body = [{**item, "@context": context.value} for item in body]
    else:
        body = {**body, "@context": context.value}
    return web.Response(body=dumps(body), headers={"Content-Type": media_type})


def _prefers_plain(request: web.Request) -> bool:
    """Whether GeoJSON is wanted without '@context' (Prefer: body=json; RFC 7240)."""
    preferences = ",".join(request.headers.getall("Prefer", ())).split(",")
    return any(preference.replace(" ", "").lower() == "body=json" for preference in preferences)
