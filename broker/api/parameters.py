"""URL parameters, strictly: an unknown one, or one given twice, is refused (ETSI GS CIM 009 v1.9.1, 6.3.20)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

from broker.errors import InvalidRequest

NONE: Mapping[str, str] = MappingProxyType({})


def parameters(request: web.Request, known: frozenset[str]) -> Mapping[str, str]:
    """The parameters of the request. Raises InvalidRequest for one that the operation does not know."""
    if not request.query_string:
        return NONE
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            takes = ", ".join(sorted(known)) or "none"
            raise InvalidRequest(f"The parameter '{name[:100]}' is not one of this operation, which takes {takes}.")
        if name in given:
            raise InvalidRequest(f"The parameter '{name}' is given more than once.")
        given[name] = value
    return given


def options(given: Mapping[str, str], known: frozenset[str]) -> frozenset[str]:
    """The keywords of the `options` parameter. Raises InvalidRequest for one that the operation does not know (6.3.20)."""
    text = given.get("options")
    if not text:
        return frozenset()
    keywords = frozenset(word.strip() for word in text.split(","))
    for keyword in sorted(keywords - known):
        raise InvalidRequest(
            f"The parameter 'options' has '{keyword[:100]}', which is not one of {', '.join(sorted(known))}."
        )
    return keywords
