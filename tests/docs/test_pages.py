"""What the pages name exists: settings, files, dependencies, commands."""

import re
import tomllib

import pytest

from broker.cli.main import main
from broker.config import NOT_SETTINGS, load_settings
from tests.docs.commands import ROOT
from tests.docs.configuration import PAGE, written

PAGES = [
    page.relative_to(ROOT).as_posix()
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "deploy/README.md")
]
SAMPLES = {
    "KNUTPUNKT_HTTP_PORT": "1",
    "KNUTPUNKT_COAP_ENABLED": "true",
    "KNUTPUNKT_COAP_PLAIN": "true",
    "KNUTPUNKT_COAP_DTLS": "true",
    "KNUTPUNKT_COAP_KEY_SECRET": "ab" * 32,
}


def test_the_page_of_settings_is_as_the_settings_are() -> None:
    page = PAGE.read_text("utf-8")
    assert page == written(page), "run: .venv/bin/python -m tests.docs.configuration"


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_a_page_names_exist(page: str) -> None:
    named = set(re.findall(r"\bKNUTPUNKT_[A-Z0-9_]*[A-Z0-9]\b", (ROOT / page).read_text("utf-8")))
    for variable in named - NOT_SETTINGS:
        if not variable.startswith("KNUTPUNKT_TEST_"):
            load_settings(environment={variable: SAMPLES.get(variable, "x")})


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_links_to_exist(page: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", (ROOT / page).read_text("utf-8"))
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_a_page_names_exist(page: str) -> None:
    named = re.findall(r"\bknutpunkt ([a-z]+)\b", "\n".join(_code((ROOT / page).read_text("utf-8"))))
    assert [command for command in named if command not in main.commands] == []


def _code(text: str) -> list[str]:
    """What stands as a command: in a block of shell, or in backticks and begins with the program."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    started = [line for block in blocks for line in block.splitlines() if re.match(r"(\.venv/bin/)?knutpunkt ", line)]
    return started + re.findall(r"`(knutpunkt [^`]+)`", text)


def test_every_dependency_has_its_line() -> None:
    page = (ROOT / "docs/dependencies.md").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    names = [re.split(r"[<>=\[ ]", one)[0] for one in declared]
    assert [
        name for name in names if not re.search(rf"^\| [^|]*\b{re.escape(name)}\b[^|]*\|", page, re.MULTILINE)
    ] == []
