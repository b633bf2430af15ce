"""SenML packs (RFC 8428) in both forms."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.senml import SUM, read_cbor, read_json
from adapters.members import NotUnderstood
from broker.clock import SECOND
from broker.config import Limits
from broker.pipeline.intake import SensedValue

LIMITS = Limits()
NOW = 1_780_000_000 * SECOND
NUMBERS = {"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6,
           "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8}  # fmt: skip


def from_json(pack: object) -> list[SensedValue]:
    body = pack if isinstance(pack, bytes) else json.dumps(pack).encode()
    return read_json(body, received_at=NOW, limits=LIMITS)


def from_cbor(pack: object) -> list[SensedValue]:
    body = pack if isinstance(pack, bytes) else cbor2.dumps(pack)
    return read_cbor(body, received_at=NOW, limits=LIMITS)


def numbered(pack: list[dict[str, Any]]) -> list[dict[Any, Any]]:
    return [{NUMBERS.get(label, label): value for label, value in record.items()} for record in pack]


def test_base_members_hold_until_they_are_given_again() -> None:
    pack = [
        {"bn": "urn:dev:ow:10e2073a01080063:", "bt": 1.7e9, "bu": "A", "bver": 5, "n": "voltage", "u": "V", "v": 120.1},
        {"n": "current", "t": -5, "v": 1.2},
        {"bn": "meter-", "bv": 20, "n": "a", "v": 0.5},
        {"n": "b", "v": 1},
    ]
    assert from_json(pack) == [
        SensedValue("urn:dev:ow:10e2073a01080063:voltage", 120.1, "V", 1_700_000_000 * SECOND),
        SensedValue("urn:dev:ow:10e2073a01080063:current", 1.2, "A", 1_699_999_995 * SECOND),
        SensedValue("meter-a", 20.5, "A", 1_700_000_000 * SECOND),
        SensedValue("meter-b", 21, "A", 1_700_000_000 * SECOND),
    ]


def test_small_times_are_relative_to_the_reception_and_no_time_is_now() -> None:
    pack = [
        {"n": "a", "v": 1, "t": -60},
        {"n": "a", "v": 2},
        {"n": "a", "v": 3, "t": 2**28 - 1},
        {"n": "a", "v": 4, "t": 2**28},
    ]
    assert [value.at for value in from_json(pack)] == [
        NOW - 60 * SECOND, None, NOW + (2**28 - 1) * SECOND, 2**28 * SECOND,
    ]  # fmt: skip


def test_strings_booleans_and_data_keep_their_kind() -> None:
    pack = [{"n": "s", "vs": ""}, {"n": "b", "vb": False}, {"n": "d", "vd": "-_8"}]
    assert [value.value for value in from_json(pack)] == ["", False, "-_8"]
    assert from_cbor([{0: "d", 8: b"\xfb\xff"}])[0].value == "-_8"


def test_a_decimal_fraction_in_cbor_is_a_number() -> None:
    assert from_cbor([{0: "t", 2: Decimal("21.5")}])[0].value == 21.5


def test_a_record_of_base_members_alone_is_no_value() -> None:
    assert [value.name for value in from_json([{"bn": "room/"}, {"n": "t", "v": 1}])] == ["room/t"]


@pytest.mark.parametrize(
    ("pack", "named"),
    [
        ([], "at least one record"),
        ({}, "must be an array"),
        ([1], "Record 0: must be an object"),
        ([{"n": "a", "v": 1}, {"n": "a"}], "Record 1: one of 'v', 'vs', 'vb', 'vd'"),
        ([{"n": "a", "s": "1"}], "Record 0: 's' must be a number"),
        ([{"n": "a", "v": 1, "bs": True}], "Record 0: 'bs' must be a number"),
        ([{"n": "a/b;sum", "v": 1}], "Record 0: 'n' after 'bn'"),
        ([{"n": "a", "v": 1, "vb": True}], "Record 0: only one of"),
        ([{"v": 1}], "Record 0: 'n' after 'bn'"),
        ([{"n": "_a", "v": 1}], "Record 0: 'n' after 'bn'"),
        ([{"n": "rum 214", "v": 1}], "Record 0: 'n' after 'bn'"),
        ([{"n": "å", "v": 1}], "Record 0: 'n' after 'bn'"),
        ([{"n": 5, "v": 1}], "Record 0: 'n' must be a string"),
        ([{"n": "a", "v": "1"}], "Record 0: 'v' must be a number"),
        ([{"n": "a", "v": True}], "Record 0: 'v' must be a number"),
        ([{"n": "a", "v": None}], "Record 0: 'v' must be a number"),
        ([{"n": "a", "vb": 1}], "Record 0: 'vb' must be true or false"),
        ([{"n": "a", "vs": 1}], "Record 0: 'vs' must be a string"),
        ([{"n": "a", "vd": "a+b="}], "Record 0: 'vd' must be base64url"),
        ([{"n": "a", "v": 1, "t": "now"}], "Record 0: 't' must be a number"),
        ([{"n": "a", "v": 1, "t": 1e300}], "Record 0: 't' after 'bt'"),
        ([{"n": "a", "v": 1, "bver": 11}], "Record 0: 'bver' must be from 1 to 10"),
        ([{"n": "a", "v": 1, "bver": 5}, {"n": "a", "v": 1, "bver": 6}], "Record 1: 'bver' must be the same"),
        ([{"n": "a", "v": 1, "secret_": 1}], "Record 0: 'secret_' must be understood"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_record_and_label_in_both_forms(pack: Any, named: str) -> None:
    with pytest.raises(NotUnderstood) as refused:
        from_json(pack)
    assert named in str(refused.value)
    with pytest.raises(NotUnderstood) as refused:
        from_cbor(numbered(pack) if isinstance(pack, list) and pack != [1] else pack)
    assert named in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\x81", b"\x81" * 100_000, b"\x9f" * 5000, b"\xc0\x63abc", b"\xd8\x23\x61(", b"\xff", b"\xfb\x7f\xf8",
        cbor2.dumps([{0: "a", 2: float("nan")}]), cbor2.dumps([{0: "a", 2: float("inf")}]),
        cbor2.dumps([{0: "a", 2: 2**70}]), cbor2.dumps([{0: "a", 2: 1}]) + b"\x00", b"\xd8\x1c\x81\xd8\x1d\x00",
    ],
)  # fmt: skip
def test_hostile_cbor_is_refused(body: bytes) -> None:
    with pytest.raises(NotUnderstood):
        from_cbor(body)


def test_a_sum_is_a_value_of_its_own_in_units_times_seconds() -> None:
    pack = [
        {"bn": "meter:", "bs": 1000, "n": "flow", "u": "m3/s", "v": 0.5, "s": 20},
        {"n": "flow", "u": "m3/s", "s": 30, "t": 60},
        {"n": "power", "u": "W", "v": 3},
        {"n": "odd", "u": "Cel", "bs": 0, "s": 7},
    ]
    assert [(value.name, value.value, value.unit) for value in from_json(pack)] == [
        ("meter:flow", 0.5, "m3/s"),
        ("meter:flow;sum", 1020, "m3"),
        ("meter:flow;sum", 1030, "m3"),
        ("meter:power", 3, "W"),
        ("meter:power;sum", 1000, "J"),
        ("meter:odd;sum", 7, ""),
    ]


def test_names_of_lwm2m_are_paths() -> None:
    pack = [
        {"bn": "/3303/0/", "n": "5700", "v": 21.5},
        {"bn": "/", "n": "3/0/6/0", "v": 1},
        {"n": "4/0/22", "vlo": "3:0"},
    ]
    assert [(value.name, value.value) for value in from_json(pack)] == [
        ("/3303/0/5700", 21.5),
        ("/3/0/6/0", 1),
        ("/4/0/22", "3:0"),
    ]
    with pytest.raises(NotUnderstood):
        from_json([{"n": "/etc/passwd", "v": 1}])


names = st.text("abcXYZ019-:./_", min_size=1, max_size=12)
numbers = st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15, allow_nan=False)
value = st.one_of(
    st.fixed_dictionaries({"v": numbers}),
    st.fixed_dictionaries({"vs": st.text(max_size=10)}),
    st.fixed_dictionaries({"vb": st.booleans()}),
)
records = st.builds(
    lambda optional, given: optional | given,
    st.fixed_dictionaries(
        {},
        optional={
            "bn": names, "n": names, "u": st.sampled_from(["Cel", "m3", ""]), "bu": st.sampled_from(["V", "lx"]),
            "bt": numbers, "t": numbers, "bv": numbers, "bs": numbers, "s": numbers, "bver": st.just(10), "x": st.integers(-(2**63), 2**64 - 1),
        },
    ),
    value,
)  # fmt: skip


def outcome(read: Any, pack: object) -> object:
    try:
        return read(pack)
    except NotUnderstood as refused:
        return str(refused)


@given(st.lists(records, min_size=1, max_size=5))
def test_both_forms_of_a_pack_mean_the_same(pack: list[dict[str, Any]]) -> None:
    assert outcome(from_json, pack) == outcome(from_cbor, numbered(pack))


@given(st.binary(max_size=300))
def test_whatever_the_bytes_are_they_are_read_or_refused(body: bytes) -> None:
    outcome(from_json, body)
    outcome(from_cbor, body)


@given(st.lists(records, min_size=1, max_size=5))
def test_a_resolved_pack_means_what_it_was_resolved_from(pack: list[dict[str, Any]]) -> None:
    """RFC 8428, 4.6: the same values without base members, with absolute times."""
    try:
        values = from_json(pack)
    except NotUnderstood:
        return
    label = {bool: "vb", int: "v", float: "v", str: "vs"}
    resolved: list[dict[str, Any]] = []
    for one in values:
        record: dict[str, Any] = {"n": one.name.removesuffix(SUM), "u": one.unit}
        record["s" if one.name.endswith(SUM) else label[type(one.value)]] = one.value
        if one.at is not None and one.at >= 2**28 * SECOND:
            resolved.append(record | {"t": one.at / SECOND})
        elif one.at is None:
            resolved.append(record)
    if not resolved:
        return
    kept = [one for one in values if one.at is None or one.at >= 2**28 * SECOND]
    again = from_json(resolved)
    assert [(one.name, one.value) for one in again] == [(one.name, one.value) for one in kept]
    assert all(abs((one.at or 0) - (was.at or 0)) <= 100 for one, was in zip(again, kept, strict=True))
