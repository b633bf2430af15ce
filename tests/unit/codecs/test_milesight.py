"""Payloads are Milesight's own examples (user guides, SensorDecoders' read-me files) unless a test says otherwise."""

import pytest

from broker.clock import SECOND
from broker.codecs.base import CodecError
from tests.unit.codecs.reading import AT, decode, values


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("milesight", "01755C036734010468 65", {"batteryLevel": 92, "temperature": 30.8, "humidity": 50.5}),
        ("milesight-em300-leak", "01756403671001046871050001", {"batteryLevel": 100, "temperature": 27.2, "humidity": 56.5, "waterLeak": True}),
        ("milesight-em300-mcs", "060001", {"open": True}),
        ("milesight-em300-di", "01755C05C800010000", {"batteryLevel": 92, "pulseCount": 256}),
        ("milesight", "01755C03824408040001", {"batteryLevel": 92, "distance": 2.116, "tilted": True}),
        ("milesight-em400", "01755C03670101048244080500 01", {"batteryLevel": 92, "temperature": 25.7, "distance": 2.116, "tilted": True}),
        ("milesight-em500-udl", "01756403821E00", {"batteryLevel": 100, "distance": 0.03}),
        ("milesight-em500-swl", "01756403770200", {"batteryLevel": 100, "deviceFault/waterLevel": False, "waterLevel": 0.02}),
        ("milesight-em500-pp", "01755C037B0A00", {"batteryLevel": 92, "pressure": 100}),
        ("milesight-em500-lgt", "017564039450000000", {"batteryLevel": 100, "illuminance": 80}),
        ("milesight-em500-co2", "01756403671901046873057D670406736827", {"batteryLevel": 100, "temperature": 28.1, "humidity": 57.5, "co2": 1127, "pressure": 1008.8}),
        ("milesight-em500-smtc", "0367340104686505 7FF000", {"deviceFault/temperature": False, "temperature": 30.8, "soilMoisture": 50.5, "deviceFault/conductivity": False, "conductivity": 0.024}),
        ("milesight-am103", "01755C03673401046865077DE704", {"batteryLevel": 92, "temperature": 30.8, "humidity": 50.5, "co2": 1255}),
        ("milesight-am100", "06651C0079001400", {"illuminance": 28}),
        ("milesight-am300", "077DE704087D070009733F270B7D20000C7D3000", {"co2": 1255, "airQualityRating": 0.07, "pressure": 1004.7, "pm25": 32, "pm10": 48}),
    ],
)  # fmt: skip
def test_the_published_examples(name: str, payload: str, expected: dict[str, object]) -> None:
    assert values(decode(name, payload)) == expected


def test_a_negative_temperature_is_negative() -> None:
    assert values(decode("milesight", "0367CEFF")) == {"temperature": -5.0}


def test_stored_values_have_the_times_they_were_taken_at() -> None:
    found = decode("milesight-em300", "20CE9E74466310015D00 20CE1E75466301FF5E00")
    assert [(one.quantity, one.value, one.observed_at) for one in found] == [
        ("temperature", 27.2, 1665561758 * SECOND),
        ("humidity", 46.5, 1665561758 * SECOND),
        ("temperature", -25.5, 1665561886 * SECOND),
        ("humidity", 47.0, 1665561886 * SECOND),
    ]


def test_each_product_stores_its_own_values() -> None:
    assert values(decode("milesight-em300-leak", "20CE9E74466310015D01")) == {
        "temperature": 27.2, "humidity": 46.5, "waterLeak": True,
    }  # fmt: skip
    assert values(decode("milesight-em300-mld", "20CE9E74466300000001")) == {"waterLeak": True}
    assert values(decode("milesight-em300-di", "20CE9E74466310015D020000010000")) == {
        "temperature": 27.2, "humidity": 46.5, "pulseCount": 256,
    }  # fmt: skip
    # no example of this one is published
    assert values(decode("milesight-em500-co2", "20CE9E74466367043C27190173")) == {
        "co2": 1127, "pressure": 1004.4, "temperature": 28.1, "humidity": 57.5,
    }  # fmt: skip


def test_converted_pulses_that_are_no_number_are_refused() -> None:
    assert values(decode("milesight-em300-di", "05E10A000A000000C03F")) == {"genericValue/convertedPulses": 1.5}
    with pytest.raises(CodecError, match="finite"):
        decode("milesight-em300-di", "05E10A000A000000C07F")


def test_stored_values_and_the_present_one_in_one_uplink() -> None:
    found = decode("milesight-em500-udl", "03821E00 20CE9E7446631F00")
    assert [(one.value, one.observed_at) for one in found] == [(0.03, AT), (0.031, 1665561758 * SECOND)]


def test_stored_values_need_the_products_own_codec() -> None:
    with pytest.raises(CodecError, match=r"Byte 4: channel 0x20 with type 0xCE is stored values"):
        decode("milesight", "0367100120CE9E7446631F00")


def test_an_alarm_is_told_beside_its_value() -> None:
    assert values(decode("milesight-em400", "8482440801 8367E80000")) == {
        "distance": 2.116, "alarm/distance": True, "temperature": 23.2, "alarm/temperature": False,
    }  # fmt: skip


@pytest.mark.parametrize("raw", ["FFFF", "FDFF"])
def test_a_probe_that_cannot_read_gives_a_fault_and_no_value(raw: str) -> None:
    assert values(decode("milesight-em500-swl", "0377" + raw)) == {"deviceFault/waterLevel": True}


def test_what_a_device_says_of_itself_is_no_measurement() -> None:
    assert decode("milesight", "FF0BFF FF0101 FF166136C40091605408 FF090200 FF0A0101 FF0F00") == []
    assert decode("milesight", "FE02B004") == []


def test_a_truncated_payload_names_the_byte() -> None:
    with pytest.raises(CodecError, match=r"Byte 5: temperature needs 2 bytes, but the payload of 6 bytes has 1 left"):
        decode("milesight", "017564036710")
    with pytest.raises(CodecError, match=r"Byte 3: a channel and a type needs 2 bytes"):
        decode("milesight", "01756403")


def test_an_unknown_channel_is_named() -> None:
    with pytest.raises(CodecError, match=r"Byte 3: channel 0x42 with type 0x67"):
        decode("milesight", "017564426710")


def test_a_sound_sensor_gives_the_average_the_peak_and_the_level_now() -> None:
    assert values(decode("milesight-ws302", "017564 055B05 6601 6C01 2F02")) == {
        "batteryLevel": 100, "soundLevel": 36.4, "soundLevel/now": 35.8, "soundLevelPeak": 55.9,
    }  # fmt: skip


def test_a_button_says_how_it_was_pressed() -> None:
    assert values(decode("milesight-ws101", "FF2E02")) == {"buttonPress": 2}


def test_stored_values_of_a_presence_sensor() -> None:
    found = decode("milesight-ws203", "20CE 9E744663 04 01 F6FF 65")
    assert values(found) == {"presence": True, "temperature": -1.0, "humidity": 50.5}
    assert {one.observed_at for one in found} == {1665561758 * SECOND}
