"""/api/v1/virtual-sensors/{sensor}/state: what a virtual sensor remembers; of meters, the offset and how it came about."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from aiohttp import web

from broker.api.management.common import answer
from broker.api.route import Route
from broker.api.services import Services
from broker.clock import iso
from broker.devices.processing.exact import EXACT, plain
from broker.devices.processing.state import Seen, Segment, as_sensor_state
from broker.devices.registry import as_sensor
from broker.errors import ResourceNotFound


def routes(services: Services) -> list[Route]:
    """The state, to read."""
    store, names = services.tenants.default.store, services.contexts.core

    async def show_state(request: web.Request) -> web.Response:
        """Show what a virtual sensor remembers. Its meters with their offsets, why each began, and its newest plausible values, where its contract needs them."""
        sensor_id = request.match_info["sensor"]
        record = await store.record("virtual_sensor", sensor_id)
        if record is None:
            raise ResourceNotFound(f"There is no virtual sensor '{sensor_id}'.")
        entity = as_sensor(record).entity
        state = as_sensor_state(await store.record("sensor_state", sensor_id))

        def of(key: str) -> dict[str, Any]:
            other, _, attribute = key.rpartition(" ")
            return {"entity": other or entity, "attribute": names.compact(attribute)}

        return answer(
            {
                "meters": [of(key) | _meter(segments) for key, segments in sorted(state.meters.items())],
                "seen": [of(key) | _seen(seen) for key, seen in sorted(state.seen.items())],
            }
        )

    return [
        Route("GET", "/api/v1/virtual-sensors/{sensor}/state", show_state, answers={200: "SensorState", 404: ""}),
    ]


def _meter(segments: tuple[Segment, ...]) -> dict[str, Any]:
    newest = segments[-1]
    value = EXACT.add(Decimal(newest.last_raw), Decimal(newest.offset))
    return {"value": plain(value), "offset": newest.offset, "segments": [_segment(one) for one in segments]}


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "from": iso(segment.since),
        "reason": segment.reason,
        "device": segment.device,
        "binding": segment.binding,
        "offset": segment.offset,
        "lastRaw": segment.last_raw,
        "lastAt": iso(segment.last_at),
    }


def _seen(seen: Seen) -> dict[str, Any]:
    return {"value": seen.value, "observedAt": iso(seen.at), "unchangedSince": iso(seen.since)}
