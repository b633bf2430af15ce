"""SWEREF 99 TM (EPSG:3006) to longitude and latitude. Pure.

Formulas: Lantmäteriet, "Gauss Conformal Projection (Transverse Mercator), Krüger's Formulas" (2008). Parameters of SWEREF
99 TM: ellipsoid GRS 80, central meridian 15°, scale 0.9996, false easting 500,000 m. The series is exact to less than a
millimetre in Sweden.

SWEREF 99 is ETRS 89's realization in Sweden. As is usual, and as EPSG has it, it is taken for WGS 84 as it is: they differ
by less than a metre, which is more than receivers of single positions tell apart.
"""

from __future__ import annotations

from math import asin, atan, atan2, atanh, cos, cosh, degrees, radians, sin, sinh, tan
from typing import Final

_AXIS: Final = 6_378_137.0
"""Semi-major axis of GRS 80, metres."""
_FLATTENING: Final = 1 / 298.257222101
_MERIDIAN: Final = radians(15.0)
_SCALE: Final = 0.9996
_FALSE_EASTING: Final = 500_000.0

EASTINGS: Final = (100_000.0, 1_100_000.0)
"""What an easting can be, metres: Sweden with some sea around."""
NORTHINGS: Final = (6_000_000.0, 7_800_000.0)

_N: Final = _FLATTENING / (2 - _FLATTENING)
_E2: Final = _FLATTENING * (2 - _FLATTENING)
_RADIUS: Final = _SCALE * _AXIS / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
"""Of the rectifying sphere, scaled, metres."""
_DELTAS: Final = (
    _N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96 - _N**4 / 360,
    _N**2 / 48 + _N**3 / 15 - 437 * _N**4 / 1440,
    17 * _N**3 / 480 - 37 * _N**4 / 840,
    4397 * _N**4 / 161_280,
)
_BETAS: Final = (
    _N / 2 - 2 * _N**2 / 3 + 5 * _N**3 / 16 + 41 * _N**4 / 180,
    13 * _N**2 / 48 - 3 * _N**3 / 5 + 557 * _N**4 / 1440,
    61 * _N**3 / 240 - 103 * _N**4 / 140,
    49_561 * _N**4 / 161_280,
)
_STARS: Final = (
    _E2 + _E2**2 + _E2**3 + _E2**4,
    -(7 * _E2**2 + 17 * _E2**3 + 30 * _E2**4) / 6,
    (224 * _E2**3 + 889 * _E2**4) / 120,
    -4279 * _E2**4 / 1260,
)
_TO_CONFORMAL: Final = (
    _E2,
    (5 * _E2**2 - _E2**3) / 6,
    (104 * _E2**3 - 45 * _E2**4) / 120,
    1237 * _E2**4 / 1260,
)

_DECIMALS: Final = 9
"""Of degrees that are given: a tenth of a millimetre."""


def to_degrees(easting: float, northing: float) -> tuple[float, float]:
    """Longitude and latitude, degrees, of a position in metres."""
    xi, eta = northing / _RADIUS, (easting - _FALSE_EASTING) / _RADIUS
    xi_, eta_ = xi, eta
    for k, delta in enumerate(_DELTAS, start=1):
        xi_ -= delta * sin(2 * k * xi) * cosh(2 * k * eta)
        eta_ -= delta * cos(2 * k * xi) * sinh(2 * k * eta)
    conformal = asin(sin(xi_) / cosh(eta_))
    longitude = _MERIDIAN + atan(sinh(eta_) / cos(xi_))
    square = sin(conformal) ** 2
    series = sum(star * square**power for power, star in enumerate(_STARS))
    latitude = conformal + sin(conformal) * cos(conformal) * series
    return round(degrees(longitude), _DECIMALS), round(degrees(latitude), _DECIMALS)


def from_degrees(longitude: float, latitude: float) -> tuple[float, float]:
    """Easting and northing, metres, of a position in degrees."""
    phi, turn = radians(latitude), radians(longitude) - _MERIDIAN
    square = sin(phi) ** 2
    series = sum(part * square**power for power, part in enumerate(_TO_CONFORMAL))
    conformal = phi - sin(phi) * cos(phi) * series
    xi_ = atan2(tan(conformal), cos(turn))
    eta_ = atanh(cos(conformal) * sin(turn))
    xi, eta = xi_, eta_
    for k, beta in enumerate(_BETAS, start=1):
        xi += beta * sin(2 * k * xi_) * cosh(2 * k * eta_)
        eta += beta * cos(2 * k * xi_) * sinh(2 * k * eta_)
    return _RADIUS * eta + _FALSE_EASTING, _RADIUS * xi
