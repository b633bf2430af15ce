"""Plausibility: what fails which check, what it changes, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from broker.clock import SECOND, Stamp, iso
from broker.codecs.base import CodecError
from broker.devices.observe import observe
from broker.errors import BadRequestData
from broker.ngsild.model import IMPLAUSIBLE
from tests.unit.devices.processing.support import HOUR, MINUTE, T0, Fed, iri, measured, sensor


def temperature(**more: Any) -> Fed:
    return Fed(sensor({"quantity": "temperature", **more}))


def checked(**checks: Any) -> Fed:
    return temperature(checks=checks)


def test_what_is_physically_impossible_is_implausible_without_any_configuration() -> None:
    fed = temperature()
    assert fed.failed("temperature", -327.6, T0, "CEL") == ("range",)
    assert fed.failed("temperature", 21.5, T0, "CEL") == ()
    assert fed.failed("temperature", -327.6, T0, "FAH") == ("range",)
    assert fed.state.seen == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_what_is_no_number_of_ours_is_said_with_the_quantity(value: float) -> None:
    for contract in ({"quantity": "genericValue"}, {"quantity": "genericValue", "counter": {}}):
        with pytest.raises(CodecError, match="genericValue"):
            Fed(sensor(contract)).value("genericValue", value, T0)


def test_physical_limits_are_of_what_the_device_sends_before_calibration() -> None:
    fed = temperature(calibration={"scale": 100})
    assert fed.failed("temperature", 21.5, T0, "CEL") == ()


def test_physical_limits_can_be_put_aside() -> None:
    assert checked(physical=False).failed("temperature", -327.6, T0, "CEL") == ()


def test_own_limits_are_in_the_output_s_unit_after_calibration() -> None:
    fed = temperature(unit="FAH", calibration={"offset": 1}, checks={"minimum": 50, "maximum": 87})
    assert [fed.failed("temperature", celsius, T0, "CEL") for celsius in (9.0, 20.0, 30.0)] == [("range",), (), ()]
    assert fed.failed("temperature", 30.1, T0, "CEL") == ("range",)


def test_a_jump_is_measured_against_the_last_plausible_value_and_the_time_since() -> None:
    fed = checked(maxChangePerHour=6)
    assert fed.failed("temperature", 20.0, T0, "CEL") == ()
    assert fed.failed("temperature", 30.0, T0 + 10 * MINUTE, "CEL") == ("rate",)
    assert fed.failed("temperature", 21.5, T0 + 20 * MINUTE, "CEL") == ()
    assert fed.failed("temperature", 30.0, T0 + 2 * HOUR, "CEL") == ()


def test_a_value_that_stays_the_same_too_long_is_stuck_until_it_moves() -> None:
    fed = checked(stuckAfterSeconds=3600)
    given = [(20.0, 0), (20.0, 30), (20.0, 60), (20.0, 61), (20.0, 90), (20.1, 120), (20.1, 150)]
    failed = [fed.failed("temperature", value, T0 + minute * MINUTE, "CEL") for value, minute in given]
    assert failed == [(), (), (), ("stuck",), ("stuck",), (), ()]


def test_stuck_can_be_said_in_values() -> None:
    fed = checked(stuckAfterValues=3)
    failed = [fed.failed("temperature", 20.0, T0 + index, "CEL") for index in range(5)]
    assert failed == [(), (), (), ("stuck",), ("stuck",)]


def test_a_second_value_of_one_time_is_a_duplicate_be_it_late_or_not() -> None:
    fed = checked(duplicates=True)
    times = [T0, T0, T0 + HOUR, T0, T0 + MINUTE, T0 + MINUTE]
    assert [fed.failed("temperature", 20.0 + index, at, "CEL") for index, at in enumerate(times)] == [
        (),
        ("duplicate",),
        (),
        ("duplicate",),
        (),
        ("duplicate",),
    ]


def test_a_device_whose_clock_is_wrong_is_told_by_when_the_network_heard_it() -> None:
    fed = checked(clockAheadSeconds=60, clockBehindSeconds=7200)
    skews = {61 * SECOND: ("clock",), 60 * SECOND: (), -2 * HOUR: (), -2 * HOUR - SECOND: ("clock",)}
    for skew, expected in skews.items():
        assert fed.failed("temperature", 20.0, T0 + skew, "CEL", received_at=T0) == expected


def test_several_checks_that_fail_are_all_named() -> None:
    fed = checked(maximum=50, maxChangePerHour=6, clockAheadSeconds=1)
    fed.value("temperature", 20.0, T0, "CEL")
    made = fed.failed("temperature", 60.0, T0 + MINUTE, "CEL", received_at=T0)
    assert made == ("range", "clock", "rate")


def test_an_implausible_value_is_in_the_history_with_its_checks_and_not_current() -> None:
    fed = temperature()
    observations = fed.uplink(measured("temperature", 21.5, T0, "CEL"), measured("temperature", 5000, T0 + 1, "CEL"))
    change, history = observe(None, observations, device_id="d", uplink_id="u", stamp=Stamp(T0, iso(T0), 1))
    assert change is not None and change.after is not None
    (instance,) = change.after["attrs"][iri("temperature")]
    assert instance["value"] == 21.5 and IMPLAUSIBLE not in instance["attrs"]
    assert [row.instance and row.instance["value"] for row in history] == [21.5, 5000]
    assert history[1].instance is not None
    assert history[1].instance["attrs"][IMPLAUSIBLE][0]["value"] == ["range"]


def test_it_becomes_current_where_the_output_says_so_and_is_marked_there_too() -> None:
    observations = temperature(implausible="current").uplink(measured("temperature", 5000, T0, "CEL"))
    change, _ = observe(None, observations, device_id="d", uplink_id="u", stamp=Stamp(T0, iso(T0), 1))
    assert change is not None and change.after is not None
    (instance,) = change.after["attrs"][iri("temperature")]
    assert (instance["value"], instance["attrs"][IMPLAUSIBLE][0]["value"]) == (5000, ["range"])


def test_what_needs_no_memory_has_no_state() -> None:
    fed = temperature(calibration={"offset": 1}, checks={"minimum": -40, "clockAheadSeconds": 60})
    for minute in range(5):
        fed.value("temperature", 20.0, T0 + minute * MINUTE, "CEL")
    assert fed.writes == 0


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ({"minimum": 2, "maximum": 1}, r"outputs\[0\].checks.minimum.*not be more"),
        ({"maxChangePerHour": 0}, r"outputs\[0\].checks.maxChangePerHour.*more than 0"),
        ({"stuckAfterValues": 0}, r"at least 1"),
    ],
)
def test_checks_that_make_no_sense_are_refused(checks: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestData, match=message):
        checked(**checks)


def test_a_boolean_has_no_limits() -> None:
    with pytest.raises(BadRequestData, match=r"outputs\[0\].checks.maximum.*for numbers"):
        sensor({"quantity": "open", "checks": {"maximum": 1}})
