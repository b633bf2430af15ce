"""The header Prefer: GeoJSON without '@context', and an earlier version of NGSI-LD (ETSI GS CIM 009 v1.9.1, 6.3.6; RFC 7240)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from re import ASCII
from re import compile as pattern
from typing import Any, Final

from aiohttp import web

from broker.ngsild.fallback import NATIVE, Version, conform
from broker.ngsild.model import Entity
from broker.ngsild.names import Names

APPLIED: Final = "Preference-Applied"

_VERSION = pattern(r"(\d{1,3})\.(\d{1,3})", ASCII)


def prefers_plain(request: web.Request) -> bool:
    """Whether GeoJSON is wanted without '@context' (body=json)."""
    return "Prefer" in request.headers and _preference(request, "body") == "json"


def preferred_version(request: web.Request) -> Version | None:
    """The version of NGSI-LD that the answer's data is to conform to (ngsi-ld=1.5): that, or ours if that is later."""
    if "Prefer" not in request.headers:
        return None
    found = _VERSION.fullmatch(_preference(request, "ngsi-ld") or "")
    return min((int(found[1]), int(found[2])), NATIVE) if found is not None else None


def applied(version: Version) -> str:
    """What Preference-Applied says of a version."""
    return f"ngsi-ld={version[0]}.{version[1]}"


def as_preferred(
    request: web.Request, entities: Sequence[Entity], names: Names, render: Callable[[Entity], dict[str, Any]]
) -> tuple[list[dict[str, Any]], bool]:
    """The entities rendered, conforming to the version that is preferred, and whether that altered any: 203 (6.5.3.1)."""
    shown = [render(entity) for entity in entities]
    version = preferred_version(request)
    if version is None:
        return shown, False
    older = [render(conform(entity, version, names)) for entity in entities]
    return older, older != shown


def _preference(request: web.Request, name: str) -> str | None:
    return _preferences(",".join(request.headers.getall("Prefer"))).get(name)


@lru_cache(maxsize=256)
def _preferences(header: str) -> dict[str, str]:
    """Preference -> value, without their parameters; of one that comes twice, the first counts (RFC 7240, 2)."""
    found: dict[str, str] = {}
    for part in header.split(","):
        name, _, value = part.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found
