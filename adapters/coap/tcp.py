"""CoAP over TCP (RFC 8323) by aiocoap's connections, as many as are allowed and none that is idle for ever."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final

import structlog
from aiocoap import Message
from aiocoap.error import LibraryShutdown
from aiocoap.pipe import run_driving_pipe
from aiocoap.tokenmanager import TokenManager
from aiocoap.transports.tcp import TcpConnection, TCPServer

from broker.config import Coap, Limits

log = structlog.get_logger(__name__)

SWEEP_SECONDS: Final = 5.0
FRAME_BYTES: Final = 1024
"""A message's options and head beside its payload, bytes."""
HELLO_SECONDS: Final = 30.0
"""How long a connection may take to say its first whole message, seconds."""
_quiet = logging.getLogger("coap.tcp")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


class _Connection(TcpConnection):  # type: ignore[misc]  # aiocoap has no types
    """A device at the other end of a connection; unproven."""

    device = key_id = ""

    def __init__(self, server: TcpServer, carrier: TCPServer, limits: Limits) -> None:
        super().__init__(carrier, _quiet, asyncio.get_running_loop(), is_server=True)
        self._server = server
        self._my_max_message_size = limits.uplink_bytes + FRAME_BYTES
        self.connection = secrets.token_bytes(8)
        self.key: Hashable = self.connection
        self.since = self.loop.time()

    @property
    def blockwise_key(self) -> Hashable:
        """A transfer is its connection's."""
        return self.connection

    @property
    def heard(self) -> bool:
        """Whether it has said a whole message."""
        return self._remote_settings is not None

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        if not self._server.admit(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.heard:
            self.since = self.loop.time()
        try:
            super().data_received(data)
        except Exception as error:
            log.info("coap.connection_ended", at=self.hostinfo, reason=type(error).__name__)
            self.close()

    def pause_writing(self) -> None:
        """The device does not read what it asked for: nothing is kept for it."""
        self.close()

    def close(self) -> None:
        """At once."""
        self._transport.abort()

    def send(self, datagram: bytes) -> None:
        """Not for TCP."""
        raise NotImplementedError


class _Rendering:
    """What aiocoap's token manager wants of a context: it hands requests on."""

    client_credentials = None

    def __init__(self, handle: Callable[[Message], Awaitable[Message]], requests: int) -> None:
        self.log = _quiet
        self.loop = asyncio.get_running_loop()
        self._handle = handle
        self._room = asyncio.Semaphore(requests)

    def render_to_pipe(self, pipe: Any) -> None:
        """Answer the request of a pipe."""
        run_driving_pipe(pipe, self._answer(pipe), name="coap+tcp request")

    async def _answer(self, pipe: Any) -> None:
        async with self._room:
            pipe.add_response(await self._handle(pipe.request), is_last=True)


class TcpServer:
    """The listening socket and its connections."""

    def __init__(self, handle: Callable[[Message], Awaitable[Message]], settings: Coap, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits
        self._manager = TokenManager(_Rendering(handle, settings.requests))
        self._carrier = TCPServer()
        self._carrier._tokenmanager = self._manager
        self._carrier.log = _quiet
        self._manager.token_interface = self._carrier
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. Raises OSError."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self, self._carrier, self._limits), self._settings.host, self._settings.port
        )

    def admit(self, connection: _Connection) -> bool:
        """Whether there is room for one more."""
        self._connections = {one for one in self._connections if not one._transport.is_closing()}
        if len(self._connections) >= self._settings.connections:
            return False
        self._connections.add(connection)
        self._carrier._pool.add(connection)
        return True

    @property
    def count(self) -> int:
        """Connections now."""
        return len(self._carrier._pool)

    async def run(self) -> None:
        """Close what is idle, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            for one in list(self._connections):
                if one._transport.is_closing():
                    self._connections.discard(one)
                elif now - one.since > (self._settings.session_idle_seconds if one.heard else HELLO_SECONDS):
                    one.close()

    async def close(self) -> None:
        """Close everything; what is being worked on is not answered."""
        if self._server is not None:
            self._server.close()
        for one in list(self._connections):
            one.close()
        for _, stop in list(self._manager.incoming_requests.values()):
            stop()
        for request in list(self._manager.outgoing_requests.values()):
            request.add_exception(LibraryShutdown())
        if self._server is not None:
            await self._server.wait_closed()
