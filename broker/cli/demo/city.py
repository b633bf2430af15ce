"""The demo city as data: `city.json`, typed."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct


class Signal(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What there is to measure at a place; `values.py` says how each kind goes through the day."""

    kind: str
    temperature: float = 0.0
    """What it swings around, °C."""
    people: int = 0
    """How many when it is full, count."""
    height: float = 0.0
    """From the lid to the bottom, m."""
    days: float = 1.0
    """From empty to full, days."""
    metres: float = 0.0
    """Usual depth of the water, m."""
    litres_per_day: int = 0
    litres_before: int = 0
    """What the meter showed at the start of 2026, litres."""


class Sensor(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A virtual sensor, the device that it is at first (None: nobody has put one there), and what is there to measure."""

    id: str
    name: str
    entity: str
    entity_type: str
    place: str
    """What its entity is tied to."""
    outputs: list[dict[str, Any]]
    derived: list[dict[str, Any]] = []
    device: str | None
    signal: Signal

    def document(self) -> dict[str, Any]:
        """The body of PUT /api/v1/virtual-sensors/{id}."""
        return {
            "name": self.name,
            "entity": self.entity,
            "entityType": self.entity_type,
            "place": self.place,
            "outputs": self.outputs,
            "derived": self.derived,
        }


class Unknown(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A device that sends and that nobody has registered."""

    id: str
    model: str
    virtual_sensor: str
    """Where it hangs."""


class City(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The whole city."""

    entities: list[dict[str, Any]]
    """Places, buildings, rooms and what is observed, as NGSI-LD entities."""
    devices: list[dict[str, str]]
    spare: str
    """A registered device that is nowhere yet."""
    unknown: Unknown
    virtual_sensors: list[Sensor]


def load_city() -> City:
    """The city of `city.json`."""
    return msgspec.json.decode(files(__package__).joinpath("city.json").read_bytes(), type=City)


def device_model(model_id: str) -> dict[str, Any]:
    """A device model of `schemas/models/`, as the body of PUT /api/v1/device-models/{id}."""
    document: dict[str, Any] = msgspec.json.decode(files("schemas").joinpath("models", f"{model_id}.json").read_bytes())
    return document
