"""What is personal in a tenant's store, kept in memory and in step with the registry.

A virtual sensor that is marked as personal makes personal: the entities it writes, or wrote by an earlier definition that
was marked; the devices that are or were it; and the alarms of both. What was personal once stays so. Each definition that
is marked is kept as a revision that carries the key PERSONAL, so nothing else of the registry has to be looked through.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from broker.access.personal import NOTHING, Personal
from broker.clock import DAY, Micros
from broker.devices.alarms.alert import alert_urn
from broker.devices.model import VirtualSensor
from broker.devices.observe import device_urn
from broker.devices.registry import as_binding
from broker.devices.revisions import PERSONAL
from broker.ngsild.model import PERSONAL_ALERTS, Iri
from broker.stores.base import Needs, Record, RecordKind, RecordWrite, TenantStore

SHARED_TRUST_SECONDS: Final = 1.0
"""How long what is known is trusted unasked where other processes change the registry, too."""


@dataclass(slots=True)
class Kept:
    """How long a personal virtual sensor's data is kept, and where it is."""

    keep: Micros
    written: set[tuple[str, Iri]]


class PersonalData:
    """One tenant's. Not for several threads."""

    def __init__(
        self, store: TenantStore, *, trust_seconds: float = 0.0, moment: Callable[[], float] = time.monotonic
    ) -> None:
        """`trust_seconds`: for how long the store is not asked again whether the registry changed."""
        self._store = store
        self._trust = trust_seconds
        self._moment = moment
        self._asked: float | None = None
        self._epochs: tuple[int, int] | None = None
        self._commits = 0
        self.known: Personal = NOTHING
        self.kept: dict[str, Kept] = {}
        """By virtual sensor."""

    async def now(self) -> Personal:
        """What is personal. Raises StoreUnavailable."""
        moment = self._moment()
        if self._asked is None or moment - self._asked >= self._trust:
            commits = self._commits
            await self.in_step(await self._store.epochs())
            self._asked = moment if commits == self._commits else None
        return self.known

    async def in_step(self, epochs: dict[RecordKind, int]) -> None:
        """Look again where virtual sensors or bindings have changed."""
        wanted = (epochs.get("virtual_sensor", 0), epochs.get("binding", 0))
        if wanted == self._epochs:
            return
        kept: dict[str, Kept] = {}
        for record in await self._store.records("revision", key=PERSONAL):
            _add(kept, record.body["body"])
        found = await self._store.load(
            Needs(found={(kind, f"sensor:{sensor}") for sensor in kept for kind in ("binding", "alarm")})
        )
        records = [record for some in found.found.values() for record in some]
        devices = {
            binding.device
            for record in records
            if record.kind == "binding" and not (binding := as_binding(record)).empty
        }
        alerts = {alert_urn(record.id) for record in records if record.kind == "alarm"}
        self.kept = kept
        self.known = _personal(kept, devices, (urn for urn in alerts if not urn.startswith(PERSONAL_ALERTS)))
        self._epochs = wanted

    def committed(self, writes: Iterable[RecordWrite]) -> None:
        """What was written stands: ask the store again, where the registry changed."""
        if any(write.kind in ("virtual_sensor", "binding") for write in writes):
            self._asked = None
            self._commits += 1

    def follow(self, writes: Iterable[RecordWrite]) -> None:
        """Take over what is about to be committed: what else the commit brings is then personal already."""
        for write in writes:
            if write.kind == "revision" and PERSONAL in write.keys and write.body is not None:
                _add(self.kept, write.body["body"])
                self.known = _personal(self.kept, self.known.devices, self.known.entities)
            elif write.kind == "binding" and write.body is not None and self.known:
                binding = as_binding(Record("binding", write.id, write.body, write.version, write.keys))
                if binding.virtual_sensor in self.known.sensors and not binding.empty:
                    self.known = _personal(self.kept, {*self.known.devices, binding.device}, self.known.entities)


def _add(kept: dict[str, Kept], body: dict[str, Any]) -> None:
    """A definition that is marked; the last one says how long, all of them where."""
    sensor = msgspec.convert(body, VirtualSensor)
    assert sensor.personal is not None
    before = kept.get(sensor.id)
    written = sensor.written | {(entity, "") for entity in sensor.entities}
    kept[sensor.id] = Kept(sensor.personal.retention_days * DAY, written | (before.written if before else set()))


def _personal(kept: dict[str, Kept], devices: Iterable[str], others: Iterable[str]) -> Personal:
    of_devices = frozenset(devices)
    entities = {entity for one in kept.values() for entity, _ in one.written}
    return Personal(frozenset({*entities, *map(device_urn, of_devices), *others}), frozenset(kept), of_devices)
