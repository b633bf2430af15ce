"""GET /api/v1/stream: changes as they are committed, as Server-Sent Events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog
from aiohttp import web

from broker import metrics
from broker.api.form import OPTIONS
from broker.api.layer import REQUEST_ID, SERVER
from broker.api.live.entry import Entry
from broker.api.live.filter import SELECTING, SHAPING, Filter, heartbeat, message
from broker.api.management.common import answer
from broker.api.parameters import parameters
from broker.api.route import Route
from broker.api.services import Services, Tenant
from broker.clock import iso
from broker.errors import Overloaded, StoreUnavailable
from broker.logs import TRACE
from broker.pipeline.guard import GuardedListener
from broker.stores.base import PositionGone

log = structlog.get_logger(__name__)

STREAM: Final = "/api/v1/stream"
TICKETS: Final = "/api/v1/stream/tickets"
PARAMETERS: Final = SELECTING | SHAPING | {"lastEventId", "ticket"}
EVENTS: Final = "text/event-stream"
LAST_EVENT_ID: Final = "Last-Event-ID"
RETRY_MILLISECONDS: Final = 2000
"""How long browsers wait before they come back."""
TROUBLE_SECONDS: Final = 1.0
LONGEST_WAIT: Final = 1.0
"""How long it may take until the end of the broker is noticed, seconds."""


def routes(services: Services) -> list[Route]:
    """The stream, and tickets for it."""
    settings = services.settings.streams
    entry = Entry(services)
    open_streams: set[Stream] = set()

    async def stream(request: web.Request) -> web.StreamResponse:
        """Follow changes as they are committed, as Server-Sent Events.

        Events are entityCreated, entityUpdated and entityDeleted, each with the entity and what changed; 'ready' at the
        beginning, and 'gone' where what came behind the last event id cannot be had any more. The parameters select as those
        of a query do, but for 'attrs': only changes of these attributes. The header Last-Event-ID, or 'lastEventId', goes on
        behind an event. An id without an event says that all is told so far.
        """
        given = parameters(request, PARAMETERS)
        tenant, names = await entry.admit(request, given, STREAM)
        asked = Filter(given, names, services.settings.limits)
        headers = {"Content-Type": EVENTS, "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
        headers |= {REQUEST_ID: TRACE.get(), "Server": SERVER, **allowed(request)}
        if request.method == "HEAD":
            return web.Response(headers=headers)
        if len(open_streams) >= settings.connections:
            raise Overloaded(
                f"There are as many streams as the limit 'streams.connections' of {settings.connections} allows."
            )
        one = Stream(request, services, tenant, asked, given.get("lastEventId"))
        open_streams.add(one)
        metrics.streams.set(len(open_streams))
        try:
            return await one.run(web.StreamResponse(headers=headers))
        finally:
            open_streams.discard(one)
            metrics.streams.set(len(open_streams))

    async def ticket(request: web.Request) -> web.Response:
        """Get a ticket for the stream, for who cannot send headers. It holds for one stream, within 60 seconds.

        It stands for the token, the tenant and the @context that it was asked for with.
        """
        parameters(request, frozenset())
        text, made = await entry.sell(request)
        response = answer({"ticket": text, "expiresAt": iso(made.until)}, 201)
        response.headers.update({"Cache-Control": "no-store", **allowed(request)})
        return response

    async def preflight(request: web.Request) -> web.Response:
        """Whether a web page may ask (CORS)."""
        headers = {
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Link, NGSILD-Tenant, Last-Event-ID",
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers={**headers, **allowed(request)})

    def allowed(request: web.Request) -> dict[str, str]:
        origin = request.headers.get("Origin")
        if not settings.origins or origin is None:
            return {}
        if "*" in settings.origins:
            return {"Access-Control-Allow-Origin": "*"}
        return {"Vary": "Origin", **({"Access-Control-Allow-Origin": origin} if origin in settings.origins else {})}

    table = [
        Route(
            "GET",
            STREAM,
            stream,
            own_check=True,
            parameters=PARAMETERS,
            options=OPTIONS,
            headers=("NGSILD-Tenant", "Link", LAST_EVENT_ID),
            answers={200: "StreamEvents", 503: ""},
            media=(EVENTS,),
        ),
        Route("POST", TICKETS, ticket, headers=("NGSILD-Tenant", "Link"), answers={201: "StreamTicket"}),
    ]
    if settings.origins:
        table += [Route("OPTIONS", path, preflight, public=True) for path in (STREAM, TICKETS)]
    return table


class Stream:
    """One connection."""

    def __init__(
        self, request: web.Request, services: Services, tenant: Tenant, asked: Filter, last_id: str | None
    ) -> None:
        self._request = request
        self._settings = services.settings.streams
        self._tenant = tenant
        self._asked = asked
        self._last_id = request.headers.get(LAST_EVENT_ID) or last_id
        self._response: web.StreamResponse | None = None
        self._listener: GuardedListener | None = None

    async def run(self, response: web.StreamResponse) -> web.StreamResponse:
        """Until the client goes, takes nothing for too long, or the broker stops."""
        gone = await self._listen(self._last_id)
        self._response = response
        try:
            await response.prepare(self._request)
            await self._write(b"retry: %d\n\n" % RETRY_MILLISECONDS)
            await self._begin(gone)
            await self._follow()
        except (ConnectionError, TimeoutError):
            # The client has gone, or took nothing for too long: it may come back and go on.
            if self._request.transport is not None:
                self._request.transport.abort()
        finally:
            if self._listener is not None:
                await self._listener.close()
        return response

    async def _listen(self, last_id: str | None) -> str | None:
        """Begin to listen; where an id cannot be gone on from, from now on: the reason why not."""
        try:
            self._listener = await self._tenant.feed.listen(last_id)
        except PositionGone as error:
            self._listener = await self._tenant.feed.listen(None)
            return str(error)
        return None

    async def _begin(self, gone: str | None) -> None:
        assert self._listener is not None
        if gone is not None:
            said = {"detail": f"{gone} Read the entities anew: from here on every change is told."}
            await self._write(message("gone", said, self._listener.id))
        else:
            await self._write(message("ready", {"resumed": self._last_id is not None}, self._listener.id))

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        beat = self._settings.heartbeat_seconds
        written = loop.time()
        while self._listener is not None and not self._listener.closed:
            if self._request.transport is None or self._request.transport.is_closing():
                return
            try:
                events = await self._listener.next(min(max(written + beat - loop.time(), 0.0), LONGEST_WAIT))
            except StoreUnavailable as error:
                log.warning("stream.store_unavailable", reason=error.detail)
                await asyncio.sleep(TROUBLE_SECONDS)
                continue
            except PositionGone:
                await self._listener.close()
                await self._begin(await self._listen(None) or "Changes were lost in between.")
                continue
            told = [text for event in events if (text := self._asked.event(event)) is not None]
            if told:
                metrics.stream_events.inc(len(told))
                await self._write(b"".join(told))
                written = loop.time()
            elif loop.time() >= written + beat:
                await self._write(heartbeat(self._listener.id))
                written = loop.time()
        with suppress(ConnectionError, TimeoutError):
            await self._write(b": the broker is stopping\n\n")

    async def _write(self, text: bytes) -> None:
        assert self._response is not None
        async with asyncio.timeout(self._settings.write_seconds):
            await self._response.write(text)
