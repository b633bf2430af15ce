"""The life of alarms, whatever happens in whatever order: a state machine over uplinks, scans, people and swaps."""

from __future__ import annotations

import re

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.clock import Micros
from broker.devices.alarms.alert import ALARM_STATE, alert_urn
from broker.devices.alarms.commands import Acknowledge, CloseAlarm, ShelveSensors
from broker.devices.alarms.model import Alarm
from broker.devices.model import Threshold
from broker.ngsild.model import DEFAULT_VOCAB, value_of
from tests.unit.devices.alarms.support import MINUTE, Room
from tests.unit.devices.alarms.test_people import Swap

FROST = Threshold(id="frost", quantity="temperature", below=5, hysteresis=1)
WARM = Threshold(id="warm", quantity="temperature", above=26, hysteresis=2, delay_seconds=900)
SILENT = 30 * MINUTE
STEP = MINUTE
"""What a scan may be late by: keys are rounded up."""
LIFE = re.compile(r"open( acknowledged)*( closed)?")


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.room = Room(thresholds=(FROST, WARM))
        self.room.adopt()
        self.heard: Micros | None = None
        self.bound = self.room.now
        self.celsius: float | None = None
        self.warm_since: Micros | None = None
        self.battery: float | None = None
        self.devices = 1
        self.shelved_until = 0
        self.before: dict[str, Alarm] = {}
        self.by_hand: set[str] = set()
        """Closed by hand, and not right since."""

    # --- what happens ---

    @rule(
        celsius=st.sampled_from([-3.0, 4.9, 5.0, 5.5, 6.0, 20.0, 24.0, 25.0, 26.0, 26.1, 40.0]),
        battery=st.sampled_from([None, 3.0, 15.0, 17.0, 20.0, 90.0]),
        rssi=st.sampled_from([-90.0, -117.0, -130.0]),
    )
    def uplink(self, celsius: float, battery: float | None, rssi: float) -> None:
        self._remember()
        assert self.room.hear(celsius, battery=battery, rssi=rssi).result.outcome == "applied"
        self.heard, self.celsius = self.room.now, celsius
        self.battery = battery if battery is not None else self.battery
        self.warm_since = (self.warm_since or self.room.now) if celsius > 26 else None
        right = {"silence"} | ({"threshold:frost"} if celsius >= 6 else set()) | ({"radio"} if rssi >= -115 else set())
        right |= ({"threshold:warm"} if celsius <= 24 else set()) | (
            {"battery"} if (self.battery or 0) >= 20 else set()
        )
        self.by_hand -= right

    @rule(minutes=st.sampled_from([1, 5, 14, 16, 29, 31, 200]))
    def time_passes(self, minutes: int) -> None:
        """And the scan runs, as it does every half minute."""
        self._remember()
        self.room.later(minutes * MINUTE)
        self.room.scan()
        self.room.later(STEP)
        self.room.scan()
        self._nothing_is_missed()

    @precondition(lambda self: self.room.open())
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        self._remember()
        alarm = data.draw(st.sampled_from(self.room.open()))
        self.room.store.run(Acknowledge(alarm.id, "Karin"))

    @precondition(lambda self: self.room.open())
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        self._remember()
        alarm = data.draw(st.sampled_from(self.room.open()))
        self.room.store.run(CloseAlarm(alarm.id, "Karin"))
        self.by_hand.add(alarm.key)

    @rule(minutes=st.sampled_from([10, 60]))
    def shelve(self, minutes: int) -> None:
        self._remember()
        self.shelved_until = self.room.now + minutes * MINUTE
        self.room.store.run(ShelveSensors(frozenset(("room",)), self.shelved_until, "Karin"))

    @rule()
    def unshelve(self) -> None:
        self._remember()
        self.room.store.run(ShelveSensors(frozenset(("room",)), None, "Karin"))
        self.shelved_until = 0

    @rule(told=st.booleans())
    def swap(self, told: bool) -> None:
        """By the command that closes at once, or by one that does not, which the scan notices."""
        self._remember()
        self.room.later(MINUTE)
        self.devices += 1
        self.room.bind(f"dev-{self.devices}")
        self.heard, self.bound, self.battery = None, self.room.now, None
        self.by_hand -= {"silence", "battery", "radio"}
        if told:
            self.room.store.run(Swap())
        else:
            self.room.adopt()
        assert not {alarm.kind for alarm in self.room.open()} & {"silence", "battery", "radio"}

    # --- what holds ---

    def _remember(self) -> None:
        self.before = {alarm.id: alarm for alarm in self.room.alarms()}

    def _nothing_is_missed(self) -> None:
        """When time has passed and nothing is shelved, what is wrong is open, or somebody has closed it by hand."""
        if self.room.now <= self.shelved_until + STEP:
            return
        seen = {*self.room.kinds(), *self.by_hand}
        if self.room.now - max(self.heard or 0, self.bound) >= SILENT + STEP:
            assert "silence" in seen
        if self.celsius is not None and self.celsius < 5:
            assert "threshold:frost" in seen
        if self.warm_since is not None and self.room.now - self.warm_since >= 15 * MINUTE + STEP:
            assert "threshold:warm" in seen
        if self.battery is not None and self.battery <= 15:
            assert "battery" in seen

    @invariant()
    def at_most_one_of_a_kind_and_rule_is_open(self) -> None:
        kinds = self.room.kinds()
        assert len(kinds) == len(set(kinds))
        assert {alarm.key: alarm.id for alarm in self.room.open()} == self.room.health.open

    @invariant()
    def each_goes_its_way_and_none_comes_back(self) -> None:
        now = {alarm.id: alarm for alarm in self.room.alarms()}
        assert now.keys() >= self.before.keys()
        for alarm in now.values():
            assert LIFE.fullmatch(" ".join(step.state for step in alarm.steps)), alarm.steps
            assert alarm.steps[-1].state == alarm.state
            assert (alarm.state == "closed") == (alarm.closed_at is not None)
            earlier = self.before.get(alarm.id)
            if earlier is not None:
                assert alarm.steps[: len(earlier.steps)] == earlier.steps, "history is only added to"

    @invariant()
    def what_opens_is_wrong_and_what_recovers_is_right(self) -> None:
        for alarm in self.room.alarms():
            earlier = self.before.get(alarm.id)
            if earlier is None:
                assert self.room.now > self.shelved_until or alarm.opened_at >= self.shelved_until, "it was shelved"
                self._is_wrong(alarm)
            elif alarm.closed_because == "recovered" and earlier.state != "closed":
                self._is_right(alarm)

    def _is_wrong(self, alarm: Alarm) -> None:
        assert alarm.key not in self.by_hand
        assert self.celsius is not None or alarm.kind == "silence"
        if alarm.rule == "frost":
            assert self.celsius is not None
            assert self.celsius < 5
        elif alarm.rule == "warm":
            assert self.warm_since is not None
            assert self.room.now - self.warm_since >= 15 * MINUTE
        elif alarm.kind == "silence":
            assert self.room.now - max(self.heard or 0, self.bound) >= SILENT
        elif alarm.kind == "battery":
            assert self.battery is not None
            assert self.battery <= 15

    def _is_right(self, alarm: Alarm) -> None:
        if alarm.rule:
            assert self.celsius is not None
            assert self.celsius >= 6 if alarm.rule == "frost" else self.celsius <= 24
        elif alarm.kind == "silence":
            assert self.heard == self.room.now
        elif alarm.kind == "battery":
            assert self.battery is not None
            assert self.battery >= 20

    @invariant()
    def apps_see_what_people_see(self) -> None:
        for alarm in self.room.alarms():
            attrs = self.room.store.entities[alert_urn(alarm.id)].entity["attrs"]
            assert value_of(attrs[ALARM_STATE][0]) == alarm.state
            assert (DEFAULT_VOCAB + "validTo" in attrs) == (alarm.state == "closed")


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40)
