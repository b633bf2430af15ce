"""`knutpunkt demo` as its users start it: a process of its own, stopped with Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

START_SECONDS = 60.0
STOP_SECONDS = 30.0
ROOM = "urn:ngsi-ld:IndoorEnvironmentObserved:room-214"


class Demo:
    """A running demo: what it said so far, and its API."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""

    @property
    def url(self) -> str:
        found = re.search(r"API +(http://\S+)/ngsi-ld/v1", self.said)
        assert found is not None, self.said
        return found[1]

    async def get(self, path: str) -> Any:
        """The JSON at `path`."""
        return await asyncio.to_thread(_get, self.url + path)

    async def until(self, true: Callable[[], Awaitable[Any]]) -> Any:
        """The first answer of `true` that is not empty."""
        for _ in range(round(START_SECONDS / 0.1)):
            if answer := await true():
                return answer
            await asyncio.sleep(0.1)
        raise AssertionError(f"Not within {START_SECONDS:.0f} s.")

    async def stop(self) -> int:
        """Ctrl-C; its exit status."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout is not None
        async with asyncio.timeout(STOP_SECONDS):
            self.said += (await self.process.stdout.read()).decode()
            return await self.process.wait()


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.loads(response.read())


@asynccontextmanager
async def demo(*arguments: str) -> AsyncIterator[Demo]:
    """Run `knutpunkt demo` on a free port, from when it says that it runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-m", "broker.cli.main", "demo", "--port", "0", "--every", "1", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    running = Demo(process)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            while "Ctrl-C stops everything" not in running.said:
                line = await process.stdout.readline()
                assert line, f"The demo ended:\n{running.said}"
                running.said += line.decode()
        yield running
    finally:
        if process.returncode is None:
            await running.stop()
