"""A load generator: connections that send prepared requests as fast as they are answered, in processes of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import cast

import uvloop

PROCESSES = 2
"""More than one, so that the generator is not what limits (`bench.patch` measures how much it could send)."""
STARTING_SECONDS = 2.0
"""In which all processes come up and connect, so that they measure the same seconds."""
WARMING_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Load:
    """What was answered."""

    rate: float
    """Answers a second while it was measured."""
    answered: int
    """All answers, also those before and after."""
    open: int
    """Requests that were sent and not answered when the connections were cut."""


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Sequence[bytes], start: int, status: int) -> None:
        self._requests = requests
        self._next = start
        self.answered = 0
        self.wrong = 0
        self._buffer = b""
        self._begin = f"HTTP/1.1 {status}".encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        self.wrong += 1

    def send(self) -> None:
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = self._buffer.find(b"Content-Length: ", 0, head)  # a 204 has none
        if length >= 0 and len(self._buffer) < head + 4 + int(self._buffer[length + 16 : head].split(b"\r\n", 1)[0]):
            return
        if not self._buffer.startswith(self._begin):
            self.wrong += 1
        self._buffer = b""
        self.answered += 1
        self.send()


def _run(
    port: int, requests: Sequence[bytes], connections: int, begin: float, seconds: float, status: int
) -> tuple[Load, int]:
    async def run() -> tuple[Load, int]:
        loop = asyncio.get_running_loop()
        made: list[tuple[asyncio.Transport, _Connection]] = []
        for number in range(connections):
            start = number * len(requests) // connections

            def connection(start: int = start) -> _Connection:
                return _Connection(requests, start, status)

            transport, protocol = await loop.create_connection(connection, "127.0.0.1", port)
            made.append((transport, protocol))
        if time.monotonic() > begin:
            raise AssertionError(f"The load generator needed more than {STARTING_SECONDS} s to start.")
        await asyncio.sleep(begin - time.monotonic())
        for _, protocol in made:
            protocol.send()
        await asyncio.sleep(WARMING_SECONDS)
        before, started = sum(protocol.answered for _, protocol in made), time.perf_counter()
        await asyncio.sleep(seconds)
        count, took = sum(protocol.answered for _, protocol in made) - before, time.perf_counter() - started
        answered, wrong = sum(protocol.answered for _, protocol in made), sum(protocol.wrong for _, protocol in made)
        for transport, _ in made:
            transport.abort()
        return Load(count / took, answered, connections), wrong

    return uvloop.run(run())


def load(port: int, requests: Sequence[bytes], connections: int, seconds: float, *, status: int = 204) -> Load:
    """Requests answered. Fails when one was not answered with `status`, or a connection was closed."""
    processes = min(PROCESSES, connections)
    shares = [connections // processes + (number < connections % processes) for number in range(processes)]
    begin = time.monotonic() + STARTING_SECONDS  # one clock for all processes
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        tasks = [
            pool.submit(_run, port, requests[number::processes], share, begin, seconds, status)
            for number, share in enumerate(shares)
        ]
        results = [task.result() for task in tasks]
    wrong = sum(count for _, count in results)
    if wrong:
        raise AssertionError(f"{wrong} requests were not answered {status}, or their connection was closed")
    loads = [one for one, _ in results]
    return Load(sum(one.rate for one in loads), sum(one.answered for one in loads), sum(one.open for one in loads))
