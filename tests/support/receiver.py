"""A real HTTP receiver for notifications, on a loopback port, that can be told to misbehave."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from multidict import CIMultiDictProxy

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived."""

    path: str
    headers: CIMultiDictProxy[str]
    body: dict[str, Any]
    raw: bytes = b""

    @property
    def data(self) -> list[dict[str, Any]]:
        """The notification's entities."""
        found: list[dict[str, Any]] = self.body["data"]
        return found


def answer(status: int, **headers: str) -> Behaviour:
    async def behave(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=headers)

    return behave


async def never(request: web.Request) -> web.StreamResponse:
    """Take the request and say nothing."""
    await asyncio.sleep(3600)
    raise AssertionError("unreachable")


async def endless(request: web.Request) -> web.StreamResponse:
    """200, and a body without end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


async def dripping(request: web.Request) -> web.StreamResponse:
    """200, and a body byte by byte."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b"x")
        await asyncio.sleep(0.5)
    return response


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Reset the connection instead of answering."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response(status=500)


class Receiver:
    """Keeps what it accepted (`accepted`) and everything that was tried (`tried`).

    `script` holds the behaviours of the next requests; after it, `otherwise` (204 by default).
    """

    def __init__(self) -> None:
        self.accepted: list[Received] = []
        self.accepted_at: list[int] = []
        """When each was accepted, microseconds since the epoch."""
        self.tried: list[Received] = []
        self.script: deque[Behaviour] = deque()
        self.otherwise: Behaviour = answer(204)
        self.port = 0
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    def url(self, path: str = "/notify") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def start(self) -> None:
        """Listen; on the same port as before, if it was stopped."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and drop all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def wait_for(self, count: int, seconds: float = 20.0) -> list[Received]:
        """The first `count` accepted, once they are there."""
        return await self._wait(lambda: self.accepted, count, seconds)

    async def wait_for_tries(self, count: int, seconds: float = 20.0) -> list[Received]:
        """The first `count` tried, once they are there."""
        return await self._wait(lambda: self.tried, count, seconds)

    async def wait_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Once something has been accepted that makes `condition` true."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    async def _wait(self, seen: Callable[[], list[Received]], count: int, seconds: float) -> list[Received]:
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: len(seen()) >= count)
        except TimeoutError:
            raise AssertionError(f"{len(seen())} of {count} notifications came within {seconds} s") from None
        return seen()[:count]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        received = Received(request.path, request.headers, orjson.loads(raw or b"{}"), raw)
        behave = self.script.popleft() if self.script else self.otherwise
        async with self._changed:
            self.tried.append(received)
            self._changed.notify_all()
        response = await behave(request)
        if 200 <= response.status < 300:
            async with self._changed:
                self.accepted.append(received)
                self.accepted_at.append(time.time_ns() // 1000)
                self._changed.notify_all()
        return response


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
