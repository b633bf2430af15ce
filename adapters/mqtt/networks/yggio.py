"""Yggio's updates of iotnodes: from its MQTT broker, or from an HTTP channel (the same bodies).

Source: Yggio's documentation, "MQTT" (topics `yggio/output/v2/{id}/iotnode/{iotnodeId}`, before that `publish/{iotnodeId}/{key}`) and
"Publishing to external services" (the body: `iotnode`, the whole node; `diff`, what changed; `event`, what caused the change).

What a node holds is not documented as a whole: it depends on its type. Read are its `_id`, a `devEui` where it is 16 hexadecimal
digits, and its `name`. The values are those of `event`, decoded by Yggio, for a device model with codec 'object' whose mapping says
where each is; the node's and the change's are beside them as `iotnode` and `diff`. No member says when something was observed, so it
is when it is received.
"""

from __future__ import annotations

from typing import Any

from adapters.members import NotUnderstood, members, shown, text
from adapters.mqtt.networks.base import (
    NetworkServer,
    device_id,
    digest,
    is_eui,
    parsed_object,
    single,
)
from broker.clock import Micros
from broker.config import Limits
from broker.pipeline.intake import Uplink

TOPICS = ("yggio/output/v2/+/iotnode/+",)


def knows(topic: str, body: bytes) -> bool:
    """By the topic; on HTTP there is none."""
    parts = topic.split("/")
    if len(parts) == 6 and parts[:3] == ["yggio", "output", "v2"] and parts[4] == "iotnode":
        return True
    return len(parts) == 3 and parts[0] == "publish" and b'"iotnode"' in body


def read(topic: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> Uplink:
    """The uplink of an update. Raises NotUnderstood."""
    return _read(body, source, received_at, limits, {"topic": topic})


def read_http(event: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> Uplink:
    """The uplink of an update that a channel posted. Raises NotUnderstood."""
    return _read(body, source, received_at, limits, {"event": event})


def _read(body: bytes, source: str, received_at: Micros, limits: Limits, meta: dict[str, Any]) -> Uplink:
    message = parsed_object(body, limits)
    node = members(message, "iotnode")
    if node is None:
        raise NotUnderstood(f"The message must have 'iotnode', got {shown(sorted(message))}.")
    event, diff = members(message, "event"), members(message, "diff")
    hardware = node.get("devEui")
    if isinstance(hardware, str) and is_eui(hardware):
        identity = hardware.lower()
    else:
        identity = device_id(text(node, "_id"), "'_id'")
    return Uplink(
        source=source,
        kind="up",
        device_id=identity,
        received_at=received_at,
        observed_at=received_at,
        raw=body,
        frame_key=f"yggio:{identity}:{digest(body)}",
        decoded={**(event or {}), "iotnode": node, "diff": diff or {}},
        device_name=text(node, "name") or None,
        meta=meta,
    )


SERVER = NetworkServer("yggio", read=single(read), knows=knows, topics=TOPICS, read_http=single(read_http))
