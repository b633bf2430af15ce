"""LwM2M's TLV -> named values (OMA LwM2M 1.1 Core, 7.4.3, application/vnd.oma.lwm2m+tlv). Pure.

TLV says no types: a resource's is that of `schemas/lwm2m.json`. A resource that is not known there is given as its bytes
in hexadecimal, so that nothing is guessed.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Final

from adapters.members import NotUnderstood
from broker.clock import Micros
from broker.pipeline.intake import SensedValue

OBJECT_INSTANCE, RESOURCE_INSTANCE, MULTIPLE_RESOURCE, RESOURCE = 0, 1, 2, 3
VALUES: Final = 10_000
"""Values in one message at most: each becomes an observation."""
# The largest float of 32 bits.
_LARGEST = 3.4028234663852886e38
Path = tuple[int, ...]
"""Object, instance, resource, resource instance; as many as are said."""


def read_tlv(body: bytes, base: Path, *, at: Micros | None = None) -> list[SensedValue]:
    """The values below `base`, the path that was asked for or posted to (an object at least). Raises NotUnderstood."""
    values: list[SensedValue] = []
    for path, raw in _resources(body, base):
        if len(values) == VALUES:
            raise NotUnderstood(f"A TLV message may have at most {VALUES} values.")
        value = typed(path, raw)
        if value is not None:
            values.append(SensedValue("/" + "/".join(map(str, path)), value, "", at))
    return values


def _resources(body: bytes, base: Path) -> Iterator[tuple[Path, bytes]]:
    """Every resource's path and bytes, in order."""
    if not 1 <= len(base) <= 4:
        raise NotUnderstood("TLV must be of a path with an object, such as /3303/0.")
    for kind, identifier, value in _entries(body):
        if kind == OBJECT_INSTANCE:
            if len(base) != 1:
                raise NotUnderstood(f"An object instance cannot be within {_shown(base)}.")
            yield from _resources(value, (*base, identifier))
        elif kind in (RESOURCE, MULTIPLE_RESOURCE):
            # A single resource that was asked for is there with its own id again (7.4.3.2).
            if len(base) == 3 and base[2] != identifier:
                raise NotUnderstood(f"Resource {identifier} cannot be within {_shown(base)}.")
            if len(base) == 4:
                raise NotUnderstood(f"A resource cannot be within {_shown(base)}.")
            # Of an object with one instance, it may be left out which it is.
            instance = base if len(base) == 2 else (*base, 0) if len(base) == 1 else base[:2]
            path = (*instance, identifier)
            if kind == RESOURCE:
                yield path, value
            else:
                yield from _resources(value, path)
        else:
            if len(base) < 3:
                raise NotUnderstood(f"A resource instance cannot be within {_shown(base)}.")
            yield (*base[:3], identifier), value


def _entries(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(kind, identifier, value) one after the other."""
    at = 0
    while at < len(body):
        head = body[at]
        id_size, length_size = 2 if head & 0x20 else 1, head >> 3 & 3
        start = at + 1 + id_size + length_size
        if start > len(body):
            raise NotUnderstood(f"Byte {at}: the head of an entry does not end.")
        identifier = int.from_bytes(body[at + 1 : at + 1 + id_size], "big")
        length = int.from_bytes(body[at + 1 + id_size : start], "big") if length_size else head & 7
        if start + length > len(body):
            raise NotUnderstood(f"Byte {at}: an entry of {length} bytes does not fit into the {len(body)} there are.")
        yield head >> 6, identifier, body[start : start + length]
        at = start + length


def typed(path: Path, raw: bytes) -> float | int | bool | str | None:
    """A resource's bytes as its type says; None for one without a value. Raises NotUnderstood."""
    kind = type_of(path)
    if kind in ("integer", "time"):
        if len(raw) not in (1, 2, 4, 8):
            raise NotUnderstood(f"{_shown(path)} must be an integer of 1, 2, 4 or 8 bytes, got {len(raw)}.")
        return int.from_bytes(raw, "big", signed=True)
    if kind == "number":
        # Numbers of measurements are floats; some devices send integers where those suffice.
        if len(raw) in (1, 2):
            return int.from_bytes(raw, "big", signed=True)
        if len(raw) not in (4, 8):
            raise NotUnderstood(f"{_shown(path)} must be a float of 4 or 8 bytes, got {len(raw)}.")
        value: float = struct.unpack("!f" if len(raw) == 4 else "!d", raw)[0]
        if not math.isfinite(value):
            raise NotUnderstood(f"{_shown(path)} must be a number, got {value}.")
        # A float of 32 bits is the decimal that it was, not its nearest double: 21.3, not 21.299999237060547.
        return _shortest(value) if len(raw) == 4 else value
    if kind == "boolean":
        if raw not in (b"\x00", b"\x01"):
            raise NotUnderstood(f"{_shown(path)} must be 0 or 1 in a byte, got {raw[:8].hex()}.")
        return raw == b"\x01"
    if kind == "string":
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise NotUnderstood(f"{_shown(path)} must be UTF-8.") from None
    if kind == "link":
        if len(raw) != 4:
            raise NotUnderstood(f"{_shown(path)} must be a link of 4 bytes, got {len(raw)}.")
        return "{}:{}".format(*struct.unpack("!HH", raw))
    return None if kind == "none" else raw.hex()


def _shortest(value: float) -> float:
    """The decimal with the fewest digits that is the same float of 32 bits."""
    for digits in range(6, 10):
        short = float(f"{value:.{digits}g}")
        if abs(short) <= _LARGEST and struct.pack("!f", short) == struct.pack("!f", value):
            return short
    return value


@cache
def _types() -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    table = json.loads((resources.files("schemas") / "lwm2m.json").read_bytes())
    return {one: known.get("types", {}) for one, known in table["objects"].items()}, table["reusable"]


def type_of(path: Path) -> str:
    """The type of the resource at a path; '' where it is not known."""
    own, reusable = _types()
    if len(path) < 3:
        return ""
    resource = str(path[2])
    return own.get(str(path[0]), {}).get(resource) or (reusable.get(resource, "") if path[2] >= 2048 else "")


def _shown(path: Path) -> str:
    return "/" + "/".join(map(str, path))
