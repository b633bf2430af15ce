"""The Device entity: what apps may subscribe to when they care which hardware is behind a value; and its DeviceModel's. Pure.

Types and attribute names of the Smart Data Models (dataModel.Device): `controlledAsset` points to the entity that the
device observes now; a swap changes it on both devices. What it observes is `controlledProperty`, in the model's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from broker.clock import Stamp
from broker.codecs.quantities import UnitError, quantity
from broker.devices.model import Device, DeviceModel
from broker.devices.observe import device_urn
from broker.ngsild.change import AttributeTrigger, EntityChange
from broker.ngsild.model import DEFAULT_VOCAB, Attributes, Entity, Instance, Iri, default_instance, value_of
from broker.stores.base import HistoryRow

DEVICE_TYPE: Iri = DEFAULT_VOCAB + "Device"
MODEL_TYPE: Iri = DEFAULT_VOCAB + "DeviceModel"
CONTROLLED_ASSET: Iri = DEFAULT_VOCAB + "controlledAsset"
_NAME: Iri = DEFAULT_VOCAB + "name"
_MODEL: Iri = DEFAULT_VOCAB + "modelName"
_BRAND: Iri = DEFAULT_VOCAB + "brandName"
_MANUFACTURER: Iri = DEFAULT_VOCAB + "manufacturerName"
_OF_MODEL: Iri = DEFAULT_VOCAB + "refDeviceModel"
_CATEGORY: Iri = DEFAULT_VOCAB + "category"
_CONTROLS: Iri = DEFAULT_VOCAB + "controlledProperty"
_PROTOCOL: Iri = DEFAULT_VOCAB + "supportedProtocol"
_PROTOCOLS: Final = {"lorawan": "lora", "nb-iot": "nb-iot"}
"""Network of a device model -> the Smart Data Models' word."""


def controlled(model: DeviceModel) -> list[str]:
    """What devices of a model observe, in the words of the Smart Data Models' controlledProperty."""
    found: dict[str, None] = {}
    for sent in model.quantities:
        try:
            word = quantity(sent.quantity).controls
        except UnitError:  # a quantity that the table has no more
            continue
        if word:
            found[word] = None
    return list(found)


def model_urn(model_id: str) -> str:
    """The URN of a device model's entity."""
    return f"urn:ngsi-ld:DeviceModel:{model_id}"


def device_entity(
    entity: Entity | None, device: Device, model: DeviceModel, assets: list[str], stamp: Stamp
) -> tuple[EntityChange | None, list[HistoryRow]]:
    """The change that brings the device's entity in step with the registry; None when it is already."""
    wanted: dict[Iri, Instance | None] = {
        _NAME: {"type": "Property", "value": device.name or device.id},
        _MODEL: {"type": "Property", "value": model.name},
        _BRAND: {"type": "Property", "value": model.vendor},
        **_common(model),
        _OF_MODEL: {"type": "Relationship", "object": model_urn(model.id)},
        CONTROLLED_ASSET: {"type": "Relationship", "object": assets[0] if len(assets) == 1 else assets}
        if assets
        else None,
    }
    return _followed(entity, device_urn(device.id), DEVICE_TYPE, wanted, stamp, device.id)


def model_entity(
    entity: Entity | None, model: DeviceModel, stamp: Stamp
) -> tuple[EntityChange | None, list[HistoryRow]]:
    """The change that brings the device model's entity in step with the registry; None when it is already."""
    wanted: dict[Iri, Instance | None] = {
        _NAME: {"type": "Property", "value": f"{model.vendor} {model.name}"},
        _MODEL: {"type": "Property", "value": model.name},
        _BRAND: {"type": "Property", "value": model.vendor},
        _MANUFACTURER: {"type": "Property", "value": model.vendor},
        **_common(model),
    }
    return _followed(entity, model_urn(model.id), MODEL_TYPE, wanted, stamp, None)


def _common(model: DeviceModel) -> dict[Iri, Instance | None]:
    """What a model and its devices share."""
    controls = controlled(model)
    return {
        _CATEGORY: {"type": "Property", "value": ["sensor"]},
        _PROTOCOL: {"type": "Property", "value": [_PROTOCOLS[model.network]]},
        _CONTROLS: {"type": "Property", "value": controls} if controls else None,
    }


def _followed(
    entity: Entity | None,
    entity_id: str,
    kind: Iri,
    wanted: Mapping[Iri, Instance | None],
    stamp: Stamp,
    device_id: str | None,
) -> tuple[EntityChange | None, list[HistoryRow]]:
    """The change that makes an entity what is wanted of it (None: without that attribute), and its history."""
    attrs: Attributes = dict(entity["attrs"]) if entity is not None else {}
    triggers: dict[Iri, AttributeTrigger] = {}
    for name, instance in wanted.items():
        if instance is None:
            if attrs.pop(name, None) is not None:
                triggers[name] = "attributeDeleted"
            continue
        current = default_instance(attrs.get(name, []))
        if current is not None and value_of(current) == value_of(instance):
            continue
        created = current.get("createdAt", stamp.text) if current is not None else stamp.text
        attrs[name] = [{**instance, "createdAt": created, "modifiedAt": stamp.text}]
        triggers[name] = "attributeUpdated" if current is not None else "attributeCreated"
    if not triggers:
        return None, []
    after: Entity
    if entity is None:
        after = {
            "id": entity_id,
            "type": [kind],
            "attrs": attrs,
            "createdAt": stamp.text,
            "modifiedAt": stamp.text,
        }
    else:
        after = {**entity, "attrs": attrs, "modifiedAt": stamp.text}
    history = [
        HistoryRow(
            entity_id=entity_id,
            attribute=name,
            dataset_id="",
            observed_at=stamp.now,
            recorded_at=stamp.now,
            version=stamp.version,
            instance=attrs[name][0] if name in attrs else None,
            device_id=device_id,
        )
        for name in triggers
    ]
    return EntityChange(entity_id, entity, after, triggers), history
