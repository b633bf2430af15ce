"""How a virtual sensor's meters would go on over a swap: for those who are about to make it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from broker.devices.model import VirtualSensor
from broker.devices.processing.exact import EXACT, exact, plain
from broker.devices.processing.plan import key_of
from broker.devices.processing.state import SensorState


class MeterOutlook(Struct, frozen=True):
    """One meter: what the virtual counter stands at, and the offset that the new device's register gets."""

    attribute: str
    """IRI."""
    value: float
    """Where the virtual counter goes on from: with the old meter's end reading, where that was given."""
    offset: str | None
    """What is added to the new register; None: from its first reading on, so that it goes on from `value`."""


def outlook(
    sensor: VirtualSensor, state: SensorState, start: Mapping[str, float], end: Mapping[str, float]
) -> tuple[MeterOutlook, ...]:
    """The meters that count already. `start` and `end` are the readings given at the swap, by quantity or attribute."""
    found = []
    for output in sensor.outputs:
        segments = state.meters.get(key_of(sensor, output.entity or sensor.entity, output.attribute))
        if output.counter is None or not segments:
            continue
        newest = segments[-1]
        begin, last = _given(start, output.attribute, output.quantity), _given(end, output.attribute, output.quantity)
        shown = max(Decimal(newest.last_raw), last) if last is not None else Decimal(newest.last_raw)
        value = EXACT.add(shown, Decimal(newest.offset))
        offset = plain(EXACT.subtract(value, begin)) if begin is not None else None
        found.append(MeterOutlook(output.attribute, float(value), offset))
    return tuple(found)


def _given(readings: Mapping[str, float], *names: str) -> Decimal | None:
    return next((exact(readings[name]) for name in names if name in readings), None)
