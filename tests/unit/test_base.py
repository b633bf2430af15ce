"""The base: time, ids, JSON, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.clock import Clock, iso, parse_iso, parse_network_time
from broker.config import InvalidSetting, load_settings
from broker.errors import InvalidRequest
from broker.jsonio import parse_json


@given(st.integers(0, 253402300799_999999))
def test_a_time_written_is_the_time_read(at: int) -> None:
    assert parse_iso(iso(at)) == at


@pytest.mark.parametrize(
    "text", ["2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01", "x", ""]
)
def test_what_is_no_date_time_is_none(text: str) -> None:
    assert parse_iso(text) is None


def test_a_network_s_time_may_have_an_offset_and_nanoseconds() -> None:
    assert parse_network_time("2026-01-01T02:00:00.123456789+02:00") == parse_iso("2026-01-01T00:00:00.123456Z")


def test_versions_never_repeat_though_the_clock_stands_or_runs_back() -> None:
    times = iter([5, 5, 3, 9, 9])
    clock = Clock(lambda: next(times))
    versions = [clock.stamp().version for _ in range(4)]
    assert versions == sorted(set(versions))
    assert clock.stamp(after=1000).version == 1001


def test_ids_are_uuids_of_version_7_and_sort_by_time() -> None:
    early, late = Clock(lambda: 1_000_000_000).new_id(), Clock(lambda: 2_000_000_000).new_id()
    assert early < late
    assert early[14] == "7"
    assert len({Clock().new_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("body", [b"18446744073709551616", b"[0.12345678901234567890]"])
def test_a_number_that_cannot_be_kept_exactly_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_json(body, max_depth=10)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_what_json_can_say_is_read_as_it_was_written(value: Any) -> None:
    try:
        body = orjson.dumps(value)
    except orjson.JSONEncodeError:  # a lone surrogate is no text
        return
    assert parse_json(body, max_depth=50) == value


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@given(st.lists(st.tuples(NUMBERS, st.booleans()), max_size=4))
def test_a_long_number_is_refused_exactly_where_it_is_a_number_and_loses_something(
    parts: list[tuple[str, bool]],
) -> None:
    """Digits within texts lose nothing, and a number that a double holds as written loses nothing."""

    def loses(text: str) -> bool:
        if "." not in text and "e" not in text.lower():
            return not -(2**63) <= int(text) < 2**64
        return len(text.lower().partition("e")[0].replace(".", "").lstrip("-0").rstrip("0")) > 17

    body = ("[" + ",".join(f'"{text} , {text}"' if quoted else text for text, quoted in parts) + "]").encode()
    if any(not quoted and loses(text) for text, quoted in parts):
        with pytest.raises(InvalidRequest):
            parse_json(body, max_depth=10)
    else:
        assert len(parse_json(body, max_depth=10)) == len(parts)


def test_nesting_is_refused_beyond_the_limit_and_taken_at_it() -> None:
    assert parse_json(b"[" * 8 + b"]" * 8, max_depth=8) is not None
    with pytest.raises(InvalidRequest, match="8 levels"):
        parse_json(b"[" * 9 + b"]" * 9, max_depth=8)


def test_flags_override_the_environment_and_that_the_file(tmp_path: Path) -> None:
    file = tmp_path / "knutpunkt.toml"
    file.write_text('[http]\nport = 1\nhost = "file"\n[log]\nlevel = "error"\n')
    settings = load_settings(file, {"KNUTPUNKT_HTTP_PORT": "2", "KNUTPUNKT_HTTP_HOST": "environment"}, {"http.port": 3})
    assert (settings.http.port, settings.http.host, settings.log.level) == (3, "environment", "error")


def test_several_mqtt_brokers_come_from_one_variable() -> None:
    settings = load_settings(None, {"KNUTPUNKT_MQTT": "mqtt://a, mqtts://b"})
    assert [one.url for one in settings.mqtt] == ["mqtt://a", "mqtts://b"]


@pytest.mark.parametrize(
    ("environment", "flags", "named"),
    [
        ({"KNUTPUNKT_HTTP_PROT": "1"}, {}, "KNUTPUNKT_HTTP_PROT"),
        ({"KNUTPUNKT_HTTP_PORT": "many"}, {}, "KNUTPUNKT_HTTP_PORT"),
        ({"KNUTPUNKT_HTTP_PORT": "65536"}, {}, "65535"),
        ({}, {"http.port": -1}, "--http-port"),
    ],
)
def test_a_wrong_setting_is_named_with_where_it_came_from(
    environment: dict[str, str], flags: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidSetting, match=named):
        load_settings(None, environment, flags)


def test_an_unknown_setting_in_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "knutpunkt.toml"
    file.write_text("[http]\nprot = 1\n")
    with pytest.raises(InvalidSetting, match="prot"):
        load_settings(file)
