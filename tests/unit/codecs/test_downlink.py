"""Commands as bytes: the vendors' examples, what is refused and why, and that every template that is accepted can be sent."""

from __future__ import annotations

import struct
from importlib import resources
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.codecs.downlink import (
    CommandParameter,
    CommandTemplate,
    PayloadPart,
    check_template,
    crc16_modbus,
    encode,
    script_data,
)
from broker.devices.check import check_model
from broker.devices.model import DeviceModel
from broker.errors import BadRequestData

MODELS = [
    msgspec.json.decode(entry.read_bytes(), type=DeviceModel)
    for entry in (resources.files("schemas") / "models").iterdir()
]
SHIPPED = {model.id: model for model in MODELS if model.commands}


# Milesight's user guides and its pages "Downlink Command" of EM300, EM400-UDL, EM500 and AM100; Decentlab's examples in The
# Things Network's device repository.
VENDORS = [
    ("milesight-em300-th", "set-reporting-interval", {"seconds": 1200}, "ff03b004"),
    ("milesight-em300-mcs", "set-collecting-interval", {"seconds": 1200}, "ff02b004"),
    ("milesight-em300-th", "reboot", {}, "ff10ff"),
    ("milesight-em500-swl", "set-reporting-interval", {"seconds": 1200}, "ff03b004"),
    ("milesight-em400-udl", "reboot", {}, "ff10ff"),
    ("milesight-am103", "set-reporting-interval", {"seconds": 1200}, "ff03b004"),
    ("decentlab-dl-ds18", "set-period", {"seconds": 3600}, "00020e1048a4"),
    ("decentlab-dl-ds18", "reboot", {}, "fefe00003c50"),
]


@pytest.mark.parametrize(("model", "command", "parameters", "payload"), VENDORS)
def test_a_shipped_models_command_is_encoded_as_its_vendor_shows_it(
    model: str, command: str, parameters: dict[str, Any], payload: str
) -> None:
    assert encode(command, SHIPPED[model].commands[command], parameters).hex() == payload


@pytest.mark.parametrize("model", sorted(SHIPPED))
def test_a_shipped_models_commands_hold_together(model: str) -> None:
    check_model(SHIPPED[model])


def test_the_checksum_is_that_of_modbus() -> None:
    # The catalogue of parametrised CRC algorithms gives 0x4B37 for the nine digits.
    assert crc16_modbus(b"123456789") == 0x4B37


SETPOINT = CommandTemplate(
    f_port=1,
    parameters={
        "celsius": CommandParameter(type="number", minimum=5, maximum=30, unit="CEL"),
        "lock": CommandParameter(type="boolean", default=False),
        "mode": CommandParameter(type="choice", choices={"off": 0, "eco": 1, "comfort": 7}, default="eco"),
    },
    payload=(
        "0E",
        PayloadPart(parameter="celsius", size=2, signed=True, scale=10),
        PayloadPart(parameter="lock"),
        PayloadPart(parameter="mode"),
    ),
)


def test_scaled_values_flags_choices_and_defaults() -> None:
    assert encode("setpoint", SETPOINT, {"celsius": 21.3}).hex() == "0e00d50001"
    assert encode("setpoint", SETPOINT, {"celsius": 5, "lock": True, "mode": "comfort"}).hex() == "0e00320107"


@pytest.mark.parametrize(
    ("parameters", "detail"),
    [
        ({}, "'setpoint': 'celsius' is needed: a number from 5 to 30 (CEL)."),
        ({"celsius": 30.5}, "'setpoint': 'celsius' must be a number from 5 to 30 (CEL), got 30.5."),
        ({"celsius": "21"}, "'setpoint': 'celsius' must be a number from 5 to 30 (CEL), got '21'."),
        ({"celsius": True}, "'setpoint': 'celsius' must be a number from 5 to 30 (CEL), got True."),
        ({"celsius": float("nan")}, "'setpoint': 'celsius' must be a number from 5 to 30 (CEL), got nan."),
        ({"celsius": 21.25}, "'setpoint': 'celsius' can be told in steps of 0.1, got 21.25."),
        ({"celsius": 21, "lock": 1}, "'setpoint': 'lock' must be true or false, got 1."),
        ({"celsius": 21, "mode": "on"}, "'setpoint': 'mode' must be one of off, eco, comfort, got 'on'."),
        ({"celsius": 21, "fan": 1}, "'setpoint' has no parameter 'fan'; it has: celsius, lock, mode."),
    ],
)
def test_what_cannot_be_sent_is_refused_by_parameter_and_rule(parameters: dict[str, Any], detail: str) -> None:
    with pytest.raises(BadRequestData) as refused:
        encode("setpoint", SETPOINT, parameters)
    assert refused.value.detail == detail


def test_a_number_without_bounds_must_fit_its_bytes() -> None:
    template = CommandTemplate(
        f_port=1, parameters={"n": CommandParameter()}, payload=(PayloadPart(parameter="n", signed=True),)
    )
    check_template("set", template, "lorawan")
    assert encode("set", template, {"n": -128}) == b"\x80"
    with pytest.raises(BadRequestData, match="'n' must be from -128 to 127 to fit its 1 bytes, got 128"):
        encode("set", template, {"n": 128})


@pytest.mark.parametrize(
    ("template", "detail"),
    [
        ({"payload": ["ff"]}, "'fPort' is needed"),
        ({"payload": ["ff"], "fPort": 224}, "'fPort' must be a whole number from 1 to 223, got 224"),
        ({"payload": [], "fPort": 1}, "'payload' must be of 1 to 242 bytes, got 0"),
        ({"payload": ["ff" * 243], "fPort": 1}, "'payload' must be of 1 to 242 bytes, got 243"),
        ({"payload": ["fff"], "fPort": 1}, "hexadecimal digits, two a byte, got 'fff'"),
        ({"payload": [{"size": 2}], "fPort": 1}, "must have 'parameter' or 'checksum', one of them"),
        ({"payload": ["ff", {"parameter": "x"}], "fPort": 1}, "names 'x', which is not in 'parameters'"),
        ({"payload": ["ff"], "fPort": 1, "parameters": {"x": {}}}, "'x' must stand in 'payload'"),
        ({"payload": [{"parameter": "x", "size": 9}], "fPort": 1, "parameters": {"x": {}}}, "'size' must be from 1 to 8"),
        ({"payload": [{"parameter": "x", "scale": 0}], "fPort": 1, "parameters": {"x": {}}}, "'scale' must be"),
        ({"payload": [{"parameter": "x"}], "fPort": 1, "parameters": {"x": {"maximum": 256}}},
         "'x' may be 256, which does not fit 1 bytes"),
        ({"payload": [{"parameter": "x"}], "fPort": 1, "parameters": {"x": {"minimum": 2, "maximum": 1}}},
         "the 'minimum' of 'x' must not be above its 'maximum'"),
        ({"payload": [{"parameter": "x"}], "fPort": 1, "parameters": {"x": {"type": "choice"}}}, "must have 'choices'"),
        ({"payload": [{"parameter": "x"}], "fPort": 1, "parameters": {"x": {"maximum": 9, "default": 10}}},
         "'x' must be a whole number up to 9, got 10"),
    ],
)  # fmt: skip
def test_a_template_that_does_not_hold_together_is_refused(template: dict[str, Any], detail: str) -> None:
    made = msgspec.convert(template, CommandTemplate)
    with pytest.raises(BadRequestData) as refused:
        check_template("set", made, "lorawan")
    assert detail in refused.value.detail


@given(st.data())
def test_a_number_can_be_read_back_from_its_bytes(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([1, 2, 4, 8]))
    signed = data.draw(st.booleans())
    order = data.draw(st.sampled_from(["big", "little"]))
    tenths = data.draw(st.booleans())
    bits = 8 * size
    sent = data.draw(st.integers(-(1 << bits - 1) if signed else 0, (1 << bits - signed) - 1))
    # A double holds 15 digits; more are not written by anyone who means tenths.
    value: float = sent / 10 if tenths and abs(sent) < 10**14 else sent
    scale = 10.0 if value is not sent else 1.0
    template = msgspec.convert(
        {
            "fPort": 9,
            "parameters": {"n": {"type": "number"}},
            "payload": ["aa", {"parameter": "n", "size": size, "signed": signed, "order": order, "scale": scale}, "bb"],
        },
        CommandTemplate,
    )
    check_template("set", template, "lorawan")
    payload = encode("set", template, {"n": value})
    letter = {1: "b", 2: "h", 4: "i", 8: "q"}[size]
    prefix = ">" if order == "big" else "<"
    head, read, tail = struct.unpack(f"{prefix}B{letter if signed else letter.upper()}B", payload)
    assert (head, read, tail) == (0xAA, sent, 0xBB)


@given(
    low=st.integers(-40_000, 40_000),
    high=st.integers(-40_000, 40_000),
    size=st.integers(1, 3),
    signed=st.booleans(),
    share=st.floats(0, 1),
)
def test_whatever_an_accepted_template_allows_can_be_encoded(
    low: int, high: int, size: int, signed: bool, share: float
) -> None:
    template = CommandTemplate(
        f_port=1,
        parameters={"n": CommandParameter(minimum=low, maximum=high)},
        payload=(PayloadPart(parameter="n", size=size, signed=signed),),
    )
    try:
        check_template("set", template, "lorawan")
    except BadRequestData:
        return
    value = low + round((high - low) * share)
    assert int.from_bytes(encode("set", template, {"n": value}), "big", signed=signed) == value


SCRIPTED = msgspec.convert(
    {
        "encoder": "script",
        "parameters": {
            "seconds": {"minimum": 60, "maximum": 600},
            "mode": {"type": "choice", "choices": {"day": "d", "night": 2}, "default": "day"},
            "save": {"type": "boolean", "default": True},
        },
        "data": {
            "report": [{"every": {"parameter": "seconds"}}, {"parameter": "mode"}],
            "save": {"parameter": "save"},
            "v": 1,
        },
    },
    CommandTemplate,
)


def test_a_script_is_given_the_values_where_data_has_their_parameters() -> None:
    check_template("set", SCRIPTED, "lorawan")
    assert script_data("set", SCRIPTED, {"seconds": 60.0}) == {"report": [{"every": 60}, "d"], "save": True, "v": 1}
    by_name = msgspec.structs.replace(SCRIPTED, data=None)
    check_template("set", by_name, "lorawan")
    assert script_data("set", by_name, {"seconds": 61, "mode": "night"}) == {"seconds": 61, "mode": 2, "save": True}
    with pytest.raises(BadRequestData, match="'set': 'seconds' must be a whole number from 60 to 600, got 5"):
        script_data("set", by_name, {"seconds": 5})


@pytest.mark.parametrize(
    ("template", "detail"),
    [
        ({"payload": ["ff"], "encoder": "script"}, "'payload' or 'encoder', one of them"),
        ({"payload": ["ff"], "fPort": 1, "data": {}}, "'data' is for"),
        ({"encoder": "script", "data": {"a": {"parameter": "x"}}}, "'data' names 'x', which is not in 'parameters'"),
        ({"encoder": "script", "data": {}, "parameters": {"x": {}}}, "'x' must stand in 'data', which it does not"),
        ({"encoder": "script", "data": {"a": "x" * 9000}}, "at most 8192 bytes"),
        ({"encoder": "script", "data": {"a": 2**66}}, "a number in 'data' must fit in 64 bits"),
        ({"encoder": "script", "fPort": 0}, "'fPort' must be a whole number from 1 to 223, got 0"),
        ({"payload": [{"parameter": "x"}], "fPort": 1, "parameters": {"x": {"type": "choice", "choices": {"on": "1"}}}},
         "a choice of 'x' must be a number, got '1'"),
    ],
)  # fmt: skip
def test_a_command_for_a_script_that_does_not_hold_together_is_refused(template: dict[str, Any], detail: str) -> None:
    with pytest.raises(BadRequestData) as refused:
        check_template("set", msgspec.convert(template, CommandTemplate), "lorawan")
    assert detail in refused.value.detail


def test_only_a_model_with_a_script_has_one_encode_its_commands() -> None:
    model = DeviceModel(id="m", vendor="V", name="M", codec="elsys", commands={"set": SCRIPTED})
    with pytest.raises(BadRequestData, match="needs a model with a script"):
        check_model(model)
    check_model(msgspec.structs.replace(model, codec="javascript", script="function Encode() {}"))
