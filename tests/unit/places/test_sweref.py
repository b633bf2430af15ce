"""SWEREF 99 TM against Lantmäteriet's control points ("Kontrollpunkter för SWEREF 99 TM", 2007-11-20)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.places.sweref import from_degrees, to_degrees

CONTROL_POINTS = [
    # latitude and longitude in degrees and minutes, northing and easting in metres
    (55, 0, 12, 45, 6097106.672, 356083.438),
    (55, 0, 14, 15, 6095048.642, 452024.069),
    (57, 0, 12, 45, 6319636.937, 363331.554),
    (57, 0, 19, 30, 6326392.707, 773251.054),
    (59, 0, 11, 15, 6546096.724, 284626.066),
    (59, 0, 19, 30, 6548757.206, 758410.519),
    (61, 0, 12, 45, 6764877.311, 378323.440),
    (61, 0, 18, 45, 6768593.345, 702745.127),
    (63, 0, 12, 0, 6989134.048, 348083.148),
    (63, 0, 19, 30, 6993565.630, 727798.671),
    (65, 0, 13, 30, 7209293.753, 429270.201),
    (65, 0, 21, 45, 7225449.115, 817833.405),
    (67, 0, 16, 30, 7432168.174, 565398.458),
    (67, 0, 24, 0, 7459745.672, 891298.142),
    (69, 0, 21, 0, 7666089.698, 739639.195),
]
MILLIMETRE = 0.001
MILLIMETRE_IN_DEGREES = 1.5e-8
"""At most two of latitude; of longitude less than one. The published figures are rounded to a whole one."""


@pytest.mark.parametrize(("lat", "lat_min", "lon", "lon_min", "northing", "easting"), CONTROL_POINTS)
def test_control_points_to_the_millimetre(
    lat: int, lat_min: int, lon: int, lon_min: int, northing: float, easting: float
) -> None:
    longitude, latitude = lon + lon_min / 60, lat + lat_min / 60
    assert to_degrees(easting, northing) == pytest.approx((longitude, latitude), rel=0, abs=MILLIMETRE_IN_DEGREES)
    assert from_degrees(longitude, latitude) == pytest.approx((easting, northing), rel=0, abs=MILLIMETRE)


@given(st.floats(10.5, 24.5), st.floats(55.0, 69.5))
def test_there_and_back_is_the_same_place(longitude: float, latitude: float) -> None:
    there = to_degrees(*from_degrees(longitude, latitude))
    assert there == pytest.approx((longitude, latitude), rel=0, abs=MILLIMETRE_IN_DEGREES)
