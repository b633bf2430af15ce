"""ChirpStack v4's integration events in JSON, over MQTT or pushed by its HTTP integration (the same bodies).

Source: ChirpStack documentation, "Integrations / Event types", and its `integration.proto`, of which the JSON is the
Protocol Buffers mapping: a member with its type's default value (0, false, '') is absent.

The network's time is believed unless it cannot be true (`adapters.times.distrust`: 1970, years ahead). An uplink with such a
time is still a good measurement, so it is taken as observed when it was received, and `meta["time"]` keeps what the
network said: the value neither blocks later ones nor is lost. A time that is no RFC 3339 date-time is not understood.
"""

from __future__ import annotations

import binascii
import hashlib
import math
import re
from typing import Any, get_args

from adapters.members import NotUnderstood, flag, integer, members, number, objects, shown, text
from adapters.mqtt import chirpstack_down
from adapters.times import distrust
from broker.clock import Micros, iso, parse_network_time
from broker.config import Limits
from broker.errors import InvalidRequest
from broker.jsonio import parse_json
from broker.pipeline.intake import Radio, Uplink, UplinkKind

KINDS: dict[str, UplinkKind] = {kind: kind for kind in get_args(UplinkKind)}
_EUI = re.compile(r"[0-9a-fA-F]{16}")
_TOPIC = "application/{applicationId}/device/{devEui}/event/{event}"
# Radio figures beyond these are no measurement: int32 of the protocol, and what a receiver can tell apart.
_RSSI = (-(1 << 31), (1 << 31) - 1)
_SNR = (-1e6, 1e6)


def read(topic: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> Uplink:
    """The uplink of an event published on `application/{applicationId}/device/{devEui}/event/{event}`.

    Topic levels before 'application' are allowed. Raises NotUnderstood.
    """
    parts = topic.split("/")[-6:]
    if len(parts) != 6 or (parts[0], parts[2], parts[4]) != ("application", "device", "event"):
        raise NotUnderstood(f"The topic must be '{_TOPIC}', got {shown(topic)}.")
    device_id = _eui(parts[3], "The topic's DevEUI")
    return _read(
        parts[5], device_id, body, source=source, received_at=received_at, limits=limits, meta={"topic": topic}
    )


def read_http(event: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> Uplink:
    """The uplink of an event that the HTTP integration posted with `?event={event}`. Raises NotUnderstood."""
    return _read(event, None, body, source=source, received_at=received_at, limits=limits, meta={"event": event})


def _read(
    event: str,
    topic_device: str | None,
    body: bytes,
    *,
    source: str,
    received_at: Micros,
    limits: Limits,
    meta: dict[str, Any],
) -> Uplink:
    kind = KINDS.get(event)
    if kind is None:
        raise NotUnderstood(f"The event must be one of {', '.join(KINDS)}, got {shown(event)}.")
    try:
        # `object` is a Protocol Buffers Struct: its numbers are doubles where they come from.
        message = parse_json(body, max_depth=limits.json_depth, exact=False)
    except InvalidRequest as error:
        raise NotUnderstood(error.detail) from None
    if not isinstance(message, dict):
        raise NotUnderstood(f"The body must be a JSON object, got {shown(message)}.")
    info = members(message, "deviceInfo")
    if info is None:
        raise NotUnderstood("'deviceInfo' must be an object that names the device, got nothing.")
    device_id = _eui(text(info, "devEui"), "'devEui'")
    if topic_device is not None and device_id != topic_device:
        raise NotUnderstood(f"'devEui' must be the topic's DevEUI '{topic_device}', got '{device_id}'.")
    said = text(message, "time")
    observed_at = _observed_at(said, received_at, limits, meta)
    meta.update(_state(kind, message))
    return Uplink(
        source=source,
        kind=kind,
        device_id=device_id,
        received_at=received_at,
        observed_at=observed_at,
        raw=body,
        frame_key=_frame_key(kind, message, body),
        payload=_payload(message) if kind == "up" else None,
        f_port=integer(message, "fPort", 0, 255),
        f_cnt=(integer(message, "fCnt", 0, 0xFFFFFFFF) or 0) if kind == "up" else None,
        decoded=members(message, "object"),
        radio=_radio(message) if kind == "up" else None,
        battery_percent=number(message, "batteryLevel", 0, 100) if kind == "status" else None,
        location=_location(message) if kind == "location" else None,
        device_name=text(info, "deviceName") or None,
        device_profile=text(info, "deviceProfileName") or None,
        downlink=chirpstack_down.told(kind, message),
        meta=meta,
    )


def _eui(value: str, what: str) -> str:
    if _EUI.fullmatch(value) is None:
        raise NotUnderstood(f"{what} must be 16 hexadecimal digits, got {shown(value)}.")
    return value.lower()


def _observed_at(said: str, received_at: Micros, limits: Limits, meta: dict[str, Any]) -> Micros:
    if not said:
        return received_at
    at = parse_network_time(said)
    if at is None:
        raise NotUnderstood(f"'time' must be an RFC 3339 date-time with an offset, got {shown(said)}.")
    reason = distrust(at, received_at, limits)
    if not reason:
        return at
    meta["time"] = f"{said} is {reason}; taken as observed at {iso(received_at)}"
    return received_at


def _frame_key(kind: UplinkKind, message: dict[str, Any], body: bytes) -> str:
    """What tells this event from every other.

    ChirpStack gives an uplink's deduplicationId also to the join, status, ack and location events that the same frame
    caused, so the kind is part of the key. ack, txack and log events may come several times for one frame, or without
    an id: they are told apart by their bytes, which are the same when a broker delivers one again.
    """
    identity = text(message, "deduplicationId")
    if kind == "up" and identity:
        return f"chirpstack:{identity}"
    if kind in ("join", "status", "location") and identity:
        return f"chirpstack:{kind}:{identity}"
    return f"chirpstack:{kind}:{hashlib.sha256(body).hexdigest()[:32]}"


def _payload(message: dict[str, Any]) -> bytes:
    """`data`, b'' for a frame without one."""
    encoded = text(message, "data")
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        # ValueError: characters beyond ASCII.
        why = str(error).lower().rstrip(".")
        raise NotUnderstood(f"'data' must be whole base64 ({why}), got {shown(encoded)}.") from None


def _radio(message: dict[str, Any]) -> Radio | None:
    """The figures of the gateway that heard the frame best: by RSSI, then by SNR."""
    heard = [
        (number(by, "rssi", *_RSSI), number(by, "snr", *_SNR), text(by, "gatewayId") or None)
        for by in objects(message, "rxInfo")
    ]
    rssi, snr, gateway_id = max(heard, key=_strength) if heard else (None, None, None)
    sent = members(message, "txInfo") or {}
    frequency = integer(sent, "frequency", 0, 0xFFFFFFFF)
    data_rate = integer(message, "dr", 0, 255)
    if not heard and frequency is None and data_rate is None:
        return None
    return Radio(rssi=rssi, snr=snr, gateway_id=gateway_id, frequency=frequency, data_rate=data_rate or 0)


def _strength(heard: tuple[float | None, float | None, str | None]) -> tuple[float, float]:
    rssi, snr, _ = heard
    return (-math.inf if rssi is None else rssi, -math.inf if snr is None else snr)


def _location(message: dict[str, Any]) -> tuple[float, float]:
    at = members(message, "location")
    if at is None:
        raise NotUnderstood("'location' must be an object with 'latitude' and 'longitude', got nothing.")
    return number(at, "longitude", -180, 180) or 0.0, number(at, "latitude", -90, 90) or 0.0


def _state(kind: UplinkKind, message: dict[str, Any]) -> dict[str, Any]:
    """What an event other than an uplink says beyond the uplink's own members, for the device's state and the log."""
    if kind == "status":
        return {
            "margin": integer(message, "margin", -128, 127) or 0,
            "external_power": flag(message, "externalPowerSource"),
        }
    if kind == "join":
        return {"dev_addr": text(message, "devAddr")}
    if kind == "ack":
        return {
            "acknowledged": flag(message, "acknowledged"),
            "queue_item_id": text(message, "queueItemId"),
            "f_cnt_down": integer(message, "fCntDown", 0, 0xFFFFFFFF) or 0,
        }
    if kind == "txack":
        return {
            "queue_item_id": text(message, "queueItemId"),
            "gateway_id": text(message, "gatewayId"),
            "f_cnt_down": integer(message, "fCntDown", 0, 0xFFFFFFFF) or 0,
        }
    if kind == "log":
        return {name: text(message, name) for name in ("level", "code", "description")}
    return {}
