"""What an uplink brought, beside what it would bring now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from broker.devices.observe import OBSERVED_BY, device_urn
from broker.devices.processing.observation import Observation
from broker.jsonio import dumps
from broker.ngsild.model import IMPLAUSIBLE, Instance, Iri, default_instance
from broker.stores.base import HistoryRow

Place = tuple[str, Iri, int]
"""Entity, attribute, time of observation."""


@dataclass(frozen=True, slots=True)
class Differing:
    """At one place something else is to hold."""

    entity_id: str
    attribute: Iri
    at: int
    before: tuple[HistoryRow, ...]
    after: tuple[Observation, ...]

    @property
    def sensor(self) -> str:
        """The virtual sensor that it is of."""
        return self.after[0].sensor.id if self.after else sensor_of(self.before[0])


def differing(rows: Iterable[HistoryRow], observations: Iterable[Observation], device_id: str) -> list[Differing]:
    """The places where other values than those of `rows` are observed, in order of time."""
    before: dict[Place, list[HistoryRow]] = {}
    after: dict[Place, list[Observation]] = {}
    for row in rows:
        before.setdefault((row.entity_id, row.attribute, row.observed_at), []).append(row)
    for one in observations:
        after.setdefault((one.entity_id, one.attribute, one.at), []).append(one)
    found = []
    for place in sorted({*before, *after}, key=lambda place: (place[2], place[0], place[1])):
        held, observed = before.get(place, []), after.get(place, [])
        if sorted(map(_of_row, held)) != sorted(_of_observation(one, device_id) for one in observed):
            found.append(Differing(*place, tuple(held), tuple(observed)))
    return found


def sensor_of(row: HistoryRow) -> str:
    """The virtual sensor that a device's row is of; '' where it does not say."""
    sensor: Sequence[str] = (row.lineage or {}).get("sensor", ("",))
    return sensor[0]


def _of_row(row: HistoryRow) -> bytes:
    """All that makes a value what it is; how it was made is no part of that."""
    instance: Instance = row.instance if row.instance is not None else {"type": "Property"}
    inner = instance.get("attrs", {})
    implausible = default_instance(inner.get(IMPLAUSIBLE, []))
    source = default_instance(inner.get(OBSERVED_BY, []))
    return dumps(
        [
            _plain(instance.get("value")),
            instance.get("unitCode", ""),
            list(implausible.get("value", ())) if implausible is not None else [],
            source.get("object") if source is not None else None,
            row.binding_id,
        ]
    )


def _of_observation(one: Observation, device_id: str) -> bytes:
    return dumps([_plain(one.value), one.unit, list(one.failed), device_urn(device_id), one.binding.id])


def _plain(value: Any) -> Any:
    """20 and 20.0 are one number; true is none."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
