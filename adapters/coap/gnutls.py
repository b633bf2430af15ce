"""DTLS 1.2 with pre-shared keys as a server, by GnuTLS (Debian's libgnutls30): a small binding, and no cryptography of ours.

One event loop's thread uses it. GnuTLS calls back into `_push` and `_pull` while one of ours is under way; which session it
means is the number that was given to it as its transport.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import secrets
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_ssize_t, c_uint, c_void_p
from typing import Any, Final

SERVER, DATAGRAM, NONBLOCK, NO_TICKETS = 1, 1 << 2, 1 << 3, 1 << 10
CREDENTIALS_PSK: Final = 4
SHUT_WR: Final = 1
E_AGAIN, E_INTERRUPTED, E_WARNING_ALERT, E_REHANDSHAKE = -28, -52, -16, -37
COOKIE_KEY_BYTES: Final = 16
UNKNOWN_KEY_BYTES: Final = 16
"""Of the random key that an unknown identity is given: its handshake fails as with a wrong key."""
MTU: Final = 1400
"""Bytes of a datagram that we send at most."""
RECORD_BYTES: Final = 1 << 14
PRIORITY: Final = (
    b"NONE:+VERS-DTLS1.2:+AES-128-CCM-8:+AES-128-CCM:+AES-128-GCM:+AES-256-GCM:+PSK:+AEAD:+COMP-NULL:+SIGN-ALL"
    b":%SERVER_PRECEDENCE"
)
"""TLS_PSK_WITH_AES_128_CCM_8 is what CoAP's devices must have (RFC 7252, 9.1.3.1). Nothing is signed, but GnuTLS refuses a
list without signatures."""


class Unavailable(RuntimeError):
    """GnuTLS is not installed, or lacks something."""


class TlsError(Exception):
    """A session cannot go on."""


class _Datum(Structure):
    _fields_ = (("data", c_void_p), ("size", c_uint))


class _Prestate(Structure):
    _fields_ = (("record_seq", c_uint), ("hsk_read_seq", c_uint), ("hsk_write_seq", c_uint))


_Push = CFUNCTYPE(c_ssize_t, c_void_p, c_void_p, c_size_t)
_Pull = CFUNCTYPE(c_ssize_t, c_void_p, c_void_p, c_size_t)
_PullTimeout = CFUNCTYPE(c_int, c_void_p, c_uint)
_PskKey = CFUNCTYPE(c_int, c_void_p, c_char_p, POINTER(_Datum))
_Malloc = CFUNCTYPE(c_void_p, c_size_t)

Lookup = Callable[["Session", str], bytes | None]
"""A session and the identity that it names -> the key; None for an unknown one."""


class Tls:
    """The library, with one set of credentials: those that `lookup` knows."""

    def __init__(self, lookup: Lookup) -> None:
        """Raises Unavailable."""
        try:
            self.lib = ctypes.CDLL("libgnutls.so.30")
        except OSError:
            raise Unavailable("coap.dtls needs GnuTLS: apt-get install libgnutls30.") from None
        lib = self.lib
        for name in ("gnutls_record_send", "gnutls_record_recv"):
            function = getattr(lib, name)
            function.restype, function.argtypes = c_ssize_t, (c_void_p, c_void_p, c_size_t)
        for name in ("gnutls_handshake", "gnutls_deinit", "gnutls_error_is_fatal", "gnutls_dtls_get_timeout"):
            getattr(lib, name).argtypes = (c_int if name == "gnutls_error_is_fatal" else c_void_p,)
        lib.gnutls_dtls_get_timeout.restype = c_uint
        lib.gnutls_bye.argtypes = (c_void_p, c_int)
        lib.gnutls_strerror.restype = c_char_p
        for name in ("push", "pull", "pull_timeout"):
            getattr(lib, f"gnutls_transport_set_{name}_function").argtypes = (c_void_p, c_void_p)
        lib.gnutls_transport_set_ptr.argtypes = (c_void_p, c_void_p)
        lib.gnutls_transport_set_errno.argtypes = (c_void_p, c_int)
        lib.gnutls_dtls_set_mtu.argtypes = (c_void_p, c_uint)
        lib.gnutls_dtls_set_timeouts.argtypes = (c_void_p, c_uint, c_uint)
        lib.gnutls_dtls_prestate_set.argtypes = (c_void_p, c_void_p)
        lib.gnutls_priority_set.argtypes = (c_void_p, c_void_p)
        lib.gnutls_credentials_set.argtypes = (c_void_p, c_int, c_void_p)
        lib.gnutls_dtls_cookie_verify.argtypes = (c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)
        lib.gnutls_dtls_cookie_send.argtypes = (c_void_p, c_void_p, c_size_t, c_void_p, c_void_p, c_void_p)
        lib.gnutls_psk_set_server_credentials_function.argtypes = (c_void_p, c_void_p)
        self._malloc = _Malloc(c_void_p.in_dll(lib, "gnutls_malloc").value or 0)
        self._lookup = lookup
        self._sessions: dict[int, Session] = {}
        self._by_pointer: dict[int, Session] = {}
        self._numbers = 0
        self._cookie = b""
        # These must live as long as the library may call them.
        self.push, self.pull = _Push(self._on_push), _Pull(self._on_pull)
        self.pull_timeout = _PullTimeout(self._on_pull_timeout)
        self._cookie_push = _Push(self._on_cookie)
        self._psk = _PskKey(self._on_psk)
        self._cookie_bytes = ctypes.create_string_buffer(secrets.token_bytes(COOKIE_KEY_BYTES), COOKIE_KEY_BYTES)
        self._cookie_key = _Datum(ctypes.addressof(self._cookie_bytes), COOKIE_KEY_BYTES)
        self.priority, self.credentials = c_void_p(), c_void_p()
        self.checked(lib.gnutls_priority_init(byref(self.priority), PRIORITY, None))
        self.checked(lib.gnutls_psk_allocate_server_credentials(byref(self.credentials)))
        lib.gnutls_psk_set_server_credentials_function(self.credentials, ctypes.cast(self._psk, c_void_p))

    def checked(self, result: int) -> int:
        """`result`; raises TlsError for an error."""
        if result < 0:
            raise TlsError((self.lib.gnutls_strerror(result) or b"").decode())
        return result

    def cookie(self, datagram: bytes, address: bytes) -> tuple[bytes, _Prestate | None]:
        """RFC 6347, 4.2.1: what to answer a first message with, or, when it brings the cookie back, how to go on.

        Nothing is kept of who does not answer at its address.
        """
        prestate = _Prestate()
        verified = self.lib.gnutls_dtls_cookie_verify(
            byref(self._cookie_key), address, len(address), datagram, len(datagram), byref(prestate)
        )
        if verified >= 0:
            return b"", prestate
        self._cookie = b""
        self.lib.gnutls_dtls_cookie_send(
            byref(self._cookie_key),
            address,
            len(address),
            byref(prestate),
            None,
            ctypes.cast(self._cookie_push, c_void_p),
        )
        return self._cookie, None

    def session(self, prestate: _Prestate, send: Callable[[bytes], None], retransmit: int, total: int) -> Session:
        """A new session. `retransmit`, `total`: its handshake's times, milliseconds."""
        self._numbers += 1
        made = Session(self, self._numbers, prestate, send, retransmit, total)
        self._sessions[made.number] = made
        self._by_pointer[made.pointer] = made
        return made

    def gone(self, session: Session) -> None:
        """Forget a session that was closed."""
        self._sessions.pop(session.number, None)
        self._by_pointer.pop(session.pointer, None)

    @property
    def count(self) -> int:
        """Sessions that the library holds."""
        return len(self._sessions)

    def close(self) -> None:
        """Let go of the credentials; sessions must be closed."""
        self.lib.gnutls_psk_free_server_credentials(self.credentials)
        self.lib.gnutls_priority_deinit(self.priority)

    # --- called by the library; none may raise ------------------------------------------------------------------------

    def _on_push(self, number: int | None, data: int, size: int) -> int:
        session = self._sessions.get(number or 0)
        if session is not None:
            session.pushed(ctypes.string_at(data, size))
        return size

    def _on_pull(self, number: int | None, data: int, size: int) -> int:
        session = self._sessions.get(number or 0)
        if session is None:
            return 0
        datagram, session.inbox = session.inbox, None
        if datagram is None:
            self.lib.gnutls_transport_set_errno(session.pointer, errno.EAGAIN)
            return -1
        taken = datagram[:size]
        ctypes.memmove(data, taken, len(taken))
        return len(taken)

    def _on_pull_timeout(self, number: int | None, milliseconds: int) -> int:
        session = self._sessions.get(number or 0)
        return 1 if session is not None and session.inbox is not None else 0

    def _on_cookie(self, number: int | None, data: int, size: int) -> int:
        self._cookie = ctypes.string_at(data, size)
        return size

    def _on_psk(self, pointer: int, identity: bytes | None, key: Any) -> int:
        session = self._by_pointer.get(pointer)
        if session is None:
            return -1
        try:
            secret = self._lookup(session, (identity or b"").decode())
        except Exception:
            secret = None
        if secret is None:
            secret = secrets.token_bytes(UNKNOWN_KEY_BYTES)
        memory = self._malloc(len(secret))
        if not memory:
            return -1
        ctypes.memmove(memory, secret, len(secret))
        key.contents.data, key.contents.size = memory, len(secret)
        return 0


class Session:
    """One device's session. Every method may raise TlsError, after which only `close` is left."""

    __slots__ = ("_flight", "_send", "_tls", "closed", "inbox", "number", "open", "pointer", "proven")

    def __init__(
        self, tls: Tls, number: int, prestate: _Prestate, send: Callable[[bytes], None], retransmit: int, total: int
    ) -> None:
        lib, handle = tls.lib, c_void_p()
        tls.checked(lib.gnutls_init(byref(handle), SERVER | DATAGRAM | NONBLOCK | NO_TICKETS))
        self._tls, self.number, self.pointer = tls, number, int(handle.value or 0)
        self._send = send
        self._flight: list[bytes] | None = None
        self.inbox: bytes | None = None
        self.open = self.closed = False
        self.proven: Any = None
        """What the lookup found for the identity: for its user."""
        lib.gnutls_priority_set(self.pointer, tls.priority)
        lib.gnutls_credentials_set(self.pointer, CREDENTIALS_PSK, tls.credentials)
        lib.gnutls_transport_set_ptr(self.pointer, number)
        lib.gnutls_transport_set_push_function(self.pointer, ctypes.cast(tls.push, c_void_p))
        lib.gnutls_transport_set_pull_function(self.pointer, ctypes.cast(tls.pull, c_void_p))
        lib.gnutls_transport_set_pull_timeout_function(self.pointer, ctypes.cast(tls.pull_timeout, c_void_p))
        lib.gnutls_dtls_set_mtu(self.pointer, MTU)
        lib.gnutls_dtls_set_timeouts(self.pointer, retransmit, total)
        lib.gnutls_dtls_prestate_set(self.pointer, byref(prestate))

    def feed(self, datagram: bytes) -> list[bytes] | None:
        """Take a datagram: what it says. None: the device has closed the session."""
        self.inbox = datagram
        try:
            if not self.open:
                self.handshake()
                if not self.open:
                    return []
            said: list[bytes] = []
            while True:
                got = self._received()
                if got is None:
                    return said
                if not got:
                    return None
                said.append(got)
        finally:
            self.inbox = None

    def handshake(self) -> None:
        """Go on with the handshake, also to send again what was not answered."""
        self._flight = []
        try:
            result = self._tls.lib.gnutls_handshake(self.pointer)
        finally:
            flight, self._flight = self._flight, None
            for datagram in _together(flight):
                self._send(datagram)
        if result == 0:
            self.open = True
        elif self._tls.lib.gnutls_error_is_fatal(result):
            self._tls.checked(result)

    def pushed(self, record: bytes) -> None:
        """Called by the library: one record that is to go out."""
        if self._flight is None:
            self._send(record)
        else:
            self._flight.append(record)

    @property
    def due(self) -> bool:
        """Whether a flight of the handshake is to be sent again."""
        return not self.open and self._tls.lib.gnutls_dtls_get_timeout(self.pointer) == 0

    def _received(self) -> bytes | None:
        """The next record; b'' at the session's end, None when there is no more."""
        buffer = _buffer
        while True:
            size = self._tls.lib.gnutls_record_recv(self.pointer, buffer, RECORD_BYTES)
            if size >= 0:
                return ctypes.string_at(buffer, size)
            if size in (E_AGAIN, E_INTERRUPTED):
                return None
            if self._tls.lib.gnutls_error_is_fatal(size):
                self._tls.checked(size)
            if self.inbox is None:
                # A warning, or a wish to negotiate anew, which is passed over.
                return None

    def write(self, message: bytes) -> None:
        """Send a message, or drop it."""
        if self.open and not self.closed:
            self._tls.lib.gnutls_record_send(self.pointer, message, len(message))

    def close(self) -> None:
        """Say so to the device, and free everything."""
        if self.closed:
            return
        self.closed = True
        if self.open:
            self._tls.lib.gnutls_bye(self.pointer, SHUT_WR)
        self._tls.lib.gnutls_deinit(self.pointer)
        self._tls.gone(self)


_buffer = ctypes.create_string_buffer(RECORD_BYTES)


def _together(records: list[bytes]) -> list[bytes]:
    """The records in as few datagrams as they fit in (RFC 6347, 4.1.1): fewer to send, and none before another."""
    datagrams: list[bytes] = []
    for record in records:
        if datagrams and len(datagrams[-1]) + len(record) <= MTU:
            datagrams[-1] += record
        else:
            datagrams.append(record)
    return datagrams
