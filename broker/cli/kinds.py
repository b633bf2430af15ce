"""Kinds of documents that `knutpunkt apply` takes, and how they go over the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

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
_BARE: Final = frozenset({"note", "managedBy", "channel", "unit", "source", "model", "entity"})
"""Members that need not be said where they are empty."""
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
                    thing = {name: value for name, value in thing.items() if name != "id"}
                yield {"kind": kind, **_said(thing)}
    for tenant in tenants:
        yield {"kind": TENANT, "id": tenant["id"]}


def _said(thing: Any) -> Any:
    """Without members that are empty anyway."""
    if isinstance(thing, dict):
        return {
            name: _said(value) for name, value in thing.items() if value is not None and (value or name not in _BARE)
        }
    return [_said(each) for each in thing] if isinstance(thing, list) else thing
