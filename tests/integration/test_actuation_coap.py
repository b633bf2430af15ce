"""A command to a device that posts over CoAP: it is in the answer, and the device acknowledges it with its next message."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker.clock import SECOND, Clock, iso
from broker.pipeline.intake import tag_of
from tests.integration.test_coap_intake import client, free_udp_port
from tests.support.broker import BrokerProcess

METER = "350457790000001"
PACK = b'[{"n":"volume","u":"m3","v":%d}]'
MODEL = {
    "vendor": "Ours",
    "name": "Meter",
    "codec": "senml",
    "network": "nb-iot",
    "quantities": [{"quantity": "volume", "unit": "MTQ", "source": "volume"}],
    "commands": {
        "close": {"payload": ["c0"]},
        "open": {"payload": ["0e"]},
        "blink": {"confirmed": False, "payload": ["b1"]},
    },
}


@dataclass
class Meter:
    """A meter on a broker's CoAP port."""

    broker: BrokerProcess
    port: int
    folder: Path
    value: int = 0

    async def post(self, query: str = "", payload: bytes | None = None) -> tuple[str, str]:
        """A message: (payload of the answer in hex, its ETag in hex or '')."""
        self.value += 1
        file, answer = self.folder / "payload", self.folder / "answer"
        file.write_bytes(PACK % self.value if payload is None else payload)
        answer.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            *(client(), "-B", "10", "-v", "7", "-m", "post", "-t", "110", "-f", str(file), "-o", str(answer)),
            f"coap://127.0.0.1:{self.port}/up/{METER}{query}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed = (await process.communicate())[0].decode(errors="replace")
        assert "2.04" in printed, printed
        tag = re.search(r"ETag:0x([0-9a-f]+)", printed)
        return (answer.read_bytes().hex() if answer.exists() else ""), (tag[1] if tag else "")

    async def send(self, command: str, **members: Any) -> str:
        """Queue a command; its id."""
        _, queued = await self.broker.ask(
            "POST", "/api/v1/virtual-sensors/valve/commands", {"command": command, **members}
        )
        return str(queued["id"])

    async def command(self, command_id: str) -> dict[str, Any]:
        _, shown = await self.broker.ask("GET", f"/api/v1/commands/{command_id}")
        made: dict[str, Any] = shown
        return made


@asynccontextmanager
async def metering(store: str, folder: Path) -> AsyncIterator[Meter]:
    port = free_udp_port()
    settings = {"KNUTPUNKT_COAP_ENABLED": "true", "KNUTPUNKT_COAP_PLAIN": "true", "KNUTPUNKT_COAP_PORT": str(port)}
    broker = BrokerProcess(store, folder, settings | {"KNUTPUNKT_ACTUATION_LOOK_SECONDS": "0.2"})
    await broker.start()
    try:
        await broker.ask("PUT", "/api/v1/device-models/meter", MODEL)
        await broker.ask(
            "PUT",
            "/api/v1/virtual-sensors/valve",
            {
                "name": "Valve",
                "entity": "urn:ngsi-ld:WaterConsumptionObserved:valve",
                "entityType": "WaterConsumptionObserved",
                "outputs": [{"quantity": "volume", "attribute": "volume"}],
            },
        )
        await broker.ask("PUT", f"/api/v1/devices/{METER}", {"model": "meter"})
        swap = {"virtualSensor": "valve", "device": METER, "at": iso(Clock().now() - 3600 * SECOND)}
        await broker.ask("POST", "/api/v1/swaps", swap)
        yield Meter(broker, port, folder)
    finally:
        await broker.kill()


@pytest.fixture(params=["sqlite", "mongo"])
async def meter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Meter]:
    mongo = request.param == "mongo"
    store = request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path / 'city.db'}"
    async with metering(store, tmp_path) as made:
        yield made


async def test_a_command_is_in_the_answer_until_the_device_acknowledges_it(meter: Meter) -> None:
    assert await meter.post() == ("", "")
    close, opened = await meter.send("close", by="eva"), await meter.send("open")
    assert await meter.post() == ("c0", tag_of(close))
    shown = await meter.command(close)
    assert (shown["status"], shown["network"], shown["device"]) == ("sent", "coap", METER)
    # The answer may have been lost: it comes again, over a restart too, and the next one waits.
    await meter.broker.kill()
    await meter.broker.start()
    assert await meter.post() == ("c0", tag_of(close))
    assert (await meter.command(opened))["status"] == "queued"
    assert await meter.post(f"?ack={tag_of(close)}") == ("0e", tag_of(opened))
    done = await meter.command(close)
    assert (done["status"], done["open"], done["attempts"]) == ("acknowledged", False, 1)
    # Nothing to measure: the acknowledgement alone will do.
    assert await meter.post(f"?ack={tag_of(opened).upper()}", b"") == ("", "")
    assert (await meter.command(opened))["status"] == "acknowledged"
    _, entity = await meter.broker.ask("GET", "/ngsi-ld/v1/entities/urn:ngsi-ld:WaterConsumptionObserved:valve")
    assert entity["volume"]["value"] == 4


async def test_a_command_that_asks_for_no_acknowledgement_has_ended_with_the_answer(tmp_path: Path) -> None:
    async with metering(f"sqlite:///{tmp_path / 'city.db'}", tmp_path) as meter:
        await meter.post()
        blink = await meter.send("blink")
        assert await meter.post() == ("b1", tag_of(blink))
        shown = await meter.command(blink)
        assert (shown["status"], shown["open"]) == ("sent", False)
        assert await meter.post() == ("", "")


async def test_a_command_waits_for_the_device_and_expires_unfetched(tmp_path: Path) -> None:
    async with metering(f"sqlite:///{tmp_path / 'city.db'}", tmp_path) as meter:
        await meter.post()
        late = await meter.send("close", expiresInSeconds=1)
        async with asyncio.timeout(20):
            while (await meter.command(late))["status"] != "expired":
                await asyncio.sleep(0.1)
        assert await meter.post() == ("", "")
        assert "fetches it with its next message" in (await meter.command(late))["reason"]
