"""Zigbee2MQTT's messages: each device's values as one JSON object, on a topic of its name.

Source: Zigbee2MQTT's documentation, "MQTT Topics and Messages" (`zigbee2mqtt/FRIENDLY_NAME`, `…/availability`, `bridge/event`) and
"Settings" (`include_device_information`, `last_seen`). The base topic may be another than 'zigbee2mqtt'.

A device is its IEEE address where the message or its topic says it, else its friendly name. With `last_seen` switched on, a message
that comes twice is known again and has the time of its observation; without it, it is observed when it is received.
"""

from __future__ import annotations

from typing import Any

from adapters.members import NotUnderstood, members, number, shown, text
from adapters.mqtt.networks.base import (
    MILLISECOND,
    NetworkServer,
    Part,
    believed,
    device_id,
    digest,
    micros,
    observed,
    parsed,
)
from broker.clock import Micros, parse_network_time
from broker.config import Limits
from broker.pipeline.intake import Uplink

TOPICS = ("zigbee2mqtt/#",)
_BASE = "zigbee2mqtt/"
_NO_DEVICE = ("bridge", "homeassistant")


def knows(topic: str, body: bytes) -> bool:
    """By the default base topic; another base topic has to be said in the settings."""
    return topic.startswith(_BASE)


def read(topic: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> list[Part]:
    """The uplink of a message; none of what the bridge says of itself, and of commands to devices. Raises NotUnderstood."""
    levels = topic.split("/")[1:]
    if not levels or not levels[0]:
        raise NotUnderstood(f"The topic must be '{{base topic}}/{{friendly name}}', got {shown(topic)}.")
    meta: dict[str, Any] = {"topic": topic}
    if levels == ["bridge", "event"]:
        return _event(body, source, received_at, limits, meta)
    if levels[0] in _NO_DEVICE or _is_command(levels):
        return []
    if levels[-1] == "availability":
        return _availability(levels[:-1], body, source, received_at, limits, meta)
    message = parsed(body, limits)
    if message == "" or message is None:
        return []
    if not isinstance(message, dict):
        raise NotUnderstood(f"The body must be a JSON object (Zigbee2MQTT's 'output: json'), got {shown(message)}.")
    about = members(message, "device") or {}
    identity = device_id(text(about, "ieeeAddr") or "/".join(levels).replace("/", "."), "The friendly name")
    if (quality := number(message, "linkquality", 0, 255)) is not None:
        meta["linkquality"] = quality
    seen = message.get("last_seen")
    return [
        Uplink(
            source=source,
            kind="up",
            device_id=identity,
            received_at=received_at,
            observed_at=_seen(seen, received_at, limits, meta),
            raw=body,
            frame_key=f"zigbee2mqtt:{digest(topic, body)}" if seen is not None else None,
            decoded=message,
            battery_percent=number(message, "battery", 0, 100),
            device_name=text(about, "friendlyName") or "/".join(levels),
            device_profile=text(about, "model") or None,
            meta=meta,
        )
    ]


def _is_command(levels: list[str]) -> bool:
    """'NAME/set' and 'NAME/get', with the name of an attribute behind it or without."""
    return any(len(levels) > behind and levels[-behind] in ("set", "get") for behind in (1, 2))


def _seen(seen: object, received_at: Micros, limits: Limits, meta: dict[str, Any]) -> Micros:
    """`last_seen`: ISO 8601, or milliseconds since 1970 ('epoch')."""
    if seen is None:
        return received_at
    if isinstance(seen, (int, float)) and not isinstance(seen, bool):
        return believed(micros(seen, MILLISECOND, "'last_seen'"), seen, received_at, limits, meta)
    said = text({"last_seen": seen}, "last_seen")
    # ISO_8601_local has an offset, ISO_8601 a 'Z'.
    if said and parse_network_time(said) is None:
        raise NotUnderstood(
            f"'last_seen' must be ISO 8601 with an offset or milliseconds since 1970, got {shown(said)}."
        )
    return observed(said, "last_seen", received_at, limits, meta)


def _event(body: bytes, source: str, received_at: Micros, limits: Limits, meta: dict[str, Any]) -> list[Part]:
    """Joins of devices. Interviews, announcements and leaving are Zigbee's own business."""
    message = parsed(body, limits)
    if not isinstance(message, dict) or message.get("type") != "device_joined":
        return []
    about = members(message, "data") or {}
    identity = device_id(text(about, "ieee_address") or text(about, "friendly_name"), "'ieee_address'")
    return [
        Uplink(
            source=source,
            kind="join",
            device_id=identity,
            received_at=received_at,
            observed_at=received_at,
            raw=body,
            device_name=text(about, "friendly_name") or None,
            meta=meta,
        )
    ]


def _availability(
    levels: list[str], body: bytes, source: str, received_at: Micros, limits: Limits, meta: dict[str, Any]
) -> list[Part]:
    """That a device is there. That it is not, is no message of it: its silence is noticed by itself."""
    # Before 1.28 a bare word.
    state = body if body in (b"online", b"offline") else None
    if state is None:
        message = parsed(body, limits)
        if not isinstance(message, dict):
            raise NotUnderstood(f"The availability must be a JSON object with 'state', got {shown(message)}.")
        said = text(message, "state")
        if said not in ("online", "offline"):
            raise NotUnderstood(f"'state' must be online or offline, got {shown(said)}.")
        state = said.encode()
    if state == b"offline":
        return []
    return [
        Uplink(
            source=source,
            kind="status",
            device_id=device_id(".".join(levels), "The friendly name"),
            received_at=received_at,
            observed_at=received_at,
            raw=body,
            device_name="/".join(levels),
            meta=meta,
        )
    ]


SERVER = NetworkServer("zigbee2mqtt", read=read, knows=knows, topics=TOPICS)
