"""A network that the settings describe: a topic's template, and paths into its JSON messages ([[networks]] in the settings).

What a path leads to is checked as every network's members are; numbers may be texts. Where a path leads nowhere, the message
says nothing of it; only the device must be there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast, get_args

from adapters.members import NotUnderstood, numeric, shown, text, whole
from adapters.mqtt.networks.base import (
    MILLISECOND,
    RSSI,
    SNR,
    NetworkServer,
    Part,
    base64_bytes,
    believed,
    device_id,
    digest,
    each_of,
    hex_bytes,
    micros,
    observed,
    parsed,
)
from broker.clock import SECOND, Micros
from broker.config import GenericNetwork, InvalidSetting, Limits
from broker.jsonio import dumps
from broker.pipeline.intake import Radio, Uplink, UplinkKind

_UNITS: Mapping[str, Micros] = {"s": SECOND, "ms": MILLISECOND, "us": 1}
_LEVEL = re.compile(r"\{([a-z_]+)\}")
_KINDS = ("up", "join", "status", "log", "location")
_WHOLE = "."


def server(settings: GenericNetwork) -> NetworkServer:
    """The network that `settings` describe. Raises InvalidSetting."""
    _check(settings)
    template = settings.topic.split("/") if settings.topic else []

    def knows(topic: str, body: bytes) -> bool:
        return bool(template) and _levels(template, topic) is not None

    def read(topic: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> list[Part]:
        found = _levels(template, topic)
        if found is None:
            raise NotUnderstood(f"The topic must be '{settings.topic}', got {shown(topic)}.")
        reading = _Reading(settings, found, source, received_at, limits, {"topic": topic})
        return reading.parts(body)

    def read_http(event: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> list[Part]:
        reading = _Reading(settings, {"event": event}, source, received_at, limits, {"event": event})
        return reading.parts(body)

    topics = ("/".join("+" if _LEVEL.fullmatch(level) else level for level in template),) if template else ()
    return NetworkServer(settings.name, read=read, knows=knows, topics=topics, read_http=read_http)


def _check(settings: GenericNetwork) -> None:
    where = f"networks '{settings.name}'"
    levels = settings.topic.split("/")
    named = [found[1] for level in levels if (found := _LEVEL.fullmatch(level))]
    for index, level in enumerate(levels):
        bare = level if _LEVEL.fullmatch(level) is None else ""
        if ("{" in bare or "}" in bare) or ("+" in bare and bare != "+"):
            raise InvalidSetting(f"{where}: 'topic' must have a whole level in braces or '+', got '{level[:60]}'.")
        if "#" in bare and (bare != "#" or index != len(levels) - 1):
            raise InvalidSetting(f"{where}: 'topic' may have '#' as its last level only.")
    if len(set(named)) < len(named):
        raise InvalidSetting(f"{where}: 'topic' names a level twice.")
    if not settings.device and "device" not in named:
        raise InvalidSetting(f"{where}: needs the path 'device', or {{device}} in 'topic'.")
    if not settings.payload and not settings.values:
        raise InvalidSetting(f"{where}: needs the path 'payload' or the path 'values'.")
    for what, kind in settings.events.items():
        if kind not in _KINDS:
            raise InvalidSetting(
                f"{where}: 'events' must lead to {', '.join(_KINDS)}, got '{kind[:40]}' for '{what[:40]}'."
            )


def _levels(template: list[str], topic: str) -> dict[str, str] | None:
    """What the named levels of a topic are; None when it is another topic."""
    levels = topic.split("/")
    if template and template[-1] == "#":
        if len(levels) < len(template) - 1:
            return None
        template = template[:-1]
        levels = levels[: len(template)]
    if len(levels) != len(template):
        return None
    found = {}
    for asked, level in zip(template, levels, strict=True):
        named = _LEVEL.fullmatch(asked)
        if named is not None:
            found[named[1]] = level
        elif asked not in ("+", level):
            return None
    return found


class _Reading:
    """One body being read."""

    def __init__(
        self,
        settings: GenericNetwork,
        levels: dict[str, str],
        source: str,
        received_at: Micros,
        limits: Limits,
        meta: dict[str, Any],
    ) -> None:
        self._settings = settings
        self._levels = levels
        self._source = source
        self._received_at = received_at
        self._limits = limits
        self._meta = meta

    def parts(self, body: bytes) -> list[Part]:
        """The uplinks of a body, which is a message or, where the settings say so, has an array of them."""
        each = self._settings.each
        if not each:
            return [found for found in [self._one(self._object(body), body)] if found is not None]
        if each == _WHOLE:
            inner = body
        else:
            held = _at(parsed(body, self._limits), each)
            # A kept message is one element, alone.
            inner = body if held is None else dumps(held)
        passed_over: list[bytes] = []

        def one(message: dict[str, Any], raw: bytes) -> Uplink:
            found = self._one(message, raw)
            if found is None:
                passed_over.append(raw)
                raise NotUnderstood("")
            return found

        try:
            found = each_of(inner, self._limits, one)
        except NotUnderstood:
            if passed_over:
                return []
            raise
        return [part for part in found if isinstance(part, Uplink) or part.reason]

    def _object(self, body: bytes) -> dict[str, Any]:
        message = parsed(body, self._limits)
        if not isinstance(message, dict):
            raise NotUnderstood(f"The body must be a JSON object, got {shown(message)}.")
        return message

    def _one(self, message: dict[str, Any], raw: bytes) -> Uplink | None:
        settings = self._settings
        kind = self._kind(message)
        if kind is None:
            return None
        meta = dict(self._meta)
        identity = self._device(message)
        at, said = self._observed(message, meta)
        up = kind == "up"
        f_cnt = self._whole(message, settings.f_cnt, 0xFFFFFFFF)
        return Uplink(
            source=self._source,
            kind=kind,
            device_id=identity,
            received_at=self._received_at,
            observed_at=at,
            raw=raw,
            frame_key=self._frame_key(message, identity, said, raw),
            payload=self._payload(message) if up else None,
            f_port=self._whole(message, settings.f_port, 255),
            f_cnt=f_cnt,
            decoded=self._values(message) if up else None,
            radio=self._radio(message),
            battery_percent=self._number(message, settings.battery, 0, 100),
            location=self._place(message),
            device_name=self._text(message, settings.name_path) or None,
            meta=meta,
        )

    def _kind(self, message: dict[str, Any]) -> UplinkKind | None:
        """None: a kind that is to be passed over."""
        events = self._settings.events
        if not events:
            return "up"
        said = self._text(message, self._settings.event) if self._settings.event else self._levels.get("event", "")
        found = events.get(said)
        assert found is None or found in get_args(UplinkKind)
        return cast("UplinkKind | None", found)

    def _device(self, message: dict[str, Any]) -> str:
        path = self._settings.device
        if not path:
            if "device" not in self._levels:
                raise NotUnderstood(
                    "The message does not say of which device it is: the topic does, and there is none."
                )
            return device_id(self._levels["device"], "The topic's device")
        found = _at(message, path)
        if isinstance(found, int) and not isinstance(found, bool):
            found = str(found)
        if not isinstance(found, str):
            raise NotUnderstood(f"'{path}' must be a text that names the device, got {shown(found)}.")
        return device_id(found, f"'{path}'")

    def _observed(self, message: dict[str, Any], meta: dict[str, Any]) -> tuple[Micros, str]:
        """(when, as it was said)."""
        path, form = self._settings.time, self._settings.time_format
        found = _at(message, path) if path else None
        if found is None:
            return self._received_at, ""
        if form == "iso":
            return observed(text({path: found}, path), path, self._received_at, self._limits, meta), str(found)
        said = numeric({path: found}, path, -1e18, 1e18)
        if said is None:
            return self._received_at, ""
        at = micros(int(said) if said.is_integer() else said, _UNITS[form], f"'{path}'")
        return believed(at, found, self._received_at, self._limits, meta), str(found)

    def _frame_key(self, message: dict[str, Any], identity: str, said: str, raw: bytes) -> str | None:
        """By its identification; else a message with a time is known by its bytes; else it cannot be told from the next."""
        name = self._settings.name
        frame = _at(message, self._settings.frame) if self._settings.frame else None
        if isinstance(frame, (str, int)) and not isinstance(frame, bool) and frame != "":
            return f"{name}:{identity}:{digest(str(frame))}"
        return f"{name}:{identity}:{digest(raw)}" if said else None

    def _payload(self, message: dict[str, Any]) -> bytes | None:
        path = self._settings.payload
        found = _at(message, path) if path else None
        if found is None:
            return None
        read = hex_bytes if self._settings.encoding == "hex" else base64_bytes
        return read(text({path: found}, path), f"'{path}'")

    def _values(self, message: dict[str, Any]) -> dict[str, Any] | None:
        path = self._settings.values
        if not path:
            return None
        found = message if path == _WHOLE else _at(message, path)
        if found is not None and not isinstance(found, dict):
            raise NotUnderstood(f"'{path}' must be an object, got {shown(found)}.")
        return found

    def _radio(self, message: dict[str, Any]) -> Radio | None:
        settings = self._settings
        radio = Radio(
            rssi=self._number(message, settings.rssi, *RSSI),
            snr=self._number(message, settings.snr, *SNR),
            gateway_id=self._text(message, settings.gateway) or None,
        )
        return radio if radio != Radio() else None

    def _place(self, message: dict[str, Any]) -> tuple[float, float] | None:
        longitude = self._number(message, self._settings.longitude, -180, 180)
        latitude = self._number(message, self._settings.latitude, -90, 90)
        return None if longitude is None or latitude is None else (longitude, latitude)

    def _number(self, message: dict[str, Any], path: str, lowest: float, highest: float) -> float | None:
        return numeric({path: _at(message, path)}, path, lowest, highest) if path else None

    def _whole(self, message: dict[str, Any], path: str, highest: int) -> int | None:
        return whole({path: _at(message, path)}, path, 0, highest) if path else None

    def _text(self, message: dict[str, Any], path: str) -> str:
        return text({path: _at(message, path)}, path) if path else ""


def _at(value: Any, path: str) -> Any:
    """What `path` leads to; None where it leads nowhere. A name with dots in it is found whole."""
    rest = path
    while rest:
        if isinstance(value, dict) and rest in value:
            return value[rest]
        step, _, rest = rest.partition(".")
        if isinstance(value, dict):
            value = value.get(step)
        elif (
            isinstance(value, list) and step.isdecimal() and step.isascii() and len(step) < 6 and int(step) < len(value)
        ):
            value = value[int(step)]
        else:
            return None
    return value
