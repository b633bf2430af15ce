"""The door for adapters: an `Uplink` in, a `Receipt` after the commit; and a `Downlink` out.

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
    gateway_location: tuple[float, float] | None = None
    """Longitude and latitude, degrees."""


class SensedValue(Struct, frozen=True):
    """A value that arrives named already (SenML over CoAP, a network's decoded object): no codec is needed."""

    name: str
    value: float | int | bool | str
    unit: str
    """A SenML unit or ''."""
    at: Micros | None
    """None: when it was received."""


class DownlinkEvent(Struct, frozen=True):
    """What a network or a device says of a command that it was sent."""

    id: str
    """The command's id, or its `tag_of`."""
    what: Literal["accepted", "transmitted", "acknowledged", "retried", "failed", "expired"]
    """See `broker.devices.actuation.What`."""
    reason: str = ""


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
    downlink: DownlinkEvent | None = None
    """What the message says of a command that was sent to the device."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Kept beside `raw` so that the message can be read again: topic, path, content format."""


class Unread(Struct, frozen=True):
    """An element of a network's array of messages that is not understood, where others are: it is kept by itself."""

    raw: bytes
    reason: str


Outcome = Literal["applied", "quarantined", "rejected", "duplicate"]


class Receipt(Struct, frozen=True):
    """What became of an uplink. It is durable when the caller sees this."""

    uplink_id: str
    outcome: Outcome
    reason: str = ""
    command: str = ""
    """What became of a command by the uplink's `downlink`: its status, where that changed."""
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


class Downlink(Struct, frozen=True):
    """A command as it goes to a network."""

    id: str
    """A UUID; the same when it is sent again."""
    device_id: str
    topic: str
    """The topic that the device was last heard on; '' where there is none."""
    payload: bytes
    f_port: int | None
    confirmed: bool
    expires_at: Micros
    source: str = ""
    """Adapter and network that the device was last heard by, as `Uplink.source` has it; '' where it is not known."""


def tag_of(command_id: str) -> str:
    """A command's id in short: 16 hexadecimal digits, of the 62 random bits of a UUID version 7."""
    return command_id.replace("-", "")[-16:]


class NotSent(Exception):
    """A downlink was not taken, or it is not known whether; the text says why. It may be sent again."""


class Network(Protocol):
    """What takes downlinks: one MQTT broker with a network server behind it."""

    async def send(self, downlink: Downlink) -> None:
        """Hand it over. Returns when that is acknowledged; raises NotSent."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Outlet(Protocol):
    """Where adapters fetch what devices are to be told that ask for it themselves."""

    async def fetch(self, device_id: str) -> Downlink | None:
        """What `device_id` is to be told now, written down as sent. None: nothing, or it cannot be had now."""
        ...


class Credential(Struct, frozen=True):
    """A key that proves which device speaks."""

    key_id: str
    device_id: str
    secret: bytes
    """The pre-shared key, or OSCORE's Master Secret."""
    theirs: bytes = b""
    """OSCORE: the device's Sender ID."""
    ours: bytes = b""
    """OSCORE: our Sender ID."""
    salt: bytes = b""
    """OSCORE: the Master Salt."""
    context: bytes | None = None
    """OSCORE: the ID Context."""


class Numbers(Struct, frozen=True):
    """What an OSCORE context may go on with."""

    first: int
    """The first of the Sender Sequence Numbers taken."""
    window: tuple[int, int] | None = None
    """The replay window, its lowest number and the bits of those seen; None: not known, so freshness must be proven."""


class Keyring(Protocol):
    """The devices' keys, as they are now."""

    def keyed(self, device_id: str) -> bool:
        """Whether a device has a key in force, and so must use it."""
        ...

    def holds(self, key_id: str) -> bool:
        """Whether a key is in force."""
        ...

    def pre_shared(self, identity: str) -> Credential | None:
        """The pre-shared key with an identity (DTLS)."""
        ...

    def oscore(self, theirs: bytes, context: bytes | None) -> Credential | None:
        """The key with a Sender ID and an ID Context of the device's (OSCORE)."""
        ...

    async def take(self, key_id: str, count: int, *, begins: bool) -> Numbers:
        """Sender Sequence Numbers that nobody else gets, durably; `begins`: and the replay window, once.

        Raises BrokerError.
        """
        ...

    async def rest(self, windows: dict[str, tuple[int, int]]) -> None:
        """Keep the replay windows of contexts, by key id, that are not used any more. Raises BrokerError."""
        ...
