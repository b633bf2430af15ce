"""The @contexts that this product publishes (`broker.jsonld.own`), for anyone: whoever gets data must be able to read it."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from aiohttp import web

from broker.api.compress import TAG_END
from broker.api.conditional import VARY_PLAIN
from broker.api.negotiation import LD_JSON
from broker.api.route import Route
from broker.api.services import Services
from broker.errors import ResourceNotFound
from broker.jsonld.own import PATH, PUBLISHED, published_text

_CACHE: Final = "public, max-age=86400"
"""Terms are only ever added: a day old is good enough."""


def routes(services: Services) -> list[Route]:
    """One document each."""

    async def serve(request: web.Request) -> web.Response:
        """Read a published @context. The names of what the broker writes, to be named in Link headers; the same on every broker."""
        wanted = request.match_info["document"]
        name = wanted.removesuffix(".jsonld")
        if name not in PUBLISHED or name == wanted:
            there = ", ".join(f"{one}.jsonld" for one in PUBLISHED)
            raise ResourceNotFound(f"There is no @context '{wanted[:100]}'; there are {there}.")
        text = published_text(name)
        tag = f'"{blake2b(text, digest_size=12).hexdigest()}"'
        headers = {"ETag": tag, "Cache-Control": _CACHE, "Access-Control-Allow-Origin": "*"}
        known = ",".join(request.headers.getall("If-None-Match", []))
        packed = tag[:-1] + TAG_END
        if known.strip() == "*" or tag in known or packed in known:
            headers["ETag"] = packed if packed in known else tag
            return web.Response(status=304, headers={**headers, "Vary": VARY_PLAIN})
        return web.Response(body=text, headers={**headers, "Content-Type": LD_JSON})

    return [
        Route(
            "GET",
            PATH + "{document}",
            serve,
            public=True,
            context=False,
            headers=("If-None-Match",),
            answers={200: "ContextDocument", 304: ""},
            media=(LD_JSON,),
        )
    ]
