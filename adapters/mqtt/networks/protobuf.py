"""Protocol Buffers' binary encoding, read into the members of its JSON mapping by a table of fields. Pure.

Source: protobuf.dev, "Encoding" and "ProtoJSON Format". Only what the events of network servers use: no groups, no packed numbers.
Fields that a table does not have are passed over, as the encoding asks; a member with its default value may be absent.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.members import NotUnderstood
from broker.clock import SECOND, iso

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LAST_SECOND = 253_402_300_799
"""9999-12-31T23:59:59Z: the last second of a Timestamp."""
_DEEPEST = 32
"""Nesting of messages, levels."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its member in JSON, and how its value is written."""

    name: str
    kind: str
    """string, bytes, uint, int, bool, float, double, enum, message, timestamp or struct."""
    fields: Mapping[int, Field] | None = None
    """Of a message."""
    names: tuple[str, ...] = ()
    """Of an enum."""
    repeated: bool = False


Fields = Mapping[int, Field]
_WIRE = {
    "string": _BYTES, "bytes": _BYTES, "message": _BYTES, "timestamp": _BYTES, "struct": _BYTES, "uint": _VARINT,
    "int": _VARINT, "bool": _VARINT, "enum": _VARINT, "float": _FIXED32, "double": _FIXED64,
}  # fmt: skip


def read_message(fields: Fields, body: bytes, depth: int = _DEEPEST) -> dict[str, Any]:
    """The members that `body` has. Of a field that comes twice the last counts. Raises NotUnderstood."""
    if depth == 0:
        raise NotUnderstood(f"The message is nested deeper than {_DEEPEST} levels.")
    found: dict[str, Any] = {}
    for number, wire, value in records(body):
        field = fields.get(number)
        if field is None:
            continue
        if wire != _WIRE[field.kind]:
            raise NotUnderstood(f"'{field.name}' (field {number}) must be a {field.kind}, got wire type {wire}.")
        member = _value(field, value, depth)
        if field.repeated:
            found.setdefault(field.name, []).append(member)
        else:
            found[field.name] = member
    return found


def records(body: bytes) -> Iterator[tuple[int, int, Any]]:
    """(field number, wire type, value): an int, or the bytes of all else. Raises NotUnderstood."""
    at = 0
    while at < len(body):
        tag, at = _varint(body, at)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise NotUnderstood(f"The body is no Protocol Buffers message: field number 0 before byte {at}.")
        value: int | bytes
        if wire == _VARINT:
            value, at = _varint(body, at)
        else:
            if wire == _BYTES:
                size, at = _varint(body, at)
            elif wire in (_FIXED32, _FIXED64):
                size = 4 if wire == _FIXED32 else 8
            else:
                raise NotUnderstood(f"The body is no Protocol Buffers message: wire type {wire} before byte {at}.")
            if size > len(body) - at:
                raise NotUnderstood(
                    f"The body ends within field {number}: {size} bytes announced, {len(body) - at} left."
                )
            value = body[at : at + size]
            at += size
        yield number, wire, value


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(body):
            raise NotUnderstood("The body ends within a number.")
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise NotUnderstood(f"The body is no Protocol Buffers message: a number of more than 10 bytes before byte {at}.")


def _value(field: Field, value: Any, depth: int) -> Any:
    kind = field.kind
    if kind == "message":
        return read_message(field.fields or {}, value, depth - 1)
    if kind == "string":
        return _text(field.name, value)
    if kind == "bytes":
        return base64.b64encode(value).decode()
    if kind == "int":
        return value - (1 << 64) if value >> 63 else value
    if kind == "bool":
        return value != 0
    if kind == "enum":
        return field.names[value] if value < len(field.names) else str(value)
    if kind == "timestamp":
        return _timestamp(field.name, value)
    if kind == "struct":
        return _struct(value, depth - 1)
    if kind in ("float", "double"):
        return _number(value)
    return value


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise NotUnderstood(f"'{name}' must be UTF-8.") from None


def _number(value: bytes) -> float:
    if len(value) == 8:
        return float(struct.unpack("<d", value)[0])
    # As many digits as a float has, as ProtoJSON writes it: 6.8 and not 6.800000190734863.
    return float(f"{struct.unpack('<f', value)[0]:.7g}")


_TIMESTAMP = {1: Field("seconds", "int"), 2: Field("nanos", "int")}


def _timestamp(name: str, value: bytes) -> str:
    parts = read_message(_TIMESTAMP, value)
    seconds, nanos = parts.get("seconds", 0), parts.get("nanos", 0)
    if not -62_135_596_800 <= seconds <= _LAST_SECOND or not 0 <= nanos < 1_000_000_000:
        raise NotUnderstood(f"'{name}' must be a Timestamp of the years 1 to 9999, got {seconds} s and {nanos} ns.")
    return iso(seconds * SECOND + nanos // 1000)


def _struct(value: bytes, depth: int) -> dict[str, Any]:
    """google.protobuf.Struct: a map from names to Values."""
    if depth == 0:
        raise NotUnderstood(f"The message is nested deeper than {_DEEPEST} levels.")
    found: dict[str, Any] = {}
    for number, wire, entry in records(value):
        if (number, wire) != (1, _BYTES):
            continue
        name, member = "", None
        for part, part_wire, content in records(entry):
            if (part, part_wire) == (1, _BYTES):
                name = _text("object", content)
            elif (part, part_wire) == (2, _BYTES):
                member = _struct_value(content, depth)
        found[name] = member
    return found


def _struct_value(value: bytes, depth: int) -> Any:
    found: Any = None
    for number, wire, content in records(value):
        if (number, wire) == (2, _FIXED64):
            found = _number(content)
        elif (number, wire) == (3, _BYTES):
            found = _text("object", content)
        elif (number, wire) == (4, _VARINT):
            found = content != 0
        elif (number, wire) == (5, _BYTES):
            found = _struct(content, depth - 1)
        elif (number, wire) == (6, _BYTES):
            if depth <= 1:
                raise NotUnderstood(f"The message is nested deeper than {_DEEPEST} levels.")
            found = [
                _struct_value(element, depth - 1)
                for part, part_wire, element in records(content)
                if (part, part_wire) == (1, _BYTES)
            ]
    return found
