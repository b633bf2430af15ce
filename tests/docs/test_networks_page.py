"""docs/networks.md and docs/extending.md: the settings that they show are settings, the module that they show is one."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import msgspec
import pytest

from adapters.members import NotUnderstood
from adapters.mqtt.networks.known import BUILT_IN, choice, networks
from broker.codecs.base import CodecError
from broker.config import Limits, Settings
from tests.docs.commands import ROOT

NETWORKS = (ROOT / "docs/networks.md").read_text("utf-8")
EXTENDING = (ROOT / "docs/extending.md").read_text("utf-8")


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", NETWORKS, re.DOTALL))
def test_settings_that_the_page_shows_can_be_used(block: str) -> None:
    for text in (block, re.sub(r"^# (\w+ = )", r"\1", block, flags=re.MULTILINE)):
        settings = msgspec.convert(tomllib.loads(text), Settings)
        known = networks(settings.networks)
        for one in settings.mqtt:
            assert choice(one.network, one.topics, known).topics
        for source in settings.sources:
            assert source.network in known


def test_every_network_has_its_row() -> None:
    rows = {line.split("`")[1] for line in NETWORKS.splitlines() if line.startswith("| `")}
    assert rows == {server.name for server in BUILT_IN}


def test_usual_topics_are_those_that_the_page_names() -> None:
    for server in BUILT_IN:
        row = next(line for line in NETWORKS.splitlines() if line.startswith(f"| `{server.name}`"))
        if server.name != "chirpstack-v3":
            assert server.topics[0] in row


BLOCKS = re.findall(r"```python\n(.*?)```", EXTENDING, re.DOTALL)
"""Of the page on extending: a codec, a network's module, the entry of a recorded message."""


def _run(block: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    exec(compile(block, "docs/extending.md", "exec"), made)
    return made


def test_the_codec_that_the_page_shows_reads_its_example() -> None:
    codec = _run(BLOCKS[0])["Acme"]()
    found = re.search(r'`(\{"model": "thermo".*?\}\})`', EXTENDING)
    assert found is not None
    example = json.loads(found[1])
    read = codec.decode(bytes.fromhex(example["bytes"]), example["fPort"], 0)
    assert {one.quantity: one.value for one in read} == example["values"]
    assert codec.decode(bytes.fromhex("017fff"), 2, 0) == []
    with pytest.raises(CodecError, match="Byte 0: type 9 is not known"):
        codec.decode(b"\x09", 2, 0)


def test_the_module_that_the_page_shows_reads_its_messages() -> None:
    _, module, entry = BLOCKS
    server = _run(module)["SERVER"]
    assert "Recorded(" in entry
    assert server.knows("example/1", b"")
    body = b'{"eui": "A81758FFFE03F6C2", "time": "2026-03-02T08:15:42Z", "payload": "0100e1", "rssi": -97}'
    given = {"source": "mqtt:example", "received_at": 1772439630000000, "limits": Limits()}
    (uplink,) = server.read("example/1", body, **given)
    assert (uplink.device_id, uplink.payload, uplink.radio.rssi) == ("a81758fffe03f6c2", b"\x01\x00\xe1", -97)
    with pytest.raises(NotUnderstood, match="'rssi'"):
        server.read("example/1", body.replace(b"-97", b"-970"), **given)
