"""The door for adapters: an `Uplink` in, a `Receipt` after the commit.

This is all that adapters see of the broker. An adapter acknowledges to its network when `submit` or `reject` has
returned, never before; what they raise means: not committed, do not acknowledge.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from msgspec import Struct, field

from broker.clock import Micros

UplinkKind = Literal["up", "join", "status", "ack", "txack", "log", "location"]


class Radio(Struct, frozen=True):
    """How well the network heard the device: the best gateway's figures."""

    rssi: float | None = None
    """dBm"""
    snr: float | None = None
    """dB"""
    gateway_id: str | None = None
    frequency: int | None = None
    """Hz"""
    data_rate: int | None = None


class SensedValue(Struct, frozen=True):
    """A value that arrives named already (SenML over CoAP, a network's decoded object): no codec is needed."""

    name: str
    value: float | int | bool | str
    unit: str
    """A SenML unit or ''."""
    at: Micros | None
    """None: when it was received."""


class Uplink(Struct, frozen=True):
    """One message from a device, as its network delivered it (the network's envelope taken off, nothing decoded)."""

    source: str
    """Adapter and network, e.g. 'mqtt:chirpstack', 'http:chirpstack', 'coap'."""
    kind: UplinkKind
    device_id: str
    """DevEUI in lower-case hex, IMEI, or another hardware id, normalised by the adapter."""
    received_at: Micros
    """When it reached us."""
    observed_at: Micros
    """When the network says it received it; `received_at` where it does not say."""
    raw: bytes
    """The message exactly as it came in."""
    frame_key: str | None = None
    """The network's own identification of the frame, prefixed by the network."""
    earlier_frame_keys: tuple[str, ...] = ()
    """Other keys the same frame may have been applied under (a time window that just rolled over)."""
    payload: bytes | None = None
    f_port: int | None = None
    f_cnt: int | None = None
    decoded: dict[str, Any] | None = None
    """What the network server decoded itself."""
    values: tuple[SensedValue, ...] = ()
    radio: Radio | None = None
    battery_percent: float | None = None
    location: tuple[float, float] | None = None
    """Longitude and latitude, degrees, of a device that the network located."""
    device_name: str | None = None
    device_profile: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    """Kept beside `raw` so that the message can be read again: topic, path, content format."""


Outcome = Literal["applied", "quarantined", "rejected", "duplicate"]


class Receipt(Struct, frozen=True):
    """What became of an uplink. It is durable when the caller sees this."""

    uplink_id: str
    outcome: Outcome
    reason: str = ""
    implausible: tuple[str, ...] = ()
    """The checks that its values failed, by name; one several times for several values."""


class Intake(Protocol):
    """Where adapters hand in what they received."""

    async def submit(self, uplink: Uplink, *, wait: bool) -> Receipt:
        """Apply an uplink durably. `wait`: wait for room in the queue (MQTT); else raise Overloaded at once (HTTP, CoAP)."""
        ...

    async def reject(self, *, source: str, raw: bytes, reason: str, meta: dict[str, Any], wait: bool) -> Receipt:
        """Keep a message that could not be understood, with the reason, durably."""
        ...
