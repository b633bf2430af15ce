"""CoAP's message layer over datagrams (RFC 7252, section 4), as a server with bounded memory needs it.

aiocoap's own remembers each request for 247 s in 1.8 to 3 KB, and has no limit. Here an answer is kept as its bytes, and no
more than so many. Messages themselves are aiocoap's.

    datagram -> duplicate? -> request  -> handler, in a task     -> answer in the acknowledgement, or by itself
                           -> response -> who asked, or who observes
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final

import structlog
from aiocoap import Code, Message
from aiocoap.error import UnparsableMessage
from aiocoap.numbers.types import ACK, CON, NON, RST

from adapters.coap.peer import Peer

log = structlog.get_logger(__name__)

EXCHANGE_LIFETIME_SECONDS: Final = 247.0
"""How long a message id names a message of one endpoint (RFC 7252, 4.8.2)."""
ACK_TIMEOUT_SECONDS: Final = 2.0
ACK_RANDOM_FACTOR: Final = 1.5
MAX_RETRANSMIT: Final = 4
"""RFC 7252, 4.8."""
ANSWER_SECONDS: Final = 100.0
"""How long a device has to answer a request of ours: MAX_TRANSMIT_WAIT (93 s) and some more."""
BUSY_SECONDS: Final = 10
"""Max-Age of a refusal because too much is under way."""
OWN_REQUESTS: Final = 2000
"""Requests and answers of ours that wait for their acknowledgement at once, count."""
LONGEST_TOKEN: Final = 8


class NoAnswer(Exception):
    """A device did not answer, or refused the message."""


Handler = Callable[[Message], Awaitable[Message | None]]
"""A request -> its answer; None: none."""
Heard = Callable[[Message], Awaitable[bool]]
"""A notification -> whether it was taken; False: it comes again."""


class _Exchange:
    __slots__ = ("answer", "at", "separate")

    def __init__(self, at: float) -> None:
        self.at = at
        self.answer = b""
        self.separate = False


class _Sent:
    """A confirmable message of ours, until it is acknowledged."""

    __slots__ = ("datagram", "failed", "peer", "timeout", "timer", "tries")

    def __init__(self, peer: Peer, datagram: bytes, failed: Callable[[str], None] | None) -> None:
        self.peer = peer
        self.datagram = datagram
        self.failed = failed
        self.tries = 0
        self.timeout = ACK_TIMEOUT_SECONDS * random.uniform(1, ACK_RANDOM_FACTOR)  # noqa: S311
        self.timer: asyncio.TimerHandle | None = None


class Messages:
    """The message layer of one or several sockets."""

    def __init__(self, handle: Handler, *, remembered: int, requests: int) -> None:
        """`remembered`: messages, and `requests`: being worked on, at most."""
        self._handle = handle
        self._remembered = remembered
        self._requests = requests
        self._known: OrderedDict[tuple[Hashable, int], _Exchange] = OrderedDict()
        self._open: set[asyncio.Task[None]] = set()
        self._sent: dict[tuple[Hashable, int], _Sent] = {}
        self._asked: dict[bytes, tuple[Hashable, asyncio.Future[Message]]] = {}
        self._observed: dict[bytes, tuple[Hashable, Heard]] = {}
        self._loop = asyncio.get_running_loop()
        self._mid = random.randrange(1 << 16)  # noqa: S311
        self._closed = False

    # --- receiving ----------------------------------------------------------------------------------------------------

    def received(self, datagram: bytes, peer: Peer) -> None:
        """One datagram from `peer`. Never raises."""
        if self._closed:
            return
        try:
            message = Message.decode(datagram, peer)
            sound = datagram[0] & 0xF <= LONGEST_TOKEN and len(message.token) == datagram[0] & 0xF
        except (UnparsableMessage, ValueError, IndexError):
            sound = False
        if not sound:
            self._unreadable(datagram, peer)
            return
        code = int(message.code)
        if code == 0:
            self._empty(message, datagram, peer)
        elif code < 32 and message.mtype in (CON, NON):
            self._request(message, peer)
        elif 64 <= code < 192 and message.mtype is not RST:
            self._response(message, peer)
        elif message.mtype is CON:
            self._reset(message.mid, peer)

    def _unreadable(self, datagram: bytes, peer: Peer) -> None:
        """4.2: a confirmable message that cannot be read is rejected; others, and what is no CoAP, are not answered."""
        if len(datagram) >= 4 and datagram[0] & 0xF0 == 0x40:
            self._reset(int.from_bytes(datagram[2:4], "big"), peer)

    def _empty(self, message: Message, datagram: bytes, peer: Peer) -> None:
        if message.mtype is CON:  # a ping, or malformed: either way (4.1, 4.3)
            self._reset(message.mid, peer)
        elif message.mtype in (ACK, RST) and len(datagram) == 4:
            self._ended(message.mid, peer, reset=message.mtype is RST)

    def _ended(self, mid: int, peer: Peer, *, reset: bool) -> None:
        sent = self._sent.pop((peer.key, mid), None)
        if sent is not None:
            if sent.timer is not None:
                sent.timer.cancel()
            if reset and sent.failed is not None:
                sent.failed("it was rejected")

    def _request(self, message: Message, peer: Peer) -> None:
        key = (peer.key, message.mid)
        known = self._known.get(key)
        if known is not None:
            if message.mtype is CON:
                if not known.answer:
                    # It takes longer than the device waits: tell it that the answer will come by itself (5.2.2).
                    known.separate = True
                peer.send(known.answer or _empty(ACK, message.mid))
            return
        exchange = self._remember(key)
        if len(self._open) >= self._requests:
            busy = Message(code=Code.SERVICE_UNAVAILABLE, max_age=BUSY_SECONDS, payload=b"Too much is under way.")
            self._answer(message, peer, exchange, busy)
            # Nothing was done, so its repetition is a new attempt.
            self._known.pop(key, None)
            return
        task = self._loop.create_task(self._work(message, peer, exchange))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    def _remember(self, key: tuple[Hashable, int]) -> _Exchange:
        now = self._loop.time()
        while self._known:
            first = next(iter(self._known))
            if len(self._known) < self._remembered and self._known[first].at > now - EXCHANGE_LIFETIME_SECONDS:
                break
            del self._known[first]
        exchange = self._known[key] = _Exchange(now)
        return exchange

    async def _work(self, message: Message, peer: Peer, exchange: _Exchange) -> None:
        try:
            answer = await self._handle(message)
        except Exception:
            log.exception("coap.request_failed")
            answer = Message(code=Code.INTERNAL_SERVER_ERROR)
        self._answer(message, peer, exchange, answer)

    def _answer(self, message: Message, peer: Peer, exchange: _Exchange, answer: Message | None) -> None:
        if answer is None or unwanted(message, answer):
            if message.mtype is CON:
                exchange.answer = _empty(ACK, message.mid)
                if not exchange.separate:
                    peer.send(exchange.answer)
            return
        answer.token = message.token
        if message.mtype is CON and not exchange.separate:
            answer.mtype, answer.mid = ACK, message.mid
            exchange.answer = answer.encode()
            peer.send(exchange.answer)
            return
        answer.mid = self._next_mid()
        if message.mtype is CON:
            answer.mtype = CON
            exchange.answer = _empty(ACK, message.mid)
            self._send_reliably(peer, answer.mid, answer.encode(), None)
        else:
            answer.mtype = NON
            exchange.answer = answer.encode()
            peer.send(exchange.answer)

    # --- answers and notifications of devices -------------------------------------------------------------------------

    def _response(self, message: Message, peer: Peer) -> None:
        if message.mtype is ACK:
            self._ended(message.mid, peer, reset=False)
        asked = self._asked.get(message.token)
        if asked is not None and asked[0] == peer.key:
            if not asked[1].done():
                asked[1].set_result(message)
            if message.mtype is CON:
                peer.send(_empty(ACK, message.mid))
            return
        observed = self._observed.get(message.token)
        if observed is None or observed[0] != peer.key:
            # 4.2, and of a notification 3.6 of RFC 7641: who sent it need not send more.
            if message.mtype is not ACK:
                self._reset(message.mid, peer)
            return
        key = (peer.key, message.mid)
        known = self._known.get(key)
        if known is not None:
            if known.answer and message.mtype is CON:
                peer.send(known.answer)
            return
        if len(self._open) >= self._requests:
            return  # not acknowledged: it comes again
        task = self._loop.create_task(self._notified(message, peer, observed[1], key))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _notified(self, message: Message, peer: Peer, heard: Heard, key: tuple[Hashable, int]) -> None:
        exchange = self._remember(key)
        try:
            taken = await heard(message)
        except Exception:
            log.exception("coap.notification_failed")
            taken = False
        if not taken:
            self._known.pop(key, None)
        elif message.mtype is CON:
            exchange.answer = _empty(ACK, message.mid)
            peer.send(exchange.answer)

    # --- requests of ours ---------------------------------------------------------------------------------------------

    async def ask(self, peer: Peer, request: Message, heard: Heard | None = None) -> Message:
        """The answer to a request. With `heard`, what is observed is handed to it until `forget`. Raises NoAnswer."""
        if len(self._sent) >= OWN_REQUESTS:
            raise NoAnswer("too many messages of ours are under way")
        token = secrets.token_bytes(LONGEST_TOKEN)
        answered: asyncio.Future[Message] = self._loop.create_future()
        request.token, request.mtype, request.mid = token, CON, self._next_mid()
        self._asked[token] = (peer.key, answered)

        def failed(reason: str) -> None:
            if not answered.done():
                answered.set_exception(NoAnswer(f"{peer.hostinfo}: {reason}"))

        self._send_reliably(peer, request.mid, request.encode(), failed)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await answered
        except TimeoutError:
            raise NoAnswer(f"{peer.hostinfo}: no answer came") from None
        finally:
            del self._asked[token]
            self._ended(request.mid, peer, reset=False)
        if heard is not None and answer.opt.observe is not None and answer.code.is_successful():
            self._observed[token] = (peer.key, heard)
        return answer

    def forget(self, token: bytes) -> None:
        """Notifications under `token` are not wanted any more; the next one is told so."""
        self._observed.pop(token, None)

    @property
    def state(self) -> dict[str, int]:
        """How much is held: the bounds that tests look at."""
        return {
            "remembered": len(self._known),
            "requests": len(self._open),
            "sent": len(self._sent),
            "asked": len(self._asked),
            "observed": len(self._observed),
        }

    async def close(self) -> None:
        """Let go of everything; what is being worked on is cancelled, and so not acknowledged."""
        self._closed = True
        for sent in self._sent.values():
            if sent.timer is not None:
                sent.timer.cancel()
        self._sent.clear()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._known.clear()
        self._observed.clear()

    # --- sending ------------------------------------------------------------------------------------------------------

    def _send_reliably(self, peer: Peer, mid: int, datagram: bytes, failed: Callable[[str], None] | None) -> None:
        if len(self._sent) >= OWN_REQUESTS:
            peer.send(datagram)  # once, and no memory of it: the device asks again
            return
        sent = self._sent[peer.key, mid] = _Sent(peer, datagram, failed)
        self._transmit((peer.key, mid), sent)

    def _transmit(self, key: tuple[Hashable, int], sent: _Sent) -> None:
        sent.peer.send(sent.datagram)
        sent.timer = self._loop.call_later(sent.timeout, self._unacknowledged, key, sent)

    def _unacknowledged(self, key: tuple[Hashable, int], sent: _Sent) -> None:
        if sent.tries == MAX_RETRANSMIT:
            self._sent.pop(key, None)
            if sent.failed is not None:
                sent.failed("it was not acknowledged")
            return
        sent.tries += 1
        sent.timeout *= 2
        self._transmit(key, sent)

    def _reset(self, mid: int, peer: Peer) -> None:
        peer.send(_empty(RST, mid))

    def _next_mid(self) -> int:
        self._mid = self._mid + 1 & 0xFFFF
        return self._mid


def _empty(kind: Any, mid: int) -> bytes:
    return bytes((0x40 | int(kind) << 4, 0, mid >> 8, mid & 0xFF))


def unwanted(request: Message, answer: Message) -> bool:
    """Whether the device said that it wants no such answer (RFC 7967)."""
    unwanted = request.opt.no_response
    return bool(unwanted) and bool(unwanted & 1 << (int(answer.code) >> 5) - 1)
