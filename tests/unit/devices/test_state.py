"""A device's state: one frame that two networks bring."""

from __future__ import annotations

import pytest

from broker.clock import SECOND
from broker.devices.model import DeviceState
from broker.devices.state import brought_before, frame_of, heard

AT = 1_780_000_000 * SECOND
FRAME = frame_of(77, 5, b"\x01\x00\xe1")
STATE = heard(DeviceState(), uplink_id="u", at=AT, f_cnt=77, frame=FRAME, source="mqtt:netmore")


@pytest.mark.parametrize("later", [-60, 0, 60])
def test_another_network_brings_the_same_frame(later: int) -> None:
    assert brought_before(STATE, FRAME, "mqtt:yggio", AT + later * SECOND) == "mqtt:netmore"


@pytest.mark.parametrize(
    ("frame", "source", "later"),
    [
        (FRAME, "mqtt:netmore", 0),  # its own network knows by itself what it has sent
        (FRAME, "mqtt:yggio", 61),
        (frame_of(78, 5, b"\x01\x00\xe1"), "mqtt:yggio", 0),
        (frame_of(77, 6, b"\x01\x00\xe1"), "mqtt:yggio", 0),
        (frame_of(77, 5, b"\x01\x00\xe2"), "mqtt:yggio", 0),
        (frame_of(None, 5, b"\x01\x00\xe1"), "mqtt:yggio", 0),
        (frame_of(77, 5, None), "mqtt:yggio", 0),
    ],
)
def test_another_frame_is_another_frame(frame: str | None, source: str, later: int) -> None:
    assert brought_before(STATE, frame, source, AT + later * SECOND) == ""


def test_what_tells_no_frame_is_never_the_same() -> None:
    silent = heard(DeviceState(), uplink_id="u", at=AT, frame=None, source="mqtt:netmore")
    assert brought_before(silent, None, "mqtt:yggio", AT) == ""
    assert brought_before(DeviceState(), FRAME, "mqtt:yggio", AT) == ""
