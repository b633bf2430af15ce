"""What every network's module is made of: its entry in the table, and what all of them read alike. Pure."""

from __future__ import annotations

import binascii
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from adapters.members import NotUnderstood, shown
from adapters.times import distrust
from broker.clock import SECOND, Micros, iso, parse_network_time
from broker.config import Limits
from broker.errors import InvalidRequest
from broker.jsonio import parse_json
from broker.pipeline.intake import Downlink, Radio, Unread, Uplink

RSSI = (-(1 << 31), (1 << 31) - 1)
SNR = (-1e6, 1e6)
"""Radio figures beyond these are no measurement."""
LARGEST_ARRAY = 1000
"""Messages in one body, count: each is committed by itself, and 256 KB could hold 100,000 empty ones."""
_EUI = re.compile(r"[0-9a-fA-F]{16}", re.ASCII)
_ID = re.compile(r"[a-z0-9][a-z0-9._:-]{0,127}", re.ASCII)


Part = Uplink | Unread


class Read(Protocol):
    """A message from MQTT -> the uplinks in it; none: it is understood and tells of no device. Raises NotUnderstood."""

    def __call__(  # noqa: D102
        self, topic: str, body: bytes, *, source: str, received_at: Micros, limits: Limits
    ) -> Sequence[Part]: ...


class ReadHttp(Protocol):
    """What a network pushed over HTTP, with the kind of event that it named ('up' if none). Raises NotUnderstood."""

    def __call__(  # noqa: D102
        self, event: str, body: bytes, *, source: str, received_at: Micros, limits: Limits
    ) -> Sequence[Part]: ...


@dataclass(frozen=True, slots=True)
class NetworkServer:
    """One kind of network server, by the name that settings and lineage use."""

    name: str
    read: Read
    knows: Callable[[str, bytes], bool]
    """Whether a message of this topic and shape is one of its; cheap, and no more than a guess: `read` decides."""
    topics: tuple[str, ...] = ()
    """Topic filters that its messages come on; (): whoever set it up has chosen them."""
    read_http: ReadHttp | None = None
    """None: it does not push over HTTP."""
    http_parameters: frozenset[str] = frozenset()
    """Query parameters of its own that it adds to the URL, which say nothing that the body does not."""
    down: Callable[[Downlink], tuple[str, bytes]] | None = None
    """A downlink -> topic and body to publish. None: it takes none over MQTT, or its format is not known."""


def single(read: Callable[..., Uplink]) -> Callable[..., Sequence[Part]]:
    """A reader of networks that send one uplink a message."""

    def read_one(where: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> Sequence[Part]:
        return (read(where, body, source=source, received_at=received_at, limits=limits),)

    return read_one


def parsed(body: bytes, limits: Limits) -> Any:
    """The JSON value of a message. Numbers are doubles where they come from. Raises NotUnderstood."""
    try:
        return parse_json(body, max_depth=limits.json_depth, exact=False)
    except InvalidRequest as error:
        raise NotUnderstood(error.detail) from None


def parsed_object(body: bytes, limits: Limits) -> dict[str, Any]:
    """The JSON object of a message. Raises NotUnderstood."""
    message = parsed(body, limits)
    if not isinstance(message, dict):
        raise NotUnderstood(f"The body must be a JSON object, got {shown(message)}.")
    return message


def each_of(body: bytes, limits: Limits, read: Callable[[dict[str, Any], bytes], Uplink]) -> list[Part]:
    """The parts of a body that is a message or an array of messages, each with its own bytes; what one is not, others may be.

    An element that cannot be read is an `Unread`; a body that is neither, or a lone message, raises NotUnderstood.
    """
    whole = parsed(body, limits)
    if isinstance(whole, dict):
        return [read(whole, body)]
    if not isinstance(whole, list):
        raise NotUnderstood(f"The body must be a JSON array of messages, got {shown(whole)}.")
    if len(whole) > LARGEST_ARRAY:
        raise NotUnderstood(f"The body may have at most {LARGEST_ARRAY} messages, got {len(whole)}.")
    parts: list[Part] = []
    for element, raw in zip(whole, msgspec.json.decode(body, type=list[msgspec.Raw]), strict=True):
        own = bytes(raw)
        try:
            if not isinstance(element, dict):
                raise NotUnderstood(f"A message must be a JSON object, got {shown(element)}.")
            parts.append(read(element, own))
        except NotUnderstood as error:
            parts.append(Unread(own, str(error)))
    return parts


def eui(value: str, what: str) -> str:
    """A DevEUI in lower case. Raises NotUnderstood."""
    if _EUI.fullmatch(value) is None:
        raise NotUnderstood(f"{what} must be 16 hexadecimal digits, got {shown(value)}.")
    return value.lower()


def is_eui(value: str) -> bool:
    """Whether it is 16 hexadecimal digits."""
    return _EUI.fullmatch(value) is not None


def device_id(value: str, what: str) -> str:
    """Any hardware id, as devices are registered: lower case; an EUI-64 without its separators or '0x'. Raises NotUnderstood."""
    bare = value.removeprefix("0x").replace("-", "").replace(":", "")
    if _EUI.fullmatch(bare) is not None:
        return bare.lower()
    found = value.lower()
    if _ID.fullmatch(found) is None:
        raise NotUnderstood(
            f"{what} must be letters, digits, '.', '_', ':' or '-', at most 128, to name a device, got {shown(value)}."
        )
    return found


def base64_bytes(encoded: str, what: str) -> bytes:
    """Bytes of whole base64, b'' for ''. Raises NotUnderstood."""
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        # ValueError: characters beyond ASCII.
        why = str(error).lower().rstrip(".")
        raise NotUnderstood(f"{what} must be whole base64 ({why}), got {shown(encoded)}.") from None


def hex_bytes(encoded: str, what: str) -> bytes:
    """Bytes of hexadecimal digits, b'' for ''. Raises NotUnderstood."""
    try:
        return binascii.a2b_hex(encoded)
    except (binascii.Error, ValueError):
        raise NotUnderstood(f"{what} must be whole bytes in hexadecimal digits, got {shown(encoded)}.") from None


def believed(at: Micros | None, said: object, received_at: Micros, limits: Limits, meta: dict[str, Any]) -> Micros:
    """`at`, or when it was received where `at` cannot be true (`adapters.times.distrust`); `meta` then has what was said."""
    if at is None:
        return received_at
    reason = distrust(at, received_at, limits)
    if not reason:
        return at
    meta["time"] = f"{said} is {reason}; taken as observed at {iso(received_at)}"
    return received_at


def observed(said: str, name: str, received_at: Micros, limits: Limits, meta: dict[str, Any]) -> Micros:
    """The time that a member says, as far as it is believed; when it was received for ''. Raises NotUnderstood."""
    if not said:
        return received_at
    at = parse_network_time(said)
    if at is None:
        raise NotUnderstood(f"'{name}' must be an RFC 3339 date-time with an offset, got {shown(said)}.")
    return believed(at, said, received_at, limits, meta)


def micros(value: float, unit: Micros, what: str) -> Micros:
    """A time in numbers of `unit` since 1970. Raises NotUnderstood."""
    if not math.isfinite(value) or not abs(value) * unit < 1 << 62:
        raise NotUnderstood(f"{what} must be a time, got {shown(value)}.")
    return round(value * unit) if isinstance(value, float) else value * unit


MILLISECOND: Micros = SECOND // 1000


def best(heard: Iterable[Radio]) -> Radio | None:
    """The figures of the gateway that heard best: by RSSI, then by SNR."""
    return max(heard, key=_strength, default=None)


def _strength(heard: Radio) -> tuple[float, float]:
    return (
        -math.inf if heard.rssi is None else heard.rssi,
        -math.inf if heard.snr is None else heard.snr,
    )


def battery_of_status(level: float | None) -> float | None:
    """Percent of LoRaWAN's DevStatusAns (5.5 of 1.0.3): 1 to 254; 0 is mains, 255 is 'cannot measure'."""
    return None if level is None or not 1 <= level <= 254 else round((level - 1) / 253 * 100, 1)


def digest(*parts: bytes | str) -> str:
    """Tells messages apart that have no identification of their own."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update((part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part) + b"\0")
    return sha.hexdigest()[:32]
