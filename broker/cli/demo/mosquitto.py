"""A Mosquitto of the demo's own, on a free loopback port."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from broker.cli.demo.client import DemoError
from broker.cli.demo.ports import free_tcp_port

START_SECONDS = 10.0
STOP_SECONDS = 5.0
_ALSO_IN = "/usr/sbin:/usr/local/sbin"
"""Where Debian puts it; not on a user's PATH."""


def find_mosquitto(program: str = "mosquitto") -> str | None:
    """The program's path, or None where it is not installed."""
    return shutil.which(program) or shutil.which(program, path=_ALSO_IN)


@asynccontextmanager
async def mosquitto(program: str, folder: Path) -> AsyncIterator[int]:
    """Run it on a free port, with its data and log in `folder`; yields the port."""
    port = free_tcp_port()
    configuration, log = _configured(folder, port)
    with log.open("ab") as output:
        # Its own session: Ctrl-C is for the demo, which stops it in order.
        process = await asyncio.create_subprocess_exec(
            program, "-c", str(configuration), stdout=output, stderr=output, start_new_session=True
        )
    try:
        await _answers(process, port, log)
        yield port
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _configured(folder: Path, port: int) -> tuple[Path, Path]:
    """Its configuration, written, and its log."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "mosquitto.conf"
    # `user`: as root it would become 'mosquitto', which may not write here.
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser {pwd.getpwuid(os.geteuid()).pw_name}\n"
        f"persistence true\npersistence_location {folder}/\nmax_queued_messages 0\n"
    )
    return configuration, folder / "mosquitto.log"


async def _answers(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while process.returncode is None:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    await writer.wait_closed()
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    raise DemoError(f"Mosquitto did not start: {_last_line(log)}")


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
