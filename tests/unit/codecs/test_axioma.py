"""The Extended and alarm payloads are the examples of Axioma's "W1 LoRa payload"."""

import pytest

from broker.clock import SECOND, iso
from broker.codecs.base import CodecError
from tests.unit.codecs.reading import decode, values

EXTENDED = "0ea0355d302935000054c0345de7290000b800b900b800b800b800b900b800b800b800b800b800b800b900b900b900"
WITH_TEMPERATURE = "55cb585f7cf29d0400120ae0fe575f8a570400cd04cb04cc04cd04ca04c404c504c404f004e604dc04d604b9057905"
ENHANCED = "011fbfd05e30cd0f0800d4879e41865c1b42470d7283b8201608fec181981dd007f3919460218247b631784c1c9e87b8e17600"


def test_the_published_extended_example() -> None:
    found = decode("axioma-w1", EXTENDED, 100)
    volumes = [(iso(one.observed_at), one.value) for one in found if one.quantity == "volume"]
    assert len(volumes) == 17
    assert volumes[:3] == [
        ("2019-07-21T19:00:00.000Z", 10.727),
        ("2019-07-21T20:00:00.000Z", 10.911),
        ("2019-07-21T21:00:00.000Z", 11.096),
    ]
    assert volumes[-2:] == [("2019-07-22T10:00:00.000Z", 13.492), ("2019-07-22T11:37:50.000Z", 13.609)]
    assert {one.unit for one in found if one.quantity == "volume"} == {"MTQ"}


def test_the_status_of_the_extended_example() -> None:
    found = decode("axioma-w1", EXTENDED, 100)
    assert {key: value for key, value in values(found).items() if key != "volume"} == {
        "batteryLow": False,
        "deviceFault/permanent": False,
        "deviceFault/temporary": True,
        "waterLeak": True,
        "backflow": False,
        "frost": False,
        "pipeBurst": False,
    }


def test_padding_changes_nothing() -> None:
    assert decode("axioma-w1", EXTENDED + "2f", 100) == decode("axioma-w1", EXTENDED, 100)


def test_the_variant_with_temperature_is_recognised() -> None:
    found = decode("axioma-w1", WITH_TEMPERATURE, 100)
    volumes = [one for one in found if one.quantity == "volume"]
    assert len(volumes) == 16
    assert volumes[0].value == 284.554
    assert volumes[-1].value == 302.578
    assert values(found)["temperature"] == 25.78


def test_water_below_zero_is_negative() -> None:
    colder = WITH_TEMPERATURE.replace("120ae0fe", "9cffe0fe")
    assert values(decode("axioma-w1", colder, 100))["temperature"] == -1.0


def test_the_enhanced_variant_gives_the_24_hours_of_the_day_before() -> None:
    volumes = [one for one in decode("axioma-w1", ENHANCED, 100) if one.quantity == "volume"]
    assert len(volumes) == 24
    assert iso(volumes[0].observed_at) == "2020-05-28T01:00:00.000Z"
    assert volumes[0].value == 528.333
    assert volumes[16].value == 560.639
    assert volumes[23].value == 573.662
    assert iso(volumes[23].observed_at) == "2020-05-29T00:00:00.000Z"


def test_a_short_log_is_read_as_far_as_it_goes() -> None:
    volumes = [one.value for one in decode("axioma-w1", EXTENDED[:38], 100) if one.quantity == "volume"]
    assert volumes == [10.727, 10.911, 13.609]


def test_the_published_alarm_example() -> None:
    found = decode("axioma-w1", "43b1315d30", 103)
    assert values(found) == {
        "waterLeak": False,
        "pipeBurst": False,
        "frost": False,
        "tamper": False,
        "noConsumption": True,
        "backflow": True,
    }
    assert {one.observed_at for one in found} == {1563537731 * SECOND}


def test_settings_carry_no_measurements() -> None:
    assert decode("axioma-w1", "04FF891331FD17041344FF891344134D931E206201", 101) == []


@pytest.mark.parametrize(
    ("payload", "f_port", "why"),
    [
        (EXTENDED[:16], 100, r"Byte 5: the volume needs 4 bytes"),
        (EXTENDED[:30], 100, r"Byte 9: neither here nor at byte 11"),
        (EXTENDED[:36], 100, r"Byte 17: 1 bytes are not up to 15 increments"),
        (EXTENDED.replace("54c0345d", "0090355d"), 100, r"would end after the reading"),
        ("00" * 47, 7, r"fPort 7 is not one of the Qalcosonic W1's: 100, 101, 103"),
        ("02" + ENHANCED[2:], 100, r"Byte 0: the version of the frame must be 1, got 2"),
        (ENHANCED[:-2] + "40", 100, r"Byte 50: the multiplier"),
        ("43b1315d", 103, r"Byte 4: the alarms needs 1 byte,"),
        ("43b1315d3000", 103, r"Byte 5: an alarm has 5 bytes, got 6"),
    ],
)
def test_what_is_no_payload_of_it_is_said(payload: str, f_port: int, why: str) -> None:
    with pytest.raises(CodecError, match=why):
        decode("axioma-w1", payload, f_port)
