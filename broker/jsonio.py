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
# lose anything in that, so only texts that have one are looked at again.
_LONG_NUMBER = re.compile(rb"[0-9.]{16}")


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
    if exact and _LONG_NUMBER.search(body):
        _refuse_lossy_numbers(body)
    return value


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return False
    return any(isinstance(inner, (dict, list)) for inner in layer)


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
