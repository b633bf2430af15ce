"""The commands of docs/subscriptions.md, run as they are printed, before an app that listens."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.docs.commands import ROOT, runnable, shell_blocks
from tests.support.broker import BrokerProcess
from tests.support.receiver import receiving

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl: apt-get install curl")


async def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    broker = BrokerProcess(f"sqlite:///{tmp_path}/knutpunkt.db", tmp_path)
    await broker.start()
    said = ""
    try:
        async with receiving() as app:
            port = int(app.url().rsplit(":", 1)[1].split("/")[0])
            for number, block in enumerate(shell_blocks("docs/subscriptions.md")):
                process = await asyncio.create_subprocess_exec(
                    *("bash", "-c", runnable(block, broker=broker.url, receiver_port=port)),
                    cwd=tmp_path,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                )
                output, _ = await process.communicate()
                assert process.returncode == 0, f"{block}\n{output.decode()}"
                said += output.decode()
                if number == 1:
                    await app.wait_for(1)
            (told,) = app.accepted
    finally:
        await broker.stop()
    assert told.data == [
        {"id": "urn:ngsi-ld:Room:214", "type": "Room", "temperature": {"value": 26, "previousValue": 24.5}}
    ]
    assert '"timesSent":1' in said.replace(" ", "")
