"""OSCORE (RFC 8613) with a key a device: aiocoap's protection of messages, with contexts that forget nothing they must not.

Replays: each context has a window of 32 numbers. After a restart it is not known, unless the stop was orderly; then the
device's first message is answered 4.01 with an Echo that it returns with the message again (appendix B.1.2).

Nonces: answers carry Sender Sequence Numbers of ours, which are reserved durably before they are used, so that none is used
twice: not after a crash, not by two processes. (Those of requests are not used again: two processes that are sent one
request would encrypt two answers with one.)
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final

import structlog
from aiocoap import Code, Message, oscore
from cryptography.exceptions import InvalidTag

from adapters.coap.peer import Peer
from broker.errors import BrokerError
from broker.pipeline.intake import Credential, Keyring

log = structlog.get_logger(__name__)

NUMBERS: Final = 500
"""Sender Sequence Numbers reserved at once, count: one write for as many answers."""
LOW: Final = 100
"""How many are left when more are reserved, count."""
WINDOW: Final = 32
"""Numbers that the replay window knows (3.2.2's default), count."""
ECHO_BYTES: Final = 8


class NotOpened(Exception):
    """A message that is not to be acted on; `answer` is what to say."""

    def __init__(self, answer: Message) -> None:
        super().__init__(str(answer.code))
        self.answer = answer


class SecurePeer:
    """A device behind OSCORE, wherever its datagrams come from: `adapters.coap.peer.Peer`."""

    maximum_block_size_exp = 6
    maximum_payload_size = 1024
    is_multicast = False
    connection = b""

    def __init__(self, peer: Peer, credential: Credential) -> None:
        self._peer = peer
        self.key: Hashable = credential.key_id
        self.blockwise_key = credential.key_id
        self.device = credential.device_id
        self.key_id = credential.key_id
        self.hostinfo = peer.hostinfo

    def send(self, datagram: bytes) -> None:
        """See `Peer`."""
        self._peer.send(datagram)


class _Context(oscore.CanProtect, oscore.CanUnprotect, oscore.SecurityContextUtils):  # type: ignore[misc]  # no types
    """The security context of one key (RFC 8613, 3)."""

    alg_aead = oscore.algorithms[oscore.DEFAULT_ALGORITHM]
    hashfun = oscore.hashfunctions[oscore.DEFAULT_HASHFUNCTION]
    is_signing = False
    responses_send_kid = False

    def __init__(self, key: Credential, first: int, window: tuple[int, int] | None) -> None:
        self.sender_id, self.recipient_id, self.id_context = key.ours, key.theirs, key.context
        self.derive_keys(key.salt, key.secret)
        self.sender_sequence_number = first
        self.reserved = first + NUMBERS
        self.reserving = False
        self.echo_recovery = secrets.token_bytes(ECHO_BYTES)
        self.recipient_replay_window = oscore.ReplayWindow(WINDOW, lambda: None)
        if window is not None:
            self.recipient_replay_window.initialize_from_persisted({"index": window[0], "bitfield": window[1]})

    @property
    def window(self) -> tuple[int, int] | None:
        """The replay window; None while it is not known."""
        kept = self.recipient_replay_window.persist()
        return (kept["index"], kept["bitfield"]) if self.recipient_replay_window.is_initialized() else None

    def new_sequence_number(self) -> int:
        """One of those reserved. Raises ContextUnavailable when none is left."""
        if self.sender_sequence_number >= min(self.reserved, oscore.MAX_SEQNO):
            raise oscore.ContextUnavailable("No sequence number is reserved.")
        number: int = self.sender_sequence_number
        self.sender_sequence_number += 1
        return number

    def post_seqnoincrease(self) -> None:
        """Nothing: numbers are reserved ahead."""


class Opened:
    """A request out of its protection, and what its answer is protected with."""

    def __init__(self, request: Message, number: int, context: _Context, identifiers: Any) -> None:
        self.request = request
        self.number = number
        """The request's sequence number: no other request under the key has it."""
        self.echoed = request.opt.echo is not None
        """The device sends it again, having been asked to prove that it is fresh."""
        self._context = context
        self._identifiers = identifiers

    def protect(self, answer: Message) -> Message:
        """The answer as it goes out."""
        try:
            return _protected(self._context, answer, self._identifiers)
        except oscore.ContextUnavailable:
            return _plain(Code.SERVICE_UNAVAILABLE, b"", max_age=1)


class Contexts:
    """The security contexts in use, as many as memory is allowed for."""

    def __init__(self, keyring: Keyring, size: int) -> None:
        self._keyring = keyring
        self._size = size
        self._contexts: OrderedDict[str, _Context] = OrderedDict()
        self._loading: dict[str, asyncio.Task[_Context]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, message: Message) -> Opened:
        """The request in a protected one. Raises NotOpened with what to answer."""
        try:
            outer = oscore.verify_start(message)
        except Exception:
            raise NotOpened(_plain(Code.BAD_OPTION, b"The OSCORE option cannot be read.")) from None
        if int(message.code) not in (Code.POST, Code.FETCH):
            raise NotOpened(_plain(Code.METHOD_NOT_ALLOWED, b""))
        theirs, hint = outer.get(oscore.COSE_KID), outer.get(oscore.COSE_KID_CONTEXT)
        credential = self._keyring.oscore(theirs, hint) if theirs is not None else None
        if credential is None:
            raise NotOpened(_plain(Code.UNAUTHORIZED, b"Security context not found"))
        context = await self._context(credential)
        try:
            request, identifiers = context.unprotect(message)
        except oscore.ReplayErrorWithEcho as challenge:
            raise NotOpened(self._challenge(credential, context, challenge)) from None
        except oscore.ReplayError:
            raise NotOpened(_plain(Code.UNAUTHORIZED, b"Replay detected")) from None
        except oscore.DecodeError:
            raise NotOpened(_plain(Code.BAD_OPTION, b"Failed to decode COSE")) from None
        except (oscore.ProtectionInvalid, InvalidTag):
            raise NotOpened(_plain(Code.BAD_REQUEST, b"Decryption failed")) from None
        except Exception:
            # What was decrypted is no message: the device's own mistake, for nobody else can encrypt.
            raise NotOpened(_plain(Code.BAD_OPTION, b"The protected message cannot be read.")) from None
        if not request.code.is_request():
            raise NotOpened(_plain(Code.BAD_REQUEST, b"The protected message is no request."))
        request.remote = SecurePeer(message.remote, credential)
        request.token, request.mid, request.mtype = message.token, message.mid, message.mtype
        self._reserve(credential.key_id, context)
        return Opened(request, int.from_bytes(identifiers.partial_iv, "big"), context, identifiers)

    def _challenge(self, credential: Credential, context: _Context, challenge: Any) -> Message:
        """4.01 with an Echo, protected (B.1.2)."""
        self._reserve(credential.key_id, context)
        try:
            return _protected(context, Message(code=Code.UNAUTHORIZED, echo=challenge.echo), challenge.request_id)
        except oscore.ContextUnavailable:
            return _plain(Code.SERVICE_UNAVAILABLE, b"", max_age=1)

    async def _context(self, credential: Credential) -> _Context:
        key_id = credential.key_id
        while True:
            known = self._contexts.get(key_id)
            if known is not None:
                self._contexts.move_to_end(key_id)
                return known
            loading = self._loading.get(key_id)
            if loading is None:
                if len(self._loading) >= self._size:
                    raise NotOpened(_plain(Code.SERVICE_UNAVAILABLE, b"", max_age=10))
                loading = self._loading[key_id] = asyncio.create_task(self._load(credential))
                loading.add_done_callback(lambda _: self._loading.pop(key_id, None))
            try:
                await asyncio.shield(loading)
            except BrokerError as error:
                log.warning("oscore.not_begun", key=key_id, reason=error.detail)
                raise NotOpened(_plain(Code.SERVICE_UNAVAILABLE, b"", max_age=10)) from None

    async def _load(self, credential: Credential) -> _Context:
        numbers = await self._keyring.take(credential.key_id, NUMBERS, begins=True)
        context = self._contexts[credential.key_id] = _Context(credential, numbers.first, numbers.window)
        if len(self._contexts) > self._size:
            gone, evicted = self._contexts.popitem(last=False)
            if evicted.window is not None:
                self._run(self._rest({gone: evicted.window}))
        return context

    def _reserve(self, key_id: str, context: _Context) -> None:
        if context.reserved - context.sender_sequence_number < LOW and not context.reserving:
            context.reserving = True
            self._run(self._reserve_more(key_id, context))

    async def _reserve_more(self, key_id: str, context: _Context) -> None:
        try:
            numbers = await self._keyring.take(key_id, NUMBERS, begins=False)
            # What was left of the last ones is given up: a gap costs nothing.
            context.sender_sequence_number, context.reserved = numbers.first, numbers.first + NUMBERS
        except BrokerError as error:
            log.warning("oscore.not_reserved", key=key_id, reason=error.detail)
        finally:
            context.reserving = False

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _rest(self, windows: dict[str, tuple[int, int]]) -> None:
        try:
            await self._keyring.rest(windows)
        except BrokerError as error:
            log.warning("oscore.windows_not_kept", count=len(windows), reason=error.detail)

    @property
    def count(self) -> int:
        """Contexts in memory."""
        return len(self._contexts)

    async def close(self) -> None:
        """Keep the replay windows, so that the next start need not ask for freshness. Nothing is opened any more."""
        contexts, self._contexts = self._contexts, OrderedDict()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        windows = {key_id: one.window for key_id, one in contexts.items() if one.window is not None}
        if windows:
            await self._rest(windows)


def _protected(context: _Context, answer: Message, identifiers: Any) -> Message:
    identifiers.can_reuse_nonce = False
    outer: Message = context.protect(answer, identifiers)[0]
    return outer


def _plain(code: Code, text: bytes, max_age: int = 0) -> Message:
    """An answer that nobody vouches for (8.2)."""
    return Message(code=code, payload=text, max_age=max_age)
