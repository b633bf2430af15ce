"""What is wrong and what is not: battery, radio, frames, plausibility, thresholds, each with its way back."""

from __future__ import annotations

from typing import Any

import pytest

from broker.devices.alarms.check import check_watching
from broker.devices.model import Output, Threshold, VirtualSensor, Watch
from broker.errors import BadRequestData
from tests.unit.devices.alarms.support import MINUTE, T0, Room, sensor

WARM = Threshold(id="warm", quantity="temperature", above=26, hysteresis=1, severity="high")


def test_a_low_battery_alarms_once_and_a_warm_day_is_no_new_battery() -> None:
    room = Room()
    for level, expected in ((16, []), (15, ["battery"]), (14, ["battery"]), (19, ["battery"]), (20, []), (16, [])):
        room.later(MINUTE)
        room.hear(battery=level)
        assert room.kinds() == expected, level
    assert len(room.alarms()) == 1


def test_one_weak_uplink_is_weather_three_in_a_row_are_an_alarm() -> None:
    room = Room()
    for rssi, expected in (
        (-125, []), (-125, []), (-119, []), (-125, []), (-125, []), (-125, ["radio"]), (-117, ["radio"]), (-114, []),
    ):  # fmt: skip
        room.later(MINUTE)
        room.hear(rssi=rssi)
        assert room.kinds() == expected


def test_lost_frames_alarm_when_enough_are_known_and_end_when_they_come_again() -> None:
    room = Room()
    counter = 0
    for _ in range(9):
        counter += 2
        room.later(MINUTE)
        room.hear(f_cnt=counter)
    assert room.open() == [], "too few to say"
    for _ in range(5):
        counter += 2
        room.later(MINUTE)
        room.hear(f_cnt=counter)
    (alarm,) = room.open()
    assert alarm.kind == "frameLoss"
    assert "frames were lost" in alarm.text
    for _ in range(50):
        counter += 1
        room.later(MINUTE)
        room.hear(f_cnt=counter)
    assert room.open() == []


def test_a_threshold_ends_behind_its_hysteresis() -> None:
    room = Room(thresholds=(WARM,))
    for celsius, expected in ((26, []), (26.1, ["threshold:warm"]), (25.5, ["threshold:warm"]), (25, [])):
        room.later(MINUTE)
        room.hear(celsius)
        assert room.kinds() == expected, celsius
    (alarm,) = room.alarms()
    assert (alarm.severity, alarm.text) == ("high", "temperature is 26.1, above 26.")


def test_a_threshold_with_a_delay_opens_by_time_alone_and_not_when_the_value_came_back() -> None:
    room = Room(thresholds=(Threshold(id="warm", quantity="temperature", above=26, delay_seconds=600),))
    room.hear(27)
    room.later(5 * MINUTE)
    room.hear(25.9)
    room.later(20 * MINUTE)
    room.scan()
    assert room.alarms() == []
    room.hear(27)
    room.later(9 * MINUTE)
    room.scan()
    assert room.open() == []
    room.later(2 * MINUTE)
    room.scan()
    (alarm,) = room.open()
    assert alarm.since == room.now - 11 * MINUTE


def test_late_data_opens_and_ends_nothing() -> None:
    room = Room(thresholds=(WARM,))
    room.later(10 * MINUTE)
    room.hear(20)
    assert room.hear(30, at=T0 + MINUTE, battery=3, rssi=-130).result.outcome == "applied"
    assert room.alarms() == []
    room.later(MINUTE)
    room.hear(30)
    room.hear(20, at=T0 + 2 * MINUTE)
    assert room.kinds() == ["threshold:warm"]


def test_what_waited_at_the_network_is_judged_in_its_own_time() -> None:
    room = Room(thresholds=(Threshold(id="warm", quantity="temperature", above=26, delay_seconds=600),))
    room.later(60 * MINUTE)
    room.hear(27, at=T0)
    room.hear(25, at=T0 + 5 * MINUTE)
    assert room.alarms() == []
    room.hear(27, at=T0 + 10 * MINUTE)
    room.hear(27, at=T0 + 20 * MINUTE)
    assert room.kinds() == ["threshold:warm"]


def test_implausible_values_alarm_when_they_go_on_and_break_no_limit() -> None:
    room = Room(thresholds=(WARM,))
    for celsius, expected in (
        (4000, []), (20, []), (4000, []), (4000, []), (4000, ["implausible"]), (4000, ["implausible"]), (21, []),
    ):  # fmt: skip
        room.later(MINUTE)
        room.hear(celsius)
        assert room.kinds() == expected
    (alarm,) = room.alarms()
    assert (alarm.severity, alarm.text) == ("medium", "Implausible values: temperature (range).")
    assert alarm.data == {"values": [{"attribute": "temperature", "check": "range"}]}


def test_kinds_that_are_off_do_not_alarm_and_those_that_are_put_off_end() -> None:
    room = Room(watch=Watch(off=("battery",)))
    room.hear(battery=1)
    assert room.alarms() == []
    room = Room(thresholds=(WARM,))
    room.hear(30, battery=1)
    assert room.kinds() == ["battery", "threshold:warm"]
    room.put(sensor(watch=Watch(off=("battery",))))
    room.adopt()
    assert {alarm.closed_because for alarm in room.alarms()} == {"rule removed"}


def test_limits_and_severities_are_the_virtual_sensors_own_where_it_has_them() -> None:
    room = Room(watch=Watch(battery_percent=50, severity={"battery": "critical"}))
    room.hear(battery=45)
    (alarm,) = room.open()
    assert (alarm.severity, alarm.text) == ("critical", "The battery is at 45 % (low at 50 %).")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"thresholds": (Threshold(id="x", quantity="temperature"),)}, "'above' or 'below'"),
        ({"thresholds": (Threshold(id="x", above=1),)}, "either 'quantity' or 'attribute'"),
        ({"thresholds": (Threshold(id="x", quantity="co2", above=1),)}, "no output is of the quantity 'co2'"),
        ({"thresholds": (Threshold(id="x y", quantity="temperature", above=1),)}, "'x y'"),
        ({"thresholds": (WARM, WARM)}, "each once"),
        ({"thresholds": (Threshold(id="x", quantity="temperature", above=1, below=2),)}, "'below' must be less"),
        ({"thresholds": (Threshold(id="x", quantity="temperature", above=1, hysteresis=-1),)}, "'hysteresis'"),
        ({"thresholds": (Threshold(id="x", quantity="temperature", above=9, below=1, hysteresis=5),)}, "leave room"),
        ({"thresholds": (Threshold(id="x", quantity="temperature", above=1, delay_seconds=-1),)}, "'delaySeconds'"),
        ({"expected_interval_seconds": 0}, "'expectedIntervalSeconds'"),
        ({"silent_after_seconds": -1}, "'silentAfterSeconds'"),
        ({"watch": Watch(lost_share=2)}, "'lostShare'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(members: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequestData, match=said):
        check_watching(sensor(**members))


def test_a_quantity_that_several_outputs_have_must_be_named_by_attribute() -> None:
    two = tuple(Output(quantity="temperature", attribute=f"https://example.org/t{n}", channel=str(n)) for n in (1, 2))
    made = VirtualSensor(id="r", name="r", entity="urn:r", entity_type="T", outputs=two, thresholds=(WARM,))
    with pytest.raises(BadRequestData, match="several outputs"):
        check_watching(made)
