"""ChirpStack v3's integration events: JSON in both of its shapes, or Protocol Buffers, over MQTT or pushed over HTTP.

Source: ChirpStack v3's documentation, "Integrations / Event types" (JSON with `marshaler = json`: EUIs in base64, `objectJSON`; and
`json_v3`: EUIs in hexadecimal digits, `object`) and "MQTT" (topics, those before v3.11 too); `integration.proto` of its API.
A frame has no id of its own: an event delivered again is known by its bytes. Its acknowledgements name a frame counter and no
command, so a command that was sent stays 'sent'.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from adapters.members import NotUnderstood, flag, integer, members, number, objects, shown, text
from adapters.mqtt.networks.base import (
    RSSI,
    SNR,
    NetworkServer,
    base64_bytes,
    best,
    digest,
    eui,
    is_eui,
    observed,
    parsed,
    parsed_object,
    single,
)
from adapters.mqtt.networks.chirpstack import place
from adapters.mqtt.networks.chirpstack_protobuf import V3, is_protobuf, is_v3
from adapters.mqtt.networks.protobuf import read_message
from broker.clock import Micros
from broker.config import Limits
from broker.pipeline.intake import Downlink, NotSent, Radio, Uplink, UplinkKind

KINDS: dict[str, UplinkKind] = {
    "up": "up", "rx": "up", "join": "join", "ack": "ack", "txack": "txack", "error": "log", "status": "status",
    "location": "location",
}  # fmt: skip
"""Events; 'rx' is an uplink in the topics before v3.11."""
TOPICS = ("application/+/device/+/event/+",)
_TOPIC = "application/{applicationID}/device/{devEUI}/event/{event}"


def knows(topic: str, body: bytes) -> bool:
    """An event of v3: in JSON it has `devEUI`."""
    if _levels(topic) is None:
        return False
    if is_protobuf(body):
        return is_v3(topic.rpartition("/")[2], body)
    return b'"devEUI"' in body and b'"deviceInfo"' not in body


def read(topic: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> Uplink:
    """The uplink of an event. Raises NotUnderstood."""
    levels = _levels(topic)
    if levels is None:
        raise NotUnderstood(f"The topic must be '{_TOPIC}', got {shown(topic)}.")
    device, event = levels
    return _read(event, eui(device, "The topic's DevEUI"), body, source, received_at, limits, {"topic": topic})


def read_http(event: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> Uplink:
    """The uplink of an event that the HTTP integration posted with `?event={event}`. Raises NotUnderstood."""
    return _read(event, None, body, source, received_at, limits, {"event": event})


def down(downlink: Downlink) -> tuple[str, bytes]:
    """(topic, body) of the `down` command for a device that was heard on `downlink.topic`. Raises NotSent."""
    parts = downlink.topic.split("/")
    if len(parts) < 6 or (parts[-6], parts[-4], parts[-2]) != ("application", "device", "event"):
        raise NotSent(f"The device was last heard on '{downlink.topic[:120]}', which has no command topic beside it.")
    body = {
        "confirmed": downlink.confirmed,
        "fPort": downlink.f_port,
        "data": base64.b64encode(downlink.payload).decode(),
    }
    return "/".join([*parts[:-2], "command", "down"]), json.dumps(body).encode()


def _levels(topic: str) -> tuple[str, str] | None:
    """(DevEUI, event) of a topic, of v3.11 and later or before."""
    parts = topic.split("/")
    if len(parts) >= 6 and (parts[-6], parts[-4], parts[-2]) == ("application", "device", "event"):
        return parts[-3], parts[-1]
    if len(parts) >= 5 and (parts[-5], parts[-3]) == ("application", "device") and parts[-1] in KINDS:
        return parts[-2], parts[-1]
    return None


def _read(
    event: str,
    topic_device: str | None,
    body: bytes,
    source: str,
    received_at: Micros,
    limits: Limits,
    meta: dict[str, Any],
) -> Uplink:
    kind = KINDS.get(event)
    if kind is None:
        raise NotUnderstood(f"The event must be one of {', '.join(KINDS)}, got {shown(event)}.")
    if is_protobuf(body):
        message = read_message(V3["up" if event == "rx" else event], body, limits.json_depth)
    else:
        message = parsed_object(body, limits)
    device_id = _eui(text(message, "devEUI"), "'devEUI'")
    if topic_device is not None and device_id != topic_device:
        raise NotUnderstood(f"'devEUI' must be the topic's DevEUI '{topic_device}', got '{device_id}'.")
    said = next((text(by, "time") for by in objects(message, "rxInfo") if by.get("time")), "")
    said = said or text(message, "publishedAt")
    observed_at = observed(said, "time", received_at, limits, meta)
    meta.update(_state(kind, message))
    return Uplink(
        source=source,
        kind=kind,
        device_id=device_id,
        received_at=received_at,
        observed_at=observed_at,
        raw=body,
        frame_key=f"chirpstack-v3:{kind}:{digest(body)}",
        payload=base64_bytes(text(message, "data"), "'data'") if kind == "up" else None,
        f_port=integer(message, "fPort", 0, 255) if kind == "up" else None,
        f_cnt=(integer(message, "fCnt", 0, 0xFFFFFFFF) or 0) if kind == "up" else None,
        decoded=_decoded(message, limits) if kind == "up" else None,
        radio=_radio(message) if kind == "up" else None,
        battery_percent=_battery(message) if kind == "status" else None,
        location=place(message, "location") if kind == "location" else None,
        device_name=text(message, "deviceName") or None,
        device_profile=text(message, "deviceProfileName") or None,
        meta=meta,
    )


def _eui(value: str, what: str) -> str:
    """Hexadecimal digits, or base64 of 8 bytes."""
    if is_eui(value):
        return value.lower()
    found = base64_bytes(value, what)
    if len(found) != 8:
        raise NotUnderstood(f"{what} must be 16 hexadecimal digits or base64 of 8 bytes, got {shown(value)}.")
    return found.hex()


def _decoded(message: dict[str, Any], limits: Limits) -> dict[str, Any] | None:
    """What its codec made: `object`, or `objectJSON`, a text that is JSON ('' or 'null' for nothing)."""
    packed = message.get("objectJSON")
    if packed is None or packed == "":
        return members(message, "object")
    found = parsed(text(message, "objectJSON").encode("utf-8", "surrogatepass"), limits)
    return members({"objectJSON": found}, "objectJSON")


def _radio(message: dict[str, Any]) -> Radio | None:
    sent = members(message, "txInfo") or {}
    frequency = integer(sent, "frequency", 0, 0xFFFFFFFF)
    data_rate = integer(message, "dr", 0, 255)
    if data_rate is None:
        data_rate = integer(sent, "dr", 0, 255)
    heard = []
    for by in objects(message, "rxInfo"):
        gateway = text(by, "gatewayID")
        heard.append(
            Radio(
                rssi=number(by, "rssi", *RSSI),
                snr=number(by, "loRaSNR", *SNR),
                gateway_id=_eui(gateway, "'gatewayID'") if gateway else None,
                gateway_location=place(by, "location"),
                frequency=frequency,
                data_rate=data_rate,
            )
        )
    if not heard and (frequency is not None or data_rate is not None):
        return Radio(frequency=frequency, data_rate=data_rate)
    return best(heard)


def _battery(message: dict[str, Any]) -> float | None:
    if flag(message, "batteryLevelUnavailable") or flag(message, "externalPowerSource"):
        return None
    return number(message, "batteryLevel", 0, 100)


def _state(kind: UplinkKind, message: dict[str, Any]) -> dict[str, Any]:
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
            "f_cnt_down": integer(message, "fCnt", 0, 0xFFFFFFFF) or 0,
        }
    if kind == "txack":
        return {"gateway_id": text(message, "gatewayID"), "f_cnt_down": integer(message, "fCnt", 0, 0xFFFFFFFF) or 0}
    if kind == "log":
        return {"code": text(message, "type"), "description": text(message, "error")}
    return {}


SERVER = NetworkServer(
    "chirpstack-v3",
    read=single(read),
    knows=knows,
    topics=TOPICS,
    read_http=single(read_http),
    down=down,
)
