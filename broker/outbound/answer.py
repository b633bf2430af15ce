"""An HTTP/1.1 answer, as much of it as must be read to know its status and whether the connection can be used again.

httptools (llhttp) reads it; here are the bounds. Bytes in, state out. Source: RFC 9112, sections 2 to 9.
"""

from __future__ import annotations

from typing import Final

import httptools

HEAD_BYTES: Final = 64 * 1024
"""A longer status line with its fields is refused."""
DRAIN_BYTES: Final = 64 * 1024
"""A longer body is not read: the status stands, and the connection is given up."""


class NotHttp(Exception):
    """What came is no HTTP/1.x answer."""


class Answered:
    """Feed it what comes. `status` is there once the head was read, `done` once nothing more is worth reading."""

    __slots__ = ("_head", "_parser", "_read", "_worth_keeping", "done", "reusable", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.done = False
        self.reusable = False
        """Whether another request may follow on the connection. Valid when `done`."""
        self._worth_keeping = True
        self._head = self._read = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Raises NotHttp."""
        if self.done or not data:
            self.reusable = self.reusable and not data  # more is an answer that nobody asked for
            return
        if self.status is None:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._give_up()
        except httptools.HttpParserError:
            if self.status is None:
                raise NotHttp("it did not speak HTTP") from None
            self._give_up()
        if self.status is None and self._head > HEAD_BYTES:
            raise NotHttp("its head is too long")

    def _give_up(self) -> None:
        self.done, self.reusable = True, False

    # --- called by the parser -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A second answer, which nobody asked for, or the first."""
        if self.done:
            self._worth_keeping = self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field."""
        if name.lower() == b"content-length" and int(value) > DRAIN_BYTES:
            self._worth_keeping = False

    def on_headers_complete(self) -> None:
        """The head was read."""
        status = self._parser.get_status_code()
        if self.done or (100 <= status < 200 and status != 101):
            return  # on the way; the answer follows
        self.status = status
        if not self._worth_keeping or not self._parser.should_keep_alive():
            # Too much, or it ends with the connection: nothing is won by reading it.
            self._worth_keeping = False
            self._give_up()

    def on_body(self, body: bytes) -> None:
        """A part of it."""
        self._read += len(body)
        if self._read > DRAIN_BYTES:
            self._worth_keeping = False
            self._give_up()

    def on_message_complete(self) -> None:
        """All of an answer was read."""
        if self.status is not None and not self.done:
            self.done, self.reusable = True, self._worth_keeping
