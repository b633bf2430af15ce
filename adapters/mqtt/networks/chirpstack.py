"""ChirpStack v4's integration events in JSON or Protocol Buffers, over MQTT or pushed by its HTTP integration (the same bodies).

Source: ChirpStack documentation, "Integrations / Event types", and its `integration.proto`, of which the JSON is the
Protocol Buffers mapping: a member with its type's default value (0, false, '') is absent. Which of the two a body is, its first byte tells.

The network's time is believed unless it cannot be true (`adapters.times.distrust`: 1970, years ahead). An uplink with such a
time is still a good measurement, so it is taken as observed when it was received, and `meta["time"]` keeps what the
network said: the value neither blocks later ones nor is lost. A time that is no RFC 3339 date-time is not understood.
"""

from __future__ import annotations

from typing import Any, get_args

from adapters.members import NotUnderstood, flag, integer, members, number, objects, shown, text
from adapters.mqtt.networks import chirpstack_down
from adapters.mqtt.networks.base import (
    RSSI,
    SNR,
    NetworkServer,
    base64_bytes,
    best,
    digest,
    eui,
    observed,
    parsed_object,
    single,
)
from adapters.mqtt.networks.chirpstack_protobuf import as_json, is_protobuf, is_v3
from broker.clock import Micros
from broker.config import Limits
from broker.pipeline.intake import Radio, Uplink, UplinkKind

KINDS: dict[str, UplinkKind] = {kind: kind for kind in get_args(UplinkKind)}
TOPICS = ("application/+/device/+/event/+",)
_TOPIC = "application/{applicationId}/device/{devEui}/event/{event}"


def is_topic(topic: str) -> bool:
    """Whether it is one of ChirpStack's; levels before 'application' are allowed."""
    parts = topic.split("/")[-6:]
    return len(parts) == 6 and (parts[0], parts[2], parts[4]) == ("application", "device", "event")


def knows(topic: str, body: bytes) -> bool:
    """An event of v4: in JSON it has `deviceInfo`."""
    if not is_topic(topic):
        return False
    if is_protobuf(body):
        return not is_v3(topic.rpartition("/")[2], body)
    return b'"devEUI"' not in body or b'"deviceInfo"' in body


def read(topic: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> Uplink:
    """The uplink of an event published on `application/{applicationId}/device/{devEui}/event/{event}`.

    Topic levels before 'application' are allowed. Raises NotUnderstood.
    """
    parts = topic.split("/")[-6:]
    if len(parts) != 6 or (parts[0], parts[2], parts[4]) != ("application", "device", "event"):
        raise NotUnderstood(f"The topic must be '{_TOPIC}', got {shown(topic)}.")
    device_id = eui(parts[3], "The topic's DevEUI")
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
    message = as_json(kind, body, limits) if is_protobuf(body) else parsed_object(body, limits)
    info = members(message, "deviceInfo")
    if info is None:
        raise NotUnderstood("'deviceInfo' must be an object that names the device, got nothing.")
    device_id = eui(text(info, "devEui"), "'devEui'")
    if topic_device is not None and device_id != topic_device:
        raise NotUnderstood(f"'devEui' must be the topic's DevEUI '{topic_device}', got '{device_id}'.")
    observed_at = observed(text(message, "time"), "time", received_at, limits, meta)
    meta.update(_state(kind, message))
    return Uplink(
        source=source,
        kind=kind,
        device_id=device_id,
        received_at=received_at,
        observed_at=observed_at,
        raw=body,
        frame_key=_frame_key(kind, message, body),
        payload=base64_bytes(text(message, "data"), "'data'") if kind == "up" else None,
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
    return f"chirpstack:{kind}:{digest(body)}"


def _radio(message: dict[str, Any]) -> Radio | None:
    """The figures of the gateway that heard the frame best."""
    sent = members(message, "txInfo") or {}
    frequency = integer(sent, "frequency", 0, 0xFFFFFFFF)
    data_rate = integer(message, "dr", 0, 255)
    heard = [
        Radio(
            rssi=number(by, "rssi", *RSSI),
            snr=number(by, "snr", *SNR),
            gateway_id=text(by, "gatewayId") or None,
            gateway_location=place(by, "location"),
            frequency=frequency,
            data_rate=data_rate or 0,
        )
        for by in objects(message, "rxInfo")
    ]
    if not heard and (frequency is not None or data_rate is not None):
        return Radio(frequency=frequency, data_rate=data_rate or 0)
    return best(heard)


def place(of: dict[str, Any], name: str) -> tuple[float, float] | None:
    """Longitude and latitude of a member; None when it is absent, or 0, 0: a gateway that has not been told where it is."""
    at = members(of, name)
    if at is None:
        return None
    longitude, latitude = number(at, "longitude", -180, 180) or 0.0, number(at, "latitude", -90, 90) or 0.0
    return (longitude, latitude) if longitude or latitude else None


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


SERVER = NetworkServer(
    "chirpstack",
    read=single(read),
    knows=knows,
    topics=TOPICS,
    read_http=single(read_http),
    down=chirpstack_down.down,
)
