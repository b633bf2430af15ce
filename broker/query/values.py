"""Values as q compares them: a kind and a key, and which scalars a value holds (ETSI GS CIM 009 v1.9.1, 4.9).

Stores that index values use the same two functions, so that all engines agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from broker.clock import parse_iso

Kind = Literal["number", "boolean", "string", "instant"]
Comparable = tuple[Kind, Any]

_SHORTEST_DATE_TIME = 20  # 2026-01-01T00:00:00Z


def comparable(value: Any) -> Comparable | None:
    """The kind of a scalar and its key; only keys of one kind compare, by Python's order. None: compares with nothing.

    number: the int or float. boolean: the bool. instant: a string that is an NGSI-LD DateTime ('Z'), as microseconds.
    string: any other string, in the order of code points. A JSON-LD typed value {"@value": x, …} compares as x.
    """
    if isinstance(value, str):
        if len(value) >= _SHORTEST_DATE_TIME and value[-1] == "Z" and value[10] == "T":
            at = parse_iso(value)
            if at is not None:
                return "instant", at
        return "string", value
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, (int, float)):
        return "number", value
    if isinstance(value, dict) and "@value" in value and not isinstance(value["@value"], dict):
        return comparable(value["@value"])
    return None


def scalars(value: Any) -> Iterator[Any]:
    """What a comparison with `value` looks at: the value, or the elements of an array (one level, not deeper)."""
    if isinstance(value, list):
        yield from value
    else:
        yield value
