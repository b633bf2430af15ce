"""The commands of docs/smart-data-models.md, run as they are printed against a demo, and what deviates in that city."""

import asyncio
import json
import os
import re
import shutil
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from broker.devices.defaults import entity_models
from broker.devices.published import PACKAGE
from tests.docs.commands import ROOT, runnable, shell_blocks
from tests.support.demo import demo

PAGE = "docs/smart-data-models.md"
CHECK = (sys.executable, "-m", "broker.cli.main", "model-check", "--json")


def test_the_page_names_every_type() -> None:
    page = (ROOT / PAGE).read_text("utf-8")
    assert [name for name in entity_models() if f"`{name}`" not in page] == []


async def _run(environment: dict[str, str], folder: Path, *command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl: apt-get install curl")
@pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed")
async def test_its_commands_do_what_they_say_and_the_demo_deviates_where_it_says(tmp_path: Path) -> None:
    async with demo() as city:
        environment = {**os.environ, "KNUTPUNKT_URL": city.url, "PYTHONPATH": str(ROOT)}
        found: Counter[tuple[str, str, str]] = Counter()
        waiting = ("IndoorEnvironmentObserved", "dateObserved", "required")
        for _ in range(60):
            _, said = await _run(environment, tmp_path, *CHECK)
            found = Counter((one["type"], one["attribute"], one["rule"]) for one in json.loads(said)["deviations"])
            if found[waiting] == 1 and found.total() == 26:  # the others have sent
                break
            await asyncio.sleep(1)
        assert found == {
            ("Building", "containedInPlace", "kind"): 5,
            ("Device", "controlledAsset", "kind"): 20,
            waiting: 1,
        }
        outputs = []
        for block in shell_blocks(PAGE):
            code, said = await _run(
                environment, tmp_path, "bash", "-c", runnable(block, broker=city.url, receiver_port=1)
            )
            assert code == 0, f"{block}\n{said}"
            outputs.append(said)
    asked, checked = outputs
    assert len(re.findall('"dateObserved"', asked)) >= 10
    assert "5 entities, 0 deviations." in checked
    assert "1 entities, 0 deviations." in checked
