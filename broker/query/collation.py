"""How texts are ordered: the root collation and the few tailorings of it that this broker knows.

Three levels, each deciding where those before it leave two texts equal, as in the Unicode Collation Algorithm (UTS #10):
the letters, then their accents, then their case (lower before upper). Spaces and punctuation come before digits, digits
before letters. That is ICU's order for the letters of European languages, without the weights of every script: other
letters are in the order of their code points. A collation is named as in RFC 6067: a language and maybe '-u-' with 'ks'
(strength) and 'co' (variant). Source: ETSI GS CIM 009 v1.9.1, 4.23.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final
from unicodedata import category, normalize

from broker.errors import BadRequestData

CollationKey = Callable[[str], Any]
"""A text to what Python orders as the collation orders the text."""

_NAME: Final = re.compile(
    r"([A-Za-z]{2,3}|root)(?:-[A-Za-z0-9]{2,8})*?(?:-x-icu|-u((?:-[A-Za-z0-9]{2,8})+))?", re.ASCII
)
_AFTER_Z: Final = {
    "sv": "åäö",
    "fi": "åäö",
    "da": "æøå",
    "nb": "æøå",
    "nn": "æøå",
    "no": "æøå",
    "et": "õäöü",
}
"""Letters of their own, in their order behind z."""
_SAME: Final = {
    "sv": {"æ": "ä", "ø": "ö"},
    "fi": {"æ": "ä", "ø": "ö"},
    "da": {"ä": "æ", "ö": "ø"},
    "nb": {"ä": "æ", "ö": "ø"},
    "nn": {"ä": "æ", "ö": "ø"},
    "no": {"ä": "æ", "ö": "ø"},
}
"""Letters of the neighbours, ordered with the language's own."""
_PHONEBOOK: Final = {"ä": "ae", "ö": "oe", "ü": "ue"}
_SPELT: Final = {"æ": "ae", "ø": "o", "ß": "ss", "ð": "d", "þ": "th", "đ": "d", "ł": "l", "œ": "oe"}
"""What the root collation orders as other letters, but Unicode does not take apart."""
_STRENGTHS: Final = {"level1": 1, "level2": 2, "level3": 3, "level4": 3, "identic": 3}
_LETTER, _DIGIT, _OTHER = 2, 1, 0


@lru_cache(maxsize=64)
def collation(name: str | None) -> CollationKey:
    """The key of a collation, by its name; None: the root collation. Raises BadRequestData for what is no name of one."""
    found = _NAME.fullmatch("und" if name is None else name)
    if found is None:
        raise BadRequestData(
            f"The parameter 'collation' must be like 'sv' or 'und-u-ks-level2' (RFC 6067), got '{(name or '')[:100]}'."
        )
    language, settings = found[1].lower(), _settings(found[2])
    strength = _STRENGTHS.get(settings.get("ks", "level3"))
    if strength is None:
        raise BadRequestData(f"The strength of 'collation' must be one of {', '.join(_STRENGTHS)}, got '{name}'.")
    extra = _AFTER_Z.get(language, "")
    spelling = {**_SPELT, **_SAME.get(language, {})}
    if language == "de" and settings.get("co") == "phonebk":
        spelling |= _PHONEBOOK
    spelling = {letter: spelt for letter, spelt in spelling.items() if letter not in extra}
    own = {letter: (_LETTER, chr(0x10FF00 + place)) for place, letter in enumerate(extra)}
    return lambda text: _key(text, own, spelling, strength)


def _settings(text: str | None) -> dict[str, str]:
    parts = (text or "").lower().strip("-").split("-")
    return {key: value for key, value in pairwise(parts) if len(key) == 2}


def _key(text: str, own: dict[str, tuple[int, str]], spelling: dict[str, str], strength: int) -> Any:
    primary: list[tuple[int, str]] = []
    accents: list[str] = []
    case: list[bool] = []
    for letter in normalize("NFC", text):
        lower = letter.lower()
        spelt = spelling.get(lower, lower)
        case.append(letter != lower)
        if spelt in own:
            primary.append(own[spelt])
            accents.append(lower if spelt != lower else "")
            continue
        marks = lower if spelt != lower else ""
        for part in normalize("NFD", spelt):
            kind = category(part)
            if kind[0] == "M":
                marks += part
            else:
                primary.append((_LETTER if kind[0] == "L" else _DIGIT if kind[0] == "N" else _OTHER, part))
        accents.append(marks)
    return (primary, accents, case, text)[:strength] if strength < 3 else (primary, accents, case, text)
