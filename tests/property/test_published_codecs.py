"""Published examples, mutilated: every codec gives valid measurements or a CodecError, and what is physically impossible is
what the pipeline's check of ranges finds."""

from __future__ import annotations

import math
from pathlib import Path

import orjson
from hypothesis import given
from hypothesis import strategies as st

from broker.clock import SECOND
from broker.codecs.base import CodecError, Measurement
from broker.codecs.quantities import quantity, unit
from broker.codecs.reading import MAX_MEASUREMENTS
from broker.codecs.registry import codec, codec_names

AT = 1_750_000_000 * SECOND
FILES = sorted((Path(__file__).parents[1] / "recorded" / "codecs").glob("*.json"))
EXAMPLES = [
    (one["codec"], bytes.fromhex(one["bytes"]), one["fPort"])
    for file in FILES
    for one in orjson.loads(file.read_bytes())["vectors"]
]
OF_BYTES = [name for name in codec_names() if name not in ("object", "senml", "lwm2m", "javascript")]
_EDIT = st.tuples(
    st.sampled_from(["set", "insert", "delete", "double", "cut"]), st.integers(0, 300), st.integers(0, 255)
)


def _edited(payload: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    data = bytearray(payload)
    for what, where, value in edits:
        at = where % (len(data) + 1)
        if what == "insert" or not data:
            data.insert(at, value)
        elif what == "set":
            data[at % len(data)] = value
        elif what == "delete":
            del data[at % len(data)]
        elif what == "double":
            data[at:at] = data[at : at + value % 32]
        else:
            del data[at:]
    return bytes(data)


def _decode(name: str, payload: bytes, f_port: int) -> list[Measurement] | None:
    try:
        return codec(name).decode(payload, f_port, AT)
    except CodecError as error:
        assert str(error)
        return None


def _assert_valid(found: list[Measurement]) -> None:
    assert len(found) <= MAX_MEASUREMENTS
    for one in found:
        info = quantity(one.quantity)
        assert one.unit == info.unit
        assert isinstance(one.observed_at, int)
        assert len(one.channel) <= 60
        if info.kind == "boolean":
            assert isinstance(one.value, bool)
        elif info.kind == "text":
            assert isinstance(one.value, str)
        else:
            assert isinstance(one.value, (int, float))
            assert not isinstance(one.value, bool)
            assert math.isfinite(one.value)
            assert abs(one.value) < 1e300


@given(st.sampled_from(EXAMPLES), st.lists(_EDIT, min_size=1, max_size=6))
def test_a_mutilated_example_is_valid_measurements_or_a_codec_error(
    example: tuple[str, bytes, int], edits: list[tuple[str, int, int]]
) -> None:
    name, payload, f_port = example
    found = _decode(name, _edited(payload, edits), f_port)
    if found is not None:
        _assert_valid(found)


@given(st.sampled_from(EXAMPLES), st.integers(0, 255))
def test_any_port_is_answered(example: tuple[str, bytes, int], f_port: int) -> None:
    found = _decode(example[0], example[1], f_port)
    if found is not None:
        _assert_valid(found)


@given(st.sampled_from(OF_BYTES), st.sampled_from(EXAMPLES))
def test_another_makers_payload_is_valid_measurements_or_a_codec_error(
    name: str, example: tuple[str, bytes, int]
) -> None:
    found = _decode(name, example[1], example[2])
    if found is not None:
        _assert_valid(found)


def test_published_examples_are_physically_possible() -> None:
    # But for what a vendor made up for the sake of an example.
    impossible: set[tuple[str, str]] = set()
    for name, payload, f_port in EXAMPLES:
        for one in codec(name).decode(payload, f_port, AT):
            info = quantity(one.quantity)
            if isinstance(one.value, (int, float)) and not isinstance(one.value, bool):
                low, high = info.minimum, info.maximum
                if (low is not None and one.value < low) or (high is not None and one.value > high):
                    impossible.add((name, one.quantity))
    assert impossible <= MADE_UP, impossible - MADE_UP


MADE_UP = {
    ("decentlab-dl-5tm", "soilMoisture"),  # -2.15 %: the probe lay in the air
    ("decentlab-dl-kl66-1538372-464859", "mass"),  # -47.5 g: nothing hung on it
    ("netvox", "direction"),  # 2313°: made-up bytes
    ("netvox", "ph"),  # 23.13: made-up bytes
}


def test_units_of_quantities_are_units() -> None:
    for name, payload, f_port in EXAMPLES:
        for one in codec(name).decode(payload, f_port, AT):
            assert not one.unit or unit(one.unit)
