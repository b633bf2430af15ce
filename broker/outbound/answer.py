"""An HTTP/1.1 answer, as much of it as must be read to know its status and whether the connection can be used again.

Pure: bytes in, state out. Source: RFC 9112, sections 2 to 9 (status line, fields, message body length, persistence).
"""

from __future__ import annotations

import re
from typing import Final

HEAD_BYTES: Final = 64 * 1024
"""A longer status line with its fields is refused."""
DRAIN_BYTES: Final = 64 * 1024
"""A longer body is not read: the status stands, and the connection is given up."""
LINE_BYTES: Final = 4096
"""Of a chunk's size and of a trailer."""

_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?")


class NotHttp(Exception):
    """What came is no HTTP/1.x answer."""


class Answered:
    """Feed it what comes. `status` is there once the head was read, `done` once nothing more is worth reading."""

    __slots__ = ("_buffer", "_chunked", "_headed", "_in_trailer", "_left", "_read", "done", "reusable", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.done = False
        self.reusable = False
        """Whether another request may follow on the connection. Valid when `done`."""
        self._buffer = b""
        self._headed = False
        self._chunked = False
        self._in_trailer = False
        self._left = 0
        """Bytes of the body, or of the chunk with the line end behind it, that are still to come."""
        self._read = 0

    def feed(self, data: bytes) -> None:
        """Raises NotHttp."""
        data = self._buffer + data
        self._buffer = b""
        while not self._headed:
            head, end, rest = data.partition(b"\r\n\r\n")
            if len(head) > HEAD_BYTES:
                raise NotHttp("its head is too long")
            if not end:
                if not data.startswith(b"HTTP/1."[: len(data)]):
                    raise NotHttp("it did not speak HTTP")
                self._buffer = data
                return
            self._read_head(head)
            data = rest
        self._body(data)

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        found = _STATUS.fullmatch(first)
        if found is None:
            raise NotHttp("it did not speak HTTP")
        status = int(found[2])
        if 100 <= status < 200 and status != 101:
            return  # on the way; the answer follows
        self.status, self._headed = status, True
        length: int | None = None
        self.reusable = found[1] == b"1" and status != 101
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise NotHttp("it did not speak HTTP")
            name, value = name.lower(), value.strip(b" \t")
            if name == b"content-length":
                if _LENGTH.fullmatch(value) is None or length not in (None, int(value)):
                    raise NotHttp("its Content-Length is no length")
                length = int(value)
            elif name == b"transfer-encoding":
                self._chunked = value.lower() == b"chunked"
                self.reusable = self.reusable and self._chunked
            elif name == b"connection" and b"close" in value.lower():
                self.reusable = False
        if status in (204, 304) or (length == 0 and not self._chunked):
            self.done = True
        elif not self._chunked:
            self._left = length or 0
            if length is None or length > DRAIN_BYTES:
                self._give_up()

    def _give_up(self) -> None:
        self.done, self.reusable = True, False

    def _body(self, data: bytes) -> None:
        while data and not self.done:
            if self._left:
                taken = min(self._left, len(data))
                self._left -= taken
                self._read += taken
                data = data[taken:]
                if not self._left and not self._chunked:
                    self.done = True
                if self._read > DRAIN_BYTES:
                    self._give_up()
                continue
            line, end, rest = data.partition(b"\r\n")
            if not end:
                self._buffer = data
                if len(data) > LINE_BYTES:
                    self._give_up()
                return
            data = rest
            self._read += len(line)
            if self._in_trailer:
                self.done = not line
            else:
                size = _SIZE.fullmatch(line)
                if size is None:
                    return self._give_up()
                self._in_trailer = int(size[1], 16) == 0
                self._left = 0 if self._in_trailer else int(size[1], 16) + 2
        if data:
            self.reusable = False  # an answer that nobody asked for
