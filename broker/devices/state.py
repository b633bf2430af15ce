"""What an uplink tells about its device: last seen, radio, battery, frame counter. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from zlib import crc32

import msgspec

from broker.clock import SECOND, Micros
from broker.codecs.base import Measurement
from broker.devices.alarms.frames import received, received_late
from broker.devices.battery import Battery, percent_left
from broker.devices.model import DeviceState

SAME_FRAME: Final = 60 * SECOND
"""Networks tell of one frame within this time of each other."""


def frame_of(f_cnt: int | None, f_port: int | None, payload: bytes | None) -> str | None:
    """What tells a device's LoRaWAN frame apart whichever network brings it; None where it cannot be told."""
    if f_cnt is None or payload is None:
        return None
    return f"{f_cnt}:{f_port}:{crc32(payload):08x}"


def brought_before(state: DeviceState, frame: str | None, source: str, at: Micros) -> str:
    """The other network that has brought this frame already; '' when none has.

    A device that two networks hear, or whose network is heard directly and through a platform, is measured once.
    """
    if frame is None or frame != state.frame or state.source in (None, source) or state.last_seen is None:
        return ""
    return state.source or "" if abs(at - state.last_seen) <= SAME_FRAME else ""


def heard(
    state: DeviceState,
    *,
    uplink_id: str,
    at: Micros,
    joined: bool = False,
    f_cnt: int | None = None,
    rssi: float | None = None,
    snr: float | None = None,
    gateway: str | None = None,
    gateway_location: tuple[float, float] | None = None,
    margin: int | None = None,
    battery_percent: float | None = None,
    battery: Battery | None = None,
    location: tuple[float, float] | None = None,
    measurements: Sequence[Measurement] = (),
    problem: str | None = None,
    frame: str | None = None,
    source: str | None = None,
    broker: str | None = None,
    topic: str | None = None,
    again: bool = False,
) -> DeviceState:
    """The state after an uplink of `at`. A late uplink counts, and never sets back what is known since.

    `again`: it was heard before, and is only looked at again. `battery`: the model's, for devices that tell volts alone.
    """
    uplinks = state.uplinks if again else state.uplinks + 1
    if state.last_seen is not None and at < state.last_seen:
        return msgspec.structs.replace(state, uplinks=uplinks, frames=received_late(state, f_cnt))
    level, volts = battery_percent, None
    for measurement in measurements:
        if measurement.quantity == "batteryLevel" and isinstance(measurement.value, (int, float)):
            level = float(measurement.value)
        elif measurement.quantity == "batteryVoltage" and isinstance(measurement.value, (int, float)):
            volts = float(measurement.value)
    derived = False
    if level is None and volts is None:
        level, derived = state.battery_percent, state.battery_derived
    elif level is None and volts is not None:
        if state.battery_percent is not None and not state.battery_derived:
            level = state.battery_percent  # it says percent itself, now and then
        elif battery is not None:
            level, derived = percent_left(battery, volts), True
    frames, frames_known = received(state, f_cnt, joined=joined)
    return DeviceState(
        last_seen=at,
        last_uplink=uplink_id,
        uplinks=uplinks,
        f_cnt=f_cnt if f_cnt is not None else state.f_cnt,
        rssi=rssi if rssi is not None else state.rssi,
        snr=snr if snr is not None else state.snr,
        gateway=gateway or state.gateway,
        # Another gateway is elsewhere.
        gateway_location=gateway_location or (state.gateway_location if gateway in (None, state.gateway) else None),
        margin=margin if margin is not None else state.margin,
        battery_percent=level,
        battery_volts=volts if volts is not None else state.battery_volts,
        battery_derived=derived and level is not None,
        joined_at=at if joined else state.joined_at,
        location=location or state.location,
        last_problem=problem,
        frames=frames,
        frames_known=frames_known,
        frame=frame,
        source=source,
        broker=broker,
        topic=topic,
    )
