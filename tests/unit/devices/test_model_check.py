"""Entities held against the published Smart Data Models, as the package has them."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker.codecs.quantities import quantity
from broker.devices.defaults import default_outputs, entity_models
from broker.devices.entity import controlled
from broker.devices.model import DeviceModel
from broker.devices.model_check import NoModel, Rules, deviations, rules_of
from broker.devices.published import PACKAGE, Published, installed

pytestmark = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed")

URN = "urn:ngsi-ld:X:1"
AT = {"@type": "DateTime", "@value": "2026-11-21T10:00:00.000Z"}
POINT = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [18.0, 64.6]}}


@pytest.fixture(scope="module")
def published() -> Published:
    return installed()


def entity(kind: str, **attrs: Any) -> dict[str, Any]:
    return {"id": URN, "type": kind, **attrs}


def value(of: Any, **more: Any) -> dict[str, Any]:
    return {"type": "Property", "value": of, **more}


def found(document: dict[str, Any], rules: Rules) -> set[tuple[str, str]]:
    return {(one.attribute, one.rule) for one in deviations(document, rules)}


def test_what_a_sensor_makes_keeps_to_the_model(published: Published) -> None:
    document = entity(
        "IndoorEnvironmentObserved",
        dateObserved=value(AT),
        location=POINT,
        refDevice={"type": "Relationship", "object": "urn:ngsi-ld:Device:1"},
        refPointOfInterest={"type": "Relationship", "object": "urn:ngsi-ld:BuildingSpace:1"},
        temperature=value(21.4, unitCode="CEL"),
        relativeHumidity=value(0.38, unitCode="C62"),
    )
    assert found(document, rules_of("IndoorEnvironmentObserved", published)) == set()


def test_each_deviation_names_the_attribute_the_rule_and_the_value(published: Published) -> None:
    document = entity(
        "ParkingSpot",
        status=value("taken"),
        location=value("here"),
        width=value("wide"),
        timeInstant=value("yesterday"),
        refDevice={"type": "Relationship", "object": "urn:ngsi-ld:Device:1"},
        colour=value("red"),
    )
    rules = rules_of("ParkingSpot", published)
    assert found(document, rules) == {
        ("status", "enum"),
        ("location", "kind"),
        ("width", "type"),
        ("timeInstant", "format"),
        ("colour", "unknown"),
        ("category", "required"),
        ("refParkingSite", "required"),
    }
    (status,) = [one for one in deviations(document, rules) if one.attribute == "status"]
    assert (status.entity, status.type, status.value) == (URN, "ParkingSpot", "taken")
    assert "taken" in status.message


def test_a_unit_is_compared_with_the_one_that_the_model_has_it_in(published: Published) -> None:
    rules = rules_of("WasteContainer", published)
    assert found(entity("WasteContainer", location=POINT, fillingLevel=value(38, unitCode="P1")), rules) == {
        ("fillingLevel", "unit")
    }
    assert found(entity("WasteContainer", location=POINT, fillingLevel=value(0.38, unitCode="C62")), rules) == set()


def test_types_of_our_own_are_known_and_others_are_not_guessed(published: Published) -> None:
    rules = rules_of("Lifebuoy", published)
    document = entity("Lifebuoy", status=value("missing"), dateObserved=value(AT), x=value(1))
    assert found(document, rules) == {("x", "unknown")}
    with pytest.raises(NoModel, match="no published model"):
        rules_of("Greenhouse1", published)
    with pytest.raises(NoModel, match="several published models"):
        rules_of("Pump", published)
    assert rules_of("Museum", published).source.startswith("dataModel.")


def test_a_schema_of_a_checkout_says_the_limits_and_names_the_common_ones(tmp_path: Path, published: Published) -> None:
    own = tmp_path / "dataModel.Weather" / "WeatherObserved"
    own.mkdir(parents=True)
    base = "https://smart-data-models.github.io/data-models/common-schema.json#/definitions/GSMA-Commons"
    schema = {
        "$schemaVersion": "9.9",
        "allOf": [{"$ref": base}, {"properties": {"windDirection": {"type": "number", "maximum": 360}}}],
    }
    (own / "schema.json").write_bytes(msgspec.json.encode(schema))
    document = entity("WeatherObserved", windDirection=value(400, unitCode="DD"), name=value(7))
    with pytest.raises(NoModel, match="common-schema"):
        rules_of("WeatherObserved", published, tmp_path)
    common = tmp_path / "data-models"
    common.mkdir()
    definitions = {"GSMA-Commons": {"properties": {"name": {"type": "string"}}}}
    (common / "common-schema.json").write_bytes(msgspec.json.encode({"definitions": definitions}))
    rules = rules_of("WeatherObserved", published, tmp_path)
    assert "9.9" in rules.source
    assert found(document, rules) == {("windDirection", "maximum"), ("name", "type")}


# --- our tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(name for name, one in entity_models().items() if one.subject))
def test_the_table_has_the_models_names_kinds_and_values(name: str, published: Published) -> None:
    ours = entity_models()[name]
    rows = published.attributes(ours.subject, name)
    assert published.model_version(ours.subject, name) == ours.version
    for told, mapped in ours.quantities.items():
        assert (mapped.attribute in rows) != mapped.own, f"{told}: {mapped.attribute}"
        if mapped.own:
            continue
        row = rows[mapped.attribute]
        assert row.kind == "Property"
        kind = quantity(told).kind
        if mapped.values:
            assert kind != "number"
            assert not row.enum or set(mapped.values.values()) <= set(row.enum)
        else:
            assert kind == "boolean" if row.json_type == "boolean" else row.json_type in ("number", "integer")
    assert not set(ours.own) & rows.keys()
    for attribute in (ours.observed, ours.observed_from):
        assert not attribute or rows[attribute].json_type == "string"
    assert not ours.device or rows[ours.device].kind == "Relationship"


def _models() -> list[DeviceModel]:
    folder = files("schemas") / "models"
    return [msgspec.json.decode(one.read_bytes(), type=DeviceModel) for one in sorted(folder.iterdir(), key=str)]


def _made_up(told: str, values: dict[str, Any], unit: str | None) -> Any:
    info = quantity(told)
    if info.kind == "boolean":
        return values.get("true", True)
    return 1 if unit != "C62" else 0.5


def test_the_default_outputs_of_every_device_model_keep_to_the_models_of_every_type(published: Published) -> None:
    """Every value that a bundled device gives by default is of the model's type; other names are the quantity's own."""
    rules = {name: rules_of(name, published) for name in entity_models()}
    for model in _models():
        for name, rule in rules.items():
            attrs = {
                one.attribute: value(_made_up(one.quantity, one.values, one.unit))
                for one in default_outputs(model, str, name)
                if quantity(one.quantity).kind != "text"
            }
            wrong = {one for one in found(entity(name, **attrs), rule) if one[1] not in ("required", "unknown")}
            assert not wrong, f"{model.id} as {name}"


def test_what_devices_are_said_to_control_is_what_the_model_lists(published: Published) -> None:
    listed = published.attributes("dataModel.Device", "Device")["controlledProperty"].description
    assert all(word in listed for model in _models() for word in controlled(model))
    assert [model.id for model in _models() if not controlled(model)] == ["generic-cayenne-lpp", "talkpool-oy1320"]
