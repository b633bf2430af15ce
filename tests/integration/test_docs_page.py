"""The page at /docs: nothing from elsewhere, and, where Chromium is installed, what it shows."""

import asyncio
import re
import shutil
from pathlib import Path

import aiohttp
import pytest

from broker.config import Http
from tests.support.api import Api, running_broker


async def fetched(api: Api, path: str) -> tuple[int, dict[str, str], str]:
    async with aiohttp.ClientSession() as session, session.get(api.url + path) as response:
        return response.status, dict(response.headers), await response.text()


async def test_the_page_and_its_files_are_public_and_forbid_everything_from_elsewhere(tmp_path: Path) -> None:
    async with running_broker(tmp_path, http=Http(port=0, token="secret")) as api:
        for path, kind in (
            ("/docs", "html"),
            ("/docs/", "html"),
            ("/docs/page.js", "javascript"),
            ("/docs/page.css", "css"),
        ):
            status, headers, text = await fetched(api, path)
            assert (status, headers["Content-Type"]) == (200, f"text/{kind}; charset=utf-8")
            policy = headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "unsafe" not in policy
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert "//" not in re.sub(r"https?://(?=www\.w3\.org)|(?<!:)// .*", "", text), "an address of elsewhere"


async def test_the_page_has_no_inline_script_or_style_and_links_only_to_what_is_served(tmp_path: Path) -> None:
    async with running_broker(tmp_path) as api:
        _, _, page = await fetched(api, "/docs")
        assert re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page) is None
        links = [link for link in re.findall(r'(?:href|src)="([^"#]+)"', page) if not link.startswith("data:")]
        assert len(links) >= 4
        for link in links:
            assert (await fetched(api, link))[0] == 200, link


async def test_behind_a_prefix_the_page_finds_its_files(tmp_path: Path) -> None:
    async with running_broker(tmp_path, base_url="https://city.example/hub/") as api:
        _, _, page = await fetched(api, "/docs")
    assert '"/hub/docs/page.js"' in page
    assert '"/hub/openapi.json"' in page


async def test_a_browser_shows_every_operation(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium (Debian: apt-get install chromium)")
    async with running_broker(tmp_path) as api:
        async with aiohttp.ClientSession() as session, session.get(api.url + "/openapi.json") as response:
            document = await response.json()
        browser = await asyncio.create_subprocess_exec(
            chromium,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=10000"),
            *(f"--user-data-dir={tmp_path}/profile", "--dump-dom", f"{api.url}/docs#provision_create"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        shown, _ = await browser.communicate()
    page = shown.decode()
    for item in document["paths"].values():
        for operation in item.values():
            assert f'id="{operation["operationId"]}"' in page
    assert "curl -X POST" in page, "the operation that the address names is open"
    assert page.count(">With curl<") == 1, "the others are not"
