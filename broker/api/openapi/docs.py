"""GET /openapi.json, and GET /docs, a page that shows it. Public: what can be asked is no secret, what is answered is."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from broker.api.openapi.document import describe
from broker.api.route import Route
from broker.api.services import Services
from broker.jsonio import dumps

GUARDED: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""The page needs nothing from elsewhere, runs nothing inline, and nothing frames it."""


def routes(services: Services, others: Sequence[Route]) -> list[Route]:
    """The description of `others` and of these routes themselves, made once."""
    files = resources.files(__package__) / "page"
    prefix = urlsplit(services.settings.base_url).path.rstrip("/")
    whole = (files / "page.html").read_text("utf-8").replace("{prefix}", prefix).encode()
    program, style = (files / "page.js").read_bytes(), (files / "page.css").read_bytes()

    async def description(request: web.Request) -> web.Response:
        """This description, as OpenAPI 3.1."""
        return web.Response(body=document, content_type="application/json", headers={"Cache-Control": "no-cache"})

    async def page(request: web.Request) -> web.Response:
        """This description, as a page to read."""
        return _served(whole, "text/html")

    async def page_program(request: web.Request) -> web.Response:
        """The page's program."""
        return _served(program, "text/javascript")

    async def page_style(request: web.Request) -> web.Response:
        """The page's style."""
        return _served(style, "text/css")

    own = [
        Route("GET", "/openapi.json", description, public=True, answers={200: "OpenApi"}),
        Route("GET", "/docs", page, public=True, answers={200: "Text"}, media=("text/html",)),
        Route("GET", "/docs/page.js", page_program, public=True, answers={200: "Text"}, media=("text/javascript",)),
        Route("GET", "/docs/page.css", page_style, public=True, answers={200: "Text"}, media=("text/css",)),
    ]
    document = dumps(describe([*others, *own], services.settings))
    return own


def _served(body: bytes, kind: str) -> web.Response:
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=GUARDED)
