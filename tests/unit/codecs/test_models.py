"""The device models that come with the product hold together: their shape, their codecs, their quantities and units."""

from importlib import resources

import msgspec
import pytest

from broker.codecs.quantities import accepted_units, quantity
from broker.codecs.registry import NAMED_VALUES, OBJECT, codec_names
from broker.devices.check import check_model
from broker.devices.model import DeviceModel

FILES = {entry.name: entry.read_bytes() for entry in (resources.files("schemas") / "models").iterdir()}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_device_model_is_whole(name: str) -> None:
    model = msgspec.json.decode(FILES[name], type=DeviceModel)
    assert name == f"{model.id}.json"
    check_model(model)
    assert model.codec in codec_names()
    if model.battery is not None:
        assert model.battery.source, "where it is documented"
        assert any(row.quantity == "batteryVoltage" for row in model.quantities)
    for row in model.quantities:
        assert row.unit in accepted_units(row.quantity)
        if model.codec in (OBJECT, NAMED_VALUES):
            assert row.source
        else:
            assert not row.source
            assert row.unit == quantity(row.quantity).unit, "codecs of bytes give the table's unit"


def test_the_models_that_the_demo_city_uses_are_there() -> None:
    needed = {"elsys-ers-co2", "elsys-elt-2", "milesight-em300-th", "milesight-em310-udl", "milesight-em500-swl",
              "axioma-qalcosonic-w1", "axioma-qalcosonic-w1-nbiot", "generic-cayenne-lpp", "generic-senml"}  # fmt: skip
    assert {f"{name}.json" for name in needed} <= set(FILES)
