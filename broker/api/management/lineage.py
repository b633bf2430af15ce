"""/api/v1/lineage: why a value is what it is, from the bytes that came in to the apps that were told."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broker.api.management.common import answer, moment, shown_times
from broker.api.management.reprocessings import shown
from broker.api.management.shapes import BINDING_TIMES, raw_of, shown_swap, shown_uplink
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.clock import iso
from broker.devices.registry import as_swap
from broker.devices.revisions import revision_id
from broker.errors import BadRequestData, ResourceNotFound
from broker.ngsild.model import Iri
from broker.ngsild.render import render_instance
from broker.pipeline.reprocess.model import as_reprocessing
from broker.stores.base import ENTITY_DELETED, HISTORY_ONLY, HistoryRow, RecordKind

LINEAGE = frozenset(("entity", "attribute", "at", "datasetId"))
PAGE = 100
"""History rows read at once."""
MOST_EARLIER = 20
"""Superseded values of the same moment that are told of."""


def routes(services: Services) -> list[Route]:
    """Why a value is what it is."""
    store = services.tenants.default.store

    async def lineage(request: web.Request) -> web.Response:
        """Explain a value. Where an attribute's value at a time (or now) comes from: the uplink and its bytes, the device, its model, the virtual sensor and the binding of that time, what was computed and checked, when it was committed, what it replaced, and which subscriptions were told."""
        given = parameters(request, LINEAGE)
        for name in ("entity", "attribute"):
            if name not in given:
                raise BadRequestData(f"'{name}' is required: whose value is asked for.")
        at = moment(given.get("at"), "at")
        names = services.contexts.core
        entity_id, attribute = given["entity"], names.expand(given["attribute"])
        row = await row_at(entity_id, attribute, given.get("datasetId", ""), at)
        if row is None or row.instance is None:
            when = "" if at is None else f" at {iso(at)}"
            raise ResourceNotFound(f"'{entity_id[:200]}' has no '{given['attribute'][:200]}'{when}.")
        return answer(
            {
                "entity": entity_id,
                "attribute": names.compact(attribute),
                "datasetId": row.dataset_id or None,
                "instance": render_instance(row.instance, names),
                "observedAt": iso(row.observed_at),
                "recordedAt": iso(row.recorded_at),
                "from": "device" if row.uplink_id is not None else "client",
                "made": made(row),
                **await origin(row),
                "reprocessing": await reprocessing((row.lineage or {}).get("reprocessing")),
                "earlier": await earlier(row),
                "told": [
                    {
                        "subscription": one.subscription_id,
                        "owedAt": iso(one.owed_at),
                        "deliveredAt": iso(one.delivered_at),
                    }
                    for one in await store.told(entity_id, row.version)
                ],
            }
        )

    async def row_at(entity_id: str, attribute: Iri, dataset_id: str, at: int | None) -> HistoryRow | None:
        """The newest row up to the time that holds."""
        until = None if at is None else at + 1
        while True:
            rows = await store.history(entity_id, attribute, until=until, limit=PAGE, newest_first=True)
            found = next((row for row in rows if row.dataset_id == dataset_id), None)
            if found is not None or len(rows) < PAGE or rows[-1].observed_at == until:
                return found
            until = rows[-1].observed_at

    async def origin(row: HistoryRow) -> dict[str, Any]:
        """Uplink, device, model, virtual sensor and binding, as they were."""
        lineage = row.lineage or {}
        uplink = await store.uplink(row.uplink_id) if row.uplink_id is not None else None
        binding = await store.record("binding", row.binding_id) if row.binding_id is not None else None
        device = await store.record("device", row.device_id) if row.device_id is not None else None
        sensor = binding.body["virtualSensor"] if binding is not None else None
        swap = await swap_of(row.binding_id, sensor) if sensor is not None else None
        none = (None, 0)
        return {
            "uplink": {**shown_uplink(uplink), "raw": raw_of(uplink)} if uplink else None,
            "device": device.body if device is not None else None,
            "deviceModel": await as_it_was("device_model", *lineage.get("model", none)),
            "virtualSensor": await as_it_was("virtual_sensor", *lineage.get("sensor", none)),
            "binding": shown_times(binding.body, BINDING_TIMES) if binding is not None else None,
            "swap": swap,
        }

    async def reprocessing(job_id: str | None) -> dict[str, Any] | None:
        """What brought the value instead of another."""
        record = await store.record("reprocessing", job_id) if job_id is not None else None
        return shown(job := as_reprocessing(record), job.counts) if record is not None else None

    async def as_it_was(kind: RecordKind, thing: str | None, version: int) -> dict[str, Any] | None:
        """A registry thing at the version that made the value."""
        if thing is None:
            return None
        record = await store.record("revision", revision_id(kind, thing, version))
        if record is None:
            return {"id": thing, "version": version, "since": None, "definition": None}
        body = record.body
        return {"id": thing, "version": version, "since": iso(body["at"]), "definition": body["body"]}

    async def swap_of(binding_id: str | None, sensor: str) -> dict[str, Any] | None:
        """Who said that the device is the virtual sensor."""
        for record in await store.records("swap", key=f"sensor:{sensor}"):
            swap = as_swap(record)
            if swap.opened == binding_id:
                return shown_swap(swap)
        return None

    async def earlier(row: HistoryRow) -> list[dict[str, Any]]:
        """What was held for the value of that moment before: superseded, and why it can be traced."""
        rows = await store.history(
            row.entity_id, row.attribute, since=row.observed_at, until=row.observed_at + 1, superseded=True
        )
        gone = [one for one in rows if one.superseded is not None and one.dataset_id == row.dataset_id]
        return [
            {
                "instance": render_instance(one.instance, services.contexts.core) if one.instance else None,
                "recordedAt": iso(one.recorded_at),
                "device": one.device_id,
                "binding": one.binding_id,
                "uplink": one.uplink_id,
                "reprocessing": one.superseded_by,
            }
            for one in gone[-MOST_EARLIER:]
        ]

    return [Route("GET", "/api/v1/lineage", lineage, parameters=LINEAGE, answers={200: "Lineage"})]


def made(row: HistoryRow) -> dict[str, Any] | None:
    """How the value was made of what the device sent; None for a client's."""
    if row.lineage is None or not row.lineage.keys().isdisjoint((ENTITY_DELETED, HISTORY_ONLY)):
        return None
    return {name: value for name, value in row.lineage.items() if name not in ("model", "sensor", "reprocessing")}
