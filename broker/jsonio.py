"""JSON in and out: orjson, with limits, and without silent loss of what the user wrote."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from broker.errors import InvalidRequest

dumps = orjson.dumps
loads = orjson.loads

# orjson reads integers beyond 64 bits as floating point and every fraction as a double. Only a long run of digits can
# lose anything in that, so only texts that have one are looked at again. Digits and '.' become '0', all else ' ': to
# search for a run is then several times faster than by a regular expression.
_DIGITS = bytes(ord("0") if chr(byte) in "0123456789." else ord(" ") for byte in range(256))
_LONG_RUN = b"0" * 16


def parse_json(body: bytes, *, max_depth: int, exact: bool = True) -> Any:
    """The JSON value of `body` (UTF-8).

    Raises InvalidRequest when it is not JSON, is nested deeper than `max_depth`, or has a number that a 64-bit integer or
    a double cannot hold as written; not that last with `exact=False`, for senders whose numbers are doubles anyway.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    if body.count(b"{") + body.count(b"[") > max_depth and _deeper_than(value, max_depth):
        raise InvalidRequest(f"The body is nested deeper than the limit of {max_depth} levels.")
    if exact and _may_lose(body):
        _refuse_lossy_numbers(body)
    return value


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value] if type(value) is dict or type(value) is list else []
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not layer:
            return False
    return True


def _may_lose(body: bytes) -> bool:
    """Whether there is a run of digits that, were it a number and no text, might not be kept as written."""
    runs = body.translate(_DIGITS)
    start = runs.find(_LONG_RUN)
    while start >= 0:
        end = runs.find(b" ", start)
        digits = body[start:] if end < 0 else body[start:end]
        if digits.isdigit():
            # With an exponent it is a fraction, whose zeros at the end do not count; seldom enough to look closer.
            if len(digits) > 18 or body[start + len(digits) : start + len(digits) + 1] in (b"e", b"E"):
                return True
        elif len(digits.replace(b".", b"").lstrip(b"0").rstrip(b"0")) > 17:
            return True
        start = runs.find(_LONG_RUN, start + len(digits))
    return False


def _refuse_lossy_numbers(body: bytes) -> None:
    def integer(text: str) -> int:
        number = int(text) if len(text) <= 21 else 1 << 64
        if not -(1 << 63) <= number < 1 << 64:
            raise InvalidRequest(
                f"The number {text[:40]} does not fit in 64 bits; send it as a string to keep it exactly."
            )
        return number

    def fraction(text: str) -> float:
        number = float(text)
        digits = re.sub(r"[eE].*", "", text).replace(".", "").lstrip("-0").rstrip("0")
        if len(digits) > 17 or number in (float("inf"), float("-inf")):
            raise InvalidRequest(
                f"The number {text[:40]} has more digits than a double holds (17); send it as a string to keep it exactly."
            )
        return number

    json.loads(body, parse_int=integer, parse_float=fraction)
