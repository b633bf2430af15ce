"""A command to a virtual sensor, and what may become of it. Pure: a state machine over one record.

    queued -> sent -> acknowledged
       |        +---> failed, expired
       +-> failed, expired, cancelled

While it is queued it is the virtual sensor's: it is encoded for whatever device is bound when it is sent. From `sent` on it is
that device's. What the device or its network says of it counts even when it comes early (before we have written down that it
was sent) or late (after it was given up, or cancelled between two tries of which one got through after all): that it was
acknowledged is final, whatever stood there before.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from broker.clock import Micros, iso
from broker.codecs.downlink import Value

CommandStatus = Literal["queued", "sent", "acknowledged", "failed", "expired", "cancelled"]
What = Literal["accepted", "transmitted", "acknowledged", "retried", "failed", "expired"]
"""What a network says: it has the command; a gateway took it; the device acknowledged it; the device did not and the network
tries again; it was given up; it was too late."""


class DeviceCommand(Struct, frozen=True, rename="camel", kw_only=True):
    """Body of a record of kind 'device_command'. Times are None until the step was taken."""

    id: str
    """A time-ordered UUID; the network is told it, so that it knows the command when it comes twice."""
    virtual_sensor: str
    command: str
    parameters: dict[str, Value] = {}
    by: str = ""
    """Who asked for it."""
    status: CommandStatus = "queued"
    reason: str = ""
    """What it waits for, or why it ended as it did, for people."""
    attempts: int = 0
    """How often it was begun to hand it to a network."""
    sending: bool = False
    """It is being handed over: from before it is published until that is known to have succeeded or not."""
    device: str | None = None
    """The device that it was encoded for."""
    model: str | None = None
    network: str | None = None
    """Where it was handed to: 'mqtt:chirpstack', 'coap'."""
    f_port: int | None = None
    confirmed: bool = True
    """Whether the device is asked to acknowledge it; if not, it has ended when it was transmitted."""
    payload: str | None = None
    """The bytes, hexadecimal."""
    queued_at: Micros
    sent_at: Micros | None = None
    """The network (its MQTT broker) has acknowledged that it has it; over CoAP: it went into the answer."""
    accepted_at: Micros | None = None
    transmitted_at: Micros | None = None
    acknowledged_at: Micros | None = None
    ended_at: Micros | None = None
    expires_at: Micros


def is_open(command: DeviceCommand) -> bool:
    """Whether anything more is to become of it."""
    return command.ended_at is None


def keys(command: DeviceCommand) -> tuple[str, ...]:
    """What its record is found by."""
    found = [f"sensor:{command.virtual_sensor}", f"status:{command.status}"]
    if command.device is not None:
        found.append(f"device:{command.device}")
    if is_open(command):
        found += ["open", f"open:{command.virtual_sensor}"]
        if command.device is not None:
            found.append(f"open-device:{command.device}")
    return tuple(found)


def waiting(command: DeviceCommand, reason: str) -> DeviceCommand:
    """It could not be handed over now; `reason` says what it waits for."""
    return replace(command, sending=False, reason=reason) if command.status == "queued" else command


def sending(
    command: DeviceCommand,
    *,
    device: str,
    model: str,
    network: str,
    f_port: int | None,
    confirmed: bool,
    payload: bytes,
) -> DeviceCommand:
    """It is about to be handed over. Written down first, so that what is said of it is known to be from this device."""
    return replace(
        command,
        sending=True,
        reason="",
        attempts=command.attempts + 1,
        device=device,
        model=model,
        network=network,
        f_port=f_port,
        confirmed=confirmed,
        payload=payload.hex(),
    )


def sent(command: DeviceCommand, at: Micros, *, transmitted: bool = False) -> DeviceCommand:
    """It was handed over. `transmitted`: to the device itself, so that no network will say so."""
    if command.sent_at is not None:
        return replace(command, sending=False)
    first = replace(command, sending=False, sent_at=at, transmitted_at=at if transmitted else command.transmitted_at)
    return _settled(replace(first, status="sent", reason="") if command.status == "queued" else first, at)


def told(command: DeviceCommand, device: str, what: What, at: Micros, reason: str = "") -> DeviceCommand:
    """What `device` or its network says. Nothing changes when it is not of this device, or known already."""
    if command.device != device or command.attempts == 0 or command.status == "acknowledged":
        return command
    begun = command
    if command.status == "queued":
        # It came before we had written down that it was handed over: so it was.
        begun = replace(command, status="sent", sending=False, sent_at=at, reason="")
    if what == "acknowledged":
        said = _after_all(command)
        return replace(begun, status="acknowledged", acknowledged_at=at, ended_at=at, sending=False, reason=said)
    if what == "accepted":
        return begun if begun.accepted_at is not None else replace(begun, accepted_at=at)
    if what == "transmitted":
        first = begun if begun.transmitted_at is not None else replace(begun, transmitted_at=at)
        return _settled(first, at)
    if begun.ended_at is not None:
        return begun
    if what == "retried":
        return replace(begun, reason=reason)
    return replace(begun, status="failed" if what == "failed" else "expired", reason=reason, ended_at=at)


def failed(command: DeviceCommand, reason: str, at: Micros) -> DeviceCommand:
    """It cannot be sent, and waiting would not help."""
    return replace(command, status="failed", reason=reason, sending=False, ended_at=at)


def expired(command: DeviceCommand, at: Micros) -> DeviceCommand:
    """Its time is up; unchanged when it is not, or when it has ended."""
    if not is_open(command) or at < command.expires_at:
        return command
    until = iso(command.expires_at)
    if command.status == "sent":
        missing = "acknowledge it" if command.transmitted_at is not None or command.network == "coap" else "get it"
        said = f"The device did not {missing} until {until}, as far as is known."
    elif command.sending:
        said = f"It may have been sent: the broker stopped while it was handed over, before {until}."
    else:
        said = f"It was not sent until {until}" + (f": {command.reason}" if command.reason else ".")
    return replace(command, status="expired", reason=said, sending=False, ended_at=at)


def may_cancel(command: DeviceCommand) -> str:
    """Why it can not be cancelled; '' when it can."""
    if command.status == "queued":
        return "It is being handed to the network just now." if command.sending else ""
    if command.status == "sent" and is_open(command):
        return "It was sent already, and cannot be called back."
    return f"It has ended: {command.status}."


def cancelled(command: DeviceCommand, by: str, at: Micros) -> DeviceCommand:
    """Nobody wants it any more. Only where `may_cancel` says nothing."""
    return replace(command, status="cancelled", reason=f"Cancelled by {by}." if by else "Cancelled.", ended_at=at)


def as_document(command: DeviceCommand) -> dict[str, Any]:
    """As the API shows it: times as text."""
    times = ("queued_at", "sent_at", "accepted_at", "transmitted_at", "acknowledged_at", "ended_at", "expires_at")
    shown: dict[str, Any] = {
        "id": command.id,
        "virtualSensor": command.virtual_sensor,
        "command": command.command,
        "parameters": command.parameters,
        "by": command.by,
        "status": command.status,
        "open": is_open(command),
        "reason": command.reason,
        "attempts": command.attempts,
        "device": command.device,
        "model": command.model,
        "network": command.network,
        "fPort": command.f_port,
        "confirmed": command.confirmed,
        "payload": command.payload,
    }
    for name in times:
        at = getattr(command, name)
        first, *rest = name.split("_")
        shown[first + "".join(map(str.title, rest))] = iso(at) if at is not None else None
    return shown


def _settled(command: DeviceCommand, at: Micros) -> DeviceCommand:
    """An unconfirmed command has ended when it was transmitted: nobody will say more. That it was, outweighs an expiry."""
    if command.confirmed or command.transmitted_at is None or command.status in ("queued", "acknowledged"):
        return command
    return replace(command, status="sent", reason=_after_all(command), sent_at=command.sent_at or at, ended_at=at)


def _after_all(command: DeviceCommand) -> str:
    """What to say of a command that was cancelled between two tries, when the first turns out to have got through."""
    return f"{command.reason} It was on its way by then." if command.status == "cancelled" else ""
