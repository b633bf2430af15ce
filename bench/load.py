"""A load generator: connections that send prepared requests as fast as they are answered, in processes of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import cast

import uvloop

PROCESSES = 2
"""More than one, so that the generator is not what limits; it can send about five times what the broker takes."""


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Sequence[bytes], start: int) -> None:
        self._requests = requests
        self._next = start
        self.answered = 0
        self.wrong = 0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._send()

    def _send(self) -> None:
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._buffer.endswith(b"\r\n\r\n"):  # all answers are 204 without a body
            return
        if not self._buffer.startswith(b"HTTP/1.1 204"):
            self.wrong += 1
        self._buffer = b""
        self.answered += 1
        self._send()


def _run(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> tuple[float, int]:
    async def run() -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        made = []
        for number in range(connections):
            start = number * len(requests) // connections

            def connection(start: int = start) -> _Connection:
                return _Connection(requests, start)

            transport, protocol = await loop.create_connection(connection, "127.0.0.1", port)
            made.append((transport, protocol))
        await asyncio.sleep(0.5)
        before, started = sum(protocol.answered for _, protocol in made), time.perf_counter()
        await asyncio.sleep(seconds)
        count, took = sum(protocol.answered for _, protocol in made) - before, time.perf_counter() - started
        wrong = sum(protocol.wrong for _, protocol in made)
        for transport, _ in made:
            transport.abort()
        return count / took, wrong

    return uvloop.run(run())


def rate(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> float:
    """Requests answered a second. Fails when one was not answered 204."""
    processes = min(PROCESSES, connections)
    shares = [connections // processes + (number < connections % processes) for number in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        tasks = [
            pool.submit(_run, port, requests[number::processes], share, seconds) for number, share in enumerate(shares)
        ]
        results = [task.result() for task in tasks]
    if any(wrong for _, wrong in results):
        raise AssertionError(f"{sum(wrong for _, wrong in results)} requests were not answered 204")
    return sum(figure for figure, _ in results)
