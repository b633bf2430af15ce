"""Kinds of documents that `knutpunkt apply` takes, and how they go over the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from broker.devices.model import Device, DeviceModel, VirtualSensor

MEMBERS: Final = {
    "DeviceModel": "models",
    "VirtualSensor": "virtualSensors",
    "Device": "devices",
    "Binding": "bindings",
}
"""Kind -> the member of the whole registry (`/api/v1/import/registry`), in the order in which they refer to each other."""
TENANT: Final = "Tenant"
KINDS: Final = (*MEMBERS, TENANT)
PATHS: Final = {"DeviceModel": "device-models", "VirtualSensor": "virtual-sensors", "Device": "devices"}
"""Kind -> its collection, of those that can be deleted."""
_STRUCTS: Final[dict[str, type[msgspec.Struct]]] = {
    "DeviceModel": DeviceModel,
    "VirtualSensor": VirtualSensor,
    "Device": Device,
}
_TABLES: Final = {"virtual-sensors": "virtualSensors"}


def documents_of(registry: Mapping[str, Sequence[Any]], tenants: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The documents that describe what is there now: of bindings those that hold, without what is empty."""
    for kind, member in MEMBERS.items():
        for name, things in registry.items():
            if _TABLES.get(name, name) != member:
                continue
            for thing in things:
                if kind == "Binding":
                    if thing["validTo"] is not None:
                        continue
                    thing = {name: value for name, value in thing.items() if value and name != "id"}
                yield {"kind": kind, **bare(kind, thing)}
    for tenant in tenants:
        yield {"kind": TENANT, "id": tenant["id"]}


def bare(kind: str, thing: Mapping[str, Any]) -> dict[str, Any]:
    """The thing without what is as it is by default; what is no member of its kind stays as it is."""
    struct = _STRUCTS.get(kind)
    if struct is None:
        return dict(thing)
    own = {field.encode_name for field in msgspec.structs.fields(struct)}
    try:
        made = _said(msgspec.convert({name: value for name, value in thing.items() if name in own}, struct))
    except msgspec.ValidationError:
        return dict(thing)
    return {**made, **{name: value for name, value in thing.items() if name not in own}}


def _said(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {
            field.encode_name: _said(getattr(value, field.name))
            for field in msgspec.structs.fields(value)
            if field.required or getattr(value, field.name) != _default(field)
        }
    if isinstance(value, tuple | list):
        return [_said(each) for each in value]
    return msgspec.to_builtins(value)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else msgspec.NODEFAULT
