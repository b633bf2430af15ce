"""ChirpStack's events in Protocol Buffers, v4 and v3: which fields they have, as far as they are used. Pure.

Source: `integration/integration.proto`, `gw/gw.proto` and `common/common.proto` of ChirpStack v4 (github.com/chirpstack/chirpstack,
api/proto) and v3 (github.com/brocaar/chirpstack-api, protobuf/as/integration). Names are those of the JSON mapping, so that both
encodings are read by the same code.
"""

from __future__ import annotations

from typing import Any

from adapters.members import NotUnderstood
from adapters.mqtt.networks.protobuf import Field, Fields, read_message, records
from broker.config import Limits
from broker.pipeline.intake import UplinkKind

_FIRST_BYTES = frozenset(b"\x08\x0a\x12\x1a")
"""Tags that an event begins with: of field 1 as a number or as bytes, of field 2 or 3 where those before are left out."""

_LOCATION: Fields = {1: Field("latitude", "double"), 2: Field("longitude", "double"), 3: Field("altitude", "double")}
_DEVICE: Fields = {
    6: Field("deviceProfileName", "string"),
    7: Field("deviceName", "string"),
    8: Field("devEui", "string"),
}
_RX: Fields = {
    1: Field("gatewayId", "string"),
    6: Field("rssi", "int"),
    7: Field("snr", "float"),
    12: Field("location", "message", _LOCATION),
}
_TX: Fields = {1: Field("frequency", "uint")}
_LEVELS = ("INFO", "WARNING", "ERROR")
_CODES = (
    "UNKNOWN", "DOWNLINK_PAYLOAD_SIZE", "UPLINK_CODEC", "DOWNLINK_CODEC", "OTAA", "UPLINK_F_CNT_RESET", "UPLINK_MIC",
    "UPLINK_F_CNT_RETRANSMISSION", "DOWNLINK_GATEWAY", "RELAY_NEW_END_DEVICE", "F_CNT_DOWN", "EXPIRED",
)  # fmt: skip
_HEAD: Fields = {
    1: Field("deduplicationId", "string"),
    2: Field("time", "timestamp"),
    3: Field("deviceInfo", "message", _DEVICE),
}
V4: dict[UplinkKind, Fields] = {
    "up": {
        **_HEAD,
        4: Field("devAddr", "string"),
        6: Field("dr", "uint"),
        7: Field("fCnt", "uint"),
        8: Field("fPort", "uint"),
        10: Field("data", "bytes"),
        11: Field("object", "struct"),
        12: Field("rxInfo", "message", _RX, repeated=True),
        13: Field("txInfo", "message", _TX),
    },
    "join": {**_HEAD, 4: Field("devAddr", "string")},
    "ack": {
        **_HEAD,
        4: Field("queueItemId", "string"),
        5: Field("acknowledged", "bool"),
        6: Field("fCntDown", "uint"),
    },
    "txack": {
        2: Field("time", "timestamp"),
        3: Field("deviceInfo", "message", _DEVICE),
        4: Field("queueItemId", "string"),
        5: Field("fCntDown", "uint"),
        6: Field("gatewayId", "string"),
    },
    "log": {
        1: Field("time", "timestamp"),
        2: Field("deviceInfo", "message", _DEVICE),
        3: Field("level", "enum", names=_LEVELS),
        4: Field("code", "enum", names=_CODES),
        5: Field("description", "string"),
        6: Field(
            "context", "message", {1: Field("key", "string"), 2: Field("value", "string")}, repeated=True
        ),
    },
    "status": {
        **_HEAD,
        5: Field("margin", "int"),
        6: Field("externalPowerSource", "bool"),
        7: Field("batteryLevelUnavailable", "bool"),
        8: Field("batteryLevel", "float"),
    },
    "location": {**_HEAD, 4: Field("location", "message", _LOCATION)},
}  # fmt: skip

_V3_HEAD: Fields = {3: Field("deviceName", "string"), 4: Field("devEUI", "bytes")}
_V3_RX: Fields = {
    1: Field("gatewayID", "bytes"),
    2: Field("time", "timestamp"),
    5: Field("rssi", "int"),
    6: Field("loRaSNR", "double"),
    11: Field("location", "message", _LOCATION),
}
_V3_ERRORS = (
    "UNKNOWN", "DOWNLINK_PAYLOAD_SIZE", "DOWNLINK_FCNT", "UPLINK_CODEC", "DOWNLINK_CODEC", "OTAA", "UPLINK_FCNT_RESET",
    "UPLINK_MIC", "UPLINK_FCNT_RETRANSMISSION", "DOWNLINK_GATEWAY",
)  # fmt: skip
V3: dict[str, Fields] = {
    "up": {
        **_V3_HEAD,
        5: Field("rxInfo", "message", _V3_RX, repeated=True),
        6: Field("txInfo", "message", _TX),
        8: Field("dr", "uint"),
        9: Field("fCnt", "uint"),
        10: Field("fPort", "uint"),
        11: Field("data", "bytes"),
        12: Field("objectJSON", "string"),
        15: Field("devAddr", "bytes"),
        16: Field("publishedAt", "timestamp"),
        18: Field("deviceProfileName", "string"),
    },
    "join": {**_V3_HEAD, 5: Field("devAddr", "bytes"), 10: Field("publishedAt", "timestamp")},
    "ack": {
        **_V3_HEAD,
        5: Field("acknowledged", "bool"),
        6: Field("fCnt", "uint"),
        8: Field("publishedAt", "timestamp"),
    },
    "txack": {
        **_V3_HEAD,
        5: Field("fCnt", "uint"),
        7: Field("gatewayID", "bytes"),
        9: Field("publishedAt", "timestamp"),
    },
    "error": {
        **_V3_HEAD,
        5: Field("type", "enum", names=_V3_ERRORS),
        6: Field("error", "string"),
        7: Field("fCnt", "uint"),
        9: Field("publishedAt", "timestamp"),
    },
    "status": {
        **_V3_HEAD,
        5: Field("margin", "int"),
        6: Field("externalPowerSource", "bool"),
        7: Field("batteryLevelUnavailable", "bool"),
        8: Field("batteryLevel", "float"),
        10: Field("publishedAt", "timestamp"),
    },
    "location": {**_V3_HEAD, 5: Field("location", "message", _LOCATION), 9: Field("publishedAt", "timestamp")},
}


def is_protobuf(body: bytes) -> bool:
    """Whether a body is in Protocol Buffers rather than in JSON, which may begin with a line feed (0x0a) too."""
    return body[:1] != b"" and body[0] in _FIRST_BYTES and body.lstrip()[:1] not in (b"{", b"[")


def is_v3(event: str, body: bytes) -> bool:
    """Whether an event in Protocol Buffers is of v3: they begin with the application's number, and field 4 has 8 bytes.

    Of v4 only `txack` begins with a number; its field 4 is a UUID.
    """
    if body[:1] != b"\x08":
        return False
    try:
        return any(number == 4 and wire == 2 and len(value) == 8 for number, wire, value in records(body))
    except NotUnderstood:
        return False


def as_json(kind: UplinkKind, body: bytes, limits: Limits) -> dict[str, Any]:
    """An event of v4 as its JSON mapping has it. Raises NotUnderstood."""
    message = read_message(V4[kind], body, limits.json_depth)
    if kind == "status" and message.get("batteryLevelUnavailable"):
        message.pop("batteryLevel", None)
    if kind == "log":
        message["context"] = {entry.get("key", ""): entry.get("value", "") for entry in message.get("context", ())}
        message.setdefault("level", _LEVELS[0])
        message.setdefault("code", _CODES[0])
    return message
