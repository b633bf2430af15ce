"""How the delivery of a subscription stands, in one word and in figures. Pure.

| state | meaning |
| --- | --- |
| idle | nothing is owed |
| delivering | something is owed, and nothing keeps it from being sent now |
| retrying | the last attempt failed; the next one is at `nextAttempt` |
| hostResting | the endpoint's host has not answered lately, to whatever subscription; it is tried again at `nextAttempt` |
| throttled | the subscription's own `throttling` has not passed yet |
| paused | an operator paused it; the outbox gathers |
| inactive | the subscriber paused it (`isActive` is false): no change triggers it |
| expired | its `expiresAt` has passed |
"""

from __future__ import annotations

from typing import Any, Final, Literal

from broker.clock import SECOND, Micros, iso
from broker.stores.base import Backlog
from broker.subscriptions.state import DeliveryState
from broker.subscriptions.steering import Steering
from broker.subscriptions.subscription import Subscription

State = Literal["idle", "delivering", "retrying", "hostResting", "throttled", "paused", "inactive", "expired"]
STATES: Final[tuple[State, ...]] = (
    "idle",
    "delivering",
    "retrying",
    "hostResting",
    "throttled",
    "paused",
    "inactive",
    "expired",
)


def standing(
    subscription: Subscription, state: DeliveryState, steering: Steering, backlog: Backlog, now: Micros
) -> tuple[State, Micros]:
    """(the state, when it is tried again: 0 where no time is known). The operator's pause is said before all else."""
    if steering.paused:
        return "paused", 0
    status = subscription.status(now)
    if status != "active":
        return ("expired" if status == "expired" else "inactive"), 0
    if not backlog.owed:
        return "idle", 0
    if state.rests_until > now and state.rests_until >= state.next_attempt:
        return "hostResting", state.rests_until
    if state.attempts:
        return "retrying", state.next_attempt
    if subscription.throttling:
        ends = state.last_notification + int(subscription.throttling * SECOND)
        if ends > now:
            return "throttled", ends
    return "delivering", 0


def figures(
    subscription: Subscription,
    state: DeliveryState,
    steering: Steering,
    backlog: Backlog,
    now: Micros,
    *,
    delivered_by: str | None,
) -> dict[str, Any]:
    """What the management API shows. `delivered_by`: 'this process', 'another process', or None where nobody does."""
    word, again = standing(subscription, state, steering, backlog, now)
    oldest = backlog.oldest
    return {
        "state": word,
        "backlog": backlog.owed,
        "oldestOwedAt": iso(oldest) if oldest is not None else None,
        "lagSeconds": round(max(now - oldest, 0) / SECOND, 3) if oldest is not None else 0,
        "deadLetters": backlog.dead,
        "attempts": state.attempts,
        "nextAttempt": iso(again) if again else None,
        "lastError": state.last_error or None,
        "timesSent": state.times_sent,
        "timesFailed": state.times_failed,
        "lastNotification": _time(state.last_notification),
        "lastSuccess": _time(state.last_success),
        "lastFailure": _time(state.last_failure),
        "paused": _paused(steering),
        "deliveredBy": delivered_by,
    }


def _paused(steering: Steering) -> dict[str, Any] | None:
    if not steering.paused:
        return None
    return {"since": iso(steering.paused_at), "by": steering.by, "reason": steering.reason}


def _time(at: Micros) -> str | None:
    return iso(at) if at else None
