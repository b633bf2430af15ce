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

PROGRAM_STEPS = 5000
"""Steps of a compiled pattern, count. Time is at most steps times length of the text: 1 s for 100,000 characters."""

KEPT_PATTERNS = 256
"""Compiled patterns kept, count: with PROGRAM_BYTES, the most that hostile patterns can take is 128 MiB."""

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.never_capture = True
_OPTIONS.max_mem = PROGRAM_BYTES


class PatternTooLarge(ValueError):
    """The pattern is valid, and larger than PROGRAM_STEPS or PROGRAM_BYTES when compiled."""


@lru_cache(maxsize=KEPT_PATTERNS)
def finder(pattern: str) -> Callable[[str], bool]:
    """A function that tells whether `pattern` is found in a text. Raises ValueError when it is not a valid pattern."""
    try:
        compiled = re2.compile(pattern.encode(), _OPTIONS)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace")
        raise (PatternTooLarge if reason.startswith("pattern too large") else ValueError)(reason) from None
    if compiled.programsize > PROGRAM_STEPS:
        raise PatternTooLarge(f"{compiled.programsize} steps")
    search = compiled.search

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
    except PatternTooLarge:
        raise TooComplexQuery(
            f"The regular expression '{pattern}' in '{name}' is too large; repetitions {{n}} of classes cost the most."
        ) from None
    except ValueError as error:
        raise BadRequestData(f"The regular expression '{pattern}' in '{name}' is not valid: {error}.") from None
