"""LwM2M's TLV."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.coap.tlv import read_tlv
from adapters.members import NotUnderstood

# OMA LwM2M 1.1 Core, 7.4.3.2: the response to a read of /3/0.
DEVICE = bytes.fromhex(
    "c800144f70656e204d6f62696c6520416c6c69616e6365c801164c69676874776569676874204d324d20436c69656e74"
    "c80209333435303030313233c303312e30860641000141010588070842000ed842011388870841007d42010384c10964"
    "c10a0f830b410000c40d5182428fc60e2b30323a3030c11055"
)


def told(body: bytes, *base: int) -> list[tuple[str, Any]]:
    return [(value.name, value.value) for value in read_tlv(body, base)]


def test_the_standards_example_is_read_whole() -> None:
    assert told(DEVICE, 3, 0) == [
        ("/3/0/0", "Open Mobile Alliance"),
        ("/3/0/1", "Lightweight M2M Client"),
        ("/3/0/2", "345000123"),
        ("/3/0/3", "1.0"),
        ("/3/0/6/0", 1),
        ("/3/0/6/1", 5),
        ("/3/0/7/0", 3800),
        ("/3/0/7/1", 5000),
        ("/3/0/8/0", 125),
        ("/3/0/8/1", 900),
        ("/3/0/9", 100),
        ("/3/0/10", 15),
        ("/3/0/11/0", 0),
        ("/3/0/13", 1367491215),
        ("/3/0/14", "+02:00"),
        ("/3/0/16", "U"),
    ]


def test_instances_of_an_object_are_told_apart() -> None:
    instances = b"".join(bytes((0x07, n)) + b"\xe4\x16\x44" + struct.pack("!f", -5.5 + n) for n in range(2))
    assert told(instances, 3303) == [("/3303/0/5700", -5.5), ("/3303/1/5700", -4.5)]


def test_a_resource_that_was_asked_for_alone_has_its_id_again() -> None:
    assert told(b"\xe4\x16\x44" + struct.pack("!f", 21.3), 3303, 0, 5700) == [("/3303/0/5700", 21.3)]
    with pytest.raises(NotUnderstood, match="5601"):
        read_tlv(b"\xe4\x15\xe1" + struct.pack("!f", 1), (3303, 0, 5700))


def test_what_no_table_types_is_bytes_and_nothing_is_guessed() -> None:
    assert told(b"\xc2\x63\x01\x02", 32000, 0) == [("/32000/0/99", "0102")]


@pytest.mark.parametrize(
    ("body", "base", "named"),
    [
        (b"\xc4", (3, 0), "head"),
        (b"\xc4\x0d\x01", (3, 0), "does not fit"),
        (b"\xd8\x00\xff\xff\xff", (3, 0), "does not fit"),
        (b"\xc3\x0d\x01\x02\x03", (3, 0), "integer of 1, 2, 4 or 8"),
        (b"\xe4\x16\x44\x7f\xc0\x00\x00", (3303, 0), "must be a number"),
        (b"\xe1\x15\x7c\x02", (3302, 0), "0 or 1"),
        (b"\xc1\x00\xff", (3, 0), "UTF-8"),
        (b"\x01\x00\x00", (3, 0), "object instance"),
        (b"\x41\x00\x00", (3, 0), "resource instance"),
        (DEVICE, (), "path with an object"),
        (b"\xc0\x00" * 10_001, (3, 0), "at most 10000"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_byte_or_path(body: bytes, base: tuple[int, ...], named: str) -> None:
    with pytest.raises(NotUnderstood, match=named):
        read_tlv(body, base)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(999999986991104.0)
def test_a_float_of_32_bits_is_the_decimal_that_it_was(value: float) -> None:
    raw = struct.pack("!f", value)
    ((_, read),) = told(b"\xe4\x16\x44" + raw, 3303, 0)
    assert struct.pack("!f", read) == raw
    assert _digits(read) <= _digits(value)


def _digits(value: float) -> int:
    """How many are significant."""
    return len(Decimal(repr(value)).normalize().as_tuple().digits)


@given(st.decimals(-1000, 1000, places=2))
def test_two_decimals_survive(value: Any) -> None:
    assert told(b"\xe4\x16\x44" + struct.pack("!f", float(value)), 3303, 0)[0][1] == float(value)


paths = st.lists(st.integers(0, 65535), max_size=5).map(tuple)


@given(st.binary(max_size=200), paths)
def test_any_bytes_are_read_or_refused(body: bytes, base: tuple[int, ...]) -> None:
    try:
        values = read_tlv(body, base)
    except NotUnderstood:
        return
    assert all(value.name.startswith("/") for value in values)


@given(st.data())
def test_a_mutated_message_is_read_or_refused(data: st.DataObject) -> None:
    body = bytearray(DEVICE[: data.draw(st.integers(0, len(DEVICE)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if body:
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    test_any_bytes_are_read_or_refused.hypothesis.inner_test(bytes(body), (3, 0))  # type: ignore[attr-defined]
