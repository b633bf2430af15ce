"""CoAP's messages in a stream of bytes (RFC 8323, 3.2). Pure.

| Len (4 bits) | TKL (4 bits) | extended Len (0, 1, 2, 4 bytes) | Code | Token | options, 0xFF, payload |
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiocoap import Message
from aiocoap.error import UnparsableMessage

LONGEST_TOKEN: Final = 8
_EXTENDED: Final = {13: (1, 13), 14: (2, 269), 15: (4, 65805)}
"""Of Len: how many bytes follow, and what is added to them."""


class FramingError(Exception):
    """The stream cannot be read any further."""


class Frames:
    """What has come in of a stream and is no whole message yet: never more than one message and what came with its end."""

    def __init__(self, most: int) -> None:
        """`most`: bytes of a message at most."""
        self._most = most
        self._rest = bytearray()

    @property
    def held(self) -> int:
        """Bytes."""
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole now, one by one. Raises FramingError, after which nothing more is read."""
        rest, at = self._rest, 0
        rest += data
        try:
            while True:
                sizes = _sizes(rest, at)
                if sizes is None:
                    return
                head, token, body = sizes
                if head + token + body > self._most:
                    raise FramingError(f"A message may have at most {self._most} bytes.")
                end = at + head + token + body
                if end > len(rest):
                    return
                frame = bytes(rest[at:end])
                at = end
                yield _message(frame, head, token)
        finally:
            del rest[:at]


def _sizes(data: bytearray, at: int) -> tuple[int, int, int] | None:
    """Bytes of the head, the token, and what follows; None while that is not known. Raises FramingError."""
    if at >= len(data):
        return None
    length, token = data[at] >> 4, data[at] & 0xF
    if token > LONGEST_TOKEN:
        raise FramingError(f"A token may have at most {LONGEST_TOKEN} bytes.")
    extended, added = _EXTENDED.get(length, (0, length))
    if len(data) < at + 1 + extended:
        return None
    body = int.from_bytes(data[at + 1 : at + 1 + extended], "big") + added
    return 2 + extended, token, body


def _message(frame: bytes, head: int, token: int) -> Message:
    message = Message(code=frame[head - 1], _token=frame[head : head + token])
    try:
        message.payload = message.opt.decode(frame[head + token :])
    except (UnparsableMessage, ValueError, IndexError):
        raise FramingError("The options of a message cannot be read.") from None
    return message


def framed(message: Message) -> bytes:
    """A message as it goes into the stream."""
    body: bytes = message.opt.encode()
    if message.payload:
        body += b"\xff" + message.payload
    length, extended = len(body), b""
    for nibble, (size, added) in reversed(_EXTENDED.items()):
        if length >= added:
            length, extended = nibble, (length - added).to_bytes(size, "big")
            break
    head = bytes((length << 4 | len(message.token),)) + extended + bytes((int(message.code),))
    return head + bytes(message.token) + body
