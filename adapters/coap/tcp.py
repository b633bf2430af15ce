"""CoAP over TCP (RFC 8323): connections, as many as are allowed, and none that is idle for ever or does not read."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Hashable
from typing import Any, Final, cast

import structlog
from aiocoap import Code, Message
from aiocoap.numbers.codes import ABORT, CSM, PING, PONG, RELEASE
from aiocoap.optiontypes import UintOption

from adapters.coap.framing import Frames, FramingError, framed
from adapters.coap.messages import BUSY_SECONDS, Handler, unwanted
from broker.config import Coap, Limits

log = structlog.get_logger(__name__)

SWEEP_SECONDS: Final = 5.0
FRAME_BYTES: Final = 1024
"""A message's options and head beside its payload, bytes."""
HELLO_SECONDS: Final = 30.0
"""How long a connection may take to say its first message, seconds."""
PIPELINED: Final = 64
"""Requests of one connection being worked on at once, count; beyond it they get 5.03."""
_MAX_MESSAGE_SIZE, _BLOCK_WISE = 2, 4
"""Options of a CSM (RFC 8323, 5.3)."""


class _Connection(asyncio.Protocol):
    """A device at the other end of a connection; unproven. What `adapters.coap.peer.Peer` has, but no datagrams."""

    device = key_id = ""
    maximum_block_size_exp = 6
    maximum_payload_size = 1024
    is_multicast = False
    hostinfo = ""

    def __init__(self, server: TcpServer, most: int) -> None:
        self._server = server
        self._most = most
        self._frames = Frames(most)
        self._transport: asyncio.Transport | None = None
        self.connection = secrets.token_bytes(8)
        self.key: Hashable = self.connection
        self.blockwise_key: Hashable = self.connection
        self.heard = False
        """Whether it has said its CSM, which must be its first message."""
        self.since = asyncio.get_running_loop().time()
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        host, port = transport.get_extra_info("peername")[:2]
        self.hostinfo = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if not self._server.admit(self):
            self.close()
            return
        csm = Message(code=CSM)
        csm.opt.add_option(UintOption(_MAX_MESSAGE_SIZE, self._most))
        csm.opt.add_option(UintOption(_BLOCK_WISE, 0))
        self.write(csm)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.gone(self)
        for task in self.tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._received(message)
                if self._transport is None or self._transport.is_closing():
                    return
        except FramingError as error:
            self._abort(str(error))

    def _received(self, message: Message) -> None:
        code = int(message.code)
        if code >= 0xE0:
            self._signalled(message)
        elif not self.heard:
            self._abort("The first message must be a CSM.")
        elif 0 < code < 0x20:
            self.since = asyncio.get_running_loop().time()
            message.remote = self
            self._server.requested(message, self)
        # An empty message is passed over (3.4), and no request of ours waits for an answer.

    def _signalled(self, message: Message) -> None:
        """5: signalling messages."""
        if message.code not in (CSM, PING, PONG, RELEASE, ABORT):
            self._abort("This signal is not known.")
        elif message.code in (RELEASE, ABORT):
            self.close()
        elif any(option.number.is_critical() for option in message.opt.option_list()):
            self._abort("A critical option of the signal is not known.")
        elif message.code == CSM:
            self.heard = True
        elif message.code == PING:
            self.since = asyncio.get_running_loop().time()
            self.write(Message(code=PONG, _token=message.token))

    def _abort(self, reason: str) -> None:
        """5.6: say why, and close."""
        log.info("coap.connection_ended", at=self.hostinfo, reason=reason)
        self.write(Message(code=ABORT, payload=reason.encode()))
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        """The device does not read what it asked for: nothing is kept for it."""
        self.close()

    def write(self, message: Message) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(framed(message))

    def close(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.abort()


class TcpServer:
    """The listening socket and its connections."""

    def __init__(self, handle: Handler, settings: Coap, limits: Limits) -> None:
        self._handle = handle
        self._settings = settings
        self._limits = limits
        self._connections: set[_Connection] = set()
        self._requests = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. Raises OSError."""
        most = self._limits.uplink_bytes + FRAME_BYTES
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self, most), self._settings.host, self._settings.port
        )

    def admit(self, connection: _Connection) -> bool:
        """Whether there is room for one more."""
        if len(self._connections) >= self._settings.connections:
            return False
        self._connections.add(connection)
        return True

    def gone(self, connection: _Connection) -> None:
        """Forget a connection that has ended."""
        self._connections.discard(connection)

    def requested(self, request: Message, connection: _Connection) -> None:
        """Answer a request, in a task of its own; a connection's answers may come in any order (RFC 8323, 3.3)."""
        if len(connection.tasks) >= PIPELINED or self._requests >= self._settings.requests:
            busy = Message(code=Code.SERVICE_UNAVAILABLE, max_age=BUSY_SECONDS, payload=b"Too much is under way.")
            busy.token = request.token
            connection.write(busy)
            return
        self._requests += 1
        task = asyncio.create_task(self._work(request, connection))
        connection.tasks.add(task)
        task.add_done_callback(lambda done: self._worked(done, connection))

    def _worked(self, task: asyncio.Task[None], connection: _Connection) -> None:
        self._requests -= 1
        connection.tasks.discard(task)

    async def _work(self, request: Message, connection: _Connection) -> None:
        try:
            answer = await self._handle(request)
        except Exception:
            log.exception("coap.request_failed")
            answer = Message(code=Code.INTERNAL_SERVER_ERROR)
        if answer is not None and not unwanted(request, answer):
            answer.token = request.token
            connection.write(answer)

    @property
    def state(self) -> dict[str, int]:
        """How much is held: the bounds that tests look at."""
        return {"connections": len(self._connections), "requests": self._requests}

    async def run(self) -> None:
        """Close what is idle, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            for one in list(self._connections):
                if not one.tasks and now - one.since > (
                    self._settings.session_idle_seconds if one.heard else HELLO_SECONDS
                ):
                    one.close()

    async def close(self) -> None:
        """Close everything; what is being worked on is not answered."""
        tasks: list[asyncio.Task[Any]] = []
        if self._server is not None:
            self._server.close()
        for one in list(self._connections):
            tasks += one.tasks
            one.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
