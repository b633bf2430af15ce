"""Which attribute a quantity becomes when nobody says: `schemas/attributes.json`, names of the Smart Data Models. Pure.

`attributes` has the quantities whose attribute is called otherwise; all else has its own name. `none`: what tells of the
device rather than of the place it is at, and becomes no attribute unless it is said.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources

import msgspec
from msgspec import Struct

from broker.devices.model import DeviceModel, Output


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    attributes: dict[str, str]
    none: tuple[str, ...]


@cache
def _table() -> _Table:
    return msgspec.json.decode((resources.files("schemas") / "attributes.json").read_bytes(), type=_Table)


def default_attribute(quantity: str) -> str | None:
    """The attribute's name, or None where a quantity becomes none by itself."""
    table = _table()
    return None if quantity in table.none else table.attributes.get(quantity, quantity)


def default_outputs(model: DeviceModel, expand: Callable[[str], str]) -> tuple[Output, ...]:
    """What a virtual sensor of a device of this model gives; `expand` makes IRIs of names.

    Where a model sends a quantity on several channels, the first of them is taken: one attribute has one value.
    """
    outputs: dict[str, Output] = {}
    for sent in model.quantities:
        name = default_attribute(sent.quantity)
        if name is not None and name not in outputs:
            outputs[name] = Output(quantity=sent.quantity, attribute=expand(name), channel=sent.channel)
    return tuple(outputs.values())
