"""A device's message over CoAP -> `Uplink`. Pure.

| Content-Format | is |
| --- | --- |
| 110, 112 | SenML in JSON and CBOR (RFC 8428), LwM2M's as well |
| 11542 | LwM2M's TLV, of the path that was posted to or observed |
| 50, 60 | JSON and CBOR: what a model's codec 'object' maps, or the bytes for its own codec |
| 0 | text of one LwM2M resource; else as 42 |
| 42, none | the device's own bytes, for its model's codec |
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from adapters.coap import senml
from adapters.coap.cbor import cbor_item, plain
from adapters.coap.tlv import Path, read_tlv, type_of
from adapters.members import NotUnderstood, shown
from adapters.times import distrust
from broker.clock import SECOND, Micros
from broker.config import Limits
from broker.errors import InvalidRequest
from broker.jsonio import parse_json
from broker.pipeline.intake import DownlinkEvent, Radio, SensedValue, Uplink

SOURCE: Final = "coap"
TEXT, LINKS, OCTETS, JSON, CBOR, SENML_JSON, SENML_CBOR, TLV = 0, 40, 42, 50, 60, 110, 112, 11542
FORMATS: Final = (SENML_JSON, SENML_CBOR, TLV, JSON, CBOR, OCTETS, TEXT)
"""Of values; LINKS is a registration's."""
EXCHANGE_LIFETIME: Final[Micros] = 247 * SECOND
"""How long a message id identifies a message of one endpoint (RFC 7252, 4.8.2)."""
_TAG = re.compile(r"[0-9A-Fa-f]{16}", re.ASCII)
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}", re.ASCII)
_BATTERY, _SIGNAL, _LATITUDE, _LONGITUDE = "/3/0/9", "/4/0/2", "/6/0/0", "/6/0/1"


def device_of(text: str) -> str:
    """A device's id as it is registered. Raises NotUnderstood."""
    if _DEVICE.fullmatch(text) is None:
        raise NotUnderstood(
            f"The device in the path must be 1 to 64 letters, digits and ._:- and start with one of the first two,"
            f" got {shown(text)}."
        )
    return text.lower()


def base_of(steps: Sequence[str]) -> Path:
    """LwM2M's path of a request's path. Raises NotUnderstood."""
    if len(steps) > 4 or not all(step.isascii() and step.isdecimal() and len(step) <= 5 for step in steps):
        raise NotUnderstood(f"A path within a device must be LwM2M's: up to 4 numbers, got {shown('/'.join(steps))}.")
    return tuple(int(step) for step in steps)


def read(
    device: str,
    payload: bytes,
    content_format: int | None,
    *,
    exchange: bytes,
    received_at: Micros,
    limits: Limits,
    acknowledged: str = "",
    base: Path = (),
    unique: bool = False,
    attempt_before: bytes = b"",
) -> Uplink:
    """The uplink of a message. Raises NotUnderstood.

    `acknowledged` is the tag of a command that the device has got, 16 hexadecimal digits; with an empty payload that is all
    it says. `base`: the LwM2M path that the payload is of.

    `exchange` is the request's token and message id. A retransmission after a restart of ours has the same, and the same
    payload; the same payload hours later is a new observation. So the frame key is of all three and the EXCHANGE_LIFETIME
    it arrived in, and the lifetime before goes into `earlier_frame_keys`. A block-wise transfer is sent again with new
    tokens and ids; pass b'' for it, and the payload alone tells (long enough not to repeat by chance in minutes).

    `unique`: an `exchange` that never comes again (OSCORE's numbers) tells for ever. `attempt_before` is then the exchange
    that it had if the device sends it again because it was asked to.
    """
    device_id = device_of(device)
    if acknowledged and _TAG.fullmatch(acknowledged) is None:
        raise NotUnderstood(f"'ack' must be the ETag of a command, 16 hexadecimal digits, got {shown(acknowledged)}.")
    only_acknowledges = bool(acknowledged) and not payload
    meta: dict[str, Any] = {}
    values: list[SensedValue] = []
    decoded: dict[str, Any] | None = None
    if not only_acknowledges and content_format != LINKS:
        values, decoded = _content(payload, content_format, base, received_at, limits)
    named = tuple(_own(value, device_id, received_at, limits, meta) for value in values)
    told = {value.name: value.value for value in named if value.name.startswith("/")}
    about = b"/" + acknowledged.encode() + "/".join(map(str, base)).encode() + payload
    frame = f"coap:{device_id}:{_digest(exchange + about)}"
    if unique:
        earlier = (f"coap:{device_id}:{_digest(attempt_before + about)}",) if attempt_before else ()
    else:
        bucket = received_at // EXCHANGE_LIFETIME
        frame, earlier = f"{frame}:{bucket}", (f"{frame}:{bucket - 1}",)
    return Uplink(
        source=SOURCE,
        kind="ack" if only_acknowledges else "join" if content_format == LINKS else "up",
        device_id=device_id,
        received_at=received_at,
        observed_at=received_at,
        raw=payload,
        frame_key=frame,
        earlier_frame_keys=earlier,
        payload=None if named or only_acknowledges or content_format == LINKS else payload,
        decoded=decoded,
        values=named,
        radio=_radio(told),
        battery_percent=_number(told, _BATTERY, 0, 100),
        location=_location(told),
        downlink=DownlinkEvent(acknowledged.lower(), "acknowledged") if acknowledged else None,
        meta=meta,
    )


def _digest(about: bytes) -> str:
    return hashlib.sha256(about).hexdigest()[:32]


def _content(
    payload: bytes, content_format: int | None, base: Path, received_at: Micros, limits: Limits
) -> tuple[list[SensedValue], dict[str, Any] | None]:
    """Values that have names, or an object to be mapped. Neither: bytes for a codec."""
    if content_format == SENML_JSON:
        return senml.read_json(payload, received_at=received_at, limits=limits), None
    if content_format == SENML_CBOR:
        return senml.read_cbor(payload, received_at=received_at, limits=limits), None
    if content_format == TLV:
        return read_tlv(payload, base), None
    if content_format == TEXT and len(base) >= 3:
        return [_text(payload, base)], None
    if content_format == JSON:
        try:
            value = parse_json(payload, max_depth=limits.json_depth)
        except InvalidRequest as error:
            raise NotUnderstood(error.detail) from None
        return [], value if isinstance(value, dict) else None
    if content_format == CBOR:
        value = plain(cbor_item(payload), limits.json_depth)
        return [], value if isinstance(value, dict) else None
    return [], None


def _text(payload: bytes, base: Path) -> SensedValue:
    """One LwM2M resource as text (OMA LwM2M 1.1, 7.4.1)."""
    name = "/" + "/".join(map(str, base))
    try:
        text = payload.decode()
        kind = type_of(base)
        value: float | int | bool | str = text
        if kind in ("integer", "time"):
            value = int(text)
            if not -(1 << 63) <= value < 1 << 63:
                raise ValueError
        elif kind == "number":
            value = float(text)
            if not math.isfinite(value):
                raise ValueError
        elif kind == "boolean":
            if text not in ("0", "1"):
                raise ValueError
            value = text == "1"
    except ValueError:
        raise NotUnderstood(f"{name} must be a {type_of(base) or 'text'}, got {shown(payload)}.") from None
    return SensedValue(name, value, "", None)


def _own(value: SensedValue, device_id: str, received_at: Micros, limits: Limits, meta: dict[str, Any]) -> SensedValue:
    """`value` by the name it has on any device of its model, and with a time only where that can be true.

    Packs name globally ('urn:dev:imei:350457790000001:volume', RFC 8428, 4.5.1); what follows the device's id is its own.
    """
    own = value.name
    if not own.startswith("/"):
        start = own.lower().rfind(device_id)
        own = own[start + len(device_id) :].lstrip(":/._-") if start >= 0 else own
    reason = distrust(value.at, received_at, limits) if value.at is not None else ""
    if reason:
        meta["time"] = f"{own}: {reason}; taken as observed when received"
    return replace(value, name=own or value.name, at=None if reason else value.at)


def _number(told: Mapping[str, object], name: str, lowest: float, highest: float) -> float | None:
    value = told.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and lowest <= value <= highest:
        return float(value)
    return None


def _radio(told: Mapping[str, object]) -> Radio | None:
    signal = _number(told, _SIGNAL, -200, 50)
    return Radio(rssi=signal) if signal is not None else None


def _location(told: Mapping[str, object]) -> tuple[float, float] | None:
    latitude, longitude = _number(told, _LATITUDE, -90, 90), _number(told, _LONGITUDE, -180, 180)
    return (longitude, latitude) if latitude is not None and longitude is not None else None
