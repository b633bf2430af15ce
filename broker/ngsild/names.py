"""What this package asks of a JSON-LD @context, and which names and URIs are valid.

Source: ETSI GS CIM 009 v1.9.1, 4.6.2 (names), 5.5.7 (expansion and compaction), RFC 3986/3987 (URIs).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Protocol

from broker.ngsild.model import Iri

NGSI_LD: Final = "https://uri.etsi.org/ngsi-ld/"
SCOPE: Final[Iri] = NGSI_LD + "scope"

# 4.6.2: a letter, then letters, numbers and '_'; optionally with one prefix before ':'.
_NAME = re.compile(r"[^\W\d_]\w*(?::[^\W\d_]\w*)?")
# A scheme, ':', and no character that RFC 3987 excludes. Non-ASCII letters are fine: they are IRIs.
# Characters that are not seen, or that turn others round, would let one id look like another; noncharacters are none.
_UNSEEN = (
    "\x00-\x20\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    "\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    + "".join(chr(plane << 16 | low) for plane in range(1, 17) for low in (0xFFFE, 0xFFFF))
)
_URI = re.compile(rf"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"{{}}|\\^`{_UNSEEN}]+")


class Names(Protocol):
    """Terms to IRIs and back, as one @context says (`broker.jsonld.context.Context` is one)."""

    def expand(self, term: str) -> Iri:
        """The IRI of an attribute or type name. Raises BadRequestData when it is not a valid name (4.6.2)."""
        ...

    def expand_value(self, text: str) -> Iri:
        """The IRI of a vocabulary value (4.5.20): as `expand`, but any text is allowed."""
        ...

    def compact(self, iri: Iri) -> str:
        """The shortest name of `iri`, or `iri` itself."""
        ...


def is_name(text: str) -> bool:
    """Whether `text` is a valid name by the grammar of 4.6.2."""
    return _NAME.fullmatch(text) is not None


@lru_cache(maxsize=8192)
def is_uri(text: str) -> bool:
    """Whether `text` is an absolute URI (or IRI)."""
    return len(text) <= 2048 and _URI.fullmatch(text) is not None
