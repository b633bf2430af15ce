"""Frame loss: what was lost, and what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.devices.alarms.frames import FRAMES, LEAP, lost_share
from broker.devices.model import DeviceState
from broker.devices.state import heard


def after(counters: list[int], state: DeviceState | None = None, *, joined_before: int | None = None) -> DeviceState:
    state = state if state is not None else DeviceState()
    for at, counter in enumerate(counters, start=(state.last_seen or 0) + 1):
        if counter == joined_before:
            state = heard(state, uplink_id="j", at=at, joined=True)
        state = heard(state, uplink_id="u", at=at, f_cnt=counter)
    return state


def test_every_second_frame_lost_is_half() -> None:
    assert lost_share(after(list(range(0, 200, 2)))) == pytest.approx(0.5)


def test_nothing_is_known_of_a_device_without_counters() -> None:
    assert lost_share(heard(DeviceState(), uplink_id="u", at=1)) is None


def test_a_counter_that_begins_anew_after_a_join_or_a_restart_is_no_loss() -> None:
    assert lost_share(after([1000, 1001, 3, 4, 5], joined_before=3)) == 0
    assert lost_share(after([1000, 1001, 0, 1])) == 0
    assert lost_share(after([1, 2, 3 + LEAP, 4 + LEAP])) == 0


def test_a_frame_that_comes_late_was_not_lost() -> None:
    state = after([1, 2, 4])
    assert lost_share(state) == pytest.approx(0.25)
    late = heard(state, uplink_id="u", at=1, f_cnt=3)
    assert lost_share(late) == 0
    assert (late.f_cnt, late.last_seen) == (4, 3)


@given(st.lists(st.integers(0, 300), unique=True, min_size=1).map(sorted))
def test_the_share_is_that_of_the_counters_that_did_not_come(counters: list[int]) -> None:
    first, last = counters[0], counters[-1]
    known = min(last - first + 1, FRAMES)
    came = sum(counter > last - known for counter in counters)
    state = after(counters)
    assert state.frames_known == known
    assert lost_share(state) == pytest.approx(1 - came / known)
