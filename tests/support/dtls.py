"""A device that speaks DTLS 1.2 with a pre-shared key: GnuTLS as a client over a socket of its own. Calls block."""

from __future__ import annotations

import ctypes
import select
import socket
import time
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_ssize_t, c_uint, c_void_p

CLIENT, DATAGRAM, NONBLOCK = 2, 1 << 2, 1 << 3
CREDENTIALS_PSK, KEY_RAW, SHUT_WR = 4, 0, 1
E_AGAIN, E_INTERRUPTED = -28, -52
PRIORITY = b"NONE:+VERS-DTLS1.2:+AES-128-CCM-8:+PSK:+AEAD:+COMP-NULL:+SIGN-ALL"


class HandshakeFailed(Exception):
    """The server does not take the key."""


class _Datum(Structure):
    _fields_ = (("data", c_char_p), ("size", c_uint))


def _library() -> ctypes.CDLL:
    lib = ctypes.CDLL("libgnutls.so.30")
    for name in ("gnutls_record_send", "gnutls_record_recv"):
        function = getattr(lib, name)
        function.restype, function.argtypes = c_ssize_t, (c_void_p, c_void_p, c_size_t)
    lib.gnutls_handshake.argtypes = lib.gnutls_deinit.argtypes = (c_void_p,)
    lib.gnutls_bye.argtypes = (c_void_p, c_int)
    lib.gnutls_priority_set.argtypes = (c_void_p, c_void_p)
    lib.gnutls_credentials_set.argtypes = (c_void_p, c_int, c_void_p)
    lib.gnutls_transport_set_int2.argtypes = (c_void_p, c_int, c_int)
    lib.gnutls_psk_set_client_credentials.argtypes = (c_void_p, c_char_p, POINTER(_Datum), c_int)
    lib.gnutls_psk_free_client_credentials.argtypes = lib.gnutls_priority_deinit.argtypes = (c_void_p,)
    lib.gnutls_strerror.restype = c_char_p
    return lib


class DtlsDevice:
    """One session with a port of this machine."""

    def __init__(
        self, port: int, identity: str, key: bytes, *, seconds: float = 5.0, local: tuple[str, int] = ("", 0)
    ) -> None:
        """Shakes hands, from `local` if that is given. Raises HandshakeFailed."""
        lib = self._lib = _library()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(local)
        self._socket.connect(("127.0.0.1", port))
        self._session, self._priority, self._credentials = c_void_p(), c_void_p(), c_void_p()
        lib.gnutls_priority_init(byref(self._priority), PRIORITY, None)
        lib.gnutls_psk_allocate_client_credentials(byref(self._credentials))
        datum = _Datum(key, len(key))
        lib.gnutls_psk_set_client_credentials(self._credentials, identity.encode(), byref(datum), KEY_RAW)
        lib.gnutls_init(byref(self._session), CLIENT | DATAGRAM | NONBLOCK)
        lib.gnutls_priority_set(self._session, self._priority)
        lib.gnutls_credentials_set(self._session, CREDENTIALS_PSK, self._credentials)
        lib.gnutls_transport_set_int2(self._session, self._socket.fileno(), self._socket.fileno())
        self._seconds = seconds
        self._buffer = ctypes.create_string_buffer(1 << 14)
        result = self._waited(lambda: lib.gnutls_handshake(self._session))
        if result < 0:
            self.leave()
            raise HandshakeFailed((lib.gnutls_strerror(result) or b"").decode())

    def _waited(self, step: Callable[[], int]) -> int:
        """What a step gives once it need not wait any more. (GnuTLS's own waiting takes a tenth of a second each time.)"""
        ends = time.monotonic() + self._seconds
        while (result := step()) in (E_AGAIN, E_INTERRUPTED):
            left = ends - time.monotonic()
            if left <= 0:
                break
            select.select([self._socket], [], [], min(left, 0.5))
        return result

    def ask(self, datagram: bytes) -> bytes | None:
        """What is answered to a message; None when nothing is, or the session has ended."""
        self._lib.gnutls_record_send(self._session, datagram, len(datagram))
        size = self._waited(lambda: self._lib.gnutls_record_recv(self._session, self._buffer, 1 << 14))
        return self._buffer.raw[:size] if size > 0 else None

    def close(self) -> None:
        """Say goodbye, and go."""
        self._lib.gnutls_bye(self._session, SHUT_WR)
        self.leave()

    def leave(self) -> None:
        """Go without a word."""
        self._lib.gnutls_deinit(self._session)
        self._lib.gnutls_psk_free_client_credentials(self._credentials)
        self._lib.gnutls_priority_deinit(self._priority)
        self._socket.close()


def client_hello(cookie: bytes = b"", *, message: int = 0, chance: bytes = bytes(32)) -> bytes:
    """The first message of a handshake as it stands on the wire (RFC 6347, 4.2.1), by hand: for who goes no further."""
    body = b"\xfe\xfd" + chance + b"\0" + bytes((len(cookie),)) + cookie
    body += b"\0\x04\xc0\xa8\0\xff" + b"\x01\0"  # TLS_PSK_WITH_AES_128_CCM_8; no compression
    size = len(body).to_bytes(3, "big")
    handshake = b"\x01" + size + message.to_bytes(2, "big") + b"\0\0\0" + size + body
    return b"\x16\xfe\xfd\0\0" + message.to_bytes(6, "big") + len(handshake).to_bytes(2, "big") + handshake


def cookie_of(verify_request: bytes) -> bytes:
    """The cookie that the server wants back."""
    length = verify_request[27]
    return verify_request[28 : 28 + length]
