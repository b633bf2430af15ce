"""Frame loss from gaps in the frame counter, over the last frames. Pure.

A LoRaWAN device counts its frames; what is missing between two that came was lost. A bit a frame, the newest the lowest.
A join, and a counter that goes backwards, begin anew: a device that was restarted has lost nothing.
"""

from __future__ import annotations

from typing import Final

from broker.devices.model import DeviceState

FRAMES: Final = 50
"""Frames that are looked back on, count: half a day of one every 15 minutes. They fit an integer of any JSON reader."""

LEAP: Final = 5_000
"""A gap from which on the counter was set rather than frames lost, count: a month of one every 10 minutes."""

_ALL: Final = (1 << FRAMES) - 1


def received(state: DeviceState, f_cnt: int | None, *, joined: bool) -> tuple[int, int]:
    """(frames, frames_known) after a frame with the counter `f_cnt`, which is not older than the state."""
    if joined:
        return 0, 0
    if f_cnt is None:
        return state.frames, state.frames_known
    if state.f_cnt is None or state.frames_known == 0 or f_cnt < state.f_cnt or f_cnt - state.f_cnt > LEAP:
        return 1, 1
    gap = f_cnt - state.f_cnt
    return (state.frames << min(gap, FRAMES) | 1) & _ALL, min(state.frames_known + gap, FRAMES)


def received_late(state: DeviceState, f_cnt: int | None) -> int:
    """`frames` after a frame from before the newest one: it was not lost."""
    if f_cnt is None or state.f_cnt is None:
        return state.frames
    back = state.f_cnt - f_cnt
    return state.frames | 1 << back if 0 < back < state.frames_known else state.frames


def lost_share(state: DeviceState) -> float | None:
    """The share of the last frames that did not come, 0 to 1; None when nothing is known."""
    if state.frames_known == 0:
        return None
    return 1.0 - state.frames.bit_count() / state.frames_known
