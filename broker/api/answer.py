"""Answers with data: the @context in the body or in the Link header (ETSI GS CIM 009 v1.9.1, 6.3.6)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broker.api.negotiation import GEO_JSON, JSON
from broker.api.preference import APPLIED, applied, preferred_version, prefers_plain
from broker.api.stream import STREAM_ITEMS, Stream, json_array
from broker.jsonio import dumps
from broker.jsonld.context import Context
from broker.jsonld.link import format_context_link


def answer(
    request: web.Request,
    body: Any,
    context: Context,
    media_type: str,
    *,
    url: str | None = None,
    altered: bool = False,
    partial: str | None = None,
) -> web.Response:
    """200 with `body`, an object or a list of them, as `media_type`; its names are compacted by `context`.

    `url` names the context in a Link header where it takes more than one to say it (`broker.api.context.shared_url`).
    A long list is streamed. `altered`: the body was made to conform to the version of NGSI-LD that is preferred; 203.
    `partial`: it is a part, whose Content-Range this is; 206.
    """
    status = 206 if partial is not None else 203 if altered else 200
    headers = {"Content-Type": media_type}
    if partial is not None:
        headers["Content-Range"] = partial
    if media_type != GEO_JSON:
        version = preferred_version(request)
        if version is not None:
            headers[APPLIED] = applied(version)
    if media_type == JSON or (media_type == GEO_JSON and prefers_plain(request)):
        url = context.url or url
        if url is not None:
            headers["Link"] = format_context_link(url)
        whole: bytes | Stream = json_array(body) if isinstance(body, list) and len(body) > STREAM_ITEMS else dumps(body)
        return web.Response(status=status, body=whole, headers=headers)

    def finish(item: Any) -> Any:
        return {**item, "@context": context.value}

    if not isinstance(body, list):
        whole = dumps(finish(body))
    elif len(body) > STREAM_ITEMS:
        whole = json_array(body, finish)
    else:
        whole = dumps([finish(item) for item in body])
    return web.Response(status=status, body=whole, headers=headers)
