"""Calibration: what a sensor shows made into what is true. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from fractions import Fraction

from broker.devices.processing.contract import Calibration
from broker.devices.processing.exact import EXACT, exact

Correct = Callable[[float], float]


def correction(calibration: Calibration) -> Correct:
    """The function of a calibration. OverflowError where the result is beyond a double."""
    if calibration.table:
        return _table(calibration)
    if calibration.polynomial:
        return _polynomial(calibration.polynomial)
    return _line(calibration.scale if calibration.scale is not None else 1.0, calibration.offset or 0.0)


def described(calibration: Calibration) -> str:
    """Its name, for the lineage of values."""
    if calibration.name:
        return calibration.name
    return "table" if calibration.table else "polynomial" if calibration.polynomial else "scale and offset"


def _line(scale: float, offset: float) -> Correct:
    # In decimals: 123 pulses of 0.01 are 1.23 and no dust.
    by, on = exact(scale), exact(offset)

    def correct(value: float) -> float:
        made = float(EXACT.fma(exact(value), by, on))
        if not math.isfinite(made):
            raise OverflowError(f"{value} times {scale} is too large")
        return made

    return correct


def _polynomial(coefficients: tuple[float, ...]) -> Correct:
    def correct(value: float) -> float:
        made = 0.0
        for coefficient in reversed(coefficients):
            made = made * value + coefficient
        if not math.isfinite(made):
            raise OverflowError(f"the polynomial of {value} is too large")
        return made

    return correct


def _table(calibration: Calibration) -> Correct:
    measured = [Fraction(repr(float(row[0]))) for row in calibration.table]
    true = [Fraction(repr(float(row[1]))) for row in calibration.table]
    extrapolate = calibration.beyond == "extrapolate"

    def correct(value: float) -> float:
        at = Fraction(repr(value))
        if not extrapolate and at <= measured[0]:
            return float(true[0])
        if not extrapolate and at >= measured[-1]:
            return float(true[-1])
        right = min(max(bisect_right(measured, at), 1), len(measured) - 1)
        left = right - 1
        slope = (true[right] - true[left]) / (measured[right] - measured[left])
        return float(true[left] + (at - measured[left]) * slope)

    return correct
