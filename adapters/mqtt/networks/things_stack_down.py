"""The Things Stack v3's downlinks over MQTT: what is published to have one sent, and what its events say of it. Pure.

Source: The Things Stack documentation, "MQTT Server" and "Data formats", and `ApplicationDownlink` of its `messages.proto`.
It has no id of its own for a downlink; the command's id goes along as a correlation id, which every event about it carries. A
command that is published twice is sent twice. A confirmed downlink that is not acknowledged is tried again by the network
(nack), until it gives up (failed).
"""

from __future__ import annotations

import base64
import json
from typing import Any, Literal

from adapters.members import members, text
from broker.pipeline.intake import Downlink, DownlinkEvent, NotSent

_PREFIX = "knutpunkt:"
EVENTS: dict[str, Literal["accepted", "transmitted", "acknowledged", "retried", "failed"]] = {
    "queued": "accepted",
    "sent": "transmitted",
    "ack": "acknowledged",
    "nack": "retried",
    "failed": "failed",
}
"""Last level of the topics `v3/{application}/devices/{device}/down/…` -> what it says."""


def push(downlink: Downlink) -> tuple[str, bytes]:
    """(topic, body) of a push for a device that was heard on `downlink.topic`. Raises NotSent."""
    parts = downlink.topic.split("/")
    if len(parts) < 5 or (parts[0], parts[2]) != ("v3", "devices"):
        raise NotSent(
            f"The device was last heard on '{downlink.topic[:120]}', which is no topic of The Things Stack's."
        )
    body = {
        "downlinks": [
            {
                "f_port": downlink.f_port,
                "frm_payload": base64.b64encode(downlink.payload).decode(),
                "priority": "NORMAL",
                "confirmed": downlink.confirmed,
                "correlation_ids": [_PREFIX + downlink.id],
            }
        ]
    }
    return "/".join([*parts[:4], "down", "push"]), json.dumps(body).encode()


def told(event: str, message: dict[str, Any]) -> DownlinkEvent | None:
    """What an event (the topic's last level) says of a command of ours; None when it is not of one. Raises NotUnderstood."""
    what = EVENTS.get(event)
    about = members(message, f"downlink_{event}")
    if what is None or about is None:
        return None
    downlink = (members(about, "downlink") or {}) if event == "failed" else about
    named = [*_correlations(downlink), *_correlations(message)]
    item = next((each.removeprefix(_PREFIX) for each in named if each.startswith(_PREFIX)), "")
    if not item:
        return None
    if what == "failed":
        error = members(about, "error") or {}
        said = text(error, "message_format") or text(error, "name") or "no reason given"
        return DownlinkEvent(item, what, f"The Things Stack: {said}.")
    if what == "retried":
        return DownlinkEvent(item, what, "The device did not acknowledge it yet; the network tries again.")
    return DownlinkEvent(item, what)


def _correlations(message: dict[str, Any]) -> list[str]:
    found = message.get("correlation_ids")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
