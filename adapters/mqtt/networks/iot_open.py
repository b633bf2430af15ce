"""IoT Open's (Lynx) values: one a message, on its MQTT bus.

Source: "IoT Open MQTT API Specification 2.0" (topics `{client_id}/obj/{subsystem}/#` for values and `{client_id}/evt/{subsystem}/#` for
events; a message has `timestamp` in seconds with decimals, `value`, a number, and optionally `msg`) and its academy, "How data
flows" (`{client_id}/set/…` are commands). What stands below the subsystem is up to whoever set it up, and so is what a device is:

- a level of 16 hexadecimal digits is the device's EUI, and the levels below it are the value's name;
- otherwise the last level is the value's name, and those before it, with the client id, are the device.
"""

from __future__ import annotations

from typing import Any

from adapters.members import NotUnderstood, number, shown, text
from adapters.mqtt.networks.base import (
    NetworkServer,
    Part,
    believed,
    device_id,
    digest,
    is_eui,
    micros,
    parsed_object,
)
from broker.clock import SECOND, Micros
from broker.config import Limits
from broker.pipeline.intake import SensedValue, Uplink

TOPICS = ("+/obj/#", "+/evt/#")
_READ = ("obj", "evt")


def knows(topic: str, body: bytes) -> bool:
    """A number for the client and 'obj' or 'evt'."""
    parts = topic.split("/")
    return len(parts) >= 3 and parts[1] in _READ and parts[0].isdecimal() and parts[0].isascii()


def read(topic: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> list[Part]:
    """The value of a message. Raises NotUnderstood."""
    identity, name = _addressed(topic)
    meta: dict[str, Any] = {"topic": topic}
    message = parsed_object(body, limits)
    value = number(message, "value", -1.8e308, 1.8e308)
    if value is None:
        raise NotUnderstood("'value' must be a number, got nothing.")
    said = number(message, "timestamp", -1e15, 1e15)
    at = received_at
    if said is not None:
        at = believed(micros(said, SECOND, "'timestamp'"), said, received_at, limits, meta)
    if note := text(message, "msg"):
        meta["description"] = note[:200]
    return [
        Uplink(
            source=source,
            kind="up",
            device_id=identity,
            received_at=received_at,
            observed_at=at,
            raw=body,
            frame_key=f"iot-open:{digest(topic, repr(said), repr(value))}" if said is not None else None,
            values=(SensedValue(name, value, "", at),),
            meta=meta,
        )
    ]


def _addressed(topic: str) -> tuple[str, str]:
    """(device, name of the value)."""
    parts = topic.split("/")
    if len(parts) < 3 or parts[1] not in _READ or not all(parts):
        raise NotUnderstood(f"The topic must be '{{client}}/obj/{{subsystem}}/…' or '…/evt/…', got {shown(topic)}.")
    at = next((index for index, level in enumerate(parts) if index > 1 and is_eui(level)), None)
    if at is not None:
        return parts[at].lower(), "/".join(parts[at + 1 :]) or "value"
    return device_id(".".join([parts[0], *parts[2:-1]]), "The topic"), parts[-1]


SERVER = NetworkServer("iot-open", read=read, knows=knows, topics=TOPICS)
