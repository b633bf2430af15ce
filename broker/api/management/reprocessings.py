"""/api/v1/reprocessings: kept uplinks decoded again after a correction; what that would change, and how far it is."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broker.api.management.common import PAGE_MOST, answer, body, flag, members, moment, page_limit, text
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.clock import Micros, iso
from broker.devices.processing.observation import Observation
from broker.errors import BadRequestData, ResourceNotFound
from broker.jsonld.context import Context
from broker.ngsild.model import IMPLAUSIBLE, default_instance
from broker.pipeline.reprocess.difference import Difference, Example
from broker.pipeline.reprocess.model import Counts, Reprocessing, Selection, as_reprocessing
from broker.stores.base import HistoryRow

LIST = frozenset(("limit", "after"))
WANTED = ("model", "device", "virtualSensor", "from", "to", "dryRun", "notify", "by", "note", "limit")
EXAMPLES = 20


def routes(services: Services) -> list[Route]:
    """Try, ask for, list, show, cancel."""
    store, reprocessings = services.tenants.default.store, services.reprocessings
    names = services.contexts.core

    async def ask(request: web.Request) -> web.Response:
        """Decode kept uplinks again. By the models, rules and bindings of now; unless `dryRun` is false, nothing is done, and the answer says what would change."""
        given = members(await body(request, services), WANTED)
        selection = selected(given)
        if flag(given, "dryRun") if "dryRun" in given else True:
            found = await reprocessings.difference(selection, examples_of(given))
            return answer(shown_difference(found, selection, names))
        job = await reprocessings.ask(
            selection, by=text(given, "by") or "", note=text(given, "note") or "", notify=flag(given, "notify")
        )
        response = answer(shown(job, job.counts), 201)
        response.headers["Location"] = f"/api/v1/reprocessings/{job.id}"
        return response

    def selected(given: dict[str, Any]) -> Selection:
        model, device, sensor = (text(given, name) for name in ("model", "device", "virtualSensor"))
        if model is None and device is None and sensor is None:
            raise BadRequestData("One or several of 'model', 'device' and 'virtualSensor' must say which uplinks.")
        since = moment(given.get("from"), "from")
        if since is None:
            raise BadRequestData("'from' is required: since when uplinks are looked at again.")
        until = moment(given.get("to"), "to")
        if until is None:
            until = services.clock.now()
        if until <= since:
            raise BadRequestData(f"'to' must be later than 'from', got {iso(since)} and {iso(until)}.")
        return Selection(since, until, model, device.lower() if device is not None else None, sensor)

    async def listed(request: web.Request) -> web.Response:
        """List reprocessings. In the order in which they were asked for."""
        given = parameters(request, LIST)
        records = await store.records("reprocessing", after=given.get("after", ""), limit=page_limit(given))
        jobs = [as_reprocessing(record) for record in records]
        return answer([shown(job, await reprocessings.counts(job)) for job in jobs])

    async def show(request: web.Request) -> web.Response:
        """Show a reprocessing. Who asked for it and why, and how far it is."""
        job_id = request.match_info["reprocessing"]
        record = await store.record("reprocessing", job_id)
        if record is None:
            raise ResourceNotFound(f"There is no reprocessing '{job_id[:100]}'.")
        job = as_reprocessing(record)
        return answer(shown(job, await reprocessings.counts(job)))

    async def cancel(request: web.Request) -> web.Response:
        """Cancel a reprocessing. What is done stays; asked for anew, it finds that unchanged."""
        given = members(await body(request, services), ("by", "why"))
        job = await reprocessings.cancel(
            request.match_info["reprocessing"], by=text(given, "by") or "", why=text(given, "why") or ""
        )
        return answer(shown(job, job.counts))

    return [
        Route(
            "POST",
            "/api/v1/reprocessings",
            ask,
            body="Reprocess",
            answers={200: "ReprocessDifference", 201: "Reprocessing", 404: ""},
        ),
        Route("GET", "/api/v1/reprocessings", listed, parameters=LIST, answers={200: "Reprocessing[]"}),
        Route("GET", "/api/v1/reprocessings/{reprocessing}", show, answers={200: "Reprocessing"}),
        Route(
            "POST",
            "/api/v1/reprocessings/{reprocessing}/cancel",
            cancel,
            body="Cancelling",
            answers={200: "Reprocessing", 409: ""},
        ),
    ]


def examples_of(given: dict[str, Any]) -> int:
    """The member `limit`."""
    limit = given.get("limit", EXAMPLES)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= PAGE_MOST:
        raise BadRequestData(f"'limit' must be a whole number from 0 to {PAGE_MOST}, got {str(limit)[:60]}.")
    return limit


def shown(job: Reprocessing, counts: Counts) -> dict[str, Any]:
    """A reprocessing."""
    return {
        "id": job.id,
        "state": job.state,
        **_selection(job.selection),
        "notify": job.notify,
        "by": job.by,
        "note": job.note,
        "createdAt": iso(job.created_at),
        "startedAt": _iso(job.started_at),
        "endedAt": _iso(job.ended_at),
        "reason": job.reason,
        "counts": counted(counts),
    }


def shown_difference(found: Difference, selection: Selection, names: Context) -> dict[str, Any]:
    """What would change."""
    return {
        "dryRun": True,
        **_selection(selection),
        "complete": found.complete,
        "counts": counted(found.counts),
        "attributes": [
            {
                "virtualSensor": sensor,
                "entity": entity,
                "attribute": names.compact(attribute),
                "changed": tally.changed,
                "removed": tally.removed,
                "added": tally.added,
            }
            for (sensor, entity, attribute), tally in found.attributes.items()
        ],
        "moreAttributes": found.more_attributes,
        "examples": [_example(one, names) for one in found.examples],
    }


def counted(counts: Counts) -> dict[str, Any]:
    """What became of uplinks."""
    return {
        "uplinks": counts.uplinks,
        "changed": counts.changed,
        "same": counts.same,
        "accepted": counts.accepted,
        "rejected": counts.rejected,
        "unreadable": counts.unreadable,
        "following": counts.following,
        "followingChanged": counts.following_changed,
        "superseded": counts.superseded,
        "added": counts.added,
        "reasons": counts.reasons,
    }


def _selection(selection: Selection) -> dict[str, Any]:
    return {
        "model": selection.model,
        "device": selection.device,
        "virtualSensor": selection.virtual_sensor,
        "from": iso(selection.since),
        "to": iso(selection.until),
    }


def _example(one: Example, names: Context) -> dict[str, Any]:
    place = one.differing
    return {
        "uplink": one.uplink,
        "device": one.device,
        "virtualSensor": place.sensor,
        "entity": place.entity_id,
        "attribute": names.compact(place.attribute),
        "observedAt": iso(place.at),
        "before": [_before(row) for row in place.before],
        "after": [_after(observed) for observed in place.after],
    }


def _before(row: HistoryRow) -> dict[str, Any]:
    instance = row.instance
    assert instance is not None
    implausible = default_instance(instance.get("attrs", {}).get(IMPLAUSIBLE, []))
    failed = implausible.get("value") if implausible is not None else None
    return {"value": instance.get("value"), "unitCode": instance.get("unitCode"), "implausible": failed or []}


def _after(observed: Observation) -> dict[str, Any]:
    return {"value": observed.value, "unitCode": observed.unit or None, "implausible": list(observed.failed)}


def _iso(at: Micros | None) -> str | None:
    return iso(at) if at is not None else None
