"""Exact decimals: sums of meters' readings without dust."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from functools import lru_cache

# A double has at most 309 digits before the point; sums of sane readings have twenty in all, and cost as much.
EXACT = Context(prec=400, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])


def exact(number: float) -> Decimal:
    """The decimal that the number is written as: 0.1 is a tenth."""
    return Decimal(repr(number))


def plain(number: Decimal) -> str:
    """The number as text without an exponent and without zeros that say nothing."""
    return format(EXACT.normalize(number), "f") if number else "0"


def rounded(number: Decimal, resolution: float | None) -> Decimal:
    """To the nearest multiple of `resolution`."""
    if resolution is None:
        return number
    step = _step(resolution)
    return EXACT.multiply(EXACT.to_integral_value(EXACT.divide(number, step)), step)


@lru_cache(maxsize=256)
def _step(resolution: float) -> Decimal:
    return exact(resolution)
