"""Which representation a client accepts (ETSI GS CIM 009 v1.9.1, 6.3.4; RFC 9110, 12.5.1)."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Final

from broker.errors import NotAcceptable

JSON: Final = "application/json"
LD_JSON: Final = "application/ld+json"
GEO_JSON: Final = "application/geo+json"

DATA = (JSON, LD_JSON)
ENTITIES = (JSON, LD_JSON, GEO_JSON)
"""In the standard's order: where a client likes several equally, the first of them."""


def negotiate(accept: str | None, available: tuple[str, ...]) -> str:
    """The media type to answer with. Raises NotAcceptable, which lists what there is."""
    if accept is None:
        return available[0]
    chosen = _choose(accept, available)
    if chosen is None:
        raise NotAcceptable(f"The header Accept '{accept[:200]}' fits none of {', '.join(available)}.")
    return chosen


@lru_cache(maxsize=256)
def _choose(accept: str, available: tuple[str, ...]) -> str | None:
    ranges = _ranges(accept)
    best, best_weight = None, 0.0
    for media_type in available:
        weight = _weight(media_type, ranges)
        if weight > best_weight:
            best, best_weight = media_type, weight
    return best


def _ranges(accept: str) -> dict[str, float]:
    """Media range -> weight; a weight that cannot be read is none, so 1."""
    ranges: dict[str, float] = {}
    for part in accept.split(","):
        name, *rest = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for piece in rest:
            if piece.startswith("q="):
                with suppress(ValueError):
                    weight = min(max(float(piece[2:]), 0.0), 1.0)
        ranges[name] = max(ranges.get(name, 0.0), weight)
    return ranges


def _weight(media_type: str, ranges: dict[str, float]) -> float:
    """The most specific range that covers the type decides."""
    for name in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return 0.0
