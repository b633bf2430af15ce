"""Decodes per second of one thread, by kind of codec: payload bytes (or an object) to measurements. CPU, medians of rounds.

The script is made here in the manner of vendors' decoders: it reads the same Elsys frame as the codec in Python. Through the
threads: as the broker does it, from an event loop that has 500 uplinks under way.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from bench.figures import Figure
from broker.clock import SECOND
from broker.codecs.registry import decode
from broker.devices.model import DeviceModel, Quantity
from broker.pipeline.decoding import Decoders
from broker.pipeline.intake import Uplink

ROUNDS = 7
DECODES = 5_000
AT = 1_780_000_000 * SECOND
AT_ONCE = 500
ELSYS = bytes.fromhex("0100e202290400270506070e1c0601f4")
CAYENNE = bytes.fromhex("03670110056700ff0168550273271006650100")
OBJECT = {"temperature": 22.6, "humidity": 41, "light": 39, "motion": 6, "vdd": 3612}
ROWS = (("temperature", "CEL"), ("humidity", "P1"), ("illuminance", "LUX"), ("motion", "C62"), ("batteryVoltage", "2Z"))
SCRIPT = """
var kinds = {1: ["temperature", 2, 10], 2: ["humidity", 1, 1], 4: ["light", 2, 1], 5: ["motion", 1, 1],
  6: ["co2", 2, 1], 7: ["vdd", 2, 1], 28: ["external", 2, 1]};
function signed(value, size) {
  var top = 1 << (8 * size - 1);
  return value & top ? value - 2 * top : value;
}
function read(bytes, at, size) {
  var value = 0;
  for (var i = 0; i < size; i++) value = (value << 8) | bytes[at + i];
  return value;
}
function decodeUplink(input) {
  var data = {}, at = 0;
  while (at < input.bytes.length) {
    var kind = kinds[input.bytes[at++]];
    if (!kind) return { errors: ["unknown type at byte " + (at - 1)] };
    var value = read(input.bytes, at, kind[1]);
    data[kind[0]] = kind[0] === "temperature" ? signed(value, 2) / kind[2] : value;
    at += kind[1];
  }
  return { data: data };
}
"""


def _model(codec: str, script: str = "") -> DeviceModel:
    names = ("temperature", "humidity", "light", "motion", "vdd")
    rows = tuple(
        Quantity(quantity=quantity, unit=unit, source=name) for (quantity, unit), name in zip(ROWS, names, strict=True)
    )
    return DeviceModel(id=f"bench-{codec}", vendor="V", name="N", codec=codec, script=script, quantities=rows)


def _cases() -> dict[str, Callable[[], list[Any]]]:
    def case(
        model: DeviceModel, payload: bytes | None, decoded: dict[str, Any] | None = None
    ) -> Callable[[], list[Any]]:
        return partial(decode, model, payload=payload, f_port=1, decoded=decoded, values=(), at=AT)

    return {
        "JavaScript": case(_model("javascript", SCRIPT), ELSYS),
        "JavaScript that extends built-in objects": case(
            _model("javascript", "Array.prototype.last = function () { return this[this.length - 1]; };" + SCRIPT),
            ELSYS,
        ),
        "Elsys": case(_model("elsys"), ELSYS),
        "Cayenne LPP": case(_model("cayenne-lpp"), CAYENNE),
        "object": case(_model("object"), None, OBJECT),
    }


async def run(_store: str, _folder: Path) -> list[Figure]:
    """The figures. The store is not used."""
    figures = []
    for name, one in _cases().items():
        found = len(one())
        assert found >= 5, f"{name}: {found} measurements"
        slow = "extends" in name
        rate = statistics.median(_rate(one, DECODES // 20 if slow else DECODES) for _ in range(ROUNDS))
        aim = "20,000/s" if name == "JavaScript" else ""
        figures.append(
            Figure(f"decodes/s, {name}", f"{rate:,.0f} ({found} measurements)", aim, {"decodes_per_second": rate})
        )
    rate = statistics.median([await _through_threads() for _ in range(ROUNDS)])
    figures.append(Figure("decodes/s, JavaScript through a thread", f"{rate:,.0f}", "", {"decodes_per_second": rate}))
    return figures


def _rate(one: Callable[[], list[Any]], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        one()
    return times / (time.perf_counter() - began)


async def _through_threads() -> float:
    decoders = Decoders()
    model = _model("javascript", SCRIPT)
    uplink = Uplink(
        source="bench", kind="up", device_id="d", received_at=AT, observed_at=AT, raw=b"", payload=ELSYS, f_port=1
    )
    left = DECODES

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            assert len((await decoders.decode(model, 1, uplink)).measurements) == len(ROWS)

    await decoders.decode(model, 1, uplink)
    began = time.perf_counter()
    workers: list[Coroutine[None, None, None]] = [work() for _ in range(AT_ONCE)]
    await asyncio.gather(*workers)
    rate = DECODES / (time.perf_counter() - began)
    decoders.close()
    return rate
