"""A server that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

TEN_GB = 10 * 1024**3
Stream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


class Bad:
    """A server that speaks TCP and what it likes. `written`: bytes that it got rid of, `closed`: on closed connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.written = 0
        self.closed = asyncio.Event()

    async def silent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes it all, says nothing."""
        await reader.read()

    async def drips(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers, a byte at a time."""
        await reader.readuntil(b"\r\n\r\n")
        for byte in b"HTTP/1.1 204 No Content\r\nX-Long: " + b"x" * 100_000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    async def resets(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Breaks off with a reset, having read the beginning."""
        await reader.read(10)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def hangs_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Closes as soon as somebody connects."""

    async def gibberish(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speaks something else."""
        writer.write(b"220 mail.example ESMTP\r\n" * 10)
        await writer.drain()

    async def huge(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: str = "200 OK") -> None:
        """Answers with ten gigabytes, as fast as they are taken."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {TEN_GB}\r\n\r\n".encode())
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            self.written += 65_536

    async def huge_error(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The same, and it is an error."""
        await self.huge(reader, writer, "500 Internal Server Error")

    async def huge_headers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Headers without end."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-More: " + b"x" * 65_536 + b"\r\n")
            await writer.drain()
            self.written += 65_536

    @asynccontextmanager
    async def serving(self, how: Stream, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Its URL."""

        running = set[asyncio.Task[None]]()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            running.add(task)
            self.connections += 1
            try:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                    await how(reader, writer)
            finally:
                running.discard(task)
                writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                self.closed.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        try:
            port = server.sockets[0].getsockname()[1]
            yield f"{'https' if context else 'http'}://127.0.0.1:{port}/notify"
        finally:
            server.close()
            for task in (left := list(running)):
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await asyncio.sleep(0)  # for the transports to close
