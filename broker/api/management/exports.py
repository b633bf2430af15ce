"""The registry's things as rows, a page of records in memory at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from broker.api.management.names import compacted
from broker.api.management.rows import MEMBERS
from broker.api.management.shapes import shown_binding
from broker.clock import Clock
from broker.devices.model import Binding
from broker.devices.registry import as_binding, as_device, as_model, as_sensor, to_body
from broker.jsonio import dumps
from broker.jsonld.context import Context
from broker.pipeline.registry.columns import columns, to_cell
from broker.pipeline.registry.csv_text import BOM, write_csv
from broker.pipeline.registry.rows import RowKind
from broker.stores.base import Needs, Record, RecordKind, TenantStore

PAGE: Final = 500
"""Records read at once, count."""
_RECORDS: Final[dict[RowKind, RecordKind]] = {
    "models": "device_model",
    "virtual-sensors": "virtual_sensor",
    "devices": "device",
    "bindings": "binding",
}


@dataclass(frozen=True, slots=True)
class Exports:
    """Makes exports."""

    store: TenantStore
    names: Context
    clock: Clock

    async def rows(self, kind: RowKind, *, plain: bool = False) -> AsyncIterator[list[dict[str, Any]]]:
        """All rows of a kind in order of their ids, some at a time. `plain`: devices without their virtual sensors."""
        after = ""
        while records := await self.store.records(_RECORDS[kind], after=after, limit=PAGE):
            after = records[-1].id
            if kind == "devices" and plain:
                yield [to_body(as_device(record)) for record in records]
            elif kind == "devices":
                yield await self._devices(records)
            elif kind == "virtual-sensors":
                yield [compacted(to_body(as_sensor(record)), self.names) for record in records]
            elif kind == "models":
                yield [to_body(as_model(record)) for record in records]
            else:
                yield [shown_binding(record) for record in records if not as_binding(record).empty]

    async def as_json(self, kind: RowKind, *, plain: bool = False) -> AsyncIterator[bytes]:
        """One JSON array."""
        opening = b"["
        async for rows in self.rows(kind, plain=plain):
            for row in rows:
                yield opening + b"\n" + dumps(row)
                opening = b","
        yield b"\n]\n" if opening == b"," else b"[]\n"

    async def whole(self) -> AsyncIterator[bytes]:
        """One JSON object with all tables; which device is which virtual sensor is among the bindings alone."""
        opening = b"{"
        for member, kind in MEMBERS.items():
            yield opening + dumps(member) + b": "
            async for piece in self.as_json(kind, plain=True):
                yield piece
            opening = b","
        yield b"}\n"

    async def as_csv(self, kind: RowKind, *, excel: bool) -> AsyncIterator[bytes]:
        """A table. `excel`: with a BOM, ';' between cells and a decimal comma, as Swedish Excel has it."""
        table = columns(kind)
        separator = ";" if excel else ","
        yield ((BOM if excel else "") + write_csv([list(table)], separator=separator)).encode()
        async for rows in self.rows(kind):
            cells = [[to_cell(cell, row.get(name), comma=excel) for name, cell in table.items()] for row in rows]
            yield write_csv(cells, separator=separator).encode()

    async def _devices(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """Devices, each with the virtual sensor that it is now; one that is several has a row for each."""
        found = (await self.store.load(Needs(found={("binding", f"device:{one.id}") for one in records}))).found
        now = self.clock.now()
        bindings: dict[str, list[Binding]] = {}
        for record in records:
            held = map(as_binding, found.get(("binding", f"device:{record.id}"), ()))
            bindings[record.id] = sorted(
                (one for one in held if one.covers(now)), key=lambda one: (one.channel, one.virtual_sensor)
            )
        sensors = {("virtual_sensor", one.virtual_sensor) for held in bindings.values() for one in held}
        wanted: set[tuple[RecordKind, str]] = {("virtual_sensor", sensor) for _, sensor in sensors}
        there = (await self.store.load(Needs(records=wanted))).records
        rows: list[dict[str, Any]] = []
        for record in records:
            device = to_body(as_device(record))
            rows += [
                {**device, "virtualSensor": one.virtual_sensor, "channel": one.channel, **self._of_sensor(there, one)}
                for one in bindings[record.id]
            ] or [device]
        return rows

    def _of_sensor(self, there: dict[tuple[RecordKind, str], Record], binding: Binding) -> dict[str, Any]:
        record = there.get(("virtual_sensor", binding.virtual_sensor))
        if record is None:
            return {}
        sensor = as_sensor(record)
        return {
            "virtualSensorName": sensor.name,
            "entity": sensor.entity,
            "entityType": self.names.compact(sensor.entity_type),
            "place": sensor.place,
        }
