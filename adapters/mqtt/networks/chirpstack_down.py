"""ChirpStack v4's downlinks over MQTT: what is published to have one sent, and what its events say of it. Pure.

Source: ChirpStack documentation, "Integrations / MQTT", and `DownlinkCommand`, `AckEvent`, `TxAckEvent`, `LogEvent` of its
`integration.proto`. The command's id becomes the queue item's: ChirpStack refuses a second item with the id of one that is
in its queue, so a command that is published twice while it waits there is sent once. It drops what has expired
by `expiresAt`; releases that do not know that member pass it over.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from adapters.members import members, text
from broker.clock import iso
from broker.pipeline.intake import Downlink, DownlinkEvent, NotSent, UplinkKind

_GIVEN_UP = {
    "DOWNLINK_PAYLOAD_SIZE": "failed",
    "F_CNT_DOWN": "failed",
    "DOWNLINK_CODEC": "failed",
    "EXPIRED": "expired",
}
"""Codes of log events by which ChirpStack has taken an item out of its queue."""


def down(downlink: Downlink) -> tuple[str, bytes]:
    """(topic, body) of the `down` command for a device that was heard on `downlink.topic`. Raises NotSent."""
    parts = downlink.topic.split("/")
    if len(parts) < 6 or (parts[-6], parts[-4], parts[-2]) != ("application", "device", "event"):
        raise NotSent(f"The device was last heard on '{downlink.topic[:120]}', which is no topic of ChirpStack's.")
    body = {
        "id": downlink.id,
        "devEui": downlink.device_id,
        "confirmed": downlink.confirmed,
        "fPort": downlink.f_port,
        "data": base64.b64encode(downlink.payload).decode(),
        "expiresAt": iso(downlink.expires_at),
    }
    return "/".join([*parts[:-2], "command", "down"]), json.dumps(body).encode()


def told(kind: UplinkKind, message: dict[str, Any]) -> DownlinkEvent | None:
    """What an event says of a queue item; None when it says nothing of one. Raises NotUnderstood."""
    if kind == "ack":
        if not (item := text(message, "queueItemId")):
            return None
        if message.get("acknowledged") is True:
            return DownlinkEvent(item, "acknowledged")
        return DownlinkEvent(item, "failed", "The device did not acknowledge it in the time that ChirpStack waits.")
    if kind == "txack":
        item = text(message, "queueItemId")
        return DownlinkEvent(item, "transmitted") if item else None
    if kind == "log":
        item = text(members(message, "context") or {}, "queue_item_id")
        what = _GIVEN_UP.get(text(message, "code"))
        if item and what is not None:
            said = text(message, "description") or text(message, "code")
            return DownlinkEvent(item, "expired" if what == "expired" else "failed", f"ChirpStack: {said}.")
    return None
