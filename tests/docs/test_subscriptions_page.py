"""The commands of docs/subscriptions.md, run as they are printed, before an app that listens."""

import shutil
from pathlib import Path

import pytest

from tests.docs.commands import run_block, shell_blocks
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
                said += await run_block(block, broker.url, tmp_path, receiver_port=port)
                if number == 1:
                    await app.wait_for(1)
            (told,) = app.accepted
    finally:
        await broker.stop()
    assert told.data == [
        {"id": "urn:ngsi-ld:Room:214", "type": "Room", "temperature": {"value": 26, "previousValue": 24.5}}
    ]
    assert '"timesSent":1' in said.replace(" ", "")
