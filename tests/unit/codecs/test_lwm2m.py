"""What LwM2M's objects measure."""

from __future__ import annotations

from importlib import resources

import pytest

from broker.clock import SECOND
from broker.codecs.base import CodecError, Measurement
from broker.codecs.lwm2m import decode_lwm2m, table
from broker.codecs.quantities import accepted_units, quantity
from broker.codecs.registry import codec_names
from broker.devices.model import Quantity
from broker.pipeline.intake import SensedValue

NOW = 1_780_000_000 * SECOND


def decoded(
    *values: tuple[str, object] | tuple[str, object, str], rows: tuple[Quantity, ...] = ()
) -> list[Measurement]:
    sensed = [SensedValue(one[0], one[1], one[2] if len(one) > 2 else "", None) for one in values]  # type: ignore[arg-type]
    return decode_lwm2m(rows, sensed, NOW)


def told(*values: tuple[str, object] | tuple[str, object, str]) -> list[tuple[str, object, str, str]]:
    return [(one.quantity, one.value, one.unit, one.channel) for one in decoded(*values)]


def test_objects_of_sensors_are_quantities() -> None:
    assert told(("/3303/0/5700", -5.5), ("/3304/1/5700", 40), ("/3302/0/5500", True), ("/3/0/9", 87)) == [
        ("temperature", -5.5, "CEL", ""),
        ("humidity", 40, "P1", "1"),
        ("presence", True, "", ""),
        ("batteryLevel", 87, "P1", ""),
    ]


def test_units_are_converted_from_what_the_device_says_or_the_table_does() -> None:
    assert told(("/3323/0/5700", 101325)) == [("pressure", 1013.25, "A97", "")]
    assert told(("/3323/0/5701", "hPa"), ("/3323/0/5700", 1013.25)) == [("pressure", 1013.25, "A97", "")]
    assert told(("/3303/0/5700", 294.15, "K")) == [("temperature", 21.0, "CEL", "")]
    assert told(("/3303/2/5700", 21.5), ("/3303/2/5701", "Celsius")) == [("temperature", 21.5, "CEL", "2")]
    assert told(("/3/0/7/0", 3600), ("/3/0/7/1", 5000)) == [
        ("batteryVoltage", 3.6, "VLT", ""),
        ("batteryVoltage", 5.0, "VLT", "0.1"),
    ]


def test_a_unit_that_is_not_known_is_not_guessed() -> None:
    with pytest.raises(CodecError, match="Furlong"):
        decoded(("/3330/0/5700", 1), ("/3330/0/5701", "Furlong"))
    with pytest.raises(CodecError, match="temperature must be a number"):
        decoded(("/3303/0/5700", "warm"))


def test_a_models_mapping_goes_before_the_table() -> None:
    row = Quantity(quantity="waterLevel", unit="CMT", source="3330/0/5700")
    (level,) = decoded(("/3330/0/5700", 120), rows=(row,))
    assert (level.quantity, level.value, level.unit) == ("waterLevel", 120, "CMT")


def test_what_measures_nothing_gives_nothing() -> None:
    assert told(("/3/0/0", "Acme"), ("/3303/0/5601", 1.0), ("/32000/0/1", 3), ("temperature", 4)) == []


def test_the_table_names_quantities_and_units_that_are_known() -> None:
    for known in table().objects.values():
        for measured in known.values.values():
            quantity(measured.quantity)
            if measured.unit:
                assert measured.unit in accepted_units(measured.quantity)
    types = {"number", "integer", "boolean", "string", "time", "opaque", "link", "none"}
    assert {kind for known in table().objects.values() for kind in known.types.values()} <= types
    assert set(table().reusable.values()) <= types
    for known in table().objects.values():
        for resource in known.values:
            assert resource in known.types or resource in table().reusable
    assert "lwm2m" in codec_names()
    assert (resources.files("schemas") / "lwm2m.json").is_file()
