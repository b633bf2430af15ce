"""A small reader of Server-Sent Events, as a script would have it (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `id` is the last id that was sent, with it or before."""

    kind: str
    id: str
    data: Any

    @property
    def entity(self) -> dict[str, Any]:
        found: dict[str, Any] = self.data["entity"]
        return found


class Stream:
    """An open stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.last_id = ""
        self.heartbeats = 0

    async def event(self, seconds: float = 20.0) -> Event:
        """The next event. EOFError at the end of the stream."""
        async with asyncio.timeout(seconds):
            kind, data = "message", list[str]()
            while True:
                line = await self._response.content.readline()
                if not line:
                    raise EOFError
                text = line.decode().rstrip("\n")
                if not text:
                    if data:
                        return Event(kind, self.last_id, json.loads("\n".join(data)))
                    kind = "message"
                elif text.startswith(":"):
                    self.heartbeats += text == ": heartbeat"
                else:
                    name, _, value = text.partition(": ")
                    if name == "event":
                        kind = value
                    elif name == "data":
                        data.append(value)
                    elif name == "id":
                        self.last_id = value

    async def events(self, count: int, seconds: float = 30.0) -> list[Event]:
        """The next so many."""
        async with asyncio.timeout(seconds):
            return [await self.event(seconds) for _ in range(count)]


@asynccontextmanager
async def following(url: str, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    """The stream of the broker at `url`. Headers: `Last_Event_ID=…`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{url}/api/v1/stream{query}", headers=named) as response,
    ):
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Stream(response)
