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
    """UN/CEFACT code that the model wants it in; None: it has none, or is no number."""
    values: dict[str, str | int | float | bool] = {}
    """What the model calls the quantity's values, as `Output` has it."""
    own: bool = False
    """The published model has no such attribute: it is ours."""


class EntityModel(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One entity type."""

    quantities: dict[str, Mapped]
    device: str
    """The relationship to the device that observed last; '' when the model has none."""
    subject: str = ""
    """The repository of the Smart Data Models that has it: 'dataModel.Environment'; '' when the type is ours."""
    version: str = ""
    """The version of the model that this was read from."""
    observed: str = ""
    """The Property that says when it was observed; '' when the model has none."""
    observed_from: str = ""
    """The Property that says when the period began that `observed` ends."""
    own: tuple[str, ...] = ()
    """Attributes that the broker writes and the published model lacks, beside those of `quantities`."""
    note: str = ""
    """Where we deviate, and why."""

    def attributes(self) -> set[str]:
        """Those that a virtual sensor of this type has by default."""
        others = {self.observed, self.observed_from, self.device} - {""}
        return {mapped.attribute for mapped in self.quantities.values()} | others


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
            unit = special.unit if special and special.unit != quantity(sent.quantity).unit else None
            outputs[name] = Output(
                quantity=sent.quantity,
                attribute=expand(name),
                channel=sent.channel,
                unit=unit,
                values=special.values if special else {},
            )
    return tuple(outputs.values())
