"""docs/configuration.md's list of settings, written from the settings: `python -m tests.docs.configuration`."""

from __future__ import annotations

from click.testing import CliRunner

from broker.cli.serve import config
from tests.docs.commands import ROOT

PAGE = ROOT / "docs/configuration.md"
_START, _END = "```toml\n", "```\n"


def written(page: str) -> str:
    """The page with the settings as they are now."""
    before, _, rest = page.partition(_START)
    listed = CliRunner().invoke(config, catch_exceptions=False).output.strip()
    return f"{before}{_START}{listed}\n{_END}{rest.partition(_END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
