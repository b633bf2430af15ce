"""Regular expressions of queries, in time linear in the text (RE2), so that no pattern can stall the broker.

Syntax: RE2's, which covers POSIX extended regular expressions (IEEE 1003.2) but back-references. A pattern is *found* in
a text; `^` and `$` anchor it. Source: ETSI GS CIM 009 v1.9.1, 4.9 (patternOp) and 5.7.2 (idPattern).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import re2  # type: ignore[import-untyped]

from broker.config import Limits
from broker.errors import BadRequestData, TooComplexQuery

PROGRAM_BYTES = 512 * 1024
"""Memory a compiled pattern and its tables may take, bytes: far more than what a person writes needs."""

KEPT_PATTERNS = 256
"""Compiled patterns kept, count: with PROGRAM_BYTES, the most that hostile patterns can take is 128 MiB."""

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.never_capture = True
_OPTIONS.max_mem = PROGRAM_BYTES


@lru_cache(maxsize=KEPT_PATTERNS)
def finder(pattern: str) -> Callable[[str], bool]:
    """A function that tells whether `pattern` is found in a text. Raises ValueError when it is not a valid pattern."""
    try:
        search = re2.compile(pattern.encode(), _OPTIONS).search
    except re2.error as error:
        reason = error.args[0] if error.args else "invalid"
        raise ValueError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from None

    def found(text: str) -> bool:
        return search(text.encode("utf-8", "surrogatepass")) is not None

    return found


def check_pattern(pattern: str, name: str, limits: Limits) -> None:
    """Raises TooComplexQuery when `pattern` is too long, BadRequestData when it is not valid; both name the parameter."""
    if len(pattern) > limits.pattern_characters:
        raise TooComplexQuery(
            f"The regular expression in '{name}' has {len(pattern)} characters; "
            f"the limit (limits.pattern_characters) is {limits.pattern_characters}."
        )
    try:
        finder(pattern)
    except (ValueError, UnicodeEncodeError) as error:
        raise BadRequestData(f"The regular expression '{pattern}' in '{name}' is not valid: {error}.") from None
