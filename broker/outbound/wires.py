"""Connections that notifications go out on: one request after another on each, kept while they are idle.

A general client spends more on a request than all the rest of a delivery; this one only posts, and only wants the status.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import aiohappyeyeballs
from yarl import URL

from broker.outbound.answer import Answered, NotHttp

IDLE_SECONDS: Final = 30.0
SWEEP_SECONDS: Final = 15.0
DRAIN_SECONDS: Final = 1.0
"""How long the rest of an answer is waited for, so that the connection can be used again."""
NEXT_ADDRESS_SECONDS: Final = 0.25
"""After so long without a connection, a name's next address is tried beside the first (RFC 8305)."""
NAMES_SECONDS: Final = 10.0
"""How long the addresses of a name are believed."""
NAMES_KEPT: Final = 10_000
_REQUESTS_KEPT: Final = 20_000

Sockets = Callable[[tuple[Any, ...]], Any]
"""Makes the socket for one address, or refuses to: there the address is judged."""


class Unconnected(Exception):
    """There was no connection; the cause says why."""


class Wires:
    """Make it inside a running event loop; `close` it."""

    def __init__(self, sockets: Sockets, user_agent: str) -> None:
        self._sockets = sockets
        self._user_agent = user_agent
        self._loop = asyncio.get_running_loop()
        self._idle: dict[str, list[_Wire]] = {}
        self._names: dict[tuple[str, int], tuple[float, list[Any]]] = {}
        self._tls: ssl.SSLContext | None = None
        self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    async def post(self, url: URL, body: bytes, headers: Mapping[str, str], connect_seconds: float) -> int:
        """The status of the answer. Raises Unconnected, OSError, NotHttp, and ValueError for a header that cannot be one.

        Whoever calls limits the time of it all.
        """
        request = _request(url, self._user_agent) + _fields(headers, len(body)) + body
        origin = _origin(url)
        wire = self._take(origin) or await self._connect(url, connect_seconds)
        return await self._exchange(wire, origin, request)

    def close(self) -> None:
        """Close what is idle."""
        self._sweeping.cancel()
        for wires in self._idle.values():
            for wire in wires:
                wire.close()
        self._idle.clear()

    async def _exchange(self, wire: _Wire, origin: str, request: bytes) -> int:
        try:
            status = await wire.exchange(request)
        except BaseException:
            wire.close()
            raise
        if wire.free():
            wire.idle_since = time.monotonic()
            self._idle.setdefault(origin, []).append(wire)
        else:
            wire.close()
        return status

    def _take(self, origin: str) -> _Wire | None:
        wires = self._idle.get(origin)
        while wires:
            wire = wires.pop()
            if wire.free() and time.monotonic() - wire.idle_since < IDLE_SECONDS:
                return wire
            wire.close()
        return None

    async def _connect(self, url: URL, seconds: float) -> _Wire:
        made = None
        try:
            async with asyncio.timeout(seconds):
                made = await aiohappyeyeballs.start_connection(
                    await self._addresses(url),
                    happy_eyeballs_delay=NEXT_ADDRESS_SECONDS,
                    interleave=1,
                    loop=self._loop,
                    socket_factory=self._sockets,
                )
                tls = self._context() if url.scheme == "https" else None
                name = url.raw_host if tls is not None else None
                _, wire = await self._loop.create_connection(_Wire, sock=made, ssl=tls, server_hostname=name)
                return wire
        except (OSError, ssl.SSLError, TimeoutError, UnicodeError) as error:
            if made is not None:
                made.close()
            raise Unconnected from error

    async def _addresses(self, url: URL) -> list[Any]:
        host, port = url.raw_host, url.port
        assert host is not None and port is not None
        now = time.monotonic()
        known = self._names.get((host, port))
        if known is not None and known[0] > now:
            return known[1]
        found = await self._loop.getaddrinfo(host, port, type=1, proto=6)  # SOCK_STREAM, TCP
        if len(self._names) >= NAMES_KEPT:
            self._names.clear()
        self._names[host, port] = (now + NAMES_SECONDS, found)
        return found

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _sweep(self) -> None:
        now = time.monotonic()
        for origin, wires in list(self._idle.items()):
            kept = []
            for wire in wires:
                if wire.free() and now - wire.idle_since < IDLE_SECONDS:
                    kept.append(wire)
                else:
                    wire.close()
            if kept:
                self._idle[origin] = kept
            else:
                del self._idle[origin]
        self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep)


class _Wire(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._answered: Answered | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._lost = False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        answered, waiter = self._answered, self._waiter
        if answered is None:
            self.close()  # nobody asked
            return
        try:
            answered.feed(data)
        except NotHttp as error:
            self._fail(error)
            return
        if waiter is not None and not waiter.done() and answered.status is not None:
            waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._fail(ConnectionResetError())

    async def exchange(self, request: bytes) -> int:
        """The status of the answer to a request."""
        if self._lost:
            raise ConnectionResetError
        answered = self._answered = Answered()
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._waiter
        assert answered.status is not None
        if not answered.done:
            await self._drain(answered)
        return answered.status

    def free(self) -> bool:
        """Whether the next request may go out on it."""
        answered = self._answered
        return not self._lost and answered is not None and answered.done and answered.reusable

    def close(self) -> None:
        """Let go of it, at once."""
        self._lost = True
        self._transport.abort()

    async def _drain(self, answered: Answered) -> None:
        """Wait a little for the rest; the status stands whatever becomes of it."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while not answered.done:
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
        except (TimeoutError, OSError, NotHttp):
            self._lost = True

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


@lru_cache(maxsize=_REQUESTS_KEPT)
def _origin(url: URL) -> str:
    return str(url.origin())


@lru_cache(maxsize=_REQUESTS_KEPT)
def _request(url: URL, user_agent: str) -> bytes:
    return (
        f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n"
        f"User-Agent: {user_agent}\r\nAccept: */*\r\n"
    ).encode("ascii")


def _fields(headers: Mapping[str, str], length: int) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise ValueError("a header has a line end in it")
    return f"{text}Content-Length: {length}\r\n\r\n".encode()
