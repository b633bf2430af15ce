"""Schemas of bodies: data files for what the standard defines, our own types for what the registry keeps."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, Final

import msgspec

from broker.devices.model import Binding, Device, DeviceModel, SwapRecord, VirtualSensor

Schema = dict[str, Any]

_REF: Final = "#/components/schemas/"
_REGISTRY: Final = (Device, DeviceModel, VirtualSensor, Binding, SwapRecord)


@cache
def schemas() -> dict[str, Schema]:
    """Name -> JSON Schema (2020-12), of every schema that a route or another schema names.

    A file may add to a type of the registry: examples.
    """
    found: dict[str, Schema] = {}
    for file in sorted((resources.files("schemas") / "openapi").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".json"):
            found |= msgspec.json.decode(file.read_bytes())
    for name, schema in _registry().items():
        found[name] = {**schema, **found.get(name, {})}
    return found


def reference(name: str) -> Schema:
    """What stands for the schema of a name; 'X[]': a list of X."""
    if name.endswith("[]"):
        return {"type": "array", "items": reference(name[:-2])}
    return {"$ref": _REF + name}


def _registry() -> dict[str, Schema]:
    """The registry's types as written (`New…`, their id stands in the path) and as shown."""
    _, made = msgspec.json.schema_components(_REGISTRY, ref_template=_REF + "{name}")
    times = {"type": "string", "format": "date-time"}
    binding = made["Binding"]
    binding["properties"] |= {"validFrom": times, "validTo": {"anyOf": [times, {"type": "null"}]}}
    made["SwapRecord"]["properties"] |= {
        "at": times,
        "recordedAt": times,
        "undoneAt": {"anyOf": [times, {"type": "null"}]},
    }
    for name in ("Device", "DeviceModel", "VirtualSensor"):
        whole = made[name]
        made[f"New{name}"] = {**whole, "title": f"New{name}", "required": _but_id(whole["required"])}
        made[f"{name}Patch"] = {**whole, "title": f"{name}Patch", "required": [], "properties": _nullable(whole)}
    with_context = {"@context": reference("Context")}
    made["CreatedVirtualSensor"] = {**made["VirtualSensor"], "title": "CreatedVirtualSensor"}
    for name in ("NewVirtualSensor", "CreatedVirtualSensor", "VirtualSensorPatch"):
        made[name]["properties"] = {**made[name]["properties"], **with_context}
    bindings = reference("Binding[]")
    for name, more in (
        ("Device", {"state": {"anyOf": [reference("DeviceState"), {"type": "null"}]}, "bindings": bindings}),
        ("VirtualSensor", {"bindings": bindings}),
    ):
        shown = made[name]
        made[f"{name}Shown"] = {**shown, "title": f"{name}Shown", "properties": {**shown["properties"], **more}}
    return made


def _nullable(schema: Schema) -> Schema:
    """The members of a merge patch: null takes one away, but for those that must be there."""
    required = schema["required"]
    return {
        name: member if name in required else {"anyOf": [member, {"type": "null"}]}
        for name, member in schema["properties"].items()
    }


def _but_id(required: list[str]) -> list[str]:
    return [name for name in required if name != "id"]
