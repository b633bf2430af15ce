from dataclasses import dataclass
from typing import Any

import pytest

from broker.codecs.base import CodecError, Measurement, Value
from broker.codecs.object import MappedObject, decode_named
from tests.unit.codecs.reading import AT, values


@dataclass(frozen=True)
class Row:
    quantity: str
    source: str
    unit: str = ""
    channel: str = ""


@dataclass(frozen=True)
class Sensed:
    name: str
    value: Value
    unit: str = ""
    at: int | None = None


def mapped(decoded: dict[str, Any], *rows: Row) -> list[Measurement]:
    return MappedObject(rows).decode_object(decoded, AT)


def test_a_dotted_path_leads_through_objects_and_lists() -> None:
    decoded = {"em": {"temp": -4.5}, "probes": [{"value": 1}, {"value": 2}], "pm2.5": 7, "a": {"pm2.5": 8}}
    found = mapped(
        decoded,
        Row("temperature", "em.temp"),
        Row("waterLevel", "probes.1.value", channel="2"),
        Row("pm25", "pm2.5"),
        Row("pm25", "a.pm2.5", channel="a"),
    )
    assert values(found) == {"temperature": -4.5, "waterLevel/2": 2, "pm25": 7, "pm25/a": 8}


def test_a_measurement_takes_the_mappings_unit_or_the_quantitys_own() -> None:
    found = mapped({"t": 70, "u": 20}, Row("temperature", "t", "FAH"), Row("temperature", "u"))
    assert [(one.value, one.unit) for one in found] == [(70, "FAH"), (20, "CEL")]


@pytest.mark.parametrize("decoded", [{}, {"em": None}, {"em": {}}, {"em": {"temp": None}}, {"em": 5}, {"em": [1]}])
def test_what_is_absent_or_null_gives_nothing(decoded: dict[str, Any]) -> None:
    assert mapped(decoded, Row("temperature", "em.temp")) == []


@pytest.mark.parametrize(("given", "expected"), [(True, True), (False, False), (1, True), (0.0, False)])
def test_a_boolean_may_come_as_0_or_1(given: object, expected: bool) -> None:
    assert mapped({"leak": given}, Row("waterLeak", "leak"))[0].value is expected


@pytest.mark.parametrize(
    ("row", "given", "why"),
    [
        (Row("temperature", "t"), "21.5", r"'t': temperature must be a number, got '21.5'"),
        (Row("temperature", "t"), True, r"'t': temperature must be a number, got True"),
        (Row("temperature", "t"), {"value": 1}, r"'t': temperature must be a number, got a dict"),
        (Row("temperature", "t"), float("nan"), r"'t': temperature must be a finite number, got nan"),
        (Row("temperature", "t"), 10**400, r"'t': temperature must fit in 64 bits"),
        (Row("waterLeak", "t"), 2, r"'t': waterLeak must be a boolean, got 2"),
        (Row("waterLeak", "t"), "leak", r"'t': waterLeak must be a boolean, got 'leak'"),
        (Row("colour", "t"), 5, r"'t': colour must be a text, got 5"),
        (Row("colour", "t"), "x" * 2000, r"'t': colour must be a text"),
    ],
)
def test_a_wrong_type_is_an_error_that_names_the_member(row: Row, given: object, why: str) -> None:
    with pytest.raises(CodecError, match=why):
        mapped({"t": given}, row)


def test_named_values_keep_their_times_and_are_converted_to_the_mappings_unit() -> None:
    found = decode_named(
        [Row("temperature", "temp"), Row("volume", "volume", "MTQ"), Row("batteryLevel", "battery")],
        [
            Sensed("urn:dev:ow:10e2073a01080063:temp", 294.45, "K", AT - 5),
            Sensed("volume", 13609, "l"),
            Sensed("battery", 0.57, "/"),
            Sensed("unknown", "x"),
        ],
        AT,
    )
    assert [(one.quantity, one.value, one.unit, one.observed_at) for one in found] == [
        ("temperature", 21.3, "CEL", AT - 5),
        ("volume", 13.609, "MTQ", AT),
        ("batteryLevel", 57.0, "P1", AT),
    ]


def test_a_name_that_only_ends_alike_is_another() -> None:
    assert decode_named([Row("temperature", "temp")], [Sensed("watertemp", 5)], AT) == []


@pytest.mark.parametrize(
    ("sensed", "why"),
    [
        (Sensed("temp", 1, "m3"), r"'temp': Unit 'MTQ' \(volume\) cannot be converted to 'CEL'"),
        (Sensed("temp", 1, "furlong"), r"'temp': unit 'furlong' is not a SenML unit"),
        (Sensed("temp", "warm"), r"'temp': temperature must be a number, got 'warm'"),
        (Sensed("temp", True), r"'temp': temperature must be a number, got True"),
    ],
)
def test_a_named_value_of_the_wrong_kind_is_an_error(sensed: Sensed, why: str) -> None:
    with pytest.raises(CodecError, match=why):
        decode_named([Row("temperature", "temp")], [sensed], AT)
