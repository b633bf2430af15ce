"""CoAP over DTLS 1.2 with a pre-shared key a device: sessions by address, as many as are allowed.

first message, no cookie   -> a cookie, and nothing is kept
with the cookie            -> a session that must finish its handshake in time
a session's datagram       -> what it says, to the message layer
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final, cast

import structlog

from adapters.coap.gnutls import Session, Tls, TlsError
from adapters.coap.messages import Messages
from broker.config import Coap
from broker.pipeline.intake import Credential, Keyring

log = structlog.get_logger(__name__)

HANDSHAKES: Final = 1000
"""Sessions whose handshake is under way at once, count; beyond it the oldest goes."""
HANDSHAKE_SECONDS: Final = 60.0
"""How long a handshake may take: NB-IoT's round trips are up to ten seconds."""
RETRANSMIT_SECONDS: Final = 3.0
SWEEP_SECONDS: Final = 1.0
HEAD_BYTES: Final = 13
"""A record's head; shorter datagrams are none."""
_HANDSHAKE, _CLIENT_HELLO = 22, 1


class _Peer:
    """A device that has proven itself, behind its session: `adapters.coap.peer.Peer`."""

    maximum_block_size_exp = 6
    maximum_payload_size = 1024
    is_multicast = False

    def __init__(self, session: Session, credential: Credential, address: tuple[Any, ...], asker: Messages) -> None:
        self._session = session
        self._address = address
        self.asker = asker
        self.connection = secrets.token_bytes(8)
        self.key: Hashable = ("dtls", session.number)
        self.blockwise_key: Hashable = self.key
        self.device, self.key_id = credential.device_id, credential.key_id

    @property
    def hostinfo(self) -> str:
        host, port = self._address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def send(self, datagram: bytes) -> None:
        self._session.write(datagram)


class _Held:
    __slots__ = ("at", "began", "hello", "peer", "session")

    def __init__(self, session: Session, hello: bytes, now: float) -> None:
        self.session = session
        self.hello = hello
        """The message that began it, without its record's head: what differs when it is sent again."""
        self.peer: _Peer | None = None
        self.began = self.at = now


class DtlsServer(asyncio.DatagramProtocol):
    """The socket and its sessions."""

    def __init__(self, messages: Messages, keyring: Keyring, settings: Coap) -> None:
        """Raises adapters.coap.gnutls.Unavailable."""
        self._messages = messages
        self._keyring = keyring
        self._settings = settings
        self._tls = Tls(self._key_of)
        self._handshaking: OrderedDict[tuple[Any, ...], _Held] = OrderedDict()
        """In the order in which they began."""
        self._open: OrderedDict[tuple[Any, ...], _Held] = OrderedDict()
        """Those heard last at the end."""
        self._transport: asyncio.DatagramTransport | None = None
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Listen. Raises OSError."""
        await self._loop.create_datagram_endpoint(
            lambda: self, local_addr=(self._settings.host, self._settings.dtls_port)
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._settings.dtls_port

    @property
    def state(self) -> dict[str, int]:
        """How much is held: the bounds that tests look at."""
        return {"handshaking": len(self._handshaking), "open": len(self._open), "library": self._tls.count}

    async def run(self) -> None:
        """Send handshakes' messages again, end what is idle, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._loop.time()
            for address, held in list(self._handshaking.items()):
                if now - held.began > HANDSHAKE_SECONDS:
                    self._end(address, held)
                elif held.session.due:
                    self._guarded(address, held, held.session.handshake)
            for address, held in list(self._open.items()):
                key_id = held.peer.key_id if held.peer is not None else ""
                # What a revoked key's session says is refused at once; here it ends.
                if now - held.at > self._settings.session_idle_seconds or not self._keyring.holds(key_id):
                    self._end(address, held)

    async def close(self) -> None:
        """End all sessions, and tell the devices."""
        for held in [*self._handshaking.values(), *self._open.values()]:
            held.session.close()
        self._handshaking.clear()
        self._open.clear()
        if self._transport is not None:
            self._transport.close()
        self._tls.close()

    # --- asyncio.DatagramProtocol -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.DatagramProtocol."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """See asyncio.DatagramProtocol."""
        if len(data) < HEAD_BYTES:
            return
        held = self._open.get(addr) or self._handshaking.get(addr)
        if _begins(data) and (held is None or data[HEAD_BYTES:] != held.hello):
            # A device that lost its session begins anew from where it was: only who has the cookie ends the old one.
            self._begin(data, addr, held)
        elif held is not None:
            self._guarded(addr, held, partial(self._feed, addr, held, data))

    # --- sessions -----------------------------------------------------------------------------------------------------

    def _begin(self, data: bytes, address: tuple[Any, ...], before: _Held | None) -> None:
        assert self._transport is not None
        transport = self._transport
        answer, prestate = self._tls.cookie(data, repr(address).encode())
        if prestate is None:
            if answer:
                transport.sendto(answer, address)
            return
        if before is not None:
            self._end(address, before)
        while len(self._handshaking) >= HANDSHAKES:
            self._end(*next(iter(self._handshaking.items())))
        session = self._tls.session(
            prestate,
            lambda datagram: transport.sendto(datagram, address),
            round(RETRANSMIT_SECONDS * 1000),
            round(HANDSHAKE_SECONDS * 1000),
        )
        held = self._handshaking[address] = _Held(session, data[HEAD_BYTES:], self._loop.time())
        self._guarded(address, held, partial(self._feed, address, held, data))

    def _feed(self, address: tuple[Any, ...], held: _Held, data: bytes) -> None:
        said = held.session.feed(data)
        if held.session.open and held.peer is None:
            self._proven(address, held)
        if said is None:
            self._end(address, held)
            return
        if held.peer is None:
            return
        if said:
            # Only what is genuine keeps a session.
            held.at = self._loop.time()
            self._open.move_to_end(address)
        for message in said:
            self._messages.received(message, held.peer)

    def _proven(self, address: tuple[Any, ...], held: _Held) -> None:
        """The handshake is done: the device has the key."""
        credential = held.session.proven
        if credential is None or not self._keyring.holds(credential.key_id):
            raise TlsError("the key is not in force")
        self._handshaking.pop(address, None)
        while len(self._open) >= self._settings.sessions:
            self._end(*next(iter(self._open.items())))
        held.peer, held.at = _Peer(held.session, credential, address, self._messages), self._loop.time()
        self._open[address] = held

    def _guarded(self, address: tuple[Any, ...], held: _Held, work: Callable[[], None]) -> None:
        try:
            work()
        except TlsError as error:
            log.info("coap.session_ended", at=address[0], reason=str(error))
            self._end(address, held)

    def _end(self, address: tuple[Any, ...], held: _Held) -> None:
        held.session.close()
        for sessions in (self._handshaking, self._open):
            if sessions.get(address) is held:
                del sessions[address]

    def _key_of(self, session: Session, identity: str) -> bytes | None:
        credential = self._keyring.pre_shared(identity)
        session.proven = credential
        return credential.secret if credential is not None else None


def _begins(data: bytes) -> bool:
    """Whether it is the first message of a handshake, not encrypted."""
    return len(data) > HEAD_BYTES and data[0] == _HANDSHAKE and data[3:5] == b"\0\0" and data[13] == _CLIENT_HELLO
