"""What people do with alarms: acknowledge, close, shelve, swap the device."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from broker.clock import SECOND, Micros, iso
from broker.devices.alarms.alert import ALARM_STATE, ALERT_TYPE, alert_urn
from broker.devices.alarms.commands import Acknowledge, CloseAlarm, ShelveSensors
from broker.devices.alarms.effects import health_needs
from broker.devices.alarms.swap import cured_by_swap, would_close
from broker.devices.model import Threshold
from broker.errors import BadRequestData, PreconditionFailed, ResourceNotFound
from broker.ngsild.model import DEFAULT_VOCAB, LOCATION, Entity, value_of
from broker.stores.base import Needs, Snapshot, StoredEntity
from broker.stores.command import Effects, View
from tests.support.stores import point
from tests.unit.devices.alarms.support import MINUTE, T0, Room

FROST = Threshold(id="frost", quantity="temperature", below=5, hysteresis=1, severity="critical")


@dataclass
class Swap:
    """As a swap calls it."""

    at: Micros | None = None

    def needs(self, seen: Snapshot) -> Needs:
        return health_needs("room", seen)

    def apply(self, view: View, stamp: object) -> Effects[object]:
        return cured_by_swap(view, "room", stamp, at=self.at)  # type: ignore[arg-type,return-value]


def alert(room: Room, alarm_id: str) -> Entity:
    return room.store.entities[alert_urn(alarm_id)].entity


def shown(entity: Entity, name: str) -> object:
    return value_of(entity["attrs"][DEFAULT_VOCAB + name][0])


def test_an_alarm_is_an_alert_that_says_what_it_is_of_and_where_and_when() -> None:
    room = Room(thresholds=(FROST,))
    room.hear(20)
    place = room.store.entities["urn:room"]
    attrs = {**place.entity["attrs"], LOCATION: [point(17.3, 62.4)]}
    room.store.entities["urn:room"] = StoredEntity({**place.entity, "attrs": attrs}, place.version)
    room.later(MINUTE)
    room.hear(4)
    (alarm,) = room.open()
    entity = alert(room, alarm.id)
    assert entity["type"] == [ALERT_TYPE]
    assert shown(entity, "alertSource") == "urn:room"
    assert shown(entity, "severity") == "critical"
    assert shown(entity, "dateIssued") == {"@type": "DateTime", "@value": iso(room.now)}
    assert value_of(entity["attrs"][LOCATION][0]) == {"type": "Point", "coordinates": [17.3, 62.4]}
    assert DEFAULT_VOCAB + "validTo" not in entity["attrs"]
    room.later(MINUTE)
    room.hear(10)
    assert shown(alert(room, alarm.id), "validTo") == {"@type": "DateTime", "@value": iso(room.now)}
    states = [row.instance for row in room.store.history if row.attribute == ALARM_STATE]
    assert [instance["value"] for instance in states if instance] == ["open", "closed"]


def test_who_acknowledged_and_closed_and_why_is_kept() -> None:
    room = Room(thresholds=(FROST,))
    room.hear(4)
    (alarm,) = room.open()
    room.store.run(Acknowledge(alarm.id, "Karin", "Looking."))
    room.store.run(Acknowledge(alarm.id, "Olle"))
    room.later(MINUTE)
    room.store.run(CloseAlarm(alarm.id, "Olle", "The window was open."))
    (closed,) = room.alarms()
    assert [(step.state, step.by, step.comment) for step in closed.steps] == [
        ("open", "", ""),
        ("acknowledged", "Karin", "Looking."),
        ("acknowledged", "Olle", ""),
        ("closed", "Olle", "The window was open."),
    ]
    assert (closed.acknowledged_by, closed.comment) == ("Olle", "The window was open.")
    with pytest.raises(PreconditionFailed, match="closed at"):
        room.store.run(CloseAlarm(alarm.id, "Olle"))
    with pytest.raises(ResourceNotFound, match="'nothing'"):
        room.store.run(Acknowledge("nothing", "Olle"))


def test_what_was_closed_by_hand_opens_when_it_is_wrong_anew_and_not_while_it_still_is() -> None:
    room = Room(thresholds=(FROST,))
    room.hear(4)
    room.store.run(CloseAlarm(room.open()[0].id, "Karin"))
    for celsius, expected in ((3, []), (5.5, []), (3, []), (6, []), (3, ["threshold:frost"])):
        room.later(MINUTE)
        room.hear(celsius)
        assert room.kinds() == expected, celsius


def test_shelving_holds_back_what_opens_and_not_what_ends() -> None:
    room = Room(thresholds=(FROST,), silent_after_seconds=60)
    room.hear(20, battery=10)
    assert room.kinds() == ["battery"]
    room.store.run(ShelveSensors(frozenset(("room",)), room.now + 10 * MINUTE, "Karin"))
    room.hear(4, battery=80)
    assert room.open() == []
    assert list(room.health.pending) == ["threshold:frost"]
    for _ in range(9):
        room.later(MINUTE)
        room.scan()
        assert room.open() == [], "neither frost nor silence"
    assert room.health.due == T0 + 10 * MINUTE, "until then the scan has nothing to do with it"
    room.later(2 * MINUTE)
    room.scan()
    assert set(room.kinds()) == {"silence", "threshold:frost"}
    assert room.health.shelf is None


def test_what_is_unshelved_early_opens_with_the_next_look() -> None:
    room = Room(thresholds=(FROST,))
    room.store.run(ShelveSensors(frozenset(("room",)), room.now + 600 * MINUTE, "Karin"))
    room.hear(4)
    room.store.run(ShelveSensors(frozenset(("room",)), None, "Karin"))
    room.later(5 * SECOND)
    room.scan()
    assert room.kinds() == ["threshold:frost"]


def test_a_shelf_ends_in_the_future_and_is_of_something() -> None:
    room = Room()
    with pytest.raises(BadRequestData, match="'until'"):
        room.store.run(ShelveSensors(frozenset(("room",)), T0 - 1, "Karin"))
    with pytest.raises(ResourceNotFound, match="'nowhere'"):
        room.store.run(ShelveSensors(frozenset(("room", "nowhere")), T0 + MINUTE, "Karin"))
    assert room.store.all("sensor_health") == []


def test_a_swap_closes_what_another_device_cures_and_thresholds_wait_for_its_first_value() -> None:
    room = Room(thresholds=(FROST,), silent_after_seconds=60)
    room.hear(4, battery=5)
    room.later(2 * MINUTE)
    room.scan()
    assert set(room.kinds()) == {"battery", "silence", "threshold:frost"}
    assert {alarm.kind for alarm in would_close(room.alarms())} == {"battery", "silence"}
    room.bind("dev-2")
    cured = room.store.run(Swap()).result
    assert {alarm.kind for alarm in cured} == {"battery", "silence"}  # type: ignore[attr-defined]
    assert room.kinds() == ["threshold:frost"]
    closed = [alarm for alarm in room.alarms() if alarm.state == "closed"]
    assert {alarm.closed_because for alarm in closed} == {"swap"}
    assert would_close(closed) == ()
    room.later(2 * MINUTE)
    room.scan()
    room.later(2 * MINUTE)
    room.scan()
    assert set(room.kinds()) == {"silence", "threshold:frost"}, "a dead replacement alarms"
    assert next(alarm for alarm in room.open() if alarm.kind == "silence").device == "dev-2"
    room.hear(20)
    assert room.open() == []


def test_a_swap_that_is_dated_ahead_closes_nothing_yet() -> None:
    room = Room()
    room.hear(battery=5)
    effects = room.store.run(Swap(at=room.now + 60 * MINUTE))
    assert effects.result == ()
    assert room.kinds() == ["battery"]
    room.later(60 * MINUTE)
    room.bind("dev-2")
    room.later(5 * SECOND)
    room.scan()
    (alarm,) = [alarm for alarm in room.alarms() if alarm.kind == "battery"]
    assert alarm.closed_because == "swap"


def test_an_alarm_of_the_device_before_ends_with_the_first_word_of_the_new_one() -> None:
    room = Room()
    room.hear(battery=5)
    room.bind("dev-2")
    room.later(MINUTE)
    room.hear(battery=4)
    first, second = room.alarms()
    assert (first.device, first.closed_because) == ("dev-1", "swap")
    assert (second.device, second.state) == ("dev-2", "open")
