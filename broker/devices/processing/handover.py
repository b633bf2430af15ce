"""What a swap means for a virtual sensor's meters: from which value they go on, and with which offset. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from broker.devices.model import VirtualSensor
from broker.devices.processing.exact import EXACT, exact, plain
from broker.devices.processing.meter import named
from broker.devices.processing.plan import key_of
from broker.devices.processing.state import SensorState


@dataclass(frozen=True, slots=True)
class Handover:
    """One meter at a swap. Exact decimals as text, in the attribute's unit."""

    entity: str
    attribute: str
    """IRI."""
    value: str
    """What the virtual counter goes on from."""
    offset: str | None
    """What is then added to what the new meter shows; None: its first reading will say, because no start was read off."""


def handovers(
    sensor: VirtualSensor, state: SensorState, start_readings: dict[str, float], end_readings: dict[str, float]
) -> tuple[Handover, ...]:
    """Each meter that has counted so far."""
    made: dict[str, Handover] = {}
    for output in sensor.outputs:
        entity = output.entity or sensor.entity
        key = key_of(sensor, entity, output.attribute)
        segments = state.meters.get(key, ())
        if output.counter is None or not segments:
            continue
        names = (output.attribute, output.quantity)
        start, end = named(start_readings, names), named(end_readings, names)
        before = made.get(key)
        if before is not None and start is None and end is None:
            continue
        last = Decimal(segments[-1].last_raw)
        value = EXACT.add(max(last, exact(end)) if end is not None else last, Decimal(segments[-1].offset))
        offset = plain(EXACT.subtract(value, exact(start))) if start is not None else None
        made[key] = Handover(entity, output.attribute, plain(value), offset)
    return tuple(made.values())
