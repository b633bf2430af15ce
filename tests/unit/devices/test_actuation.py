"""What may become of a command: every sequence of what happens to it, in any order, twice, early and late."""

from __future__ import annotations

from typing import get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.clock import SECOND
from broker.devices import actuation
from broker.devices.actuation import CommandStatus, DeviceCommand, What, as_document, is_open, keys
from broker.devices.registry import to_body

START = 1_780_000_000 * SECOND
LATE = START + 3600 * SECOND


def queued(**members: object) -> DeviceCommand:
    given: dict[str, object] = {
        "id": "0199-1",
        "virtual_sensor": "valve",
        "command": "open",
        "queued_at": START,
        "expires_at": LATE,
    }
    return DeviceCommand(**(given | members))  # type: ignore[arg-type]


def begun(confirmed: bool = True, device: str = "old") -> DeviceCommand:
    return actuation.sending(
        queued(), device=device, model="m", network="mqtt:chirpstack", f_port=1, confirmed=confirmed, payload=b"\x01"
    )


def test_an_unconfirmed_command_has_ended_when_it_was_transmitted() -> None:
    sent = actuation.sent(begun(confirmed=False), START + 1)
    assert is_open(sent)
    done = actuation.told(sent, "old", "transmitted", START + 2)
    assert (done.status, is_open(done), done.transmitted_at) == ("sent", False, START + 2)


def test_an_event_that_is_faster_than_our_own_writing_is_not_lost() -> None:
    early = actuation.told(begun(), "old", "acknowledged", START + 1)
    assert early.status == "acknowledged"
    written = actuation.sent(early, START + 2)
    assert (written.status, written.sent_at, written.acknowledged_at) == ("acknowledged", START + 1, START + 1)


def test_another_devices_event_says_nothing() -> None:
    sent = actuation.sent(begun(), START + 1)
    assert actuation.told(sent, "new", "acknowledged", START + 2) is sent


def test_an_event_of_a_command_that_was_never_handed_over_says_nothing() -> None:
    command = queued(device="old")
    assert actuation.told(command, "old", "acknowledged", START + 2) is command


def test_a_retry_of_the_network_is_told_and_ends_nothing() -> None:
    sent = actuation.told(actuation.sent(begun(), START + 1), "old", "retried", START + 2, "It tries again.")
    assert (sent.status, is_open(sent), sent.reason) == ("sent", True, "It tries again.")


@given(at=st.integers(START, LATE - 1))
def test_nothing_expires_before_its_time(at: int) -> None:
    for command in (queued(), begun(), actuation.sent(begun(), START)):
        assert actuation.expired(command, at) is command
        assert actuation.expired(command, LATE).status == "expired"


class Life(RuleBasedStateMachine):
    """Anything that can happen, at any time; `events` are what a person would say has happened."""

    @initialize(confirmed=st.booleans())
    def begin(self, confirmed: bool) -> None:
        self.confirmed = confirmed
        self.now = START
        self.command = queued()
        self.acknowledged = self.handed = False

    def step(self, after: DeviceCommand) -> None:
        before, self.command = self.command, after
        # What was written of a step stays; nothing that ended begins again.
        for time in ("sent_at", "transmitted_at", "acknowledged_at"):
            was = getattr(before, time)
            assert was is None or getattr(after, time) == was
        assert is_open(before) or not is_open(after)
        assert after.attempts >= before.attempts
        if before.status == "acknowledged":
            assert after.status == "acknowledged"
        if before.status == "cancelled":
            assert after.status == "cancelled" or "It was on its way by then." in after.reason

    @rule(seconds=st.integers(0, 2000))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @precondition(lambda self: self.command.status == "queued")
    @rule(device=st.sampled_from(["old", "new"]))
    def hand_over(self, device: str) -> None:
        self.handed = True
        self.step(
            actuation.sending(
                self.command,
                device=device,
                model="m",
                network="mqtt:chirpstack",
                f_port=1,
                confirmed=self.confirmed,
                payload=b"\x01",
            )
        )

    @precondition(lambda self: self.command.sending)
    @rule()
    def it_was_taken(self) -> None:
        self.step(actuation.sent(self.command, self.now))

    @precondition(lambda self: self.command.sending)
    @rule()
    def it_was_not_taken(self) -> None:
        self.step(actuation.waiting(self.command, "The MQTT broker is away."))

    @rule(device=st.sampled_from(["old", "new"]), what=st.sampled_from(get_args(What)))
    def hear(self, device: str, what: What) -> None:
        self.step(actuation.told(self.command, device, what, self.now, "so"))
        if what == "acknowledged" and device == self.command.device and self.handed:
            self.acknowledged = True

    @rule()
    def look(self) -> None:
        self.step(actuation.expired(self.command, self.now))

    @precondition(lambda self: not actuation.may_cancel(self.command))
    @rule()
    def cancel(self) -> None:
        self.step(actuation.cancelled(self.command, "eva", self.now))

    @invariant()
    def it_holds_together(self) -> None:
        command = self.command
        assert (command.status in ("acknowledged", "failed", "expired", "cancelled")) <= (command.ended_at is not None)
        assert (command.status == "queued") <= is_open(command)
        assert (command.status == "sent") <= (command.sent_at is not None)
        assert not command.sending or command.status == "queued"
        assert ("open" in keys(command)) == is_open(command)
        if command.status == "sent" and not is_open(command):
            assert not command.confirmed
            assert command.transmitted_at is not None
        if self.acknowledged:
            assert command.status == "acknowledged"
        assert msgspec.convert(to_body(command), DeviceCommand) == command
        assert as_document(command)["status"] in get_args(CommandStatus)


TestLife = Life.TestCase
