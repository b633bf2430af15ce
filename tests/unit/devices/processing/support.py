"""A virtual sensor fed with measurements, uplink by uplink, its state kept between them as the store keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from broker.clock import SECOND
from broker.codecs.base import Measurement
from broker.devices.check import check_sensor
from broker.devices.model import Binding, VirtualSensor
from broker.devices.processing.observation import Observation, Source
from broker.devices.processing.process import process
from broker.devices.processing.state import EMPTY, SensorState, state_body
from broker.devices.resolve import resolve

T0 = 1_780_000_000 * SECOND - 1_780_000_000 * SECOND % (3600 * SECOND)
"""On the hour."""
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


def iri(name: str) -> str:
    return f"https://example.org/{name}"


def sensor(*outputs: dict[str, Any], derived: Sequence[dict[str, Any]] = ()) -> VirtualSensor:
    """A virtual sensor as a user writes it, checked; `attribute` is the quantity's or kind's name unless given."""
    document = {
        "id": "s",
        "name": "s",
        "entity": "urn:s",
        "entityType": iri("Thing"),
        "outputs": [{**one, "attribute": iri(one.get("attribute", one["quantity"]))} for one in outputs],
        "derived": [{**one, "attribute": iri(one.get("attribute", one["kind"]))} for one in derived],
    }
    made = msgspec.convert(document, VirtualSensor)
    check_sensor(made)
    return made


def binding(device: str = "d", valid_from: int = 0, valid_to: int | None = None, **members: Any) -> Binding:
    return Binding(
        id=f"{device}-{valid_from}",
        device=device,
        virtual_sensor="s",
        valid_from=valid_from,
        valid_to=valid_to,
        **members,
    )


def measured(quantity: str, value: Any, at: int, unit: str = "", channel: str = "") -> Measurement:
    return Measurement(quantity, value, unit, at, channel)


class Fed:
    """A virtual sensor and its state."""

    def __init__(self, sensor: VirtualSensor, *bindings: Binding) -> None:
        self.sensor = sensor
        self.bindings = list(bindings) or [binding()]
        self.state = EMPTY
        self.writes = 0

    def uplink(self, *given: Measurement, device: str = "d", received_at: int | None = None) -> list[Observation]:
        """What an uplink of the device becomes."""
        own = [one for one in self.bindings if one.device == device]
        resolved = resolve(given, own, {"s": self.sensor}).resolved
        at = received_at if received_at is not None else max(one.observed_at for one in given)
        processed = process(resolved, Source("model", 3, at, {"s": 7}), lambda _: self.state, lambda _: self.bindings)
        if "s" in processed.states:
            # As the store has it: through JSON.
            body = msgspec.json.encode(state_body(processed.states["s"]))
            self.state = msgspec.json.decode(body, type=SensorState)
            self.writes += 1
        return processed.observations

    def value(self, quantity: str, value: Any, at: int, unit: str = "", **more: Any) -> Any:
        """The one value that a measurement becomes."""
        (made,) = self.uplink(measured(quantity, value, at, unit), **more)
        return made.value

    def failed(self, quantity: str, value: Any, at: int, unit: str = "", **more: Any) -> tuple[str, ...]:
        """The checks that a measurement fails."""
        made, *_ = self.uplink(measured(quantity, value, at, unit), **more)
        return made.failed
