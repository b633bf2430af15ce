from __future__ import annotations

from typing import Any

import pytest

from broker.clock import SECOND, Clock
from broker.config import Limits
from broker.jsonld.resolver import ContextResolver
from broker.stores.base import Backlog
from broker.subscriptions.model import UNLIMITED, parse_subscription
from broker.subscriptions.standing import figures, standing
from broker.subscriptions.state import DeliveryState
from broker.subscriptions.steering import Steering
from broker.subscriptions.subscription import Subscription, compile_subscription

NOW = 1_800_000_000 * SECOND


async def _no_network(url: str) -> Any:
    raise AssertionError(url)


def subscription(**members: Any) -> Subscription:
    document = {
        "id": "urn:x:1",
        "type": "Subscription",
        "entities": [{"type": "Counter"}],
        "notification": {"endpoint": {"uri": "http://app.example/"}},
        **members,
    }
    core = ContextResolver(_no_network, Clock(), Limits()).core
    return compile_subscription(parse_subscription(document, core, None, Limits(), Clock().stamp(), ""), UNLIMITED)


FAILED = DeliveryState(attempts=2, next_attempt=NOW + 5 * SECOND, last_error="no", last_notification=NOW - SECOND)
OWED = Backlog(3, NOW - 90 * SECOND, 1)


@pytest.mark.parametrize(
    ("members", "state", "steering", "backlog", "expected"),
    [
        ({}, DeliveryState(), Steering(), Backlog(), ("idle", 0)),
        ({}, DeliveryState(), Steering(), OWED, ("delivering", 0)),
        ({}, FAILED, Steering(), OWED, ("retrying", NOW + 5 * SECOND)),
        ({}, FAILED.resting(NOW + 9 * SECOND, "down"), Steering(), OWED, ("hostResting", NOW + 9 * SECOND)),
        ({}, FAILED.resting(NOW - 1, "down"), Steering(), OWED, ("retrying", NOW + 5 * SECOND)),
        ({"throttling": 60}, DeliveryState(last_notification=NOW - 10 * SECOND), Steering(), OWED, ("throttled", NOW + 50 * SECOND)),
        ({"throttling": 60}, DeliveryState(last_notification=NOW - 70 * SECOND), Steering(), OWED, ("delivering", 0)),
        ({"isActive": False}, FAILED, Steering(), OWED, ("inactive", 0)),
        ({"isActive": False}, FAILED, Steering(paused_at=NOW - 1), OWED, ("paused", 0)),
    ],
)  # fmt: skip
def test_one_word_says_how_a_delivery_stands(
    members: dict[str, Any], state: DeliveryState, steering: Steering, backlog: Backlog, expected: tuple[str, int]
) -> None:
    assert standing(subscription(**members), state, steering, backlog, NOW) == expected


def test_lag_is_the_age_of_the_oldest_that_is_owed() -> None:
    shown = figures(subscription(), FAILED, Steering(), OWED, NOW, delivered_by=None)
    assert (shown["lagSeconds"], shown["backlog"], shown["deadLetters"], shown["attempts"]) == (90.0, 3, 1, 2)
    assert shown["nextAttempt"] == "2027-01-15T08:00:05.000Z"
