"""What a registry thing must hold beyond its shape: names that exist elsewhere. Pure."""

from __future__ import annotations

import re

from broker.codecs.downlink import check_template
from broker.codecs.javascript.sandbox import MOST_SOURCE
from broker.codecs.quantities import accepted_units, quantity_names
from broker.codecs.registry import JAVASCRIPT, codec_names
from broker.devices.alarms.check import check_watching
from broker.devices.battery import check_battery
from broker.devices.model import Device, DeviceModel, Personal, VirtualSensor
from broker.devices.processing.rules import check_processing
from broker.errors import BadRequestData

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)

MOST_DAYS = 36_500
"""Of retention: a hundred years."""
MOST_CHARACTERS = 500
"""Of a purpose, count."""


def check_id(value: str, what: str) -> None:
    """Ids stand in URLs, keys and logs: letters, digits, '.', '_', ':', '-'."""
    if _NAME.fullmatch(value) is None:
        raise BadRequestData(
            f"The {what}'s id must be letters, digits, '.', '_', ':' or '-', at most 128, got '{value[:140]}'."
        )


def check_model(model: DeviceModel) -> None:
    """Its codec and quantities are known, its commands can be encoded."""
    check_id(model.id, "device model")
    if model.codec not in codec_names():
        raise BadRequestData(f"'codec' must be one of {', '.join(sorted(codec_names()))}; got '{model.codec[:60]}'.")
    for sent in model.quantities:
        _check_quantity(sent.quantity, "quantities")
    if (model.codec == JAVASCRIPT) != bool(model.script):
        raise BadRequestData("'script' must be there with codec 'javascript', and only then.")
    if len(model.script) > MOST_SOURCE:
        raise BadRequestData(f"'script' must have at most {MOST_SOURCE} characters, got {len(model.script)}.")
    if model.battery is not None:
        check_battery(model.battery)
    for name, template in model.commands.items():
        check_id(name, "command")
        check_template(name, template, model.network)
        if template.encoder and not model.script:
            raise BadRequestData(f"'commands', '{name}': \"encoder\": \"script\" needs a model with a script.")


def check_device(device: Device) -> None:
    """Its id is as networks' messages are read: in lower case."""
    check_id(device.id, "device")
    if device.id != device.id.lower():
        raise BadRequestData(f"A device's id is written in lower case: '{device.id.lower()}'.")


def check_sensor(sensor: VirtualSensor) -> None:
    """Its entity is a URN and its outputs are of known quantities."""
    check_id(sensor.id, "virtual sensor")
    for entity in sorted(sensor.entities):
        if _URI.fullmatch(entity) is None:
            raise BadRequestData(f"'entity' must be a URI such as urn:ngsi-ld:Room:214, got '{entity[:100]}'.")
    if sensor.place is not None and _URI.fullmatch(sensor.place) is None:
        raise BadRequestData(f"'place' must be a URI such as urn:ngsi-ld:Building:7, got '{sensor.place[:100]}'.")
    for output in sensor.outputs:
        _check_quantity(output.quantity, "outputs")
        if output.unit is not None and output.unit not in accepted_units(output.quantity):
            raise BadRequestData(
                f"'unit' of quantity '{output.quantity}' must be one of {', '.join(accepted_units(output.quantity))}; "
                f"got '{output.unit[:20]}'."
            )
    if sensor.personal is not None:
        _check_personal(sensor.personal)
    check_processing(sensor)
    check_watching(sensor)


def _check_personal(personal: Personal) -> None:
    if not 1 <= personal.retention_days <= MOST_DAYS:
        raise BadRequestData(
            f"'personal.retentionDays' must be a whole number of days from 1 to {MOST_DAYS}, got {personal.retention_days}."
        )
    if not personal.purpose.strip() or len(personal.purpose) > MOST_CHARACTERS:
        raise BadRequestData(
            f"'personal.purpose' must say in 1 to {MOST_CHARACTERS} characters what the data is collected for."
        )


def _check_quantity(name: str, where: str) -> None:
    if name not in quantity_names():
        raise BadRequestData(f"'{where}': there is no quantity '{name[:60]}'; `knutpunkt quantities` lists them.")
