"""Which attribute a quantity becomes when nobody says: by the entity's type (`schemas/smart-data-models.json`), and where the
type has none for it, or is none of those, as the table of quantities has it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources

import msgspec
from msgspec import Struct

from broker.codecs.quantities import quantity, quantity_names
from broker.devices.model import DeviceModel, Output


class Mapped(Struct, frozen=True, forbid_unknown_fields=True):
    """What a quantity becomes in an entity of a type."""

    attribute: str
    unit: str | None = None
    """UN/CEFACT code that the model wants it in; None: the quantity's own."""


class EntityModel(Struct, frozen=True, forbid_unknown_fields=True):
    """One entity type of the Smart Data Models."""

    source: str
    """Repository and version that it was read from."""
    quantities: dict[str, Mapped]
    note: str = ""
    """Where we deviate, and why."""


@cache
def entity_models() -> Mapping[str, EntityModel]:
    """The types that are known, by name."""
    data = (resources.files("schemas") / "smart-data-models.json").read_bytes()
    return msgspec.json.decode(data, type=dict[str, EntityModel])


def default_attribute(name: str) -> str | None:
    """The attribute's name, or None where a quantity becomes none by itself."""
    if name not in quantity_names():
        return name
    attribute = quantity(name).attribute
    return name if attribute is None else attribute or None


def default_outputs(
    model: DeviceModel, expand: Callable[[str], str], entity_type: str | None = None
) -> tuple[Output, ...]:
    """What a virtual sensor of a device of this model gives; `expand` makes IRIs of names, `entity_type` is an IRI.

    Where a model sends a quantity on several channels, the first of them is taken: one attribute has one value.
    """
    known = next((one for name, one in entity_models().items() if expand(name) == entity_type), None)
    outputs: dict[str, Output] = {}
    for sent in model.quantities:
        special = known.quantities.get(sent.quantity) if known else None
        name = special.attribute if special else default_attribute(sent.quantity)
        if name is not None and name not in outputs:
            unit = special.unit if special else None
            outputs[name] = Output(quantity=sent.quantity, attribute=expand(name), channel=sent.channel, unit=unit)
    return tuple(outputs.values())
