"""Registration and swaps: what they do, what they refuse, what the Device entities show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.clock import SECOND, Clock, iso
from broker.config import StoreSettings
from broker.config import Writer as WriterSettings
from broker.devices.commands import PutDevice, PutDeviceModel, PutVirtualSensor
from broker.devices.entity import CONTROLLED_ASSET
from broker.devices.model import Device, DeviceModel, Output, Quantity, VirtualSensor
from broker.devices.registry import as_binding
from broker.devices.swaps import Swap, Unbind
from broker.errors import AlreadyExists, BadRequestData, ResourceNotFound
from broker.pipeline.writer import Writer
from broker.stores.base import TenantStore
from broker.stores.open import create_store
from broker.subscriptions.index import SubscriptionIndex

T0 = 1_780_000_000 * SECOND


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[tuple[Writer, TenantStore]]:
    """Two models, a virtual sensor, a registered device 'old'."""
    store = create_store(StoreSettings(url=f"sqlite:///{tmp_path / 'registry.db'}"), Clock())
    await store.open()
    tenant = await store.tenant()
    writer = Writer(tenant, Clock(), WriterSettings(), SubscriptionIndex(), lambda rows: None)
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        climate = (Quantity(quantity="temperature"), Quantity(quantity="humidity"))
        for model, quantities in (("climate", climate), ("temperature-only", climate[:1])):
            made = DeviceModel(id=model, vendor="V", name=model, codec="elsys", quantities=quantities)
            await writer.execute(PutDeviceModel(made))
        await writer.execute(PutVirtualSensor(room("room")))
        await writer.execute(PutDevice(Device(id="old", model="climate")))
        try:
            yield writer, tenant
        finally:
            writer.close()
    await store.close()


def room(name: str) -> VirtualSensor:
    outputs = tuple(Output(quantity=q, attribute=f"https://example.org/{q}") for q in ("temperature", "humidity"))
    return VirtualSensor(id=name, name=name, entity=f"urn:{name}", entity_type="https://example.org/T", outputs=outputs)


async def bindings(store: TenantStore, sensor: str = "room") -> list[tuple[str, int, int | None]]:
    records = await store.records("binding", key=f"sensor:{sensor}")
    found = [as_binding(record) for record in records]
    return sorted((one.device, one.valid_from - T0, one.valid_to and one.valid_to - T0) for one in found)


async def asset(store: TenantStore, device: str) -> object:
    kept = await store.entity(f"urn:ngsi-ld:Device:{device}")
    assert kept is not None
    instances = kept.entity["attrs"].get(CONTROLLED_ASSET)
    return instances[0]["object"] if instances else None


async def test_a_swap_closes_one_binding_and_opens_the_next_at_one_instant(
    registry: tuple[Writer, TenantStore],
) -> None:
    writer, store = registry
    await writer.execute(Swap("room", "old", T0))
    swapped = await writer.execute(Swap("room", "new", T0 + 100))
    assert await bindings(store) == [("new", 100, None), ("old", 0, 100)]
    assert swapped.registered is not None
    assert swapped.registered.model == "climate"
    assert await asset(store, "old") is None
    assert await asset(store, "new") == "urn:room"


async def test_what_another_model_does_not_send_is_said_at_swap_time(registry: tuple[Writer, TenantStore]) -> None:
    writer, _ = registry
    await writer.execute(Swap("room", "old", T0))
    swapped = await writer.execute(Swap("room", "new", T0 + 100, model="temperature-only"))
    assert swapped.differences.not_served == ("humidity",)


async def test_a_swap_in_the_future_leaves_the_old_device_until_then(registry: tuple[Writer, TenantStore]) -> None:
    writer, store = registry
    future = Clock().now() + 3600 * SECOND
    await writer.execute(Swap("room", "old", T0))
    await writer.execute(Swap("room", "new", future))
    records = await store.records("binding", key="sensor:room")
    held = [as_binding(record).device for record in records if as_binding(record).covers(future - 1)]
    assert held == ["old"]


async def test_a_device_is_one_virtual_sensor_at_a_time(registry: tuple[Writer, TenantStore]) -> None:
    writer, store = registry
    await writer.execute(PutVirtualSensor(room("other")))
    await writer.execute(Swap("room", "old", T0))
    with pytest.raises(AlreadyExists, match="'room'"):
        await writer.execute(Swap("other", "old", T0 + 100))
    with pytest.raises(AlreadyExists, match="already"):
        await writer.execute(Swap("room", "old", T0 + 100))
    assert await bindings(store, "other") == []


async def test_a_swap_cannot_lie_before_the_binding_it_closes_began(registry: tuple[Writer, TenantStore]) -> None:
    writer, store = registry
    await writer.execute(Swap("room", "old", T0))
    with pytest.raises(BadRequestData, match=iso(T0)):
        await writer.execute(Swap("room", "new", T0 - 1, model="climate"))
    assert await bindings(store) == [("old", 0, None)]


async def test_what_does_not_exist_is_named(registry: tuple[Writer, TenantStore]) -> None:
    writer, store = registry
    with pytest.raises(ResourceNotFound, match="'nowhere'"):
        await writer.execute(Swap("nowhere", "old", T0))
    with pytest.raises(BadRequestData, match="'model'"):
        await writer.execute(Swap("room", "unknown", T0))
    with pytest.raises(BadRequestData, match="'no-such'"):
        await writer.execute(Swap("room", "unknown", T0, model="no-such"))
    with pytest.raises(BadRequestData, match="'no-such'"):
        await writer.execute(PutDevice(Device(id="x", model="no-such")))
    assert await bindings(store) == []


async def test_two_swaps_at_once_leave_one_open_binding(registry: tuple[Writer, TenantStore]) -> None:
    writer, store = registry
    await writer.execute(Swap("room", "old", T0))
    results = await asyncio.gather(
        writer.execute(Swap("room", "a", T0 + 100, model="climate")),
        writer.execute(Swap("room", "b", T0 + 100, model="climate")),
        return_exceptions=True,
    )
    assert sum(isinstance(result, BadRequestData) for result in results) == 1
    assert sum(valid_to is None for _, _, valid_to in await bindings(store)) == 1


async def test_an_unbound_virtual_sensor_has_no_device_and_its_history_stays(
    registry: tuple[Writer, TenantStore],
) -> None:
    writer, store = registry
    await writer.execute(Swap("room", "old", T0))
    await writer.execute(Unbind("room", T0 + 50))
    assert await bindings(store) == [("old", 0, 50)]
    assert await asset(store, "old") is None
    with pytest.raises(ResourceNotFound):
        await writer.execute(Unbind("room", T0 + 60))
