from hypothesis import given
from hypothesis import strategies as st

from broker.clock import SECOND
from broker.config import Delivery
from broker.subscriptions.state import DeliveryState, pause, read_state

SETTINGS = Delivery(retry_first_seconds=0.5, retry_longest_seconds=300)


def test_the_pause_doubles_up_to_the_longest() -> None:
    assert [pause(failures, SETTINGS, 1.0) for failures in (0, 1, 2, 9, 10, 10_000)] == [0.5, 1, 2, 256, 300, 300]


@given(st.integers(0, 100), st.floats(0, 1, exclude_max=True))
def test_jitter_takes_at_most_half_off(failures: int, jitter: float) -> None:
    whole = pause(failures, SETTINGS, 1.0)
    assert whole / 2 <= pause(failures, SETTINGS, jitter) <= whole


def test_failures_count_until_a_success() -> None:
    state = DeliveryState()
    for attempt in range(1, 4):
        state = state.failed(attempt * SECOND, "down", SETTINGS, 0.5)
        assert state.attempts == attempt
        assert state.next_attempt > attempt * SECOND
    state = state.succeeded(9 * SECOND)
    assert (state.attempts, state.next_attempt, state.last_error) == (0, 0, "")
    assert (state.times_sent, state.times_failed) == (4, 3)
    assert (state.last_notification, state.last_success, state.last_failure) == (9 * SECOND, 9 * SECOND, 3 * SECOND)


def test_an_endpoints_cooldown_is_kept() -> None:
    assert DeliveryState().failed(0, "down", SETTINGS, 0.0, cooldown=60).next_attempt == 60 * SECOND


@given(
    st.builds(
        DeliveryState,
        attempts=st.integers(0),
        next_attempt=st.integers(0),
        last_error=st.text(),
        times_sent=st.integers(0),
    )
)
def test_what_is_remembered_is_read_back(state: DeliveryState) -> None:
    assert read_state(state.body()) == state
    assert read_state({**state.body(), "of a newer version": 1}) == state
    assert read_state(None) == DeliveryState()
