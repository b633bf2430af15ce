"""An @context value as sent, checked and flattened into term definitions; what it refers to is loaded by the caller.

Source: ETSI GS CIM 009 v1.9.1, 5.5.7 (what a user @context may not contain); JSON-LD 1.1, 4.1 and 9.15; JSON-LD 1.1
Processing Algorithms, 4.1.2.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urljoin

from pyld.jsonld import KEYWORDS

from broker.errors import BadRequestData
from broker.jsonld.core import is_core_url
from broker.jsonld.own import is_ours

DOCUMENTS: Final = 32
"""Remote documents that one @context may lead to, count: more is a mistake or an attack."""

TERMS: Final = 10_000
"""Term definitions that one @context may have, count: schema.org's has 3,000, and compiling more would hold up others."""

_DEPTH: Final = 8
# What would let a user's terms stand above the core's, or says nothing about terms; its values are checked here.
_BOOLEANS: Final = ("@protected", "@propagate")
_DROPPED: Final = frozenset({*_BOOLEANS, "@base", "@import"})
# What looks like a keyword and is none is reserved: such terms, and terms that stand for such, are passed over.
_RESERVED = re.compile(r"@[A-Za-z]+", re.ASCII)

Load = Callable[[str], Awaitable[Any]]
"""URL -> the '@context' value of the document there. Raises LdContextNotAvailable, BadRequestData."""


def without_core(value: Any) -> Any:
    """A user's @context without the core @context; None when nothing else is left. Raises BadRequestData.

    It must be a URL, an object, or a list of those; null in a list undoes what stands before it.
    """
    parts = value if isinstance(value, list) else [value]
    for part in parts:
        if isinstance(part, str):
            if not part.lower().startswith(("http://", "https://")) and not is_ours(part):
                raise BadRequestData(f"The '@context' must name http or https URLs, got '{part[:200]}'.")
        elif not isinstance(part, dict) and not (part is None and isinstance(value, list)):
            raise BadRequestData(
                f"The '@context' must be a URL, an object, or a list of those, got {repr(part)[:100]}."
            )
    while None in parts:
        parts = parts[parts.index(None) + 1 :]
    kept = [part for part in parts if part != {} and not (isinstance(part, str) and is_core_url(part))]
    if not kept:
        return None
    return kept if isinstance(value, list) and len(kept) > 1 else kept[0]


def inline_parts(user: Any) -> tuple[list[dict[str, Any]], bool]:
    """(definitions that stand in an @context itself, whether it names documents too). Raises BadRequestData."""
    parts = user if isinstance(user, list) else [user]
    inline = [part for part in parts if isinstance(part, dict)]
    names_documents = len(inline) < len(parts) or any("@import" in part for part in inline)
    return [_checked(part) for part in inline], names_documents


async def flatten(value: Any, load: Load, base: str = "") -> tuple[list[dict[str, Any]], bool]:
    """(definitions in the order they apply, whether the core @context is among them) of an @context value at the URL `base`.

    The core @context is left out wherever it is referred to: it applies last anyway. Raises BadRequestData and what
    `load` raises.
    """
    definitions: list[dict[str, Any]] = []
    urls: set[str] = set()
    core = False

    async def visit(part: Any, base: str, above: tuple[str, ...]) -> None:
        nonlocal core
        if part is None:
            definitions.clear()
            core = False
        elif isinstance(part, list):
            for inner in part:
                await visit(inner, base, above)
        elif isinstance(part, str):
            url = _joined(base, part)
            if is_core_url(url):
                core = True
            else:
                await visit(await fetched(url, above), url, (*above, url))
        elif isinstance(part, dict):
            if "@import" in part:
                part = {**await imported(part["@import"], base, above), **part}
            definitions.append(_checked(part))
        else:
            raise BadRequestData(f"The '@context' {_at(base)}must hold URLs and objects, got {repr(part)[:100]}.")

    async def imported(reference: Any, base: str, above: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(reference, str):
            raise BadRequestData(f"The '@import' of the '@context' {_at(base)}must be a URL.")
        url = _joined(base, reference)
        found = {} if is_core_url(url) else await fetched(url, above)
        if not isinstance(found, dict) or "@import" in found:
            raise BadRequestData(f"The @context '{url[:200]}' is imported: it must be one object without '@import'.")
        return found

    async def fetched(url: str, above: tuple[str, ...]) -> Any:
        urls.add(url)
        if url in above or len(above) >= _DEPTH or len(urls) > DOCUMENTS:
            raise BadRequestData(f"The '@context' refers to itself or to too many documents, at '{url[:200]}'.")
        return await load(url)

    await visit(value, base, (base,) if base else ())
    check_size(definitions)
    return definitions, core


def check_size(definitions: list[dict[str, Any]]) -> None:
    """Raises BadRequestData when there are too many definitions."""
    terms = sum(map(len, definitions))
    if terms > TERMS:
        raise BadRequestData(f"The '@context' has {terms} definitions, more than the limit of {TERMS}.")


def _checked(definitions: dict[str, Any]) -> dict[str, Any]:
    """The term definitions, without what has no meaning here."""
    if "@context" in definitions:
        raise BadRequestData("The '@context' defines '@context', which is a keyword.")
    for name in _BOOLEANS:
        if not isinstance(definitions.get(name, False), bool):
            raise BadRequestData(f"The '{name}' of an '@context' must be true or false.")
    if not isinstance(definitions.get("@base"), str | None):
        raise BadRequestData("The '@base' of an '@context' must be a URL or null.")
    kept: dict[str, Any] = {}
    for term, definition in definitions.items():
        if term in _DROPPED or _is_reserved(term):
            continue
        if isinstance(definition, dict):
            if "@context" in definition:
                raise BadRequestData(
                    f"The '@context' has a scoped context in the term '{term[:100]}', which NGSI-LD does not allow (5.5.7)."
                )
            if _is_reserved(definition.get("@id")) or _RESERVED.fullmatch(str(definition.get("@reverse"))):
                continue
            if "@protected" in definition:
                if not isinstance(definition["@protected"], bool):
                    raise BadRequestData(f"The '@protected' of the term '{term[:100]}' must be true or false.")
                definition = {key: inner for key, inner in definition.items() if key != "@protected"}
        elif _is_reserved(definition):
            continue
        kept[term] = definition
    return kept


def _joined(base: str, reference: str) -> str:
    try:
        return urljoin(base, reference)
    except ValueError:
        raise BadRequestData(f"The '@context' {_at(base)}names '{reference[:200]}', which is no URL.") from None


def _is_reserved(text: Any) -> bool:
    return isinstance(text, str) and text not in KEYWORDS and _RESERVED.fullmatch(text) is not None


def _at(base: str) -> str:
    return f"at '{base[:200]}' " if base else ""
