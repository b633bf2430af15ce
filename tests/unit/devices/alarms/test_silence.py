"""Silence: who is silent, who is not, and what it costs to know."""

from __future__ import annotations

from broker.clock import SECOND
from broker.devices.alarms.due import due_of, silent_after, silent_at
from broker.devices.alarms.look import LookAt
from broker.devices.alarms.model import as_health
from tests.unit.devices.alarms.support import MINUTE, MODEL, T0, Room, sensor


def test_three_intervals_are_silence_and_never_less_than_a_quarter_of_an_hour() -> None:
    assert silent_after(sensor(), MODEL) == 30 * MINUTE
    assert silent_after(sensor(expected_interval_seconds=60), MODEL) == 15 * MINUTE
    assert silent_after(sensor(silent_after_seconds=5), MODEL) == 5 * SECOND
    assert silent_after(sensor(silent_after_seconds=0), MODEL) is None
    assert silent_after(sensor(), None) == 24 * 3600 * SECOND


def test_a_sensor_that_sends_is_never_looked_at_and_nothing_is_written_for_it() -> None:
    room = Room()
    room.hear()
    for _ in range(1000):
        room.later(10 * MINUTE)
        before = dict(room.store.records)
        room.scan()
        assert room.store.records == before, "the scan found nothing"
        effects = room.hear()
        assert [write.kind for write in effects.records] == ["device_state"]
        assert {one for one in room.store.read if one[0] in ("alarm", "sensor_health")} == {("sensor_health", "room")}


def test_most_uplinks_leave_the_key_of_the_state_as_it_is() -> None:
    room = Room()
    keys = []
    for _ in range(100):
        room.hear()
        keys.append(room.store.records["device_state", "dev-1"].keys)
        room.later(10 * MINUTE)
    assert len(set(keys)) <= 51


def test_silence_is_found_when_its_time_has_come_and_not_before() -> None:
    room = Room()
    room.hear()
    for _ in range(5):
        room.later(10 * MINUTE)
        room.hear()
    heard = room.now
    while not room.open():
        room.later(30 * SECOND)
        room.scan()
    assert 30 * MINUTE <= room.now - heard <= 31 * MINUTE
    (alarm,) = room.open()
    assert (alarm.kind, alarm.since) == ("silence", heard)
    room.later(24 * 60 * MINUTE)
    room.scan()
    assert room.kinds() == ["silence"]
    room.hear()
    assert room.open() == []
    assert room.health.empty
    assert ("sensor_health", "room") not in room.store.records


def test_a_device_that_was_never_heard_is_silent_from_its_binding_on() -> None:
    room = Room()
    room.adopt()
    assert room.open() == []
    room.later(30 * MINUTE + 5 * SECOND)
    room.scan()
    (alarm,) = room.open()
    assert "never been heard" in alarm.text


def test_a_device_that_is_heard_after_all_needs_no_health_any_more() -> None:
    room = Room()
    room.adopt()
    assert room.health.look_at is not None
    room.hear()
    assert ("sensor_health", "room") not in room.store.records


def test_only_the_device_that_is_bound_now_counts() -> None:
    room = Room()
    room.hear()
    room.bind("dev-2")
    room.adopt()
    room.later(20 * MINUTE)
    room.hear(device="dev-1")  # what the old one still says is not of this virtual sensor
    room.later(11 * MINUTE)
    room.scan()
    (alarm,) = room.open()
    assert alarm.device == "dev-2"
    room.hear(device="dev-1")
    assert room.kinds() == ["silence"]
    assert due_of(room.store.records["device_state", "dev-1"].keys) is None


def test_a_virtual_sensor_without_a_device_is_not_silent_and_its_devices_alarms_end() -> None:
    room = Room()
    room.hear(battery=5)
    assert room.kinds() == ["battery"]
    room.unbind()
    room.later(60 * MINUTE)
    room.scan()
    (alarm,) = room.alarms()
    assert (alarm.state, alarm.closed_because) == ("closed", "unbound")


def test_a_virtual_sensor_that_is_gone_has_no_open_alarms() -> None:
    room = Room(silent_after_seconds=10)
    room.hear()
    room.later(20 * SECOND)
    room.scan()
    assert room.kinds() == ["silence"]
    del room.store.records["virtual_sensor", "room"]
    del room.store.records["sensor_health", "room"]
    room.adopt()
    (alarm,) = room.alarms()
    assert alarm.closed_because == "sensor removed"
    assert as_health(room.store.records.get(("sensor_health", "room"))).empty


def test_time_when_no_broker_was_there_is_not_silence() -> None:
    gap = (T0 + 10 * MINUTE, T0 + 130 * MINUTE)
    assert silent_at(T0, 30 * MINUTE) == T0 + 30 * MINUTE
    assert silent_at(T0, 30 * MINUTE, [gap]) == T0 + 150 * MINUTE
    # Almost silent when the broker went: what waited at the network is given five minutes to come in.
    assert silent_at(T0 - 19 * MINUTE, 30 * MINUTE, [gap]) == gap[1] + 5 * MINUTE
    assert silent_at(gap[1] + MINUTE, 30 * MINUTE, [gap]) == gap[1] + 31 * MINUTE, "heard since"
    assert silent_at(T0 - 60 * MINUTE, 30 * MINUTE, [gap]) == T0 - 30 * MINUTE, "silent before it went"


def test_after_a_gap_a_device_is_looked_at_again_at_its_new_time() -> None:
    room = Room()
    room.hear()
    room.later(120 * MINUTE)
    gap = (T0 + MINUTE, room.now)
    room.store.run(LookAt(devices=frozenset(("dev-1",)), gaps=(gap,)))
    assert room.alarms() == []
    due = due_of(room.store.records["device_state", "dev-1"].keys)
    assert due is not None
    assert due - 5 * SECOND <= silent_at(T0, 30 * MINUTE, [gap]) <= due
