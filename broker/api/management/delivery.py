"""/api/v1/subscriptions: how deliveries stand, and an operator's hand on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web

from broker.api.ids import subscription_id
from broker.api.management.common import answer, body, members, moment, page_limit, text
from broker.api.management.listing import PAGED, listed, one_page
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services, Tenant
from broker.api.tenant import tenant_of
from broker.clock import iso
from broker.errors import BadRequestData, Conflict, ResourceNotFound
from broker.jsonio import loads
from broker.outbound.message import shown_uri
from broker.pipeline.discarding import discard
from broker.pipeline.replays import EndReplay, StartReplay, history_replay, letters_replay, shown_replay
from broker.query.builder import flag
from broker.stores.base import Backlog, Needs, OutboxRow, Record, RecordKind
from broker.subscriptions.lane import lease_name
from broker.subscriptions.model import UNLIMITED
from broker.subscriptions.receivers.model import RECEIVER
from broker.subscriptions.standing import STATES, figures
from broker.subscriptions.state import read_state
from broker.subscriptions.steering import OutboxChanged, PauseDelivery, ResumeDelivery, read_steering
from broker.subscriptions.subscription import compile_subscription

ALL: Final = "/api/v1/subscriptions"
ONE: Final = "/api/v1/subscriptions/{subscription}"
LIST: Final = PAGED | {"state"}
REPLAY: Final = frozenset({"deadLetters", "from", "to"})
DISCARD: Final = frozenset({"before", "deadLetters"})
TENANT: Final = ("NGSILD-Tenant",)


def routes(services: Services) -> list[Route]:
    """List, show, dead letters, pause, resume, discard."""

    async def list_(request: web.Request) -> web.Response:
        """List subscriptions with how their deliveries stand. In order of their ids."""
        tenant = await tenant_of(request, services)
        given = parameters(request, LIST)
        wanted = given.get("state")
        if wanted is not None and wanted not in STATES:
            raise BadRequestData(f"'state' must be one of {', '.join(STATES)}; got '{wanted[:40]}'.")
        shown: dict[str, dict[str, Any]] = {}

        async def keep(records: Sequence[Record]) -> list[Record]:
            found = await _shown(services, tenant, records)
            kept = [record for record in records if wanted is None or found[record.id]["delivery"]["state"] == wanted]
            shown.update((record.id, found[record.id]) for record in kept)
            return kept

        page, more = await one_page(tenant.store, "subscription", given, keep=keep)
        last = page[-1].id if page else ""
        return listed(request, given, [shown[record.id] for record in page], last, more=more)

    async def show(request: web.Request) -> web.Response:
        """Show how a subscription's delivery stands. Its backlog, the last error, the next attempt, who paused it."""
        tenant, record = await _found(request, services)
        found = await _shown(services, tenant, [record])
        return answer(found[record.id]["delivery"])

    async def dead_letters(request: web.Request) -> web.Response:
        """List a subscription's dead letters. What was given up on, in order, and why."""
        given = parameters(request, PAGED)
        tenant, record = await _found(request, services)
        limit = page_limit(given)
        found = await tenant.store.dead_letters(record.id, after=given.get("after", ""), limit=limit + 1)
        page = found[:limit]
        last = page[-1][0].id if page else ""
        items = [_letter(row, reason) for row, reason in page]
        return listed(request, given, items, last, more=len(found) > limit)

    async def pause(request: web.Request) -> web.Response:
        """Pause a subscription's delivery. What it is owed gathers; nothing is lost or given up until it is resumed."""
        tenant, record = await _found(request, services)
        given = members(await body(request, services), ("by", "reason"))
        by = text(given, "by", required=True)
        assert by is not None
        await tenant.writer.execute(PauseDelivery(record.id, by, text(given, "reason") or ""))
        return answer((await _shown(services, tenant, [record]))[record.id]["delivery"])

    async def resume(request: web.Request) -> web.Response:
        """Resume a subscription's delivery. What waited is tried at once, in order."""
        tenant, record = await _found(request, services)
        await tenant.writer.execute(ResumeDelivery(record.id))
        return answer((await _shown(services, tenant, [record]))[record.id]["delivery"])

    async def discard_(request: web.Request) -> web.Response:
        """Discard what a subscription is owed. It goes to the dead letters, or with 'deadLetters=false' away for good."""
        given = parameters(request, DISCARD)
        tenant, record = await _found(request, services)
        before = moment(given.get("before"), "before")
        keep = "deadLetters" not in given or flag(given, "deadLetters")
        now = services.clock.now()
        await tenant.writer.execute(EndReplay(record.id))
        count = await discard(tenant.store, record.id, min(before, now) if before is not None else now, keep=keep)
        await tenant.writer.execute(OutboxChanged(record.id))
        return answer({"discarded": count, "deadLetters": keep})

    async def replay(request: web.Request) -> web.Response:
        """Send a subscription again what the history holds of a period. Or, with 'deadLetters=true', what was given up on.

        It goes through the outbox, in order, and is marked by the header Knutpunkt-Replay. The answer is at once; how far it
        came is shown beside the delivery.
        """
        given = parameters(request, REPLAY)
        tenant, record = await _found(request, services)
        since, until, now = moment(given.get("from"), "from"), moment(given.get("to"), "to"), services.clock.now()
        if "deadLetters" in given and flag(given, "deadLetters"):
            if since is not None or until is not None:
                raise BadRequestData("'deadLetters=true' must not be given together with 'from' or 'to'.")
            body = letters_replay(services.clock.stamp().version)
        else:
            if since is None:
                raise BadRequestData(
                    "'from' is required: since when, such as 2026-01-31T12:00:00Z; or 'deadLetters=true'."
                )
            until = now if until is None else min(until, now)
            if since >= until:
                raise BadRequestData("'from' must be before 'to', and not in the future.")
            if RECEIVER in record.body:
                raise Conflict(
                    "A ready receiver is told of what begins and ends: 'deadLetters=true' sends again what it missed."
                )
            if compile_subscription(record.body, UNLIMITED).status(now) != "active":
                raise Conflict(f"The subscription '{record.id}' is not active: nothing would match it.")
            body = history_replay(since, until)
        started = await tenant.writer.execute(StartReplay(record.id, body))
        return answer(shown_replay(Record("replay", record.id, started, 0)), 202)

    return [
        Route("GET", ALL, list_, parameters=LIST, headers=TENANT, paged=True, answers={200: "SubscriptionListed[]"}),
        Route("GET", ONE + "/delivery", show, headers=TENANT, answers={200: "DeliveryFigures"}),
        Route(
            "GET",
            ONE + "/dead-letters",
            dead_letters,
            parameters=PAGED,
            headers=TENANT,
            paged=True,
            answers={200: "DeadLetter[]"},
        ),
        Route("POST", ONE + "/pause", pause, headers=TENANT, body="DeliveryPause", answers={200: "DeliveryFigures"}),
        Route("POST", ONE + "/resume", resume, headers=TENANT, answers={200: "DeliveryFigures"}),
        Route(
            "POST",
            ONE + "/replay",
            replay,
            parameters=REPLAY,
            headers=TENANT,
            answers={202: "Replay", 409: ""},
        ),
        Route(
            "POST", ONE + "/discard", discard_, parameters=DISCARD, headers=TENANT, answers={200: "DeliveryDiscarded"}
        ),
    ]


async def _found(request: web.Request, services: Services) -> tuple[Tenant, Record]:
    """The subscription that the path names. Raises BadRequestData, ResourceNotFound."""
    tenant = await tenant_of(request, services)
    wanted = subscription_id(request)
    record = await tenant.store.record("subscription", wanted)
    if record is None:
        raise ResourceNotFound(f"There is no subscription '{wanted}'.")
    return tenant, record


async def _shown(services: Services, tenant: Tenant, records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Each subscription's description, with how its delivery stands; a few reads for all of them together."""
    ids = [record.id for record in records]
    kinds: tuple[RecordKind, ...] = ("delivery_state", "steering", "replay")
    known = (await tenant.store.load(Needs(records={(kind, one) for kind in kinds for one in ids}))).records
    backlogs = await tenant.store.backlogs(ids)
    holders = await tenant.store.lease_holders([lease_name(one) for one in ids])
    now = services.clock.now()
    shown: dict[str, dict[str, Any]] = {}
    for record in records:
        state, backlog = known.get(("delivery_state", record.id)), backlogs.get(record.id, Backlog())
        holder = holders.get(lease_name(record.id)) if tenant.process else ("" if backlog.owed else None)
        shown[record.id] = {
            "id": record.id,
            **_described(record.body),
            "delivery": {
                "subscription": record.id,
                **figures(
                    compile_subscription(record.body, UNLIMITED),
                    tenant.unwritten(record.id) or read_state(state.body if state is not None else None),
                    read_steering(known.get(("steering", record.id))),
                    backlog,
                    now,
                    delivered_by=_named(holder, tenant.process),
                ),
                "replay": shown_replay(known.get(("replay", record.id))),
            },
        }
    return shown


def _described(body: dict[str, Any]) -> dict[str, Any]:
    """What a subscription, or a ready receiver, is called, and where it sends; without what is secret there."""
    if RECEIVER in body:
        receiver = body[RECEIVER]
        return {
            "subscriptionName": receiver["name"],
            "description": "A ready receiver (/api/v1/receivers).",
            "endpoint": receiver["send"]["kind"],
        }
    document = body["document"]
    return {
        "subscriptionName": document.get("subscriptionName"),
        "description": document.get("description"),
        "endpoint": shown_uri(document["notification"]["endpoint"]["uri"]),
    }


def _named(holder: str | None, process: str) -> str | None:
    if holder is None:
        return None
    return "this process" if holder == process else "another process"


def _letter(row: OutboxRow, reason: str) -> dict[str, Any]:
    owed: dict[str, Any] = loads(row.body)
    return {
        "id": row.id,
        "entity": row.entity_id,
        "trigger": owed.get("trigger"),
        "at": iso(owed.get("at", row.created_at)),
        "owedAt": iso(row.created_at),
        "reason": reason,
    }
