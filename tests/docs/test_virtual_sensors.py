"""What the page on virtual sensors shows is accepted as it stands."""

import json
import re
from typing import Any

import msgspec
import pytest

from broker.devices.check import check_sensor
from broker.devices.model import VirtualSensor
from tests.docs.commands import ROOT

PAGE = (ROOT / "docs/virtual-sensors.md").read_text("utf-8")
BLOCKS = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
INLINE = [found for found in re.findall(r"`([^`]+)`", PAGE) if found.startswith(('"', "{"))]
OUTPUTS = [
    {"quantity": quantity, "attribute": quantity}
    for quantity in ("distance", "volume", "temperature", "humidity", "co2", "open")
] + [{"quantity": "temperature", "attribute": side, "name": side, "channel": side} for side in ("inside", "outside")]
CHECKS = ("physical", "minimum", "maxChangePerHour", "stuckAfter", "duplicates", "clock")


def accepted(**members: Any) -> None:
    whole = {"id": "s", "name": "s", "entity": "urn:s", "entityType": "T", "outputs": [], **members}
    check_sensor(msgspec.convert(whole, VirtualSensor))


@pytest.mark.parametrize("block", BLOCKS)
def test_its_blocks(block: str) -> None:
    accepted(**json.loads(block if block.startswith("{") else "{" + block + "}"))


@pytest.mark.parametrize("inline", INLINE)
def test_its_lines(inline: str) -> None:
    inline = inline.replace("\n", " ")
    if inline.startswith("{"):
        accepted(outputs=OUTPUTS, derived=[json.loads(inline)])
        return
    members = json.loads("{" + inline + "}" if ":" in inline else "{" + inline + ": 1}")
    output: dict[str, Any] = {"quantity": "volume", "attribute": "a"}
    if members.keys() <= {"calibration", "counter", "implausible"}:
        accepted(outputs=[output | members])
    elif inline.removeprefix('"').startswith(CHECKS):
        accepted(outputs=[output | {"checks": members}])
    elif members.keys() <= {"rollsOverAt", "resolution", "resets"}:
        accepted(outputs=[output | {"counter": members}])
    elif members.keys() <= {"beyond", "name"}:
        accepted(outputs=[output | {"calibration": {"table": [[0, 0], [1, 1]], **members}}])
    else:
        assert members.keys() <= {"endReadings", "startReadings", "unit"}, inline
