"""Calibration: after the unit, exact where it is a line, and what lies beyond a table."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.devices.processing.calibrate import correction
from broker.devices.processing.contract import Calibration
from broker.errors import BadRequestData
from tests.unit.devices.processing.support import T0, Fed, measured, sensor

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


def output(calibration: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"quantity": "temperature", "calibration": calibration, **more}


def test_scale_and_offset_come_after_the_unit() -> None:
    fed = Fed(sensor(output({"scale": 2, "offset": 0.1}, unit="FAH")))
    assert fed.value("temperature", 10.0, T0, "CEL") == 100.1


def test_a_line_leaves_no_dust() -> None:
    fed = Fed(sensor({"quantity": "pulseCount", "calibration": {"scale": 0.001}}))
    assert [fed.value("pulseCount", count, T0 + count, "C62") for count in (3, 70, 1100)] == [0.003, 0.07, 1.1]


def test_a_polynomial_has_the_constant_first() -> None:
    assert Fed(sensor(output({"polynomial": [1, 2, 3]}))).value("temperature", 2.0, T0, "CEL") == 1 + 2 * 2 + 3 * 4


@pytest.mark.parametrize(
    ("beyond", "expected"),
    [("end", [0.0, 0.0, 5.0, 10.0, 30.0, 30.0]), ("extrapolate", [-10.0, 0.0, 5.0, 10.0, 30.0, 50.0])],
)
def test_a_table_is_straight_between_its_rows_and_holds_or_goes_on_beyond_them(
    beyond: str, expected: list[float]
) -> None:
    fed = Fed(sensor(output({"table": [[0, 0], [10, 10], [20, 30]], "beyond": beyond})))
    given_values = [-10.0, 0.0, 5.0, 10.0, 20.0, 30.0]
    assert [fed.value("temperature", value, T0, "CEL") for value in given_values] == expected


@given(st.lists(FINITE, min_size=2, max_size=8, unique=True), FINITE, st.data())
def test_a_table_passes_through_its_rows_and_stays_between_them(
    xs: list[float], at: float, data: st.DataObject
) -> None:
    rows = [(x, data.draw(FINITE)) for x in sorted(xs)]
    correct = correction(Calibration(table=tuple(rows)))
    assert [correct(x) for x, _ in rows] == [float(y) for _, y in rows]
    for left, right in pairwise(rows):
        if left[0] <= at <= right[0]:
            assert min(left[1], right[1]) <= correct(at) <= max(left[1], right[1])


@given(st.floats(0.001, 1000), FINITE, FINITE, FINITE)
def test_a_line_keeps_the_order_of_what_is_measured(scale: float, offset: float, one: float, other: float) -> None:
    correct = correction(Calibration(scale=scale, offset=offset))
    assert correct(min(one, other)) <= correct(max(one, other))


def test_pulses_become_what_they_stand_for_with_its_unit() -> None:
    fed = Fed(sensor({"quantity": "pulseCount", "calibration": {"scale": 0.01, "unit": "MTQ"}}))
    (made,) = fed.uplink(measured("pulseCount", 1234, T0, "C62"))
    assert (made.value, made.unit, made.lineage["unit"]) == (12.34, "MTQ", "C62")


def test_the_values_say_which_calibration_they_have() -> None:
    named = Fed(sensor(output({"scale": 2, "name": "certificate 42"})))
    (made,) = named.uplink(measured("temperature", 1.5, T0, "CEL"))
    assert made.lineage == {
        "raw": 1.5,
        "unit": "CEL",
        "quantity": "temperature",
        "model": ["model", 3],
        "sensor": ["s", 7],
        "calibration": "certificate 42",
    }


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({}, r"outputs\[0\].calibration.*one of"),
        ({"scale": 1, "polynomial": [1]}, r"one of"),
        ({"scale": 1, "unit": "m3"}, r"outputs\[0\].calibration.unit.*UN/CEFACT"),
        ({"scale": 0}, r"outputs\[0\].calibration.scale.*not be 0"),
        ({"table": [[0, 1]]}, r"outputs\[0\].calibration.table.*2 to 200 rows"),
        ({"table": [[0, 1], [0, 2]]}, r"must rise"),
        ({"polynomial": [1] * 11}, r"at most 10"),
    ],
)
def test_what_is_not_a_calibration_is_refused_by_member_and_rule(calibration: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestData, match=message):
        sensor(output(calibration))


def test_a_boolean_has_no_calibration() -> None:
    with pytest.raises(BadRequestData, match=r"outputs\[0\].calibration.*'open' is a boolean"):
        sensor({"quantity": "open", "calibration": {"scale": 2}})
