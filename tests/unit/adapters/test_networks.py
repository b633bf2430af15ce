"""Every network's messages, as they are documented: what is read from each, and what becomes of bad ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.kept import read_kept
from adapters.members import NotUnderstood
from adapters.mqtt.networks.base import LARGEST_ARRAY, NetworkServer, Part
from adapters.mqtt.networks.known import AUTO, BUILT_IN, choice, networks
from broker.clock import SECOND
from broker.codecs.registry import decode
from broker.config import GenericNetwork, InvalidSetting, Limits
from broker.devices.model import DeviceModel, Quantity
from broker.pipeline.intake import DownlinkEvent, Unread, Uplink, tag_of
from tests.support.recorded import BEACHES, CITY, COMMAND, FOLDER, MESSAGES, RECEIVED, SILENT, Recorded

LIMITS = Limits()
KNOWN = networks([CITY, BEACHES])
ALL = choice(AUTO, (), KNOWN)
OVER_MQTT = [each for each in MESSAGES if each.topic]
OVER_HTTP = [each for each in MESSAGES if KNOWN[each.network].read_http is not None and "/dp/" not in each.topic]
JSON_ONES = [each for each in MESSAGES if each.file.endswith(".json")]


def read(network: NetworkServer, topic: str, body: bytes) -> list[Part]:
    return list(network.read(topic, body, source=f"mqtt:{network.name}", received_at=RECEIVED, limits=LIMITS))


def over_http(network: str, body: bytes, event: str = "up") -> list[Part]:
    reader = KNOWN[network].read_http
    assert reader is not None
    return list(reader(event, body, source=f"http:{network}", received_at=RECEIVED, limits=LIMITS))


def any_way(message: Recorded, body: bytes) -> list[Part]:
    if message.topic:
        return read(KNOWN[message.network], message.topic, body)
    return over_http(message.network, body, message.event)


def uplinks(parts: list[Part]) -> list[Uplink]:
    assert all(isinstance(part, Uplink) for part in parts), parts
    return [part for part in parts if isinstance(part, Uplink)]


@pytest.mark.parametrize("message", OVER_MQTT, ids=str)
def test_a_message_is_recognised_by_topic_and_shape(message: Recorded) -> None:
    assert ALL.of(message.topic, message.body).name == message.network


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_a_message_is_read_whole(message: Recorded) -> None:
    uplink, *others = uplinks(any_way(message, message.body))
    assert (uplink.kind, uplink.device_id) == (message.kind, message.device)
    assert [each.device_id for each in others] == list(message.others)
    if message.at is not None:
        assert uplink.observed_at == message.observed_at
    assert (uplink.f_cnt if uplink.kind == "up" else None) == message.f_cnt
    assert uplink.battery_percent == message.battery
    assert uplink.meta.get("margin") == message.margin
    assert uplink.location == message.location
    radio = uplink.radio
    if message.rssi is not None:
        assert radio is not None
        assert (radio.rssi, radio.gateway_id) == (message.rssi, message.gateway)
        assert radio.gateway_location == message.gateway_location
    if message.told is not None:
        assert isinstance(uplink.downlink, DownlinkEvent)
        assert uplink.downlink.what == message.told
        assert uplink.downlink.id in (COMMAND, tag_of(COMMAND))


@pytest.mark.parametrize("message", [each for each in MESSAGES if each.temperature], ids=str)
def test_a_device_model_finds_the_temperature_in_it(message: Recorded) -> None:
    uplink = uplinks(any_way(message, message.body))[0]
    paths = ("temperature", "payload.temperature") if uplink.decoded is not None else ("temperature",)
    codec = "elsys" if uplink.payload is not None else "senml" if uplink.values else "object"
    rows = tuple(Quantity(quantity="temperature", source=path) for path in paths)
    model = DeviceModel(id="m", vendor="V", name="M", codec=codec, quantities=rows)
    measured = decode(
        model,
        payload=uplink.payload,
        f_port=uplink.f_port,
        decoded=uplink.decoded,
        values=uplink.values,
        at=uplink.observed_at,
    )
    assert [each.value for each in measured if each.quantity == "temperature"] == [22.5]


@pytest.mark.parametrize("message", OVER_HTTP, ids=str)
def test_what_is_pushed_over_http_is_read_alike(message: Recorded) -> None:
    pushed = uplinks(over_http(message.network, message.body, message.event))
    published = uplinks(any_way(message, message.body))
    for here, there in zip(pushed, published, strict=True):
        assert (here.device_id, here.kind, here.observed_at) == (there.device_id, there.kind, there.observed_at)
        assert here.frame_key == there.frame_key


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_a_kept_message_is_read_again_as_it_was(message: Recorded) -> None:
    for uplink in uplinks(any_way(message, message.body)):
        again = read_kept(
            KNOWN,
            source=uplink.source,
            device_id=uplink.device_id,
            raw=uplink.raw,
            meta=uplink.meta | {"broker": "city", "kind": uplink.kind},
            received_at=RECEIVED,
            limits=LIMITS,
        )
        assert again.meta.pop("broker") == "city"
        assert again == uplink


def test_a_kept_message_of_a_network_that_left_the_settings_says_so() -> None:
    kept: dict[str, Any] = {"device_id": "a81758fffe03f6ca", "received_at": RECEIVED, "limits": LIMITS}
    body = (FOLDER / "generic/up.json").read_bytes()
    with pytest.raises(NotUnderstood, match="'city', which is not in the settings any more"):
        read_kept(networks(), source="mqtt:city", raw=body, meta={"topic": "city/norr/up"}, **kept)
    with pytest.raises(NotUnderstood, match="no message of a81758fffe03f6ca"):
        read_kept(KNOWN, source="mqtt:city", raw=body, meta={"topic": "city/norr/left"}, **kept)


@pytest.mark.parametrize(("network", "file", "topic"), SILENT)
def test_what_tells_of_no_device_is_understood_and_passed_over(network: str, file: str, topic: str) -> None:
    body = (FOLDER / file).read_bytes()
    assert read(KNOWN[network], topic, body) == []
    assert ALL.of(topic, body).name == network


@pytest.mark.parametrize("message", [each for each in MESSAGES if each.kind == "up"], ids=str)
def test_a_clock_that_is_years_off_is_noted_and_the_time_of_receipt_taken(message: Recorded) -> None:
    uplink = uplinks(any_way(message, message.body))[0]
    if uplink.observed_at == RECEIVED:
        return
    late = RECEIVED + 5 * 365 * 86400 * SECOND
    for received_at in (late * 3, 0):
        network = KNOWN[message.network]
        where, reader = (message.topic, network.read) if message.topic else (message.event, network.read_http)
        assert reader is not None
        odd = uplinks(list(reader(where, message.body, source="x", received_at=received_at, limits=LIMITS)))[0]
        assert odd.observed_at == received_at
        assert "taken as observed" in odd.meta["time"]


def test_a_frame_that_comes_again_by_other_gateways_is_the_same_frame() -> None:
    body = json.loads((FOLDER / "the-things-stack/up.json").read_text("utf-8"))
    first = uplinks(read(KNOWN["the-things-stack"], "v3/a/devices/b/up", json.dumps(body).encode()))[0]
    body["uplink_message"]["rx_metadata"].pop()
    body["received_at"] = "2026-03-02T08:15:44Z"
    again = uplinks(read(KNOWN["the-things-stack"], "v3/a/devices/b/up", json.dumps(body).encode()))[0]
    assert first.frame_key == again.frame_key
    body["uplink_message"]["f_cnt"] += 1
    assert uplinks(over_http("the-things-stack", json.dumps(body).encode()))[0].frame_key != first.frame_key

    body = json.loads((FOLDER / "actility/uplink.json").read_text("utf-8"))
    first = uplinks(over_http("actility", json.dumps(body).encode()))[0]
    body["DevEUI_uplink"] |= {"Late": 1, "Lrrid": "1000027D", "Time": "2026-03-02T08:19:00Z"}
    assert uplinks(over_http("actility", json.dumps(body).encode()))[0].frame_key == first.frame_key


def test_of_an_array_each_message_is_read_by_itself_with_its_own_bytes() -> None:
    whole = json.loads((FOLDER / "netmore/http.json").read_text("utf-8"))
    bad = {**whole[0], "devEui": "short"}
    body = json.dumps([whole[0], bad, 7, whole[1]]).encode()
    first, second, third, last = over_http("netmore", body)
    assert isinstance(first, Uplink)
    assert isinstance(last, Uplink)
    assert json.loads(first.raw) == whole[0]
    assert json.loads(last.raw) == whole[1]
    assert second == Unread(json.dumps(bad).encode(), "'devEui' must be 16 hexadecimal digits, got 'short'.")
    assert third == Unread(b"7", "A message must be a JSON object, got 7.")
    assert over_http("netmore", b"[]") == []
    with pytest.raises(NotUnderstood, match=f"at most {LARGEST_ARRAY}"):
        over_http("netmore", b"[" + b"{}," * LARGEST_ARRAY + b"{}]")


def test_a_network_of_the_settings_takes_the_messages_of_a_list_one_by_one() -> None:
    good, bad, last = read(KNOWN["beaches"], "beaches/all", (FOLDER / "generic/list.json").read_bytes())
    assert isinstance(good, Uplink)
    assert isinstance(last, Uplink)
    assert (good.device_id, good.decoded) == ("bad-1", {"temperature": 17.5})
    assert isinstance(bad, Unread)
    assert "to name a device, got 'bad 2'" in bad.reason
    assert last.device_id == "bad-3"


def test_a_network_of_the_settings_passes_over_events_that_it_was_not_told_of() -> None:
    body = (FOLDER / "generic/up.json").read_bytes()
    assert read(KNOWN["city"], "city/norr/diagnosis", body) == []
    (joined,) = uplinks(read(KNOWN["city"], "city/norr/join", body))
    assert (joined.kind, joined.payload) == ("join", None)
    with pytest.raises(NotUnderstood, match="The topic must be"):
        read(KNOWN["city"], "city/norr", body)


@pytest.mark.parametrize(
    ("described", "named"),
    [
        ({"topic": "a/{device}"}, "'payload' or the path 'values'"),
        ({"topic": "a/b", "payload": "p"}, "'device'"),
        ({"topic": "a/x{device}", "payload": "p"}, "whole level"),
        ({"topic": "a/#/{device}", "payload": "p"}, "'#'"),
        ({"topic": "{device}/{device}", "payload": "p"}, "twice"),
        ({"device": "d", "payload": "p", "events": {"x": "ack"}}, "'events'"),
        ({"name": "netmore", "device": "d", "payload": "p"}, "is taken"),
        ({"name": "auto", "device": "d", "payload": "p"}, "is taken"),
    ],
)
def test_a_network_that_is_described_wrongly_stops_the_start(described: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSetting, match=named):
        networks([GenericNetwork(**({"name": "x"} | described))])


def test_settings_name_one_network_or_several_or_leave_it_to_each_message() -> None:
    assert choice("netmore", (), KNOWN).topics == KNOWN["netmore"].topics
    both = choice("zigbee2mqtt, city", ("a/#",), KNOWN)
    assert [each.name for each in both.servers] == ["zigbee2mqtt", "city"]
    assert both.topics == ("a/#",)
    assert "city/+/+" in ALL.topics
    assert "+/obj/#" not in ALL.topics
    with pytest.raises(InvalidSetting, match=r"mqtt\.network: must be one of auto, actility, .* got 'lorix'"):
        choice("chirpstack,lorix", (), KNOWN)
    with pytest.raises(NotUnderstood, match="no message of zigbee2mqtt, city"):
        both.of("v3/x/devices/y/up", b"{}")


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20) | st.just(""),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every member of a message is, at any depth."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, member in inner for place in [(*at, name), *_places(member, (*at, name))]]


def _changed(message: Any, place: tuple[Any, ...], value: Any) -> Any:
    inner = message
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return message


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), message=st.sampled_from(JSON_ONES), value=json_values)
def test_whatever_a_member_is_the_message_is_read_or_refused_with_a_reason(
    data: st.DataObject, message: Recorded, value: Any
) -> None:
    document = json.loads(message.body)
    changed = _changed(document, data.draw(st.sampled_from(_places(document))), value)
    try:
        parts = any_way(message, json.dumps(changed).encode())
    except NotUnderstood as refused:
        assert str(refused)
        return
    for part in parts:
        if isinstance(part, Unread):
            assert part.reason
        else:
            assert part.device_id == part.device_id.lower()
            assert 0 < len(part.device_id) <= 128
            assert "/" not in part.device_id
            assert abs(part.observed_at) < 1 << 63


@settings(max_examples=300)
@given(data=st.data(), message=st.sampled_from([each for each in MESSAGES if each.file.endswith(".bin")]))
def test_whatever_is_wrong_with_its_bytes_a_binary_message_is_read_or_refused(
    data: st.DataObject, message: Recorded
) -> None:
    body = bytearray(message.body)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(body)))
    try:
        any_way(message, bytes(body[:cut]))
    except NotUnderstood as refused:
        assert str(refused)


TOPICS = [each.topic for each in OVER_MQTT] + [topic for _, _, topic in SILENT]


@settings(max_examples=300)
@given(
    network=st.sampled_from(list(KNOWN.values())),
    body=st.binary(max_size=120) | json_values.map(lambda value: json.dumps(value).encode()),
    topic=st.text(max_size=60) | st.sampled_from(TOPICS) | st.lists(st.sampled_from(
        ["application", "device", "event", "up", "zigbee2mqtt", "set", "availability", "bridge", "obj", "evt", "client",
         "edge", "netmore", "dp", "s", "", "å", "city", "v3", "devices", "4711", "a81758fffe03f6c2", "#", "+"]
    ), max_size=14).map("/".join),
)  # fmt: skip
def test_whatever_comes_on_whatever_topic_it_is_read_or_refused(
    network: NetworkServer, body: bytes, topic: str
) -> None:
    try:
        ALL.of(topic, body)
        read(network, topic, body)
        if network.read_http is not None:
            network.read_http("up", body, source="x", received_at=RECEIVED, limits=LIMITS)
    except NotUnderstood as refused:
        assert str(refused)


@pytest.mark.parametrize("name", ["/", "a b", "../..", "x" * 200, "å", "a\nb", "<script>", "$SYS", "-a", ""])
def test_a_hostile_name_names_no_device(name: str) -> None:
    for network, topic in (("zigbee2mqtt", f"zigbee2mqtt/{name}"), ("iot-open", f"1/obj/x/{name}/y")):
        try:
            found = uplinks(read(KNOWN[network], topic, b'{"value": 1}'))
        except NotUnderstood:
            continue
        assert all("/" not in each.device_id and each.device_id.isascii() for each in found), name


def test_every_network_has_recorded_messages() -> None:
    assert {each.network for each in MESSAGES} >= {each.name for each in BUILT_IN}
