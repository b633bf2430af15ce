"""How fast kept uplinks are decoded again, and what it costs to find history rows by their uplink.

    .venv/bin/python -m bench.reprocess --devices 20 --uplinks 1000

In one process on a store of its own: uplinks of a wrong model come in, the model is corrected, the difference is looked at, the
history is corrected, and corrected once more (nothing changes then). Prints uplinks a second of each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import structlog

from broker.clock import SECOND, Clock, Micros
from broker.config import Limits, StoreSettings
from broker.config import Writer as WriterSettings
from broker.devices.commands import PutDevice, PutDeviceModel, PutVirtualSensor
from broker.devices.model import Device, DeviceModel, Output, Quantity, VirtualSensor
from broker.devices.processing.contract import Counter
from broker.devices.swaps import Swap
from broker.pipeline.decoding import Decoders
from broker.pipeline.intake import SensedValue, Uplink
from broker.pipeline.reprocess.looking import Looking
from broker.pipeline.reprocess.model import Selection, as_reprocessing
from broker.pipeline.reprocess.run import Reprocessings
from broker.pipeline.uplinks import Uplinks
from broker.pipeline.writer import Writer
from broker.stores.base import UplinkRow
from broker.stores.open import create_store
from broker.subscriptions.index import SubscriptionIndex

T = TypeVar("T")
START: Micros = 1_780_000_000 * SECOND


def model(unit: str) -> DeviceModel:
    """Three quantities, one of them in a unit that may be wrong."""
    rows = (("temperature", "CEL", "t"), ("humidity", "P1", "h"), ("volume", unit, "v"))
    quantities = tuple(Quantity(quantity=name, unit=one, source=source) for name, one, source in rows)
    return DeviceModel(id="m", vendor="V", name="M", codec="senml", network="nb-iot", quantities=quantities)


def uplink(device: str, number: int) -> Uplink:
    """The device's n-th."""
    at = START + number * 600 * SECOND
    sent = {"t": 20 + number % 7, "h": 40 + number % 11, "v": number}
    raw = json.dumps([device, number]).encode()
    values = tuple(SensedValue(name, value, "", at) for name, value in sent.items())
    return Uplink("coap", "up", device, at, at, raw, frame_key=f"{device}:{number}", values=values)


def read_again(row: UplinkRow) -> Uplink:
    """As it came in."""
    device, number = json.loads(row.raw)
    return uplink(device, number)


async def timed(what: str, count: int, work: Awaitable[T]) -> T:
    """Do it, and say how many a second."""
    began = time.perf_counter()
    result = await work
    seconds = time.perf_counter() - began
    print(f"{what:<28}{count / seconds:>10.0f} uplinks/s   {seconds:.2f} s")
    return result


async def run(url: str, devices: int, uplinks: int, *, meters: bool) -> None:
    """All of it."""
    clock = Clock()
    store = create_store(StoreSettings(url=url), clock)
    await store.open()
    tenant = await store.tenant()
    writer = Writer(tenant, clock, WriterSettings(), SubscriptionIndex(), lambda rows: None)
    running = asyncio.create_task(writer.run())
    limits, decoders = Limits(), Decoders()
    intake = Uplinks(tenant, writer, clock, limits, decoders)
    looking = Looking(intake, read_again, limits)
    reprocessings = Reprocessings(tenant, writer, writer, looking, clock, 600.0)
    await writer.execute(PutDeviceModel(model("LTR")))
    names = [f"d{number:05}" for number in range(devices)]
    for name in names:
        outputs = tuple(
            Output(
                quantity=one,
                attribute=f"https://example.org/{one}",
                counter=Counter() if meters and one == "volume" else None,
            )
            for one in ("temperature", "humidity", "volume")
        )
        made = VirtualSensor(id=name, name=name, entity=f"urn:e:{name}", entity_type="urn:T", outputs=outputs)
        await writer.execute(PutVirtualSensor(made))
        await writer.execute(PutDevice(Device(id=name, model="m")))
        await writer.execute(Swap(name, name, START - SECOND))
    whole = devices * uplinks

    async def come_in() -> None:
        async def one(name: str) -> None:
            for number in range(uplinks):
                await intake.submit(uplink(name, number), wait=True)

        await asyncio.gather(*map(one, names))

    async def corrected() -> None:
        await reprocessings.ask(selection, by="", note="", notify=False)
        await reprocessings.work()

    selection = Selection(START - SECOND, START + 10**9 * SECOND, model="m")
    await timed("intake", whole, come_in())
    await writer.execute(PutDeviceModel(model("MTQ")))
    found = await timed("difference", whole, reprocessings.difference(selection, 10))
    assert found.counts.changed == whole - devices  # 0 litres are 0 m³
    await timed("corrected", whole, corrected())
    await timed("once more, nothing changes", whole, corrected())
    jobs = [as_reprocessing(record) for record in await tenant.records("reprocessing")]
    assert [job.counts.changed for job in jobs] == [whole - devices, 0]
    writer.close()
    await running
    decoders.close()
    await store.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--uplinks", type=int, default=1000, help="of each device")
    parser.add_argument("--meters", action="store_true", help="the volume is a meter's, which is remembered")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(f"sqlite:///{Path(folder) / 'k.db'}", given.devices, given.uplinks, meters=given.meters))


if __name__ == "__main__":
    main()
