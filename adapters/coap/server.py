"""The CoAP server: sockets, what carries messages over them, and the resources behind (`adapters/coap/site.py`).

UDP datagram  -> Messages ----------------+
DTLS datagram -> GnuTLS -> Messages ------+-> Site -> intake
TCP           -> aiocoap ----------------+
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any, Final, cast

import structlog

from adapters.coap.dtls import DtlsServer
from adapters.coap.lwm2m import Registry
from adapters.coap.messages import Messages
from adapters.coap.oscore import Contexts
from adapters.coap.site import Site
from adapters.coap.speakers import Speakers
from adapters.coap.tcp import TcpServer
from broker import metrics
from broker.clock import Clock
from broker.config import Coap, Limits
from broker.pipeline.intake import Intake, Keyring, Outlet

log = structlog.get_logger(__name__)

TELL_SECONDS: Final = 1.0
"""How often the metrics are brought up to date."""


class CoapIntake:
    """The CoAP server of `settings`; `enabled` is the caller's to look at."""

    def __init__(
        self,
        settings: Coap,
        intake: Intake,
        clock: Clock,
        limits: Limits,
        outlet: Outlet | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        """`outlet`: where the devices' commands are; `keyring`: their keys. Without one there are none."""
        self._settings = settings
        self._limits = limits
        self._keyring = keyring
        speakers = Speakers(keyring, plain=settings.plain)
        self.contexts = Contexts(keyring, settings.contexts) if keyring is not None and settings.oscore else None
        self.registry = Registry(intake, clock, limits, settings.registrations, speakers)
        self.site = Site(intake, clock, limits, outlet, speakers, self.registry, self.contexts)
        self.messages: Messages | None = None
        """While it runs."""
        self.dtls: DtlsServer | None = None
        self.tcp: TcpServer | None = None
        self.ready = asyncio.Event()
        """Set while requests are taken."""

    @property
    def port(self) -> int:
        """Where it listens for UDP and TCP."""
        return self._settings.port

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError when an address cannot be bound, RuntimeError when DTLS cannot be had."""
        settings, loop = self._settings, asyncio.get_running_loop()
        messages = self.messages = Messages(
            self.site.handle, remembered=settings.remembered, requests=settings.requests
        )
        dtls = self.dtls = DtlsServer(messages, self._keyring, settings) if settings.dtls and self._keyring else None
        tcp = self.tcp = TcpServer(self.site.handle, settings, self._limits) if settings.tcp else None
        where = f"{settings.host}:{settings.port}"
        connected = metrics.connected.labels("coap", where)
        udp: asyncio.BaseTransport | None = None
        try:
            for server in (tcp, dtls):
                if server is not None:
                    await server.open()
            udp, _ = await loop.create_datagram_endpoint(
                lambda: _Udp(messages), local_addr=(settings.host, settings.port)
            )
            connected.set(1)
            self.ready.set()
            log.info("coap.listens", address=where, tcp=settings.tcp, dtls=settings.dtls)
            await asyncio.gather(
                self._tell(), self.registry.run(), *(one.run() for one in (tcp, dtls) if one is not None)
            )
        finally:
            connected.set(0)
            self.ready.clear()
            await messages.close()
            if udp is not None:
                udp.close()
            for server in (tcp, dtls):
                if server is not None:
                    await server.close()
            if self.contexts is not None:
                await self.contexts.close()

    @property
    def state(self) -> dict[str, int]:
        """How much is held, by what: bounded by the settings of the same names and constants beside the code."""
        held = {"registrations": self.registry.count}
        if self.contexts is not None:
            held["oscore contexts"] = self.contexts.count
        for name, part in (("", self.messages), ("tcp ", self.tcp), ("dtls ", self.dtls)):
            if part is not None:
                held |= {name + what: count for what, count in part.state.items()}
        return held

    async def _tell(self) -> None:
        while True:
            for what, count in self.state.items():
                metrics.coap_held.labels(what).set(count)
            await asyncio.sleep(TELL_SECONDS)


class _UdpPeer:
    """A device at an address, unproven."""

    __slots__ = ("_address", "_transport", "asker", "blockwise_key", "key")
    device = key_id = ""
    connection = b""
    maximum_block_size_exp = 6
    maximum_payload_size = 1024
    is_multicast = False

    def __init__(self, transport: asyncio.DatagramTransport, address: tuple[Any, ...], asker: Messages) -> None:
        self._transport = transport
        self._address = address
        self.asker = asker
        self.key: Hashable = address
        self.blockwise_key: Hashable = address

    @property
    def hostinfo(self) -> str:
        host, port = self._address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def send(self, datagram: bytes) -> None:
        self._transport.sendto(datagram, self._address)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own is no subclass of asyncio.DatagramTransport, though it is one.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        assert self._transport is not None
        self._messages.received(data, _UdpPeer(self._transport, addr, self._messages))

    def error_received(self, exc: Exception) -> None:
        # What an answer met on its way (port unreachable): the device is away, and asks again when it is back.
        log.debug("coap.not_delivered", reason=str(exc))
