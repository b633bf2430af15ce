"""Netmore's messages: arrays of uplinks with hexadecimal payloads, pushed over HTTP, or over its MQTT broker; and data points.

Source: Netmore's sample application (github.com/netmoregroup/netmore-mqtt-sample: topics, raw packets, data points) and the export
format of its portal as ThingPark X's documentation gives it ("Vendor Specific Transformation / LoRaWAN Portal": DEFAULT to DEFAULT_ALL).
Over MQTT an array has elements with a name, and an uplink as the value of those named 'raw':

    client/{customer}/edge/{group}/netmore/raw/evt/{backend}/{devEui}/{sensorType}
    client/{customer}/edge/{group}/netmore/dp/evt/{source}/{backend}/{type}/{devEui}/s/{data point}

Most numbers are texts. `latitude` and `longitude` are the gateway's; `batteryLevel` is LoRaWAN's (0 mains, 1 to 254, 255 not known).
No other `messageType` than 'payload' is documented: one is kept in the device's log.
"""

from __future__ import annotations

from typing import Any

from adapters.members import NotUnderstood, numeric, objects, shown, text, whole
from adapters.mqtt.networks.base import (
    MILLISECOND,
    RSSI,
    SNR,
    NetworkServer,
    Part,
    battery_of_status,
    believed,
    device_id,
    digest,
    each_of,
    eui,
    hex_bytes,
    micros,
    observed,
)
from broker.clock import Micros
from broker.config import Limits
from broker.pipeline.intake import Radio, SensedValue, Uplink

TOPICS = ("client/+/edge/+/netmore/raw/evt/#", "client/+/edge/+/netmore/dp/evt/#")
_RAW, _POINT = "raw", "dp"


def knows(topic: str, body: bytes) -> bool:
    """By the topic; on another one, uplinks as they are pushed over HTTP."""
    return _kind(topic) != "" or (b'"devEui"' in body and b'"sensorType"' in body)


def read(topic: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> list[Part]:
    """The uplinks of a message. Raises NotUnderstood."""
    if _kind(topic) == _POINT:
        return each_of(body, limits, lambda one, raw: _point(topic, one, raw, source, received_at, limits))
    meta = {"topic": topic}
    return each_of(body, limits, lambda one, raw: _packet(one, raw, source, received_at, limits, dict(meta)))


def read_http(event: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> list[Part]:
    """The uplinks of a pushed array. Raises NotUnderstood."""
    meta = {"event": event}
    return each_of(body, limits, lambda one, raw: _packet(one, raw, source, received_at, limits, dict(meta)))


def _kind(topic: str) -> str:
    parts = topic.split("/")
    if len(parts) > 6 and (parts[0], parts[2], parts[4], parts[6]) == ("client", "edge", "netmore", "evt"):
        return parts[5] if parts[5] in (_RAW, _POINT) else ""
    return ""


def _packet(
    message: dict[str, Any], raw: bytes, source: str, received_at: Micros, limits: Limits, meta: dict[str, Any]
) -> Uplink:
    if "devEui" not in message and isinstance(message.get("v"), dict):
        message = message["v"]
    identity = eui(text(message, "devEui"), "'devEui'")
    said = text(message, "timestamp")
    payload = hex_bytes(text(message, "payload"), "'payload'")
    what = text(message, "messageType") or "payload"
    if what != "payload":
        meta["code"] = what[:100]
    f_cnt = whole(message, "fCntUp", 0, 0xFFFFFFFF)
    return Uplink(
        source=source,
        kind="up" if what == "payload" else "log",
        device_id=identity,
        received_at=received_at,
        observed_at=observed(said, "timestamp", received_at, limits, meta),
        raw=raw,
        frame_key=f"netmore:{digest(identity, what, said, str(f_cnt), payload)}" if said else None,
        payload=payload if what == "payload" else None,
        f_port=whole(message, "fPort", 0, 255),
        f_cnt=f_cnt,
        radio=_radio(message),
        battery_percent=battery_of_status(whole(message, "batteryLevel", 0, 255)),
        device_profile=text(message, "sensorType") or None,
        meta=meta,
    )


def _radio(message: dict[str, Any]) -> Radio:
    """Of the gateway that the message names; its EUI stands in the list of all that heard it."""
    name = _named(message)
    there = next((text(by, "gwEui") for by in objects(message, "gateways") if _named(by) == name), "")
    longitude = numeric(message, "longitude", -180, 180)
    latitude = numeric(message, "latitude", -90, 90)
    return Radio(
        rssi=numeric(message, "rssi", *RSSI),
        snr=numeric(message, "snr", *SNR),
        gateway_id=there.lower() or name or None,
        gateway_location=None if longitude is None or latitude is None else (longitude, latitude),
        frequency=whole(message, "freq", 0, 0xFFFFFFFF),
        data_rate=whole(message, "dr", 0, 255),
    )


def _named(of: dict[str, Any]) -> str:
    found = of.get("gatewayIdentifier")
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else text(of, "gatewayIdentifier")


def _point(topic: str, point: dict[str, Any], raw: bytes, source: str, received_at: Micros, limits: Limits) -> Uplink:
    """One value that Netmore decoded, named by the topic's last level."""
    parts = topic.split("/")
    if len(parts) < 13 or parts[11] != "s":
        raise NotUnderstood(
            f"The topic of a data point must end with '{{devEui}}/s/{{data point}}', got {shown(topic)}."
        )
    identity, name = device_id(parts[10], "The topic's sensor"), "/".join(parts[12:])
    meta: dict[str, Any] = {"topic": topic}
    value = point.get("v")
    if not isinstance(value, (bool, int, float, str)):
        raise NotUnderstood(f"'v' must be a number, a text or true or false, got {shown(value)}.")
    when = point.get("t")
    if isinstance(when, str):
        at = observed(when, "t", received_at, limits, meta)
    elif isinstance(when, (int, float)) and not isinstance(when, bool):
        at = believed(micros(when, MILLISECOND, "'t'"), when, received_at, limits, meta)
    else:
        raise NotUnderstood(f"'t' must be a time in milliseconds or as a text, got {shown(when)}.")
    radio = None
    if name in ("rssi", "snr"):
        figure = numeric(point, "v", *(RSSI if name == "rssi" else SNR))
        radio = Radio(rssi=figure) if name == "rssi" else Radio(snr=figure)
    return Uplink(
        source=source,
        kind="status" if radio is not None else "up",
        device_id=identity,
        received_at=received_at,
        observed_at=at,
        raw=raw,
        frame_key=f"netmore:point:{digest(topic, str(when), repr(value))}",
        # Units are Netmore's words ('kWh', 'db'): the device model's mapping says the unit.
        values=() if radio is not None else (SensedValue(name, value, "", at),),
        radio=radio,
        meta=meta,
    )


SERVER = NetworkServer("netmore", read=read, knows=knows, topics=TOPICS, read_http=read_http)
