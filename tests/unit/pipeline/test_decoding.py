"""Where scripts run: not on the event loop, each model in its thread, and none for long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from broker.clock import SECOND
from broker.config import Codecs
from broker.devices.model import DeviceModel, Quantity
from broker.errors import Overloaded
from broker.pipeline.decoding import Decoders
from broker.pipeline.intake import Uplink

AT = 1_700_000_000 * SECOND
LOOPS = "function decodeUplink(i) { for (;;); }"
GOOD = "function decodeUplink(i) { return {data: {t: i.bytes[0]}}; }"


def model(name: str, script: str) -> DeviceModel:
    row = Quantity(quantity="temperature", unit="CEL", source="t")
    return DeviceModel(id=name, vendor="V", name="N", codec="javascript", script=script, quantities=(row,))


def uplink(value: int) -> Uplink:
    return Uplink(
        source="test",
        kind="up",
        device_id="d",
        received_at=AT,
        observed_at=AT,
        raw=b"",
        payload=bytes([value]),
        f_port=1,
    )


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    made = Decoders(Codecs(threads=2, script_seconds=0.1))
    yield made
    made.close()


async def test_many_uplinks_are_decoded_each_to_its_own(decoders: Decoders) -> None:
    found = await asyncio.gather(*(decoders.decode(model(f"m{n % 5}", GOOD), 3, uplink(n % 200)) for n in range(1000)))
    assert [one.measurements[0].value for one in found] == [n % 200 for n in range(1000)]


async def test_a_script_that_loops_is_stopped_while_the_event_loop_goes_on(decoders: Decoders) -> None:
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    ticking = asyncio.create_task(tick())
    found = await decoders.decode(model("bad", LOOPS), 1, uplink(1))
    ticking.cancel()
    assert "stopped after 0.1 s" in found.problem
    assert not found.measurements
    assert turns >= 3


async def test_a_script_that_keeps_looping_is_paused_and_the_others_go_on(decoders: Decoders) -> None:
    bad = [decoders.decode(model("same", LOOPS), 1, uplink(1)) for _ in range(200)]
    good = [decoders.decode(model("same", GOOD), 1, uplink(n)) for n in range(200)]
    found = await asyncio.gather(*bad, *good)
    assert "stopped after" in found[0].problem
    assert all("stopped 3 times in a row; it is tried again in" in one.problem for one in found[3:200])
    assert [one.measurements[0].value for one in found[200:]] == list(range(200))


async def test_too_many_that_wait_are_refused() -> None:
    decoders = Decoders(Codecs(queued=10, script_seconds=0.1))
    found = await asyncio.gather(
        *(decoders.decode(model("m", GOOD), 1, uplink(1)) for _ in range(12)), return_exceptions=True
    )
    assert [isinstance(one, Overloaded) for one in found] == [False] * 10 + [True] * 2
    decoders.close()


async def test_who_waits_too_long_is_asked_to_send_again() -> None:
    decoders = Decoders(Codecs(threads=1, script_seconds=1.0, wait_seconds=0.1))
    with pytest.raises(Overloaded, match=r"gave no answer in 0.1 s \(codecs.wait_seconds\)"):
        await decoders.decode(model("m", LOOPS), 1, uplink(1))
    decoders.close()
