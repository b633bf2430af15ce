"""/api/v1/alarms, and the health and shelving of virtual sensors: what is wrong, who takes care, what is planned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from aiohttp import web

from broker.api.management.common import answer, body, members, moment, page_limit, text
from broker.api.management.health import shown_alarm, shown_health, shown_shelf
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.devices.alarms.commands import Acknowledge, CloseAlarm, ShelveSensors
from broker.devices.alarms.effects import health_needs
from broker.devices.alarms.model import ACTIVE, AlarmState, as_alarm, list_key
from broker.devices.alarms.watched import watched_by, watched_needs
from broker.devices.model import AlarmKind, Severity
from broker.devices.registry import as_sensor
from broker.errors import BadRequestData, ResourceNotFound
from broker.places.containment import contained, vocabulary
from broker.stores.base import Needs, Record, Snapshot, TenantStore
from broker.stores.command import View

LIST = frozenset(("state", "severity", "kind", "virtualSensor", "entity", "device", "after", "limit"))
BY = ("by", "comment")
SHELF = ("until", "by", "reason")

CHOICES: Mapping[str, tuple[str, ...]] = {
    "state": (*get_args(AlarmState), ACTIVE),
    "severity": get_args(Severity),
    "kind": get_args(AlarmKind),
}
AT_ONCE = 200
"""Virtual sensors that one command shelves, count."""


def routes(services: Services) -> list[Route]:
    """Alarms: list, show, acknowledge, close. Virtual sensors: health, shelve, unshelve."""
    store, writer = services.tenants.default.store, services.tenants.default.writer
    words = vocabulary(services.settings.places, services.contexts.core)

    async def listed(request: web.Request) -> web.Response:
        """List alarms. In the order in which they opened; by default the closed ones too."""
        given = parameters(request, LIST)
        for name, known in CHOICES.items():
            if name in given and given[name] not in known:
                raise BadRequestData(f"'{name}' must be one of {', '.join(known)}; got '{given[name][:40]}'.")
        return answer([shown_alarm(as_alarm(record)) for record in await _found(store, given, page_limit(given))])

    async def show(request: web.Request) -> web.Response:
        """Show one alarm, with all its steps."""
        record = await store.record("alarm", request.match_info["alarm"])
        if record is None:
            raise ResourceNotFound(f"There is no alarm '{request.match_info['alarm'][:100]}'.")
        return answer(shown_alarm(as_alarm(record)))

    async def acknowledge(request: web.Request) -> web.Response:
        """Acknowledge an alarm. Somebody has seen it and takes care; again adds a comment."""
        given = members(await body(request, services), BY)
        by = text(given, "by", required=True)
        assert by is not None
        alarm = await writer.execute(Acknowledge(request.match_info["alarm"], by, text(given, "comment") or ""))
        return answer(shown_alarm(alarm))

    async def close(request: web.Request) -> web.Response:
        """Close an alarm by hand. While it is still wrong, it does not open again."""
        given = members(await body(request, services), BY)
        by = text(given, "by", required=True)
        assert by is not None
        alarm = await writer.execute(CloseAlarm(request.match_info["alarm"], by, text(given, "comment") or ""))
        return answer(shown_alarm(alarm))

    async def shelve_entity(request: web.Request) -> web.Response:
        """Shelve all that observes an entity, or what is within it. A room, a building: no alarm opens there until then."""
        given = members(await body(request, services), ("entity", *SHELF))
        entity = text(given, "entity", required=True)
        assert entity is not None
        limits, now = services.settings.places, services.clock.now()
        within = await contained(store, entity, words, levels=limits.levels, most=limits.contained, now=now)
        if not within.complete:
            raise BadRequestData(f"'entity': '{entity}' contains too much for one request; shelve its parts.")
        names = await _observing(store, [entity, *within.nodes])
        if not names:
            raise ResourceNotFound(f"No virtual sensor observes the entity '{entity}' or anything within it.")
        for start in range(0, len(names), AT_ONCE):
            await writer.execute(_shelving(names[start : start + AT_ONCE], given), weight=AT_ONCE)
        return answer({"virtualSensors": names})

    async def shelve(request: web.Request) -> web.Response:
        """Shelve a virtual sensor. No alarm of it opens until then; what is still wrong by then opens afterwards."""
        given = members(await body(request, services), SHELF)
        shelf = await writer.execute(_shelving([request.match_info["sensor"]], given))
        assert shelf is not None
        return answer(shown_shelf(shelf))

    async def unshelve(request: web.Request) -> web.Response:
        """End the shelving of a virtual sensor. What is wrong opens with the next look, within half a minute."""
        given = members(await body(request, services), ("by",))
        by = text(given, "by", required=True)
        assert by is not None
        await writer.execute(ShelveSensors(frozenset((request.match_info["sensor"],)), None, by))
        return web.Response(status=204)

    async def health(request: web.Request) -> web.Response:
        """Show a virtual sensor's health. What is watched, what is wrong, what is about to be."""
        sensor_id = request.match_info["sensor"]
        view = View(await _read(store, sensor_id), services.clock.new_id)
        record = view.record("virtual_sensor", sensor_id)
        if record is None:
            raise ResourceNotFound(f"There is no virtual sensor '{sensor_id[:100]}'.")
        sensor, now = as_sensor(record), services.clock.now()
        return answer(shown_health(view, sensor, watched_by(view, sensor, now), now))

    return [
        Route("GET", "/api/v1/alarms", listed, parameters=LIST, answers={200: "Alarm[]"}),
        Route("POST", "/api/v1/alarms/shelve", shelve_entity, body="EntityShelving", answers={200: "Shelved", 404: ""}),
        Route("GET", "/api/v1/alarms/{alarm}", show, answers={200: "Alarm"}),
        Route(
            "POST",
            "/api/v1/alarms/{alarm}/acknowledge",
            acknowledge,
            body="AlarmStep",
            answers={200: "Alarm", 412: ""},
        ),
        Route("POST", "/api/v1/alarms/{alarm}/close", close, body="AlarmStep", answers={200: "Alarm", 412: ""}),
        Route("GET", "/api/v1/virtual-sensors/{sensor}/health", health, answers={200: "SensorHealth"}),
        Route("POST", "/api/v1/virtual-sensors/{sensor}/shelve", shelve, body="Shelving", answers={200: "Shelf"}),
        Route("POST", "/api/v1/virtual-sensors/{sensor}/unshelve", unshelve, body="Unshelving", answers={204: ""}),
    ]


def _shelving(sensors: list[str], given: dict[str, Any]) -> ShelveSensors:
    until, by = moment(given.get("until"), "until"), text(given, "by", required=True)
    if until is None:
        raise BadRequestData("'until' is required: when the planned work is over, such as 2026-01-31T16:00:00Z.")
    assert by is not None
    return ShelveSensors(frozenset(sensors), until, by, text(given, "reason") or "")


async def _observing(store: TenantStore, entities: list[str]) -> list[str]:
    """The virtual sensors that write any of the entities."""
    names: set[str] = set()
    for start in range(0, len(entities), AT_ONCE):
        some = entities[start : start + AT_ONCE]
        found = (await store.load(Needs(found={("virtual_sensor", f"entity:{entity}") for entity in some}))).found
        names |= {record.id for records in found.values() for record in records}
    return sorted(names)


async def _found(store: TenantStore, given: Mapping[str, str], limit: int) -> list[Record]:
    """A page of alarms: by an index key, the rest of the conditions on what that finds (few: those of one sensor)."""
    chosen = tuple(given.get(name, "") for name in CHOICES)
    keys = [
        f"{prefix}:{given[name]}"
        for name, prefix in (("virtualSensor", "sensor"), ("device", "device"), ("entity", "entity"))
        if name in given
    ]
    if any(chosen):
        keys.append(list_key(*chosen))
    found: list[Record] = []
    after = given.get("after", "")
    while len(found) < limit:
        page = await store.records("alarm", key=keys[0] if keys else None, after=after, limit=limit)
        found += [record for record in page if all(key in record.keys for key in keys)]
        if len(page) < limit:
            break
        after = page[-1].id
    return found[:limit]


async def _read(store: TenantStore, sensor_id: str) -> Snapshot:
    snapshot, asked = Snapshot(), Needs()
    while True:
        needs = watched_needs(sensor_id, snapshot)
        needs.add(health_needs(sensor_id, snapshot))
        missing = needs.minus(asked)
        if not missing:
            return snapshot
        snapshot.add(await store.load(missing))
        asked.add(missing)
