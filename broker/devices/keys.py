"""The keys that find records of the registry by other things than their ids. Pure."""

from __future__ import annotations

from broker.devices.model import Binding, Device, DeviceModel, SwapRecord, VirtualSensor


def model_keys(model: DeviceModel) -> tuple[str, ...]:
    """`owner:<mark>`."""
    return _owner(model.managed_by)


def device_keys(device: Device) -> tuple[str, ...]:
    """`model:<id>`, `owner:<mark>`."""
    return (f"model:{device.model}", *_owner(device.managed_by))


def sensor_keys(sensor: VirtualSensor) -> tuple[str, ...]:
    """`entity:<id>` for each entity it writes, `type:<IRI>`, `owner:<mark>`."""
    entities = (f"entity:{entity}" for entity in sorted(sensor.entities))
    return (*entities, f"type:{sensor.entity_type}", *_owner(sensor.managed_by))


def binding_keys(binding: Binding) -> tuple[str, ...]:
    """`device:<id>` and `sensor:<id>`."""
    return (f"device:{binding.device}", f"sensor:{binding.virtual_sensor}")


def swap_keys(swap: SwapRecord) -> tuple[str, ...]:
    """`sensor:<id>`, `device:<id>` of both devices, and `planned` until it takes effect."""
    devices = (f"device:{device}" for device in {swap.device, swap.replaced} if device)
    return tuple(sorted([f"sensor:{swap.virtual_sensor}", *devices, *(("planned",) if swap.planned else ())]))


def _owner(mark: str) -> tuple[str, ...]:
    return (f"owner:{mark}",) if mark else ()
