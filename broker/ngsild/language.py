"""Which of a LanguageProperty's texts a reader gets.

Source: ETSI GS CIM 009 v1.9.1, 4.15; RFC 3282 (the syntax), RFC 4647 (matching).
"""

from __future__ import annotations

import re
from typing import Any

from broker.errors import BadRequestData

_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)\s*(?:;\s*q\s*=\s*(0(?:\.\d{1,3})?|1(?:\.0{1,3})?)\s*)?"
)


def parse_languages(text: str) -> tuple[str, ...]:
    """The language tags of a `lang` parameter, the most wanted first, in lower case; '*' stands for any."""
    ranked: list[tuple[float, str]] = []
    for part in text.split(",")[:50]:
        found = _RANGE.fullmatch(part)
        if found is None:
            raise BadRequestData(
                f"The parameter 'lang' must be language tags (RFC 5646) like 'fr-CH,fr;q=0.9,*;q=0.5', got '{text[:100]}'."
            )
        ranked.append((float(found[2] or 1), found[1].lower()))
    return tuple(tag for weight, tag in sorted(ranked, key=lambda item: -item[0]) if weight > 0)


def choose_language(texts: dict[str, Any], wanted: tuple[str, ...]) -> tuple[str, Any]:
    """(language tag, text) of the best match, else of the default language '@none', else of the first there is."""
    held = {tag.lower(): tag for tag in texts}
    for tag in wanted:
        if tag == "*":
            break
        prefix = tag
        while prefix:
            if prefix in held:
                return held[prefix], texts[held[prefix]]
            prefix = prefix.rpartition("-")[0]
        for other, written in held.items():
            if other.startswith(tag + "-"):
                return written, texts[written]
    tag = "@none" if "@none" in texts else next(iter(texts))
    return tag, texts[tag]
