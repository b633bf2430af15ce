"""`knutpunkt serve` as its users run it: a process of its own, reached over HTTP, stopped or killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

START_SECONDS = 30.0
CONTEXT = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld"


class Refused(Exception):
    """An HTTP answer of 400 or more."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:300]!r}")
        self.status = status
        self.body = body


@dataclass
class BrokerProcess:
    """One broker. `settings` become KNUTPUNKT_… variables."""

    store: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KNUTPUNKT_")}
        environment |= {"KNUTPUNKT_STORE_URL": self.store, "KNUTPUNKT_HTTP_PORT": str(self.port), **self.settings}
        with (self.folder / "broker.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "broker.cli.main", "serve", env=environment, stdout=log, stderr=log
            )
        async with asyncio.timeout(START_SECONDS):
            while True:
                if self.process.returncode is not None:
                    raise AssertionError(f"The broker ended at its start:\n{self.log()[-4000:]}")
                try:
                    await self.ask("GET", "/health/ready")
                except (OSError, Refused):
                    await asyncio.sleep(0.05)
                else:
                    return

    def log(self) -> str:
        """What it has logged so far, over all its starts."""
        return (self.folder / "broker.log").read_text("utf-8", errors="replace")

    async def kill(self) -> None:
        """SIGKILL: no chance to finish anything."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM, the orderly way; its exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await self.process.wait()

    async def ask(
        self, method: str, path: str, document: Any = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """(status, JSON body or None). Refused for 400 and above."""
        return await asyncio.to_thread(self._ask, method, path, document, headers or {})

    def _ask(self, method: str, path: str, document: Any, headers: dict[str, str]) -> tuple[int, Any]:
        data = document if isinstance(document, bytes) or document is None else json.dumps(document).encode()
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers={"Content-Type": "application/json", **headers}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                body = response.read()
                return response.status, json.loads(body) if body[:1] in (b"{", b"[") else body.decode()
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read()) from None
