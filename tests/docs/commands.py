"""The commands that documentation shows, as they are run."""

from __future__ import annotations

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
