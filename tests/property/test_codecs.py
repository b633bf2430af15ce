"""Whatever bytes come, a codec gives valid measurements or a CodecError; and the demo's encoders are the codecs' inverse."""

import math
from importlib import resources

import msgspec
import orjson
from hypothesis import given
from hypothesis import strategies as st

from broker.cli.demo import payloads
from broker.clock import SECOND
from broker.codecs.base import CodecError, Measurement
from broker.codecs.quantities import convert, quantity
from broker.codecs.reading import MAX_MEASUREMENTS
from broker.codecs.registry import codec, codec_names, decode
from broker.devices.model import DeviceModel
from broker.pipeline.intake import SensedValue

AT = 1_750_000_000 * SECOND
OF_BYTES = [name for name in codec_names() if name not in ("object", "senml", "lwm2m", "javascript")]

# Random bytes seldom get past the first type; rows that begin as real ones do reach the values.
_HEADS_AS_HEX = "0175 0367 0377 037B 0382 0394 03CF 03D4 0468 0482 04CA 0500 057D 057F 0600 0673 8367 83D7 83E9 20CE 21CE 05E1 85E1 FF16 FE02"
_ALL_HEADS = bytes.fromhex(_HEADS_AS_HEX)
_MILESIGHT_HEADS = [_ALL_HEADS[at : at + 2] for at in range(0, len(_ALL_HEADS), 2)]
_LIKELY = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=6),
        st.sampled_from(_MILESIGHT_HEADS),
        st.integers(0, 0x3F).map(lambda kind: bytes([kind])),
        st.sampled_from([100, 101, 102, 103, 104, 113, 115, 134, 136]).map(lambda kind: bytes([1, kind])),
    ),
    max_size=40,
).map(b"".join)
_PAYLOADS = st.one_of(st.binary(max_size=300), _LIKELY)


@given(st.sampled_from(OF_BYTES), _PAYLOADS, st.one_of(st.integers(1, 223), st.sampled_from([5, 85, 100, 103])))
def test_any_bytes_are_valid_measurements_or_a_codec_error(name: str, payload: bytes, f_port: int) -> None:
    try:
        found = codec(name).decode(payload, f_port, AT)
    except CodecError:
        return
    assert len(found) <= MAX_MEASUREMENTS
    for one in found:
        _assert_valid(one)


def _assert_valid(one: Measurement) -> None:
    info = quantity(one.quantity)
    assert one.unit == info.unit
    assert isinstance(one.observed_at, int)
    if info.kind == "number":
        assert isinstance(one.value, (int, float))
        assert not isinstance(one.value, bool)
        assert math.isfinite(one.value)
    else:
        assert isinstance(one.value, bool if info.kind == "boolean" else str)


@given(st.sampled_from(OF_BYTES), _PAYLOADS, st.integers(0, 299))
def test_a_codec_keeps_nothing_between_payloads(name: str, payload: bytes, cut: int) -> None:
    def outcome(data: bytes) -> list[Measurement] | str:
        try:
            return codec(name).decode(data, 100, AT)
        except CodecError as error:
            return str(error)

    first = outcome(payload)
    outcome(payload[:cut])
    assert outcome(payload) == first


def _values(name: str, payload: bytes, f_port: int) -> dict[str, object]:
    return {
        f"{one.quantity}/{one.channel}" if one.channel else one.quantity: one.value
        for one in codec(name).decode(payload, f_port, AT)
    }


_TENTHS = st.integers(-400, 850).map(lambda raw: raw / 10)
_BATTERY = st.one_of(st.none(), st.integers(0, 100))


@given(
    _TENTHS,
    st.integers(0, 100),
    st.integers(0, 65535),
    st.integers(0, 255),
    st.integers(0, 65535),
    st.integers(0, 4000),
)
def test_elsys_ers_co2_round_trips(
    temperature: float, humidity: int, light: int, motion: int, co2: int, mv: int
) -> None:
    payload = payloads.elsys_ers_co2(
        temperature=temperature, humidity=humidity, light=light, motion=motion, co2=co2, battery_volts=mv / 1000
    )
    assert _values("elsys", payload, payloads.ELSYS_PORT) == {
        "temperature": temperature,
        "humidity": humidity,
        "illuminance": light,
        "motion": motion,
        "co2": co2,
        "batteryVoltage": mv / 1000,
    }


@given(_TENTHS, st.integers(0, 4000))
def test_a_water_temperature_round_trips(temperature: float, mv: int) -> None:
    payload = payloads.elsys_water_temperature(temperature=temperature, battery_volts=mv / 1000)
    assert _values("elsys", payload, payloads.ELSYS_PORT) == {
        "temperature/external": temperature,
        "batteryVoltage": mv / 1000,
    }


@given(_TENTHS, st.integers(0, 200).map(lambda raw: raw / 2), _BATTERY)
def test_milesight_em300_th_round_trips(temperature: float, humidity: float, battery: int | None) -> None:
    payload = payloads.milesight_em300_th(temperature=temperature, humidity=humidity, battery=battery)
    expected: dict[str, object] = {"temperature": temperature, "humidity": humidity}
    assert _values("milesight-em300", payload, payloads.MILESIGHT_PORT) == _with_battery(expected, battery)


@given(st.integers(0, 65535).map(lambda raw: raw / 1000), st.booleans(), _BATTERY)
def test_milesight_distances_round_trip(distance: float, tilted: bool, battery: int | None) -> None:
    payload = payloads.milesight_em310_udl(distance=distance, tilted=tilted, battery=battery)
    expected = _with_battery({"distance": distance, "tilted": tilted}, battery)
    assert _values("milesight", payload, payloads.MILESIGHT_PORT) == expected
    payload = payloads.milesight_em500_udl(distance=distance, battery=battery)
    expected = _with_battery({"distance": distance}, battery)
    assert _values("milesight-em500-udl", payload, payloads.MILESIGHT_PORT) == expected


@given(st.integers(0, 0xFFFC).map(lambda raw: raw / 100), _BATTERY)
def test_milesight_em500_swl_round_trips(water_level: float, battery: int | None) -> None:
    payload = payloads.milesight_em500_swl(water_level=water_level, battery=battery)
    expected = _with_battery({"waterLevel": water_level, "deviceFault/waterLevel": False}, battery)
    assert _values("milesight-em500-swl", payload, payloads.MILESIGHT_PORT) == expected


def _with_battery(expected: dict[str, object], battery: int | None) -> dict[str, object]:
    return expected if battery is None else expected | {"batteryLevel": battery}


@given(
    st.integers(1_577_836_800, 4_000_000_000),
    st.integers(1_000_000, 4_000_000_000),
    st.lists(st.integers(0, 65535), max_size=15),
)
def test_axioma_w1_round_trips_with_its_log(now: int, litres: int, hourly: list[int]) -> None:
    payload = payloads.axioma_w1(at=now * SECOND, litres=litres, hourly_litres=hourly)
    found = codec("axioma-w1").decode(payload, payloads.AXIOMA_PORT, AT)
    volumes = [(one.observed_at // SECOND, one.value) for one in found if one.quantity == "volume"]
    hour = now - now % 3600
    log = [(hour - (len(hourly) - done) * 3600, sum(hourly[:done])) for done in range(len(hourly) + 1)]
    before = litres - sum(hourly)
    assert volumes == [(time, (before + gone) / 1000) for time, gone in log] + [(now, litres / 1000)]


@given(st.integers(0, 4_000_000_000), _TENTHS, st.integers(0, 100), st.booleans())
def test_a_senml_report_is_what_its_device_model_maps(
    litres: int, temperature: float, battery: int, leak: bool
) -> None:
    file = resources.files("schemas") / "models" / "axioma-qalcosonic-w1-nbiot.json"
    model = msgspec.json.decode(file.read_bytes(), type=DeviceModel)
    report = payloads.senml_water_meter(at=AT, litres=litres, temperature=temperature, battery=battery, leak=leak)
    sensed = [
        SensedValue(one["n"], one["v"] if "v" in one else one["vb"], one.get("u", ""), None)
        for one in orjson.loads(report)
    ]
    found = decode(model, payload=None, f_port=None, decoded=None, values=sensed, at=AT)
    assert {one.quantity: one.value for one in found} == {
        "volume": litres / 1000,
        "temperature": temperature,
        "batteryLevel": battery,
        "waterLeak": leak,
    }


@given(st.integers(-10_000_000, 10_000_000), st.integers(0, 6))
def test_a_conversion_there_and_back_is_the_value_itself(raw: int, digits: int) -> None:
    value = raw / 10**digits
    for here, there in (("CEL", "FAH"), ("CEL", "KEL"), ("MTQ", "LTR"), ("VLT", "2Z"), ("A97", "PAL"), ("KWH", "WHR")):
        assert math.isclose(convert(convert(value, here, there), there, here), value, rel_tol=1e-12, abs_tol=1e-9)
