"""Scripts in the ways in which they are published, and what is made of their answers."""

from __future__ import annotations

import pytest

from broker.clock import SECOND
from broker.codecs.base import CodecError, Measurement
from broker.codecs.javascript.codec import decode_script, encode_script
from broker.codecs.registry import decode
from broker.devices.model import DeviceModel, Quantity

AT = 1_700_000_000 * SECOND
READ = "var t = (bytes[0] << 24 >> 16 | bytes[1]) / 100;"

PUBLISHED = {
    "TS013, The Things Stack": "function decodeUplink(input) { var bytes = input.bytes; "
    + READ
    + "return {data: {t: t}}; }",
    "warnings and no errors": "function decodeUplink(input) { var bytes = input.bytes; "
    + READ
    + "return {data: {t: t}, warnings: ['battery'], errors: []}; }",
    "ChirpStack v3": "function Decode(fPort, bytes, variables) { " + READ + "return {t: t}; }",
    "The Things Network v2": "function Decoder(bytes, port) { " + READ + "return {t: t}; }",
    "both, as Milesight": "function decodeUplink(input) { return {data: Decode(input.fPort, input.bytes)}; }"
    "function Decode(fPort, bytes) { " + READ + "return {t: t}; }",
    "strict": '"use strict";\nfunction decodeUplink(input) { const bytes = input.bytes; '
    + READ
    + "return {data: {t}}; }",
    "sloppy": "function decodeUplink(input) { bytes = input.bytes; "
    + READ
    + "for (i = 0; i < 2; i++); return {data: {t: t}}; }",
    "a module": "const codec = { decodeUplink(input) { const bytes = input.bytes; "
    + READ
    + "return {data: {t}}; } };\n"
    "module.exports = codec;",
    "exports of a module": "exports.decodeUplink = function (input) { var bytes = input.bytes; "
    + READ
    + "return {data: {t: t}}; };",
    "an arrow": "const decodeUplink = ({bytes}) => { " + READ + "return {data: {t}}; };",
    "a class": "class Reader { constructor(bytes) { this.bytes = bytes; } get t() { return Buffer.from(this.bytes).readInt16BE(0) / 100; } }\n"
    "function decodeUplink(input) { return {data: {t: new Reader(input.bytes).t}}; }",
    "Buffer that is required": "const { Buffer } = require('buffer');\n"
    "function decodeUplink(input) { return {data: {t: Buffer.from(input.bytes).readInt16BE() / 100}}; }",
    "its own let module": "let module = 1, exports = 2;\nfunction decodeUplink(input) { let bytes = input.bytes; "
    + READ
    + "return {data: {t}}; }",
    "functions of this": "function temperature(bytes) { " + READ + "return t; }\n"
    "function decodeUplink(input) { return {data: {t: this.temperature(input.bytes)}}; }",
    "extended built-in objects": "Array.prototype.readInt = function () { var bytes = this; " + READ + "return t; };\n"
    "function decodeUplink(input) { return {data: {t: input.bytes.readInt()}}; }",
    "with console": "function decodeUplink(input) { console.log(input); var bytes = input.bytes; "
    + READ
    + "return {data: {t: t}}; }",
    "a comment at the end": "function Decode(fPort, bytes) { " + READ + "return {t: t}; } // the end",
}


def model(script: str) -> DeviceModel:
    row = Quantity(quantity="temperature", unit="CEL", source="t")
    return DeviceModel(id="m", vendor="V", name="N", codec="javascript", script=script, quantities=(row,))


def decoded(script: str, payload: bytes = b"\xff\x0b", f_port: int = 2) -> list[Measurement]:
    return decode(model(script), payload=payload, f_port=f_port, decoded=None, values=(), at=AT)


@pytest.mark.parametrize("script", PUBLISHED.values(), ids=PUBLISHED)
def test_a_script_decodes_as_its_vendor_meant(script: str) -> None:
    for _ in range(2):
        assert decoded(script) == [Measurement("temperature", -2.45, "CEL", AT)]


def test_fport_and_time_of_reception_are_given() -> None:
    script = (
        "function decodeUplink(i) { return {data: {p: i.fPort, y: i.recvTime.getUTCFullYear(), l: i.bytes.length}}; }"
    )
    assert decode_script(script, b"\x01\x02", 17, AT) == {"p": 17, "y": 2023, "l": 2}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("{data: {t: NaN}}", r"'t': temperature must be a finite number, got nan"),
        ("{data: {t: -Infinity}}", r"'t': temperature must be a finite number, got -inf"),
        ("{data: {t: '21.5'}}", r"'t': temperature must be a number, got '21.5'"),
        ("{data: {t: true}}", r"'t': temperature must be a number, got True"),
        ("{data: {t: [1]}}", r"'t': temperature must be a number, got a list"),
        ("{data: {t: 2n ** 64n}}", r"'t': temperature must be a finite number, got inf"),
        ("{errors: ['unknown fPort', 7]}", r"The script says: unknown fPort; 7"),
        ("{data: null, error: 'Invalid'}", r"The script says: Invalid"),
        ("{temperature: 21}", r"must answer an object with 'data'"),
        ("{data: 'nothing'}", r"must answer an object, got 'nothing'"),
        ("undefined", r"must answer an object, got nothing"),
        ("17", r"must answer an object, got 17"),
    ],
)
def test_nonsense_is_refused_with_what_it_was(answer: str, reason: str) -> None:
    with pytest.raises(CodecError, match=reason):
        decoded("function decodeUplink(input) { return " + answer + "; }")


def test_an_error_of_the_script_says_what_and_in_which_line() -> None:
    with pytest.raises(
        CodecError, match=r"The script failed: TypeError: cannot read property 'b' of undefined \(line 3\)"
    ):
        decoded("function decodeUplink(input) {\n  var a;\n  return {data: a.b};\n}")
    with pytest.raises(CodecError, match=r"The script failed: Error: not mine \(line 1\)"):
        decoded("function Decode(p, b) { throw new Error('not mine'); }")


def test_what_is_not_mapped_may_be_anything() -> None:
    assert decoded(
        "function Decode() { return {t: 1, other: NaN, text: 'x', none: undefined, f: function () {}}; }"
    ) == [Measurement("temperature", 1, "CEL", AT)]


def test_nothing_measured_is_no_error() -> None:
    assert decoded("function decodeUplink() { return {data: {}}; }") == []
    assert decoded("function decodeUplink() { return {warnings: ['a join']}; }") == []
    assert decoded("function Decode() {}") == []


def test_a_script_without_a_decoder_is_refused() -> None:
    with pytest.raises(CodecError, match=r"none of the functions decodeUplink\(input\)"):
        decoded("function decode(input) {}")
    with pytest.raises(CodecError, match=r"none of the functions decodeUplink, Decode, Decoder"):
        decoded("function Encode() {}")


ENCODERS = {
    "TS013": "function encodeDownlink(input) { return {fPort: 85, bytes: [0xff, 3, input.data.s & 255, input.data.s >> 8]}; }",
    "TS013, a Buffer": "function encodeDownlink(input) { var b = Buffer.from([0xff, 3, 0, 0]); b.writeUInt16LE(input.data.s, 2);"
    "return {fPort: 85, bytes: b}; }",
    "ChirpStack v3": "function Encode(fPort, obj, variables) { return [0xff, 3, obj.s & 255, obj.s >> 8]; }",
    "The Things Network v2": "function Encoder(obj, port) { return [0xff, 3, obj.s & 255, obj.s >> 8]; }",
}


@pytest.mark.parametrize("script", ENCODERS.values(), ids=ENCODERS)
def test_a_downlink_is_encoded(script: str) -> None:
    assert encode_script(script, {"s": 600}, 85) == (85, bytes.fromhex("ff035802"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("{fPort: 0, bytes: [1]}", r"fPort must be a whole number from 1 to 223, got 0"),
        ("{fPort: 1, bytes: [256]}", r"whole numbers from 0 to 255"),
        ("{fPort: 1, bytes: [-1]}", r"whole numbers from 0 to 255"),
        ("{fPort: 1, bytes: [1.5]}", r"whole numbers from 0 to 255"),
        ("{fPort: 1, bytes: []}", r"1 to 242 bytes"),
        ("{fPort: 1, bytes: 'ff'}", r"1 to 242 bytes, got 'ff'"),
        ("{fPort: 1, bytes: Array(243).fill(0)}", r"1 to 242 bytes, got a list of 243"),
        ("{errors: ['no such command']}", r"The script says: no such command"),
        ("null", r"must answer an object, got nothing"),
    ],
)
def test_a_downlink_that_cannot_be_sent_is_refused(answer: str, reason: str) -> None:
    with pytest.raises(CodecError, match=reason):
        encode_script("function encodeDownlink(input) { return " + answer + "; }", {}, 1)


NORMALIZING = """
function decodeUplink(i) { return {data: {temp: i.bytes[0], list: i.bytes[1]}}; }
function normalizeUplink(i) {
  if (i.data.temp === 99) return {errors: ["not normal"]};
  var air = {air: {temperature: i.data.temp / 2}};
  return {data: i.data.list ? [air, {air: {temperature: 40}}] : air};
}
"""


def normalized(payload: bytes, *sources: str, script: str = NORMALIZING) -> list[float | int | bool | str]:
    rows = tuple(Quantity(quantity="temperature", source=source, channel=source) for source in sources)
    model = DeviceModel(id="m", vendor="V", name="M", codec="javascript", script=script, quantities=rows)
    return [one.value for one in decode(model, payload=payload, f_port=1, decoded=None, values=(), at=AT)]


def test_what_a_script_normalizes_is_had_by_sources_that_say_so() -> None:
    sources = ("normalized.air.temperature", "normalized.1.air.temperature", "temp")
    assert normalized(b"\x2b\x00", *sources) == [21.5, 43]
    assert normalized(b"\x2b\x01", *sources) == [40, 43]
    assert normalized(b"\x63\x00", "temp") == [99]
    with pytest.raises(CodecError, match="The script says: not normal"):
        normalized(b"\x63\x00", *sources)
    with pytest.raises(CodecError, match="none of the functions normalizeUplink"):
        normalized(b"\x01", *sources, script="function Decode(p, b) { return {temp: 1}; }")


@pytest.mark.parametrize("number", ["2n ** 70n", "-(2n ** 64n)", "10n ** 400n", "1n << 63n", "-(1n << 70n)"])
def test_a_whole_number_beyond_64_bits_is_refused_and_never_another(number: str) -> None:
    with pytest.raises(CodecError, match=r"must be a finite number|must fit in 64 bits"):
        decoded("function Decode() { return {t: " + number + "}; }")


def test_a_whole_number_of_64_bits_is_itself() -> None:
    assert decode_script("function Decode() { return [-(1n << 63n), (1n << 63n) - 1n]; }", b"", 1, AT) == [
        -(1 << 63),
        (1 << 63) - 1,
    ]
