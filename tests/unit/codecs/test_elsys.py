"""Payloads marked 'published' are Elsys's own examples (The Things Network's device repository)."""

import pytest

from broker.clock import SECOND
from broker.codecs.base import CodecError
from tests.unit.codecs.reading import AT, decode, values


def test_the_published_ers_example() -> None:
    found = decode("elsys", "0100E202290400270506")
    assert values(found) == {"temperature": 22.6, "humidity": 41, "illuminance": 39, "motion": 6}
    assert [one.unit for one in found] == ["CEL", "P1", "LUX", "C62"]
    assert {one.observed_at for one in found} == {AT}


def test_a_negative_temperature_is_negative() -> None:
    assert values(decode("elsys", "01FFCE")) == {"temperature": -5.0}
    assert values(decode("elsys", "0CFF38")) == {"temperature/external": -20.0}


def test_several_external_temperatures_are_kept_apart() -> None:
    assert values(decode("elsys", "0C00D31900D419FFFF")) == {
        "temperature/external": 21.1,
        "temperature/external2": 21.2,
        "temperature/external3": -0.1,
    }


def test_counters_are_unsigned() -> None:
    assert values(decode("elsys", "0BFFFFFFFF0A0003")) == {"pulseCount/1": 4294967295, "pulses/1": 3}


def test_positions_are_little_endian_and_signed() -> None:
    found = values(
        decode(
            "elsys", "09" + (633_000).to_bytes(3, "little").hex() + (-12_345).to_bytes(3, "little", signed=True).hex()
        )
    )
    assert found == {"latitude": 63.3, "longitude": -1.2345}


def test_the_rest_of_the_table() -> None:
    payload = "0E0844 0F02 1102 1207 14000F6F4B 154136 1C00FA 070E1C 0803E8 1BFFFFFFFF 1A01 06FFFF 1000D3FF9C"
    assert values(decode("elsys", payload)) == {
        "distance": 2.116,
        "accelerationMotion": 2,
        "occupancy": 2,
        "waterLeak": True,
        "waterLeakLevel": 7,
        "pressure": 1011.531,
        "soundLevelPeak": 65,
        "soundLevel": 54,
        "tvoc": 250,
        "batteryVoltage": 3.612,
        "voltage/1": 1.0,
        "voltage/loadCell": -0.000001,
        "digitalInput/2": 1,
        "co2": 65535,
        "temperature/irInternal": 21.1,
        "temperature/irExternal": -10.0,
    }


def test_a_temperature_grid_has_64_points() -> None:
    found = values(decode("elsys", "1315" + "0A" * 63 + "05"))
    assert len(found) == 64
    assert found["temperature/grid1"] == 22.0
    assert found["temperature/grid64"] == 21.5


def test_acceleration_is_in_metres_per_second_squared() -> None:
    found = values(decode("elsys", "033FC100"))
    assert found == {
        "accelerationX": pytest.approx(9.80665),
        "accelerationY": pytest.approx(-9.80665),
        "accelerationZ": 0,
    }


def test_a_time_offset_makes_the_value_older() -> None:
    found = decode("elsys", "413C00E2 0229 82012C29")
    assert [(one.quantity, one.value, (AT - one.observed_at) // SECOND) for one in found] == [
        ("temperature", 22.6, 60),
        ("humidity", 41, 0),
        ("humidity", 41, 300),
    ]


def test_settings_carry_no_measurements() -> None:
    assert decode("elsys", "3E0709010A00", f_port=6) == []


def test_an_empty_payload_is_no_measurements() -> None:
    assert decode("elsys", "") == []


def test_a_truncated_payload_names_the_byte() -> None:
    with pytest.raises(CodecError, match=r"Byte 4: humidity needs 1 byte,"):
        decode("elsys", "0100E202")


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(CodecError, match=r"Byte 3: type 0x2A"):
        decode("elsys", "0100E22A00")
