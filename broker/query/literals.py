"""Values of q as written without quotes: numbers, true, false, dates, times, URIs (ETSI GS CIM 009 v1.9.1, 4.9, 4.6.3)."""

from __future__ import annotations

import re
from datetime import date, time

from broker.clock import parse_iso
from broker.query.ast import Scalar

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(r"([0-9]{2}:[0-9]{2}:[0-9]{2})([.,][0-9]{1,9})?Z?", re.ASCII)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`\x00-\x1f]+")


def is_uri(text: str) -> bool:
    """Whether `text` is an absolute URI or IRI (RFC 3986, RFC 3987): a scheme, ':', and no character those forbid."""
    return _URI.fullmatch(text) is not None


def literal(text: str) -> Scalar | None:
    """The value that `text`, unquoted, stands for; None when it is none.

    Integers beyond 64 bits become doubles, because no store keeps more. Raises ValueError for a number beyond a double.
    """
    if text in ("true", "false"):
        return text == "true"
    value = comparable_literal(text)
    if value is None and is_uri(text):
        return text
    return value


def comparable_literal(text: str) -> str | int | float | None:
    """The same without true, false and URIs: what can be ordered and stand in a range."""
    number = _NUMBER.fullmatch(text)
    if number is not None:
        return _number(text, whole=number[1] is None and number[2] is None)
    return text if parse_iso(text) is not None or _is_date_or_time(text) else None


def _number(text: str, *, whole: bool) -> int | float:
    if whole and len(text) <= 20:
        value = int(text)
        if -(1 << 63) <= value < 1 << 63:
            return value
    fraction = float(text)
    if fraction in (float("inf"), float("-inf")):
        raise ValueError("is beyond what a double holds")
    return fraction


def _is_date_or_time(text: str) -> bool:
    try:
        if _DATE.fullmatch(text):
            date.fromisoformat(text)
            return True
        found = _TIME.fullmatch(text)
        if found is not None:
            time.fromisoformat(found[1])
            return True
    except ValueError:
        return False
    return False
