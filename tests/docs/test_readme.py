"""The README's five minutes, run as they are printed against a demo."""

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from broker.config import load_settings
from tests.docs.commands import ROOT, run_block, runnable, shell_blocks
from tests.support.demo import demo
from tests.support.ports import free_port

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the README uses curl: apt-get install curl")


async def _start(script: str, url: str, folder: Path) -> asyncio.subprocess.Process:
    environment = {**os.environ, "KNUTPUNKT_URL": url, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return await asyncio.create_subprocess_exec(
        "bash", "-c", script, cwd=folder, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def test_every_command_of_the_readme_does_what_it_says(tmp_path: Path) -> None:
    install, *blocks = shell_blocks("README.md")
    assert "make demo" in install
    port = free_port()
    said: dict[str, str] = {}
    heard: list[str] = []
    async with demo() as city:

        async def waiting() -> bool:
            return bool(await city.get("/api/v1/quarantine"))

        await city.until(waiting)
        async with asyncio.TaskGroup() as tasks:
            for block in blocks:
                if "knutpunkt listen" in block:
                    script = runnable(block, broker=city.url, receiver_port=port).rstrip()
                    listener = await _start(f"exec {script.splitlines()[-1]} --port {port}", city.url, tmp_path)
                    assert listener.stdout is not None
                    assert b"Listening" in await listener.stdout.readline()
                    keeping = tasks.create_task(_keep(listener.stdout, heard))
                    continue
                said[block] = await run_block(block, city.url, tmp_path, receiver_port=port)
                if "knutpunkt swap" in block:
                    await _next(heard, 3)
            listener.terminate()
            await listener.wait()
            await keeping

    everything = "\n".join(said.values())
    assert "room-214-climate is device a81758fffe0d0099" in everything
    assert re.search(r"Uplinks looked at again: [1-9]", everything)
    assert "Älvskolan" in everything
    assert all("IndoorEnvironmentObserved:room-214" in line and '"co2":' in line for line in heard), heard
    history = next(text for block, text in said.items() if "/api/v1/history" in block)
    assert '"device":"a81758fffe0d0099"' in history.replace(" ", "")
    assert load_settings(tmp_path / "knutpunkt.toml") == load_settings()


async def _keep(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode().rstrip())


async def _next(lines: list[str], count: int) -> None:
    """Until `count` more lines are there."""
    wanted = len(lines) + count
    for _ in range(600):
        if len(lines) >= wanted:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{len(lines)} of {wanted} notifications came.")
