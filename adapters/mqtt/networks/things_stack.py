"""The Things Stack v3's upstream messages: over its MQTT server, or pushed by a webhook (the same bodies).

Source: The Things Stack documentation, "Data Formats" (uplink, join-accept, downlink events, location solved, service data) and
"MQTT Server" (topics `v3/{application}@{tenant}/devices/{device}/…`, MQTT 3.1.1 at QoS 0 only); `ApplicationUp` of its
`messages.proto`. A member with its type's default value is absent. Which kind a message is, its own member says.
"""

from __future__ import annotations

from typing import Any

from adapters.members import NotUnderstood, flag, integer, members, number, objects, shown, text, whole
from adapters.mqtt.networks import things_stack_down
from adapters.mqtt.networks.base import (
    RSSI,
    SNR,
    NetworkServer,
    Part,
    base64_bytes,
    best,
    device_id,
    digest,
    eui,
    observed,
    parsed_object,
)
from adapters.mqtt.networks.chirpstack import place
from broker.clock import Micros
from broker.config import Limits
from broker.pipeline.intake import Radio, Uplink, UplinkKind

KINDS: dict[str, UplinkKind] = {
    "uplink_message": "up", "join_accept": "join", "downlink_queued": "log", "downlink_sent": "txack",
    "downlink_ack": "ack", "downlink_nack": "ack", "downlink_failed": "log", "downlink_queue_invalidated": "log",
    "location_solved": "location", "service_data": "log",
}  # fmt: skip
"""The member that a message has -> what it is."""
REPEATS = "uplink_normalized"
"""The same uplink once more, its values by The Things Stack's own names: the uplink itself has come."""
TOPICS = ("v3/+/devices/+/up", "v3/+/devices/+/join", "v3/+/devices/+/down/+", "v3/+/devices/+/location/solved")


def knows(topic: str, body: bytes) -> bool:
    """By the topic, or on one that somebody chose (Pub/Sub) by the shape."""
    return _is_topic(topic) or b'"end_device_ids"' in body


def read(topic: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> list[Part]:
    """The uplink of a message, whatever topic it was published on; none of a command, ours or another's. Raises NotUnderstood."""
    if topic.endswith(("/down/push", "/down/replace")):
        return []
    return _read(body, source, received_at, limits, {"topic": topic})


def read_http(event: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> list[Part]:
    """The uplink of a message that a webhook posted. Raises NotUnderstood."""
    return _read(body, source, received_at, limits, {"event": event})


def _is_topic(topic: str) -> bool:
    parts = topic.split("/")
    return len(parts) >= 5 and (parts[0], parts[2]) == ("v3", "devices")


def _read(body: bytes, source: str, received_at: Micros, limits: Limits, meta: dict[str, Any]) -> list[Part]:
    message = parsed_object(body, limits)
    name = next((each for each in KINDS if message.get(each) is not None), None)
    if name is None:
        if REPEATS in message:
            return []
        raise NotUnderstood(f"The message must have one of {', '.join(KINDS)}, got {shown(sorted(message))}.")
    kind = KINDS[name]
    about = members(message, name) or {}
    meta.update(_state(kind, name, about))
    said = text(about, "received_at") or text(message, "received_at")
    if name == "uplink_message":
        said = text(members(about, "settings") or {}, "time") or said
    ids = members(message, "end_device_ids") or {}
    identity = _device(ids)
    up = kind == "up"
    versions = members(about, "version_ids") or {}
    return [
        Uplink(
            source=source,
            kind=kind,
            device_id=identity,
            received_at=received_at,
            observed_at=observed(said, "received_at", received_at, limits, meta),
            raw=body,
            frame_key=_frame_key(name, identity, about, body),
            payload=base64_bytes(text(about, "frm_payload"), "'frm_payload'") if up else None,
            f_port=integer(about, "f_port", 0, 255) if up else None,
            f_cnt=(integer(about, "f_cnt", 0, 0xFFFFFFFF) or 0) if up else None,
            decoded=members(about, "decoded_payload") if up else None,
            radio=_radio(about) if up else None,
            battery_percent=_battery(about) if up else None,
            location=place(about, "location") if kind == "location" else None,
            device_name=text(ids, "device_id") or None,
            device_profile=" ".join(filter(None, (text(versions, "brand_id"), text(versions, "model_id")))) or None,
            downlink=things_stack_down.told(name.removeprefix("downlink_"), message),
            meta=meta,
        )
    ]


def _device(ids: dict[str, Any]) -> str:
    """The DevEUI; of a device that has none (activated by personalisation) application and device id."""
    if found := text(ids, "dev_eui"):
        return eui(found, "'dev_eui'")
    application = text(members(ids, "application_ids") or {}, "application_id")
    name = text(ids, "device_id")
    if not application or not name:
        raise NotUnderstood("'end_device_ids' must have a 'dev_eui', or a 'device_id' and an 'application_id'.")
    return device_id(f"{application}:{name}", "'device_id'")


def _frame_key(name: str, identity: str, about: dict[str, Any], body: bytes) -> str:
    """A frame is its session and its counter, however many gateways heard it."""
    session = text(about, "session_key_id")
    if name == "uplink_message" and session:
        return f"the-things-stack:{identity}:{session[:80]}:{integer(about, 'f_cnt', 0, 0xFFFFFFFF) or 0}"
    if name == "join_accept" and session:
        return f"the-things-stack:join:{identity}:{session[:80]}"
    return f"the-things-stack:{name}:{digest(body)}"


def _radio(about: dict[str, Any]) -> Radio | None:
    settings = members(about, "settings") or {}
    frequency = whole(settings, "frequency", 0, 0xFFFFFFFF)
    heard = []
    for by in objects(about, "rx_metadata"):
        gateway = members(by, "gateway_ids") or {}
        heard.append(
            Radio(
                rssi=number(by, "rssi", *RSSI),
                snr=number(by, "snr", *SNR),
                gateway_id=text(gateway, "eui").lower() or text(gateway, "gateway_id") or None,
                gateway_location=place(by, "location"),
                frequency=frequency,
            )
        )
    return best(heard)


def _battery(about: dict[str, Any]) -> float | None:
    return number(members(about, "last_battery_percentage") or {}, "value", 0, 100)


def _state(kind: UplinkKind, name: str, about: dict[str, Any]) -> dict[str, Any]:
    if kind == "up":
        return {"simulated": True} if flag(about, "simulated") else {}
    if name == "service_data":
        return {"code": name, "service": text(about, "service")}
    return {"code": name}


SERVER = NetworkServer(
    "the-things-stack",
    read=read,
    knows=knows,
    topics=TOPICS,
    read_http=read_http,
    down=things_stack_down.push,
)
