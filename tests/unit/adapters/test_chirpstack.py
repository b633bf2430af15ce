"""ChirpStack v4's events, from messages as its documentation gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.members import NotUnderstood
from adapters.mqtt.networks.chirpstack import KINDS, read, read_http
from broker.clock import SECOND, parse_iso
from broker.config import Limits
from broker.pipeline.intake import Radio, Uplink

FOLDER = Path(__file__).parents[2] / "recorded" / "chirpstack"
EUI = "a81758fffe03f6c2"
RECEIVED = parse_iso("2026-03-02T08:20:30Z") or 0
LIMITS = Limits()


def recorded(event: str) -> dict[str, Any]:
    message: dict[str, Any] = json.loads((FOLDER / f"{event}.json").read_text("utf-8"))
    return message


def understood(message: object, event: str = "up", device: str = EUI) -> Uplink:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return read(
        f"application/8d5b1c1e/device/{device}/event/{event}",
        body,
        source="mqtt:chirpstack",
        received_at=RECEIVED,
        limits=LIMITS,
    )


def refusal(message: object, event: str = "up", device: str = EUI) -> str:
    with pytest.raises(NotUnderstood) as refused:
        understood(message, event, device)
    return str(refused.value)


def test_an_uplink_is_read_whole() -> None:
    uplink = understood(recorded("up"))
    assert uplink.kind == "up"
    assert uplink.device_id == EUI
    assert uplink.frame_key == "chirpstack:5b9f3c1a-8f0e-4d5b-9a77-0d6f2c8e4b01"
    assert uplink.payload == bytes.fromhex("0100e1022904002705000601e1070e38")
    assert (uplink.f_port, uplink.f_cnt) == (5, 1042)
    assert uplink.observed_at == parse_iso("2026-03-02T08:15:42.120334Z")
    assert uplink.received_at == RECEIVED
    assert uplink.decoded == {"temperature": 22.5, "humidity": 41, "co2": 481}
    assert (uplink.device_name, uplink.device_profile) == ("Rum 214", "Elsys ERS CO2")
    assert uplink.meta["topic"].endswith("/event/up")


def test_the_radio_figures_are_those_of_the_gateway_that_heard_best() -> None:
    assert understood(recorded("up")).radio == Radio(
        rssi=-97,
        snr=6.8,
        gateway_id="24e124fffef45b03",
        frequency=868300000,
        data_rate=5,
        gateway_location=(18.07, 64.62),
    )


def test_a_status_tells_the_battery_and_the_margin() -> None:
    uplink = understood(recorded("status"), "status")
    assert (uplink.battery_percent, uplink.meta["margin"], uplink.meta["external_power"]) == (87.8, 11, False)
    assert uplink.observed_at == parse_iso("2026-03-02T08:15:44.5Z")


def test_a_status_without_a_battery_level_tells_none() -> None:
    status = recorded("status") | {"externalPowerSource": True}
    del status["batteryLevel"]
    uplink = understood(status, "status")
    assert (uplink.battery_percent, uplink.meta["external_power"]) == (None, True)


def test_a_location_tells_longitude_then_latitude() -> None:
    assert understood(recorded("location"), "location").location == (18.0712, 64.6201)


def test_a_join_an_ack_a_txack_and_a_log_tell_what_they_are_about() -> None:
    assert understood(recorded("join"), "join").meta["dev_addr"] == "01a3f7c2"
    assert understood(recorded("ack"), "ack").meta["acknowledged"] is True
    assert understood(recorded("txack"), "txack").meta["gateway_id"] == "24e124fffef45b03"
    assert understood(recorded("log"), "log").meta["code"] == "UPLINK_CODEC"


def test_events_that_one_frame_caused_have_keys_of_their_own_though_they_share_its_id() -> None:
    keys = {understood(recorded(event), event).frame_key for event in KINDS}
    assert len(keys) == len(KINDS)


@pytest.mark.parametrize("event", KINDS)
def test_an_event_delivered_again_has_the_same_key(event: str) -> None:
    assert understood(recorded(event), event).frame_key == understood(recorded(event), event).frame_key


@pytest.mark.parametrize("event", KINDS)
def test_the_http_integration_posts_the_same_events(event: str) -> None:
    body = json.dumps(recorded(event)).encode()
    pushed = read_http(event, body, source="http:chirpstack", received_at=RECEIVED, limits=LIMITS)
    assert pushed.frame_key == understood(body, event).frame_key
    assert pushed.device_id == EUI


def test_a_deveui_is_the_same_device_in_any_letter_case() -> None:
    message = recorded("up")
    message["deviceInfo"]["devEui"] = EUI.upper()
    assert understood(message).device_id == EUI
    assert understood(recorded("up"), device=EUI.upper()).device_id == EUI


def test_members_with_their_default_value_may_be_absent() -> None:
    message = {name: recorded("up")[name] for name in ("deduplicationId", "deviceInfo")}
    uplink = understood(message)
    assert (uplink.payload, uplink.f_port, uplink.f_cnt, uplink.radio) == (b"", None, 0, None)
    assert uplink.observed_at == RECEIVED


def test_unknown_members_are_passed_over() -> None:
    assert understood(recorded("up") | {"relayRxInfo": {"x": [1]}, "new": None}).device_id == EUI


@pytest.mark.parametrize("said", ["1970-01-01T00:00:12Z", "2026-03-02T08:26:00Z", "9999-12-31T23:59:59Z"])
def test_a_time_that_cannot_be_true_is_noted_and_the_time_of_receipt_taken(said: str) -> None:
    uplink = understood(recorded("up") | {"time": said})
    assert uplink.observed_at == RECEIVED
    assert said in uplink.meta["time"]


def test_a_time_a_little_ahead_is_believed() -> None:
    assert understood(recorded("up") | {"time": "2026-03-02T08:22:00Z"}).observed_at == RECEIVED + 90 * SECOND


def changed(**members: object) -> dict[str, Any]:
    return recorded("up") | members


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100 + b"]" * 100, "nested deeper"),
        (changed(deviceInfo=None), "'deviceInfo'"),
        (changed(deviceInfo={"devEui": "A817"}), "'devEui' must be 16 hexadecimal digits"),
        (changed(deviceInfo={"devEui": "0" * 16}), f"'devEui' must be the topic's DevEUI '{EUI}'"),
        (changed(deviceInfo={"devEui": 7}), "'devEui' must be a string"),
        (changed(data="AQDhAikEACcFAAYB4QcOO"), "'data' must be whole base64"),
        (changed(data="AQDh AikE"), "'data' must be whole base64"),
        (changed(data="åäö="), "'data' must be whole base64"),
        (changed(data=5), "'data' must be a string"),
        (changed(fPort=256), "'fPort' must be an integer from 0 to 255"),
        (changed(fPort=-1), "'fPort'"),
        (changed(fPort="5"), "'fPort'"),
        (changed(fPort=True), "'fPort'"),
        (changed(fCnt=2**32), "'fCnt'"),
        (changed(time="yesterday"), "'time' must be an RFC 3339 date-time"),
        (changed(time="2026-13-01T00:00:00Z"), "'time'"),
        (changed(object=[1]), "'object' must be an object"),
        (changed(rxInfo={}), "'rxInfo' must be an array of objects"),
        (changed(rxInfo=[{"rssi": "loud"}]), "'rssi' must be a number"),
        (changed(txInfo={"frequency": 868.3}), "'frequency' must be an integer"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_the_members_name(message: object, named: str) -> None:
    assert named in refusal(message)


@pytest.mark.parametrize(
    ("event", "members", "named"),
    [
        ("status", {"batteryLevel": 101}, "'batteryLevel' must be from 0 to 100"),
        ("status", {"margin": "low"}, "'margin'"),
        ("location", {"location": {"latitude": 91, "longitude": 0}}, "'latitude' must be from -90 to 90"),
        ("location", {"location": None}, "'location'"),
        ("ack", {"acknowledged": "yes"}, "'acknowledged' must be true or false"),
    ],
)
def test_what_breaks_a_rule_of_another_event_is_refused_too(event: str, members: dict[str, Any], named: str) -> None:
    assert named in refusal(recorded(event) | members, event)


def test_an_event_or_a_topic_of_something_else_is_refused() -> None:
    assert "must be one of up, join" in refusal(recorded("up"), "integration")
    assert "The topic's DevEUI" in refusal(recorded("up"), device="room-214")
    with pytest.raises(NotUnderstood, match="The topic must be"):
        read("application/1/node/2/rx", b"{}", source="x", received_at=RECEIVED, limits=LIMITS)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(
    event=st.sampled_from(list(KINDS)),
    members=st.dictionaries(
        st.sampled_from(
            ["time", "deviceInfo", "data", "fPort", "fCnt", "dr", "object", "rxInfo", "txInfo", "batteryLevel", "margin",
             "location", "deduplicationId", "level", "acknowledged", "queueItemId"]
        ),
        json_values,
    ),
)  # fmt: skip
def test_whatever_a_member_is_the_message_is_read_or_refused(event: str, members: dict[str, Any]) -> None:
    try:
        understood(recorded(event) | members, event)
    except NotUnderstood as refused:
        assert str(refused)


@given(st.binary(max_size=200), st.text(max_size=60))
def test_whatever_the_bytes_are_the_message_is_read_or_refused(body: bytes, topic: str) -> None:
    for where in (topic, f"application/1/device/{EUI}/event/up"):
        with pytest.raises(NotUnderstood):
            read(where, body, source="x", received_at=RECEIVED, limits=LIMITS)
