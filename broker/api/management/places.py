"""/api/v1/places: which places there are, what is within them, and all that is known of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from broker.api.ids import place_id
from broker.api.management.common import PAGE_MOST, answer, page_limit
from broker.api.management.health import shown_alarm
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.api.tenant import tenant_of
from broker.devices.registry import as_sensor
from broker.errors import BadRequestData, ResourceNotFound
from broker.jsonio import dumps
from broker.ngsild.expired import living
from broker.ngsild.model import Entity
from broker.places.behind import Behind, behind
from broker.places.containment import Contained, ancestors, contained, entities_of, vocabulary
from broker.places.finding import place_query, place_wanted, shown_place, why_unplaced
from broker.places.overview import Said, breadcrumb, by_type, details, summed, tree
from broker.stores.base import TenantStore

LIST = frozenset(("type", "search", "near", "within", "limit", "after"))
TREE = frozenset(("depth",))
OVERVIEW = frozenset(("depth", "limit", "after"))
UNPLACED = frozenset(("limit", "after"))
TENANT = ("NGSILD-Tenant",)

SENSORS_AT_ONCE = 1_000
SENSORS_AT_MOST = 10_000
"""Virtual sensors that one request looks at, count."""
ALARMS_SHOWN = 1_000


def routes(services: Services) -> list[Route]:
    """List, tree, overview, virtual sensors without a place."""
    settings, names = services.settings, services.contexts.core
    words = vocabulary(settings.places, names)

    async def listed(request: web.Request) -> web.Response:
        """List places. Entities of the types that the setting places.types names, or of those asked for; in order of their creation."""
        store = (await tenant_of(request, services)).store
        given = parameters(request, LIST)
        query = place_query(given, words, names, settings.limits)
        said = Said(names, words, services.clock.now())
        page = await store.query(replace(query, limit=page_limit(given), now=said.now))
        places = [{**said.reference(place), **shown_place(place, words, names)} for place in page.entities]
        return answer({"places": places, "next": page.next})

    async def show(request: web.Request) -> web.Response:
        """Show a place and the places within it. As a tree, with how many entities each contains."""
        store = (await tenant_of(request, services)).store
        depth = _depth(parameters(request, TREE), settings.places.levels)
        said = Said(names, words, services.clock.now())
        place, found, around = await looked_at(store, place_id(request), said)
        shown = said.reference(place) if place is not None else {"id": found.root, "type": None, "name": None}

        def made() -> dict[str, Any]:
            sums = summed(found, Behind(), words, said.now)
            return {
                **shown,
                "ancestors": around,
                "places": sums[found.root].places,
                "entities": sums[found.root].entities,
                "contains": [_plain(one) for one in tree(found, said, depth, sums)],
                "complete": found.complete,
            }

        return await _made(made)

    async def overview(request: web.Request) -> web.Response:
        """Show all that is known of a place. Its own values, the places around and within it, each entity tied to them with its current values, what stands behind each, open alarms, and the data of other systems.

        Entities come in order of their ids, at most `limit` of them; `next` is the `after` of those that follow.
        """
        store = (await tenant_of(request, services)).store
        given = parameters(request, OVERVIEW)
        depth = _depth(given, settings.places.levels)
        most = page_limit(given) if "limit" in given else PAGE_MOST
        said = Said(names, words, services.clock.now())
        place, found, around = await looked_at(store, place_id(request), said)
        things = await behind(store, [found.root, *found.nodes], said.now)

        def made() -> dict[str, Any]:
            sums = summed(found, things, words, said.now)
            ids = sorted(each for each in found.nodes if each > given.get("after", ""))
            alarms = [alarm for each in things.alarms.values() for alarm in each]
            alarms.sort(key=lambda alarm: alarm.id, reverse=True)
            return {
                "place": details(place, found, things, said) if place is not None else None,
                "ancestors": around,
                "summary": {**sums[found.root].shown(), "types": by_type(found, said)},
                "alarms": [shown_alarm(alarm) for alarm in alarms[:ALARMS_SHOWN]],
                "contains": tree(found, said, depth, sums),
                "entities": [details(found.nodes[each].entity, found, things, said) for each in ids[:most]],
                "next": ids[most - 1] if len(ids) > most else None,
                "complete": found.complete,
            }

        return await _made(made)

    async def looked_at(
        store: TenantStore, wanted: str, said: Said
    ) -> tuple[Entity | None, Contained, list[dict[str, Any]]]:
        """The place, what it contains and what is around it. A place that is not there is one when others say so."""
        stored = await store.entity(wanted)
        place = living(stored.entity, said.now) if stored is not None else None
        limits = settings.places
        found = await contained(store, wanted, words, levels=limits.levels, most=limits.contained, now=said.now)
        if place is None and not found.nodes:
            raise ResourceNotFound(f"There is no place '{wanted}', and nothing that is within it.")
        way = await ancestors(store, place, words, levels=limits.levels, now=said.now) if place is not None else []
        return place, found, breadcrumb(way, said)

    async def unplaced(request: web.Request) -> web.Response:
        """List virtual sensors without a place. Those that neither say one nor write an entity that is at one, and those whose place is not there."""
        store = (await tenant_of(request, services)).store
        given = parameters(request, UNPLACED)
        most, after = page_limit(given), given.get("after", "")
        now = services.clock.now()
        sensors: list[dict[str, Any]] = []
        for _ in range(0, SENSORS_AT_MOST, SENSORS_AT_ONCE):
            records = await store.records("virtual_sensor", after=after, limit=SENSORS_AT_ONCE)
            page = [as_sensor(record) for record in records]
            entities = await entities_of(store, {sensor.entity for sensor in page}, now)
            wanted = {sensor.id: place_wanted(sensor, entities.get(sensor.entity), words) for sensor in page}
            there = await entities_of(store, {place for place in wanted.values() if place is not None}, now)
            for sensor in page:
                reason = why_unplaced(wanted[sensor.id], there)
                if reason is not None:
                    shown = {"id": sensor.id, "name": sensor.name, "entity": sensor.entity}
                    sensors.append({**shown, "place": wanted[sensor.id], "reason": reason})
                after = sensor.id
                if len(sensors) == most:
                    return answer({"sensors": sensors, "next": after})
            if len(records) < SENSORS_AT_ONCE:
                return answer({"sensors": sensors, "next": None})
        return answer({"sensors": sensors, "next": after})

    return [
        Route("GET", "/api/v1/places", listed, parameters=LIST, headers=TENANT, answers={200: "Places", 404: ""}),
        Route(
            "GET",
            "/api/v1/places/unplaced",
            unplaced,
            parameters=UNPLACED,
            headers=TENANT,
            answers={200: "UnplacedSensors", 404: ""},
        ),
        Route("GET", "/api/v1/places/{place}", show, parameters=TREE, headers=TENANT, answers={200: "PlaceTree"}),
        Route(
            "GET",
            "/api/v1/places/{place}/overview",
            overview,
            parameters=OVERVIEW,
            headers=TENANT,
            answers={200: "PlaceOverview"},
        ),
    ]


async def _made(make: Callable[[], dict[str, Any]]) -> web.Response:
    """The answer, made in a thread: of a large place that takes long enough to keep others waiting."""
    body = await asyncio.to_thread(lambda: dumps(make()))
    return web.Response(body=body, content_type="application/json")


def _depth(given: Mapping[str, str], most: int) -> int:
    """The parameter `depth`."""
    text = given.get("depth")
    if text is None:
        return most
    if not text.isascii() or not text.isdigit() or not 0 <= int(text[:9]) <= most:
        raise BadRequestData(f"'depth' must be a whole number from 0 to {most} (places.levels), got '{text[:60]}'.")
    return int(text)


def _plain(branch: dict[str, Any]) -> dict[str, Any]:
    """A branch without what only an overview looks up."""
    left_out = ("sensors", "openAlarms", "lastSeen")
    shown = {name: value for name, value in branch.items() if name not in left_out}
    return {**shown, "contains": [_plain(one) for one in branch["contains"]]}
