"""The commands that documentation shows, as they are run."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shell_blocks(document: str) -> list[str]:
    """The ```sh blocks of a document, in order; ```console blocks show what cannot be run as it stands."""
    return _BLOCK.findall((ROOT / document).read_text("utf-8"))


def runnable(block: str, *, broker: str, receiver_port: int) -> str:
    """The block against this broker and on this port, stopping at the first command that fails."""
    text = block.replace("http://127.0.0.1:1026", broker).replace("8800", str(receiver_port))
    text = text.replace(".venv/bin/knutpunkt", f"{sys.executable} -m broker.cli.main")
    # curl's own status does not tell of HTTP errors.
    return 'set -euo pipefail\ncurl() { command curl -sS --fail-with-body "$@"; }\n' + text


async def run_script(script: str, url: str, folder: Path, shown: str = "") -> str:
    """What bash says of a script, run in a folder for the broker at `url`. Fails with the block that was `shown`."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        cwd=folder,
        env={**os.environ, "KNUTPUNKT_URL": url, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, f"{shown or script}\n{output}"
    return output


async def run_block(block: str, url: str, folder: Path, *, receiver_port: int = 1) -> str:
    """What a block of a page says, run against the broker at `url`."""
    return await run_script(runnable(block, broker=url, receiver_port=receiver_port), url, folder, block)
