"""Records of the registry as typed things, parsed once a version."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from broker.devices.model import Binding, Device, DeviceModel, DeviceState, SwapRecord, VirtualSensor
from broker.errors import BadRequestData
from broker.stores.base import Record

StructT = TypeVar("StructT", bound=msgspec.Struct)

_parsed: dict[tuple[str, str], tuple[dict[str, Any], Any]] = {}
_REMEMBERED = 200_000
"""Parsed records kept: some 50,000 sensors with device, binding and virtual sensor. About 1 KB each."""


def _typed(record: Record, struct: type[StructT]) -> StructT:
    key = (record.kind, record.id)
    known = _parsed.get(key)
    # The same body object, not just the same version: two stores (tenants) may hold one id.
    if known is not None and known[0] is record.body:
        made: StructT = known[1]
        return made
    made = msgspec.convert(record.body, struct)
    if len(_parsed) >= _REMEMBERED:
        _parsed.clear()
    _parsed[key] = (record.body, made)
    return made


def as_device(record: Record) -> Device:
    """The device of a record of kind 'device'."""
    return _typed(record, Device)


def as_model(record: Record) -> DeviceModel:
    """The device model of a record of kind 'device_model'."""
    return _typed(record, DeviceModel)


def as_sensor(record: Record) -> VirtualSensor:
    """The virtual sensor of a record of kind 'virtual_sensor'."""
    return _typed(record, VirtualSensor)


def as_binding(record: Record) -> Binding:
    """The binding of a record of kind 'binding'."""
    return _typed(record, Binding)


def as_swap(record: Record) -> SwapRecord:
    """The swap of a record of kind 'swap'."""
    return msgspec.convert(record.body, SwapRecord)


def as_state(record: Record | None) -> DeviceState:
    """The state of a record of kind 'device_state'; a fresh one when there is none."""
    return msgspec.convert(record.body, DeviceState) if record is not None else DeviceState()


def from_user(document: Any, struct: type[StructT], what: str) -> StructT:
    """A registry thing from a user's JSON. BadRequestData names the member and the rule."""
    try:
        return msgspec.convert(document, struct)
    except msgspec.ValidationError as error:
        raise BadRequestData(f"The {what} is not valid: {error}.") from None


def to_body(struct: msgspec.Struct) -> dict[str, Any]:
    """A registry thing as the body of its record, plain JSON."""
    made: dict[str, Any] = msgspec.to_builtins(struct)
    return made
