"""A whole broker on a free port with a store of its own, in this process, and a client that asks it over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from broker.app import Running, serve
from broker.config import Http, Settings, StoreSettings
from broker.errors import KNUTPUNKT_ERRORS, NGSI_LD_ERRORS

LD = "application/ld+json"


class Api:
    """A client of one running broker."""

    def __init__(self, running: Running | None, session: aiohttp.ClientSession, url: str = "") -> None:
        """`running`: the broker in this process; None for another, at `url`."""
        self._running = running
        self._session = session
        self.url = f"http://{running.host}:{running.port}" if running is not None else url

    @property
    def running(self) -> Running:
        """The broker, where it is in this process."""
        assert self._running is not None
        return self._running

    async def ask(
        self, method: str, path: str, document: Any = None, *, status: int | None = None, **headers: str
    ) -> "Answer":
        """One request; `document` is sent as JSON, or as it is when it is bytes. Headers: `Content_Type=…`."""
        data = document if document is None or isinstance(document, bytes) else json.dumps(document).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            named.setdefault("Content-Type", "application/json")
        url = self.url + (path if path.startswith(("/api", "/health", "/metrics")) else "/ngsi-ld/v1" + path)
        async with self._session.request(method, url, data=data, headers=named) as response:
            answer = Answer(response.status, response.headers.copy(), await response.read())
        assert status is None or answer.status == status, answer
        return answer

    async def problem(
        self, status: int, kind: str, method: str, path: str, document: Any = None, **headers: str
    ) -> str:
        """Expect a ProblemDetail; its detail."""
        answer = await self.ask(method, path, document, status=None, **headers)
        assert answer.status == status, answer
        assert answer.headers["Content-Type"] == "application/json"
        assert "Link" not in answer.headers
        body = answer.json()
        assert body["type"] in (NGSI_LD_ERRORS + kind, KNUTPUNKT_ERRORS + kind), body
        assert body["title"] and body["status"] == status
        detail: str = body["detail"]
        return detail


class Answer:
    """A response, read."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"{self.status} {dict(self.headers)} {self.body[:1000]!r}"


@asynccontextmanager
async def running_broker(folder: Path, **settings: Any) -> AsyncIterator[Api]:
    """A broker of its own on a free port."""
    store = StoreSettings(url=f"sqlite:///{folder}/knutpunkt.db")
    chosen = Settings(**{"http": Http(port=0), "store": store, **settings})
    stop = asyncio.Event()
    started: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve(chosen, stop, started=started.set_result))
        waited: list[asyncio.Future[Any]] = [serving, started]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            async with aiohttp.ClientSession() as session:
                try:
                    yield Api(started.result(), session)
                finally:
                    stop.set()


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[Api]:
    """A client of a broker that runs elsewhere."""
    async with aiohttp.ClientSession() as session:
        yield Api(None, session, url)


def link(url: Any) -> str:
    """The Link header that names an @context."""
    return f'<{url}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'


FOREIGN = {"Room": "https://city.example/Room", "warmth": "https://city.example/temperature"}
"""The @context of an invented city."""


def city_contexts() -> TestServer:
    """A server of @contexts: /city.jsonld is there, /broken is not JSON, nothing else is there."""

    async def city(_: web.Request) -> web.Response:
        return web.json_response({"@context": FOREIGN}, content_type=LD)

    async def broken(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    app = web.Application()
    app.router.add_get("/city.jsonld", city)
    app.router.add_get("/broken", broken)
    return TestServer(app)
