"""What is remembered of a subscription's delivery: how it went, and when to try again (record kind 'delivery_state')."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from broker.clock import SECOND, Micros, iso
from broker.config import Delivery

ERROR_CHARACTERS = 500


class DeliveryState(Struct, frozen=True):
    """Times are microseconds since the epoch; 0 where it has not happened (ETSI GS CIM 009 v1.9.1, 5.2.14.2)."""

    attempts: int = 0
    """Failures in a row."""
    next_attempt: Micros = 0
    """Not tried before; 0 when nothing failed."""
    last_error: str = ""
    """Of the last failure, until a success."""
    times_sent: int = 0
    """Notifications sent, whatever became of them."""
    times_failed: int = 0
    last_notification: Micros = 0
    last_success: Micros = 0
    last_failure: Micros = 0
    rests_until: Micros = 0
    """The endpoint's host did not answer lately, whoever asked: not tried before; 0 when it answers."""

    def sending(self, now: Micros) -> DeliveryState:
        """While one is on its way: it counts as sent (5.8.6), whatever becomes of it."""
        return replace(self, times_sent=self.times_sent + 1, last_notification=now)

    def succeeded(self, now: Micros) -> DeliveryState:
        """After a notification was taken."""
        return DeliveryState(
            times_sent=self.times_sent + 1,
            times_failed=self.times_failed,
            last_notification=now,
            last_success=now,
            last_failure=self.last_failure,
        )

    def failed(
        self, now: Micros, error: str, settings: Delivery, jitter: float, *, cooldown: float = 0.0
    ) -> DeliveryState:
        """After one was not. `jitter` in [0, 1) spreads the retries; `cooldown` (seconds) is the endpoint's own wish."""
        return replace(
            self,
            attempts=self.attempts + 1,
            rests_until=0,
            next_attempt=now + int(max(pause(self.attempts, settings, jitter), cooldown) * SECOND),
            last_error=error[:ERROR_CHARACTERS],
            times_sent=self.times_sent + 1,
            times_failed=self.times_failed + 1,
            last_notification=now,
            last_failure=now,
        )

    def resting(self, until: Micros, why: str) -> DeliveryState:
        """Nothing was tried: its host is left alone."""
        return replace(self, rests_until=until, last_error=why[:ERROR_CHARACTERS])

    def at_once(self) -> DeliveryState:
        """To be tried again without waiting."""
        return replace(self, next_attempt=0)

    def body(self) -> dict[str, Any]:
        """As a record's body."""
        return {name: getattr(self, name) for name in _NAMES}

    def members(self) -> dict[str, Any]:
        """As the read-only members of a subscription's `notification`."""
        members: dict[str, Any] = {}
        if self.times_sent:
            if self.attempts or self.last_success or self.last_failure:
                members["status"] = "failed" if self.attempts else "ok"
            members["timesSent"] = self.times_sent
            members["timesFailed"] = self.times_failed
        for name, at in (
            ("lastNotification", self.last_notification),
            ("lastSuccess", self.last_success),
            ("lastFailure", self.last_failure),
        ):
            if at:
                members[name] = iso(at)
        return members


_NAMES = DeliveryState.__struct_fields__


def read_state(body: dict[str, Any] | None) -> DeliveryState:
    """The state from a record's body; the initial one when there is none."""
    return DeliveryState(**{name: value for name, value in (body or {}).items() if name in _NAMES})


def pause(failures_before: int, settings: Delivery, jitter: float) -> float:
    """Seconds to wait after the next failure: doubling from the first, half to all of it, at most the longest."""
    # Beyond 2^40 the longest pause has long been reached; the bound only keeps the number small.
    whole = settings.retry_first_seconds * 2.0 ** min(failures_before, 40)
    return min(whole, settings.retry_longest_seconds) * (0.5 + jitter / 2)
