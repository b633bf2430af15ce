"""docs/coap.md: its commands run as they are printed, its settings are settings."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from broker.config import Settings
from tests.docs.commands import ROOT, run_script, runnable, shell_blocks
from tests.integration.test_coap_intake import free_udp_port
from tests.support.broker import BrokerProcess
from tests.support.coap import until_served

PAGE = "docs/coap.md"
NEEDED = ("curl", "openssl", "coap-client-openssl")

pytestmark = pytest.mark.skipif(
    any(shutil.which(one) is None for one in NEEDED), reason="the page uses them: apt-get install curl libcoap3-bin"
)


async def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    (settings,) = re.findall(r"```toml\n(.*?)```", (ROOT / PAGE).read_text("utf-8"), re.DOTALL)
    shown = msgspec.convert(tomllib.loads(settings), Settings).coap
    assert (shown.enabled, shown.dtls, shown.oscore, shown.plain) == (True, True, True, False)
    port, dtls_port = free_udp_port(), free_udp_port()
    environment = {"ENABLED": "true", "DTLS": "true", "PORT": str(port), "DTLS_PORT": str(dtls_port)}
    broker = BrokerProcess(
        f"sqlite:///{tmp_path}/knutpunkt.db",
        tmp_path,
        {f"KNUTPUNKT_COAP_{name}": one for name, one in environment.items()},
    )
    await broker.start()
    await until_served(port)
    (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    said = []
    try:
        for block in shell_blocks(PAGE):
            script = runnable(block, broker=broker.url, receiver_port=0)
            script = script.replace(":5683", f":{port}").replace(":5684", f":{dtls_port}")
            script = script.replace(".venv/bin/aiocoap-client", f"{sys.executable} -m aiocoap.cli.client")
            script = script.replace(" .venv/bin/python", f" {sys.executable}")
            said.append(await run_script(script, broker.url, tmp_path, block))
        keys, psk, senml, resource, octets, together, oscore, model = said
        assert "yes" in keys
        assert "well-1" in psk
        assert '"waterLevel":1.33' in senml.replace(" ", "")
        # libcoap's client prints nothing of a 2.04 without a payload, and the code of what is refused.
        assert resource == ""
        assert octets.count("\n") > 0
        assert "t   i   m   e" in together
        assert re.search(r"\d{10}$", together.strip())
        assert "4." not in oscore
        assert "lwm2m-climate" in model or model == ""
        _, uplinks = await broker.ask("GET", "/api/v1/uplinks?device=350457790000001&limit=100")
        assert {one["status"] for one in uplinks} == {"applied"}
        assert len(uplinks) == 4
        _, device = await broker.ask("GET", "/api/v1/devices/350457790000001")
        assert device["state"]["batteryPercent"] == 88
        _, others = await broker.ask("GET", "/api/v1/uplinks?device=350457790000002")
        assert [one["meta"]["content_format"] for one in others] == [42]
    finally:
        await broker.stop()
