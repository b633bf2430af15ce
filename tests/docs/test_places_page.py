"""The commands of docs/places.md, run as they are printed against a demo."""

import shutil
from pathlib import Path

import pytest

from tests.docs.commands import run_block, shell_blocks
from tests.support.demo import demo

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl: apt-get install curl")


async def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    said = ""
    async with demo() as city:
        for block in shell_blocks("docs/places.md"):
            said += await run_block(block, city.url, tmp_path)
    for line in (
        "Sörälva kommun > Sörälva tätort",
        "│  └─ Klimat, Klassrum 214 (IndoorEnvironmentObserved)",
        "3 places: 3 would be created, 0 would be changed, 0 as they are.",
        "3 places: 3 created, 0 changed, 0 as they are.",
        "address: Torget 5, floorArea: 2310.5 MTK, hasTenant: true",
        "1 place: 1 created, 0 changed, 0 as they are.",
        "energyClass: C, heatedArea: 4180 MTK",
        "sensor k-sal-climate, has no device",
        "Every virtual sensor is at a place.",
    ):
        assert line in said, said
    assert '"unchanged":1' in said.replace(" ", "")
    assert '"Norrbadet"' in said
