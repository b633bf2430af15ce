"""The HTTP Link header that names a JSON-LD @context.

Source: ETSI GS CIM 009 v1.9.1, 6.3.5; JSON-LD 1.1, 6.2; RFC 8288 (the syntax).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from broker.errors import BadRequestData
from broker.jsonld.own import is_ours
from broker.ngsild.names import is_uri

CONTEXT_REL: Final = "http://www.w3.org/ns/json-ld#context"

_LINK = re.compile(
    r"\s*<([^<>]*)>((?:\s*;\s*[\w!#$%&'*+.^`|~-]+(?:\s*=\s*(?:\"(?:[^\"\\]|\\.)*\"|[^\s\",;]+))?)*)\s*(?:,|$)"
)
_PARAMETER = re.compile(r";\s*([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\",;]+)))?")


def parse_context_link(headers: Iterable[str]) -> str | None:
    """The URL of the @context that the Link headers name; links of other relations are passed over.

    Raises BadRequestData when a header cannot be read, or names two @contexts, or none that is a URL.
    """
    found = [url for header in headers for url in _contexts_in(header)]
    if len(found) > 1:
        raise BadRequestData(f"The Link header must name one JSON-LD @context, got {len(found)}.")
    if found and not ((is_uri(found[0]) and found[0].lower().startswith(("http://", "https://"))) or is_ours(found[0])):
        raise BadRequestData(f"The @context in the Link header must be an http or https URL, got '{found[0][:200]}'.")
    return found[0] if found else None


@lru_cache(maxsize=256)
def _contexts_in(header: str) -> tuple[str, ...]:
    """The @contexts that one header names. Clients send the same one with every request."""
    found: list[str] = []
    at = 0
    while header[at:].strip():
        link = _LINK.match(header, at)
        if link is None:
            raise BadRequestData(
                f"The Link header must be like '{format_context_link('https://…')}', got '{header[:200]}'."
            )
        at = link.end()
        relations = {name: quoted or bare for name, quoted, bare in reversed(_PARAMETER.findall(link[2].lower()))}.get(
            "rel", ""
        )
        if CONTEXT_REL in relations.split():
            found.append(link[1].strip())
    return tuple(found)


def format_context_link(url: str) -> str:
    """The Link header's value that names `url` as the @context."""
    return f'<{url}>; rel="{CONTEXT_REL}"; type="application/ld+json"'
