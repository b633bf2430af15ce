"""Actility ThingPark's messages: over the MQTT connection of ThingPark X, or pushed to an application server over HTTP.

Source: ThingPark X's documentation, "Message" (uplink, location, notification, downlink: `DevEUI_uplink` …) and its MQTT connection
(`uplinkTopicPattern`, as its examples have it `mqtt/things/{DevEUI}/uplink`); KPN's published examples for `DevEUI_location` and
`DevEUI_downlink_Sent`. Numbers may be texts; `Frequency` is in MHz, in some products in Hz. Only JSON, not XML.

The `CorrelationID` of a downlink has 16 hexadecimal digits: the command's tag.
"""

from __future__ import annotations

import json
from typing import Any

from adapters.members import NotUnderstood, members, numeric, objects, shown, text, whole
from adapters.mqtt.networks.base import (
    RSSI,
    SNR,
    NetworkServer,
    Part,
    battery_of_status,
    best,
    digest,
    each_of,
    eui,
    hex_bytes,
    observed,
)
from broker.clock import Micros, iso
from broker.config import Limits
from broker.pipeline.intake import Downlink, DownlinkEvent, NotSent, Radio, Uplink, UplinkKind, tag_of

KINDS: dict[str, UplinkKind] = {
    "DevEUI_uplink": "up",
    "DevEUI_location": "location",
    "DevEUI_notification": "log",
    "DevEUI_downlink_Sent": "txack",
}
_NOTIFICATIONS: dict[str, UplinkKind] = {"join": "join", "devstatusans": "status", "reset": "log"}
TOPICS = ("mqtt/things/+/uplink",)
_HZ_FROM = 10_000.0
"""A frequency above this is in Hz: no band of LoRaWAN is at 10 GHz."""


def knows(topic: str, body: bytes) -> bool:
    """Its topics are chosen by whoever sets it up: by the shape."""
    return b'"DevEUI_' in body[:200]


def read(topic: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> list[Part]:
    """The uplink of a message. Raises NotUnderstood."""
    return each_of(body, limits, lambda one, raw: _read(one, raw, source, received_at, limits, {"topic": topic}))


def read_http(event: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> list[Part]:
    """The uplink of a pushed message. Raises NotUnderstood."""
    return each_of(body, limits, lambda one, raw: _read(one, raw, source, received_at, limits, {"event": event}))


def down(downlink: Downlink) -> tuple[str, bytes]:
    """(topic, body) of a downlink for a device that was heard on '…/uplink'. Raises NotSent."""
    before, _, last = downlink.topic.rpartition("/")
    if last != "uplink":
        raise NotSent(f"The device was last heard on '{downlink.topic[:120]}', which does not end with '/uplink'.")
    body = {
        "DevEUI_downlink": {
            "DevEUI": downlink.device_id.upper(),
            "FPort": downlink.f_port,
            "payload_hex": downlink.payload.hex(),
            "Confirmed": "1" if downlink.confirmed else "0",
            "ValidityTime": iso(downlink.expires_at),
            "CorrelationID": tag_of(downlink.id).upper(),
        }
    }
    return f"{before}/downlink", json.dumps(body).encode()


def _read(
    message: dict[str, Any], raw: bytes, source: str, received_at: Micros, limits: Limits, meta: dict[str, Any]
) -> Uplink:
    name = next((each for each in KINDS if each in message), None)
    if name is None:
        raise NotUnderstood(f"The message must have one of {', '.join(KINDS)}, got {shown(sorted(message))}.")
    about = members(message, name) or {}
    kind = KINDS[name]
    if name == "DevEUI_notification":
        kind = _NOTIFICATIONS.get(text(about, "Type"), "log")
    identity = eui(text(about, "DevEUI"), "'DevEUI'")
    meta.update(_state(kind, name, about))
    said = (text(about, "DevLocTime") if kind == "location" else "") or text(about, "Time")
    up = kind == "up"
    return Uplink(
        source=source,
        kind=kind,
        device_id=identity,
        received_at=received_at,
        observed_at=observed(said, "Time", received_at, limits, meta),
        raw=raw,
        frame_key=_frame_key(name, identity, about, raw),
        payload=hex_bytes(text(about, "payload_hex"), "'payload_hex'") if up else None,
        f_port=whole(about, "FPort", 0, 255) if up else None,
        f_cnt=whole(about, "FCntUp", 0, 0xFFFFFFFF) if up else None,
        decoded=members(about, "payload") if up else None,
        radio=_radio(about) if up else None,
        battery_percent=_battery(kind, about),
        location=_location(about) if kind == "location" else None,
        device_name=text(members(about, "CustomerData") or {}, "name") or None,
        downlink=_told(about) if kind == "txack" else None,
        meta=meta,
    )


def _frame_key(name: str, identity: str, about: dict[str, Any], raw: bytes) -> str:
    """A frame is known by its counter and its integrity code, also when a gateway delivers it late once more."""
    code = text(about, "mic_hex")
    if name == "DevEUI_uplink" and code:
        return f"actility:{identity}:{whole(about, 'FCntUp', 0, 0xFFFFFFFF)}:{code[:16].lower()}"
    return f"actility:{name}:{digest(raw)}"


def _radio(about: dict[str, Any]) -> Radio | None:
    frequency = numeric(about, "Frequency", 0, 0xFFFFFFFF)
    hertz = None if frequency is None else round(frequency if frequency >= _HZ_FROM else frequency * 1e6)
    data_rate = whole(about, "DR", 0, 255)
    named = text(about, "Lrrid")
    longitude, latitude = numeric(about, "LrrLON", -180, 180), numeric(about, "LrrLAT", -90, 90)
    where = None if longitude is None or latitude is None else (longitude, latitude)
    heard = [_by(about, hertz, data_rate, where, named)]
    heard += [_by(by, hertz, data_rate, where, named) for by in objects(members(about, "Lrrs") or {}, "Lrr")]
    return best(heard)


def _by(
    of: dict[str, Any], frequency: int | None, data_rate: int | None, where: tuple[float, float] | None, named: str
) -> Radio:
    gateway = text(of, "Lrrid")
    return Radio(
        rssi=numeric(of, "LrrRSSI", *RSSI),
        snr=numeric(of, "LrrSNR", *SNR),
        gateway_id=gateway or None,
        # The position is that of the gateway which the message names.
        gateway_location=where if gateway == named else None,
        frequency=frequency,
        data_rate=data_rate,
    )


def _battery(kind: UplinkKind, about: dict[str, Any]) -> float | None:
    if kind == "status":
        return battery_of_status(whole(about, "Var1", 0, 255))
    return battery_of_status(whole(about, "BatteryLevel", 0, 255))


def _location(about: dict[str, Any]) -> tuple[float, float]:
    longitude, latitude = numeric(about, "DevLON", -180, 180), numeric(about, "DevLAT", -90, 90)
    if longitude is None or latitude is None:
        raise NotUnderstood("A location must have 'DevLON' and 'DevLAT'.")
    return longitude, latitude


def _told(about: dict[str, Any]) -> DownlinkEvent | None:
    tag = text(about, "CorrelationID").lower()
    if not tag:
        return None
    if whole(about, "DeliveryStatus", 0, 255) == 1:
        return DownlinkEvent(tag, "transmitted")
    causes = [f"{name} {text(about, name)}" for name in about if name.startswith("DeliveryFailedCause") and about[name]]
    return DownlinkEvent(tag, "failed", f"ThingPark did not send it: {', '.join(causes)[:200] or 'no cause given'}.")


def _state(kind: UplinkKind, name: str, about: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {} if kind == "up" else {"code": name}
    if kind == "status":
        found["margin"] = whole(about, "Var2", -128, 127)
        found["external_power"] = whole(about, "Var1", 0, 255) == 0
    elif kind == "log":
        found["description"] = f"{text(about, 'Type')} {text(about, 'Var1')}"[:200].strip()
    elif kind == "join":
        found["dev_addr"] = text(about, "DevAddr")
    elif kind == "up" and (margin := whole(about, "Margin", -128, 127)) is not None:
        found["margin"] = margin
    return found


SERVER = NetworkServer(
    "actility",
    read=read,
    knows=knows,
    topics=TOPICS,
    read_http=read_http,
    http_parameters=frozenset({"LrnDevEui", "LrnFPort", "LrnInfos", "AS_ID", "Time", "Token"}),
    down=down,
)
