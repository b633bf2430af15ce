"""Keys that records of the registry got later than they were written: for the migrations that give them. Pure.

Both stores' migration to schema version 4. It says what was so then; what is so now is in `broker.devices.keys`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

KINDS: Final = ("device", "virtual_sensor")


def keys_of_4(kind: str, body: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """The record's keys since version 4: a device is found by its model, a virtual sensor by its entity type."""
    more = f"model:{body['model']}" if kind == "device" else f"type:{body['entityType']}"
    return [*keys, *([] if more in keys else [more])]
