"""An @context value as sent, checked and flattened into term definitions; what it refers to is loaded by the caller.

Source: ETSI GS CIM 009 v1.9.1, 5.5.7 (what a user @context may not contain); JSON-LD 1.1, 4.1 and 9.15.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urljoin

from broker.errors import BadRequestData, LdContextNotAvailable
from broker.jsonld.core import is_core_url

DOCUMENTS: Final = 32
"""Remote documents that one @context may lead to, count: more is a mistake or an attack."""

_DEPTH: Final = 8
# Keywords of a context that say nothing about terms, or that would let a user's terms stand above the core's.
_DROPPED: Final = frozenset({"@protected", "@propagate", "@base", "@language", "@direction", "@version", "@import"})

Load = Callable[[str], Awaitable[Any]]
"""URL -> the '@context' value of the document there. Raises LdContextNotAvailable."""


def without_core(value: Any) -> Any:
    """A user's @context without the core @context; None when nothing else is left. Raises BadRequestData.

    It must be a URL, an object, or a list of those.
    """
    parts = value if isinstance(value, list) else [value]
    for part in parts:
        if isinstance(part, str):
            if not part.lower().startswith(("http://", "https://")):
                raise BadRequestData(f"The '@context' must name http or https URLs, got '{part[:200]}'.")
        elif not isinstance(part, dict):
            raise BadRequestData(
                f"The '@context' must be a URL, an object, or a list of those, got {repr(part)[:100]}."
            )
    kept = [part for part in parts if part != {} and not (isinstance(part, str) and is_core_url(part))]
    if not kept:
        return None
    return kept if isinstance(value, list) and len(kept) > 1 else kept[0]


async def flatten(value: Any, load: Load) -> tuple[list[dict[str, Any]], set[str]]:
    """(definitions in the order they apply, URLs they came from) of an @context value.

    The core @context is left out wherever it is referred to: it applies last anyway. Raises BadRequestData and what
    `load` raises.
    """
    definitions: list[dict[str, Any]] = []
    urls: set[str] = set()

    async def visit(part: Any, base: str, above: tuple[str, ...]) -> None:
        if part is None:
            definitions.clear()
        elif isinstance(part, list):
            for inner in part:
                await visit(inner, base, above)
        elif isinstance(part, str):
            url = urljoin(base, part)
            if not is_core_url(url):
                await visit(await fetched(url, above), url, (*above, url))
        elif isinstance(part, dict):
            imported = part.get("@import")
            if isinstance(imported, str):
                url = urljoin(base, imported)
                await visit(await fetched(url, above), url, (*above, url))
            definitions.append(_checked(part))
        else:
            raise BadRequestData(f"The '@context' {_at(base)}must hold URLs and objects, got {repr(part)[:100]}.")

    async def fetched(url: str, above: tuple[str, ...]) -> Any:
        urls.add(url)
        if url in above or len(above) >= _DEPTH or len(urls) > DOCUMENTS:
            raise BadRequestData(f"The '@context' refers to itself or to too many documents, at '{url[:200]}'.")
        return await load(url)

    await visit(value, "", ())
    return definitions, urls


def context_of(document: Any, url: str) -> Any:
    """The '@context' of a document that was fetched."""
    if not isinstance(document, dict) or "@context" not in document:
        raise LdContextNotAvailable(f"The document at '{url[:200]}' is not a JSON-LD @context: it has no '@context'.")
    return document["@context"]


def _checked(definitions: dict[str, Any]) -> dict[str, Any]:
    """The term definitions, without what has no meaning here."""
    kept: dict[str, Any] = {}
    for term, definition in definitions.items():
        if term in _DROPPED:
            continue
        if isinstance(definition, dict):
            if "@context" in definition:
                raise BadRequestData(
                    f"The '@context' has a scoped context in the term '{term[:100]}', which NGSI-LD does not allow (5.5.7)."
                )
            if "@protected" in definition:
                definition = {key: inner for key, inner in definition.items() if key != "@protected"}
        kept[term] = definition
    return kept


def _at(base: str) -> str:
    return f"at '{base[:200]}' " if base else ""
