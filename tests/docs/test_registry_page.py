"""docs/registry.md, run as it is printed against a broker."""

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.commands import ROOT, run_block, shell_blocks
from tests.support.broker import BrokerProcess

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl: apt-get install curl")


def file_of(kind: str) -> str:
    """The one block of a kind on the page."""
    (block,) = re.findall(
        rf"^```{kind}\n(.*?)^```", (ROOT / "docs/registry.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return str(block)


async def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    broker = BrokerProcess(f"sqlite:///{tmp_path}/knutpunkt.db", tmp_path)
    await broker.start()
    (tmp_path / "sensors.csv").write_text(file_of("csv"), "utf-8-sig")
    (tmp_path / "city.yaml").write_text(file_of("yaml"), "utf-8")
    (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    spreadsheet, http, files = [
        await run_block(block, broker.url, tmp_path) for block in shell_blocks("docs/registry.md")
    ]
    assert "To import: 2 rows, 2 created" in spreadsheet
    assert "Imported: 2 rows, 2 created" in spreadsheet
    assert "Imported: 2 rows, 0 created, 0 changed, 2 left as they are" in spreadsheet
    assert '"unchanged":2' in http
    assert "a81758fffe0d0101,elsys-ers-co2,Rum 101,,,rum-101,," in http
    assert "+ Binding rum-103" in files
    assert files.rstrip().endswith("0 to create, 0 to change, 0 to delete.")
    assert await broker.stop() == 0
