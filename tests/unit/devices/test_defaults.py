"""What a device becomes by default: the Smart Data Models' attributes and units, by the entity's type."""

from importlib import resources

import msgspec
import pytest

from broker.codecs.quantities import accepted_units, quantity, quantity_names
from broker.devices.defaults import default_attribute, default_outputs, entity_models
from broker.devices.model import DeviceModel

BASE = "https://smartdatamodels.org/"


def _expand(name: str) -> str:
    return BASE + name


def _model(name: str) -> DeviceModel:
    file = resources.files("schemas") / "models" / f"{name}.json"
    return msgspec.json.decode(file.read_bytes(), type=DeviceModel)


def _outputs(model: str, entity_type: str | None) -> dict[str, tuple[str, str | None]]:
    outputs = default_outputs(_model(model), _expand, _expand(entity_type) if entity_type else None)
    return {output.attribute.removeprefix(BASE): (output.quantity, output.unit) for output in outputs}


def test_a_room_sensor_becomes_an_indoor_environment_with_humidity_from_0_to_1() -> None:
    assert _outputs("elsys-ers-co2", "IndoorEnvironmentObserved") == {
        "temperature": ("temperature", None),
        "relativeHumidity": ("humidity", "C62"),
        "illuminance": ("illuminance", None),
        "motion": ("motion", None),
        "co2": ("co2", None),
    }


def test_one_quantity_has_another_name_in_another_type() -> None:
    assert _outputs("decentlab-dl-ctd10", "WaterObserved")["waterLevel"] == ("waterLevel", None)
    assert _outputs("decentlab-dl-ctd10", "WeatherObserved")["streamGauge"] == ("waterLevel", "CMT")
    assert _outputs("decentlab-dl-trs12", "AgriParcelRecord")["soilMoistureVwc"] == ("soilMoisture", "C62")
    assert _outputs("netvox-r718x", "WasteContainer")["fillingLevel"] == ("fillLevel", "C62")


def test_a_type_that_is_not_known_gets_the_tables_names() -> None:
    assert _outputs("elsys-ers-lite", "Greenhouse") == {
        "temperature": ("temperature", None),
        "relativeHumidity": ("humidity", None),
    }
    assert _outputs("elsys-ers-lite", None) == _outputs("elsys-ers-lite", "Greenhouse")


def test_what_is_about_the_device_becomes_no_attribute_but_of_a_device() -> None:
    assert "batteryLevel" not in _outputs("milesight-em300-th", "IndoorEnvironmentObserved")
    assert _outputs("milesight-em300-th", "Device")["batteryLevel"] == ("batteryLevel", "C62")
    assert default_attribute("batteryVoltage") is None
    assert default_attribute("deviceFault") is None


@pytest.mark.parametrize("name", sorted(entity_models()))
def test_a_types_units_are_units_of_its_quantities(name: str) -> None:
    entity = entity_models()[name]
    assert bool(entity.subject) == bool(entity.version)
    for told, mapped in entity.quantities.items():
        assert told in quantity_names()
        assert mapped.attribute
        assert mapped.unit is None or mapped.unit in accepted_units(told)


def test_every_quantity_becomes_an_attribute_with_a_name_that_json_ld_takes() -> None:
    for name in quantity_names():
        attribute = quantity(name).attribute
        assert attribute is None or attribute == "" or attribute.isalnum()
