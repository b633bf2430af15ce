"""The commands of docs/privacy.md, run as they are printed."""

import shutil
from pathlib import Path

import pytest

from tests.docs.commands import run_block, shell_blocks
from tests.support.broker import BrokerProcess

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl: apt-get install curl")


async def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    tokens = {"KNUTPUNKT_HTTP_TOKEN": "plain-secret", "KNUTPUNKT_HTTP_PERSONAL_TOKEN": "home-care-secret"}
    broker = BrokerProcess(f"sqlite:///{tmp_path}/knutpunkt.db", tmp_path, tokens)
    await broker.start()
    said = ""
    try:
        for block in shell_blocks("docs/privacy.md"):
            said += await run_block(block, broker.url, tmp_path)
    finally:
        await broker.stop()
    assert '"retentionDays":30' in said and '"value":16.5' in said
    assert "without the grant: 404" in said and "writing: 403" in said
    assert "flat-12-bedroom" in said.split("writing: 403")[1], "as the command line lists it"
    assert "personal.read" in broker.log() and "16.5" not in broker.log()
