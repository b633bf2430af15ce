import pytest

from broker.codecs.base import CodecError
from broker.codecs.reading import MAX_MEASUREMENTS
from broker.codecs.registry import codec, codec_names, decode
from broker.devices.model import DeviceModel, Quantity
from broker.pipeline.intake import SensedValue
from tests.unit.codecs.reading import AT, values


def model(codec_name: str, *quantities: Quantity, f_ports: tuple[int, ...] = ()) -> DeviceModel:
    return DeviceModel(id="m", vendor="v", name="n", codec=codec_name, f_ports=f_ports, quantities=quantities)


def test_payload_bytes_go_to_the_models_codec() -> None:
    found = decode(model("elsys"), payload=bytes.fromhex("0100E2"), f_port=5, decoded=None, values=(), at=AT)
    assert values(found) == {"temperature": 22.6}


def test_bytes_without_an_fport_are_read_as_on_the_models_first() -> None:
    alarm = bytes.fromhex("43b1315d30")
    found = decode(model("axioma-w1", f_ports=(103,)), payload=alarm, f_port=None, decoded=None, values=(), at=AT)
    assert values(found)["backflow"] is True


@pytest.mark.parametrize("f_ports", [(5,), ()])
def test_an_fport_without_measurements_is_named(f_ports: tuple[int, ...]) -> None:
    f_port = 7 if f_ports else 0
    with pytest.raises(CodecError, match=rf"fPort {f_port} carries no measurements of model 'm'"):
        decode(model("elsys", f_ports=f_ports), payload=b"", f_port=f_port, decoded=None, values=(), at=AT)


def test_the_networks_object_goes_through_the_mapping() -> None:
    mapped = model("object", Quantity(quantity="temperature", source="t.value"))
    found = decode(mapped, payload=b"x", f_port=1, decoded={"t": {"value": 4.5}}, values=(), at=AT)
    assert values(found) == {"temperature": 4.5}


def test_named_values_go_through_the_mapping() -> None:
    mapped = model("senml", Quantity(quantity="volume", unit="MTQ", source="volume"))
    sensed = (SensedValue("volume", 1.5, "m3", None),)
    found = decode(mapped, payload=None, f_port=None, decoded=None, values=sensed, at=AT)
    assert values(found) == {"volume": 1.5}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("elsys", "Model 'm' needs payload bytes"),
        ("object", "Model 'm' needs what the network decoded"),
        ("senml", "Model 'm' needs named values"),
    ],
)
def test_an_uplink_without_what_the_model_needs_is_an_error(name: str, why: str) -> None:
    with pytest.raises(CodecError, match=why):
        decode(model(name), payload=None, f_port=1, decoded=None, values=(), at=AT)


def test_an_unknown_codec_or_quantity_is_an_error_of_the_uplink() -> None:
    with pytest.raises(CodecError, match="Codec 'magic' is not known; known are elsys"):
        decode(model("magic"), payload=b"", f_port=1, decoded=None, values=(), at=AT)
    mapped = model("object", Quantity(quantity="warmth", source="t"))
    with pytest.raises(CodecError, match="Model 'm': Quantity 'warmth' is not in the table"):
        decode(mapped, payload=None, f_port=1, decoded={"t": 1}, values=(), at=AT)


def test_the_number_of_measurements_is_bounded() -> None:
    row = bytes.fromhex("01660101")[:3]
    full = codec("cayenne-lpp").decode(row * MAX_MEASUREMENTS, 1, AT)
    assert len(full) == MAX_MEASUREMENTS
    with pytest.raises(CodecError, match="more than 256 measurements"):
        codec("cayenne-lpp").decode(row * (MAX_MEASUREMENTS + 1), 1, AT)


def test_the_names_that_a_model_may_use() -> None:
    assert {"elsys", "milesight", "axioma-w1", "cayenne-lpp", "object", "senml"} <= set(codec_names())
