"""/api/v1/receivers: people who are told of alarms and thresholds, by e-mail, in Teams, or through a webhook."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from broker.access.personal import is_granted
from broker.api.management.common import answer, body, members, text
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services
from broker.clock import iso
from broker.errors import BadRequestData
from broker.outbound import OutboundError
from broker.stores.base import Record
from broker.subscriptions.receivers.check import check_receiver_id, shown_document
from broker.subscriptions.receivers.commands import DeleteReceiver, SaveReceiver, found
from broker.subscriptions.receivers.model import PREFIX, RECEIVER, as_receiver, record_id
from broker.subscriptions.state import DeliveryState, read_state

ALL: Final = "/api/v1/receivers"
ONE: Final = "/api/v1/receivers/{receiver}"
TEST_SECONDS: Final = 15.0
"""How long a test waits for the server's answer, at most."""


def routes(services: Services) -> list[Route]:
    """List, show, create, replace, delete, test."""
    tenant = services.tenants.default
    store, writer = tenant.store, tenant.writer
    limits, expand = services.settings.limits, services.contexts.core.expand

    async def listed(request: web.Request) -> web.Response:
        """List receivers. In order of their ids, with how their delivery stands."""
        parameters(request, frozenset())
        records = await store.records("subscription", key=RECEIVER)
        states = {state.id: state.body for state in await store.records("delivery_state")} if records else {}
        return answer([shown(one, tenant.unwritten(one.id) or read_state(states.get(one.id))) for one in records])

    async def show(request: web.Request) -> web.Response:
        """Show a receiver. What lets in who has it (URLs with keys, headers, the secret) is masked."""
        parameters(request, frozenset())
        record = await wanted(request)
        state = await store.record("delivery_state", record.id)
        return answer(shown(record, tenant.unwritten(record.id) or read_state(state.body if state else None)))

    async def create(request: web.Request) -> web.Response:
        """Add a receiver. Refused when there is one of its id."""
        parameters(request, frozenset())
        document = await body(request, services)
        given = text(document, "id", required=True)
        assert given is not None
        receiver_id = check_receiver_id(given)
        await writer.execute(saving(receiver_id, document, new=True))
        return web.Response(status=201, headers={"Location": f"{ALL}/{receiver_id}"})

    async def put(request: web.Request) -> web.Response:
        """Add a receiver, or replace it. What is masked ('***') stays as it is."""
        parameters(request, frozenset())
        receiver_id = check_receiver_id(request.match_info["receiver"])
        document = await body(request, services)
        if document.get("id", receiver_id) != receiver_id:
            raise BadRequestData(f"'id' must be '{receiver_id}', as in the path, or not be there.")
        saved, created = await writer.execute(saving(receiver_id, document))
        record = Record("subscription", saved["id"], saved, 0)
        return answer(shown(record, DeliveryState()), 201 if created else 200)

    async def delete(request: web.Request) -> web.Response:
        """Delete a receiver. What it has not been told yet, it is not told."""
        parameters(request, frozenset())
        await writer.execute(DeleteReceiver(request.match_info["receiver"]))
        return web.Response(status=204)

    async def test(request: web.Request) -> web.Response:
        """Send a receiver a test. At once, past what waits for it; the answer says what the server answered."""
        parameters(request, frozenset())
        record = await wanted(request)
        receiver = as_receiver(record.body)
        name = record.id.removeprefix(PREFIX)
        seconds = min(TEST_SECONDS, services.settings.delivery.timeout_seconds)
        now = services.clock.now()
        message = services.telling.test_message(receiver, name, services.clock.new_id(), now, seconds)
        try:
            said = await services.transport.send(message)
        except OutboundError as error:
            return answer({"delivered": False, "answer": error.reason})
        return answer({"delivered": True, "answer": said})

    def saving(receiver_id: str, document: dict[str, Any], *, new: bool = False) -> SaveReceiver:
        given = {name: value for name, value in document.items() if name not in ("id", *GENERATED)}
        members(given, MEMBERS)
        return SaveReceiver(receiver_id, given, expand, limits, is_granted(), "absent" if new else "any")

    async def wanted(request: web.Request) -> Record:
        receiver_id = request.match_info["receiver"]
        return found(await store.record("subscription", record_id(receiver_id)), receiver_id)

    return [
        Route("GET", ALL, listed, answers={200: "Receiver[]"}),
        Route("POST", ALL, create, body="CreatedReceiver", answers={201: "", 409: ""}),
        Route("GET", ONE, show, answers={200: "Receiver"}),
        Route("PUT", ONE, put, body="NewReceiver", answers={200: "Receiver", 201: "Receiver"}),
        Route("DELETE", ONE, delete, answers={204: ""}),
        Route("POST", f"{ONE}/test", test, answers={200: "ReceiverTest"}),
    ]


MEMBERS: Final = ("name", "send", "active", "language", "timeZone", "digestMinutes", "alarms", "thresholds")
GENERATED: Final = ("createdAt", "modifiedAt", "personalData", "delivery")
"""Shown, and passed over where they come back."""


def shown(record: Record, state: DeliveryState) -> dict[str, Any]:
    """A receiver for a reader."""
    delivery: dict[str, Any] = {"timesSent": state.times_sent, "timesFailed": state.times_failed}
    for name, at in (("lastSuccess", state.last_success), ("lastFailure", state.last_failure)):
        if at:
            delivery[name] = iso(at)
    if state.attempts:
        delivery |= {"lastError": state.last_error, "nextAttempt": iso(state.next_attempt)}
    return {
        "id": record.id.removeprefix(PREFIX),
        **shown_document(as_receiver(record.body)),
        "personalData": record.body.get("granted") is True,
        "createdAt": record.body["createdAt"],
        "modifiedAt": record.body["modifiedAt"],
        "delivery": delivery,
    }
