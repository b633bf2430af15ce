"""What is left of a battery whose device tells its voltage alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.codecs.base import Measurement
from broker.devices.alarms.rules import device_signals
from broker.devices.battery import Battery, check_battery, chemistries, curve_refusals, percent_left
from broker.devices.model import DeviceState, VirtualSensor, Watch
from broker.devices.state import heard
from broker.errors import BadRequestData

CURVE = Battery(curve=((2.0, 0.0), (3.0, 50.0), (3.6, 100.0)))


def volts(value: float) -> Measurement:
    return Measurement("batteryVoltage", value, "VLT", 0, "")


def percent(value: float) -> Measurement:
    return Measurement("batteryLevel", value, "P1", 0, "")


def after(state: DeviceState, *measured: Measurement, battery: Battery | None = CURVE, **more: Any) -> DeviceState:
    return heard(state, uplink_id="u", at=0, measurements=measured, battery=battery, **more)


@pytest.mark.parametrize(
    ("at", "left"), [(1.0, 0), (2.0, 0), (2.5, 25), (3.0, 50), (3.3, 75), (3.6, 100), (4.0, 100), (2.123, 6.2)]
)
def test_between_two_rows_it_is_on_the_straight_line_and_beyond_the_ends_as_there(at: float, left: float) -> None:
    assert percent_left(CURVE, at) == left


@given(st.floats(0, 10), st.floats(0, 10), st.sampled_from(sorted(chemistries())), st.integers(1, 4))
def test_more_volts_are_never_less(one: float, other: float, chemistry: str, cells: int) -> None:
    battery = Battery(chemistry=chemistry, cells=cells)
    low, high = percent_left(battery, min(one, other)), percent_left(battery, max(one, other))
    assert low is not None
    assert high is not None
    assert 0 <= low <= high <= 100


def test_the_chemistries_curves_keep_the_rules() -> None:
    for name, typical in chemistries().items():
        assert list(curve_refusals(typical.cell, name)) == []
        assert (typical.cell[0][1], typical.cell[-1][1]) == (0, 100)
    assert percent_left(Battery(chemistry="alkaline", cells=2), 2.6) == 62


def test_a_device_that_tells_volts_alone_gets_percent_that_are_marked() -> None:
    state = after(DeviceState(), volts(3.3))
    assert (state.battery_percent, state.battery_volts, state.battery_derived) == (75, 3.3, True)
    kept = after(state)
    assert (kept.battery_percent, kept.battery_derived) == (75, True), "an uplink without either changes neither"
    gone = after(state, volts(3.2), battery=None)
    assert (gone.battery_percent, gone.battery_derived) == (None, False), "the model has no curve any more"


def test_what_the_device_says_itself_goes_before_the_curve() -> None:
    state = after(DeviceState(), volts(3.3), percent(40))
    assert (state.battery_percent, state.battery_derived) == (40, False)
    state = after(state, volts(2.0))
    assert (state.battery_percent, state.battery_volts, state.battery_derived) == (40, 2.0, False)
    state = after(after(DeviceState(), volts(3.3)), battery_percent=90)
    assert (state.battery_percent, state.battery_derived) == (90, False), "the network's status request"


def test_the_alarm_goes_by_the_curve_unless_a_limit_in_volts_is_set() -> None:
    def level(sensor_watch: Watch, at: float) -> tuple[str, str]:
        sensor = VirtualSensor(id="s", name="s", entity="urn:s", entity_type="urn:T", outputs=(), watch=sensor_watch)
        (signal,) = device_signals(sensor, None, after(DeviceState(), volts(at)), None)
        return signal.level, signal.text

    assert level(Watch(), 2.2) == ("bad", "The battery is at about 10 %, 2.20 V (low at 15 %).")
    assert level(Watch(), 3.3)[0] == "good"
    assert level(Watch(battery_volts=3.4), 3.3)[0] == "bad"
    assert level(Watch(battery_volts=2.1), 2.2 + 0.1)[0] == "good"


@pytest.mark.parametrize(
    ("battery", "says"),
    [
        ({}, "must have 'curve' or 'chemistry'"),
        ({"chemistry": "potato"}, r"'battery.chemistry' must be one of lithium-thionyl-chloride, .*; got 'potato'"),
        ({"chemistry": "alkaline", "cells": 0}, "'battery.cells' must be from 1 to 20, got 0"),
        ({"curve": [[3, 50]]}, "'battery.curve' must have 2 to 50 rows of volts and percent, got 1"),
        ({"curve": [[3, 50], [3, 60]]}, "must rise in volts, but 3 follows 3"),
        ({"curve": [[3, 50], [3.1, 40]]}, "must not fall in percent, but 40 follows 50"),
        ({"curve": [[0, 0], [3.1, 40]]}, "volts must be above 0 and at most 1000, got 0"),
        ({"curve": [[2, 0], [3.1, 400]]}, "percent must be from 0 to 100, got 400"),
    ],
)
def test_what_is_wrong_with_a_battery_is_named(battery: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequestData, match=says):
        check_battery(msgspec.convert(battery, Battery))
