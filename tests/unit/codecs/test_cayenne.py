"""The first three payloads are the examples of myDevices' Cayenne LPP page."""

import pytest

from broker.codecs.base import CodecError
from tests.unit.codecs.reading import decode, values


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("03670110056700FF", {"temperature/3": 27.2, "temperature/5": 25.5}),
        ("0167FFD7", {"temperature/1": -4.1}),
        ("067104D2FB2E0000", {"accelerationX/6": pytest.approx(12.1014), "accelerationY/6": pytest.approx(-12.1014), "accelerationZ/6": 0}),
        ("018806765FF2960A0003E8", {"latitude/1": 42.3519, "longitude/1": -87.9094, "altitude/1": 10.0}),
        ("000001 010100 0202FFFF 0303007B", {"digitalInput/0": 1, "digitalOutput/1": 0, "analogInput/2": -0.01, "analogOutput/3": 1.23}),
        ("0164FFFFFFFF 0265FFFF 036601 0468C9", {"genericValue/1": 4294967295, "illuminance/2": 65535, "presence/3": True, "humidity/4": 100.5}),
        ("01732794 02740168 037501F4 04760000C350", {"pressure/1": 1013.2, "voltage/2": 3.6, "current/3": 0.5, "frequency/4": 50000}),
        ("017864 0279FFCE 037D0190 04800400", {"percentage/1": 100, "altitude/2": -50, "concentration/3": 400, "power/4": 1024}),
        ("018200000844 028300000FA0 0384010E 048568D4A510", {"distance/1": 2.116, "energy/2": 4.0, "direction/3": 270, "deviceTime/4": 1758766352}),
        ("01860064FF9C0000 0287FF8000 038E01", {"rotationX/1": 1.0, "rotationY/1": -1.0, "rotationZ/1": 0, "colour/2": "#ff8000", "switch/3": True}),
    ],
)  # fmt: skip
def test_the_type_table(payload: str, expected: dict[str, object]) -> None:
    assert values(decode("cayenne-lpp", payload)) == expected


def test_a_truncated_payload_names_the_byte() -> None:
    with pytest.raises(CodecError, match=r"Byte 6: temperature needs 2 bytes"):
        decode("cayenne-lpp", "036701100567FF")


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(CodecError, match=r"Byte 4: type 250 on channel 5"):
        decode("cayenne-lpp", "0367011005FA")
