"""Apps that are notified, for the soak: a process of their own that writes down what came, in order, and when.

Three kinds are dead until they are revived: ports where nobody listens, ports that take a request and never answer, and
paths that never answer at an address where others do.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final, Literal, cast

import orjson
import uvloop

Kind = Literal["fine", "refused", "silent"]
KINDS: Final[tuple[Kind, ...]] = ("fine", "refused", "silent")
SILENT_PATH: Final = b"/silent/"
_DONE: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What was taken, in order: the subscription's number, the number that was told, and when (seconds since the epoch)."""

    subscription: array[int]
    told: array[int]
    at: array[float]


class Receivers:
    """The process, as the benchmark sees it."""

    def __init__(self, ports: dict[Kind, int]) -> None:
        """`ports`: how many of each kind."""
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_main, args=(there, ports), daemon=True)
        self._process.start()
        self.ports: dict[Kind, list[int]] = self._here.recv()

    async def behind(self, wanted: array[int]) -> int:
        """How many subscriptions were not yet told the last number they must be told (`wanted`, by their numbers)."""
        answer: int = await self._ask("behind", wanted)
        return answer

    async def revive(self) -> None:
        """From here on all answer."""
        await self._ask("revive")

    async def arrivals(self) -> Arrivals:
        """All that was taken."""
        answer: Arrivals = await self._ask("arrivals")
        return answer

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.join()

    async def _ask(self, *question: Any) -> Any:
        def ask() -> Any:
            self._here.send(question)
            return self._here.recv()

        return await asyncio.to_thread(ask)


class _State:
    def __init__(self) -> None:
        self.revived = False
        self.last: dict[int, int] = {}
        self.arrivals = Arrivals(array("I"), array("I"), array("d"))

    def take(self, path: bytes, body: bytes) -> None:
        number, told = int(path.rpartition(b"/")[2]), orjson.loads(body)["data"][0]["n"]
        self.arrivals.subscription.append(number)
        self.arrivals.told.append(told)
        self.arrivals.at.append(time.time())
        self.last[number] = max(told, self.last.get(number, 0))


class _Receiving(asyncio.Protocol):
    """HTTP/1.1, as much of it as a notification needs."""

    def __init__(self, state: _State, *, silent: bool) -> None:
        self._state = state
        self._silent = silent
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lower = head.lower()
        start = lower.index(b"content-length:") + len(b"content-length:")
        if len(body) < int(lower[start:].split(b"\r\n", 1)[0]):
            return
        self._buffer = b""
        path = head.split(b" ", 2)[1]
        if (self._silent or path.startswith(SILENT_PATH)) and not self._state.revived:
            return
        self._state.take(path, body)
        self._transport.write(_DONE)


def _main(there: Connection, ports: dict[Kind, int]) -> None:
    uvloop.run(_serve(there, ports))


async def _serve(there: Connection, ports: dict[Kind, int]) -> None:
    loop = asyncio.get_running_loop()
    state = _State()
    sockets = {kind: [_bound() for _ in range(ports[kind])] for kind in KINDS}

    def receiving(kind: Kind) -> Callable[[], _Receiving]:
        return lambda: _Receiving(state, silent=kind == "silent")

    async def listen(kind: Kind) -> None:
        for each in sockets[kind]:
            await loop.create_server(receiving(kind), sock=each, backlog=1024)

    await listen("fine")
    await listen("silent")
    there.send({kind: [each.getsockname()[1] for each in sockets[kind]] for kind in KINDS})
    while True:
        question, *rest = await asyncio.to_thread(there.recv)
        if question == "behind":
            there.send(sum(state.last.get(number, 0) < wanted for number, wanted in enumerate(rest[0])))
        elif question == "revive":
            state.revived = True
            await listen("refused")
            there.send(None)
        else:
            there.send(state.arrivals)


def _bound() -> socket.socket:
    """A socket with a port of its own; as long as nobody listens, connections are refused."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made
