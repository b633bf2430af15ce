"""What is published to have a downlink sent, and what the networks' events say of it: as their documentation shows."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from adapters.coap.reading import read as read_coap
from adapters.members import NotUnderstood
from adapters.mqtt.networks import actility, chirpstack, chirpstack_down, chirpstack_v3, things_stack_down
from adapters.mqtt.networks.known import choice, networks
from broker.clock import SECOND
from broker.config import Limits
from broker.pipeline.intake import Downlink, DownlinkEvent, NotSent, tag_of

RECORDED = Path(__file__).parents[2] / "recorded" / "chirpstack"
NOW = 1_780_000_000 * SECOND
ID = "0199c0de-0000-7000-8000-00000000beef"


def downlink(topic: str, **members: Any) -> Downlink:
    given: dict[str, Any] = {
        "id": ID,
        "device_id": "a81758fffe03f6c2",
        "topic": topic,
        "payload": bytes.fromhex("ff03b004"),
        "f_port": 85,
        "confirmed": True,
        "expires_at": NOW,
    }
    return Downlink(**(given | members))


def test_chirpstack_is_told_on_the_devices_command_topic() -> None:
    heard = "region/eu868/application/8d5b1c1e/device/a81758fffe03f6c2/event/up"
    topic, body = chirpstack_down.down(downlink(heard))
    assert topic == "region/eu868/application/8d5b1c1e/device/a81758fffe03f6c2/command/down"
    assert json.loads(body) == {
        "id": ID,
        "devEui": "a81758fffe03f6c2",
        "confirmed": True,
        "fPort": 85,
        "data": base64.b64encode(b"\xff\x03\xb0\x04").decode(),
        "expiresAt": "2026-05-28T20:26:40.000Z",
    }


def test_the_things_stack_is_told_on_the_devices_push_topic() -> None:
    topic, body = things_stack_down.push(downlink("v3/app1@ttn/devices/dev1/up", confirmed=False))
    assert topic == "v3/app1@ttn/devices/dev1/down/push"
    assert json.loads(body) == {
        "downlinks": [
            {
                "f_port": 85,
                "frm_payload": "/wOwBA==",
                "priority": "NORMAL",
                "confirmed": False,
                "correlation_ids": [f"knutpunkt:{ID}"],
            }
        ]
    }


@pytest.mark.parametrize("topic", ["", "a/b", "v3/app1/gateways/dev1/up"])
def test_a_device_that_was_heard_elsewhere_is_not_told(topic: str) -> None:
    for write in (chirpstack_down.down, things_stack_down.push):
        with pytest.raises(NotSent, match="last heard on"):
            write(downlink(topic))


def event(kind: str, **members: Any) -> DownlinkEvent | None:
    body = json.loads((RECORDED / f"{kind}.json").read_text("utf-8")) | members
    topic = f"application/1/device/a81758fffe03f6c2/event/{kind}"
    raw = json.dumps(body).encode()
    return chirpstack.read(topic, raw, source="mqtt:chirpstack", received_at=NOW, limits=Limits()).downlink


def test_thingpark_is_told_beside_the_topic_that_the_device_was_heard_on() -> None:
    topic, body = actility.down(downlink("mqtt/things/A81758FFFE03F6C2/uplink"))
    assert topic == "mqtt/things/A81758FFFE03F6C2/downlink"
    assert json.loads(body) == {
        "DevEUI_downlink": {
            "DevEUI": "A81758FFFE03F6C2",
            "FPort": 85,
            "payload_hex": "ff03b004",
            "Confirmed": "1",
            "ValidityTime": "2026-05-28T20:26:40.000Z",
            "CorrelationID": tag_of(ID).upper(),
        }
    }
    with pytest.raises(NotSent, match="does not end with '/uplink'"):
        actility.down(downlink("thingpark/all"))


def test_chirpstack_v3_is_told_without_what_it_does_not_know() -> None:
    topic, body = chirpstack_v3.down(downlink("application/12/device/a81758fffe03f6c2/event/up"))
    assert topic == "application/12/device/a81758fffe03f6c2/command/down"
    assert json.loads(body) == {"confirmed": True, "fPort": 85, "data": base64.b64encode(b"\xff\x03\xb0\x04").decode()}
    with pytest.raises(NotSent, match="no command topic"):
        chirpstack_v3.down(downlink("application/12/device/a81758fffe03f6c2/rx"))


def test_a_command_is_written_as_the_network_takes_it_that_the_device_was_heard_by() -> None:
    heard = "application/12/device/a81758fffe03f6c2/event/up"
    every = choice("auto", (), networks())
    v4 = json.loads(every.write(downlink(heard, source="mqtt:chirpstack"))[1])
    v3 = json.loads(every.write(downlink(heard, source="mqtt:chirpstack-v3"))[1])
    assert ("id" in v4, "id" in v3) == (True, False)
    assert every.write(downlink(heard)) == every.write(downlink(heard, source="mqtt:chirpstack"))
    with pytest.raises(NotSent, match="Network 'netmore' takes no downlinks"):
        every.write(downlink(heard, source="mqtt:netmore"))
    with pytest.raises(NotSent, match="last heard by 'city'"):
        every.write(downlink(heard, source="mqtt:city"))


def test_chirpstacks_events_name_the_queue_item() -> None:
    item = "d1f5f0de-8c8e-49a3-8a63-0a6be8b6bb04"
    assert event("txack") == DownlinkEvent(item, "transmitted")
    assert event("ack") == DownlinkEvent(item, "acknowledged")
    refused = event("ack", acknowledged=False)
    assert refused is not None
    assert (refused.id, refused.what) == (item, "failed")
    context = {"queue_item_id": item}
    for code, what in (("EXPIRED", "expired"), ("DOWNLINK_PAYLOAD_SIZE", "failed"), ("F_CNT_DOWN", "failed")):
        told = event("log", code=code, context=context, description="Device queue-item discarded")
        assert told == DownlinkEvent(item, what, "ChirpStack: Device queue-item discarded.")  # type: ignore[arg-type]


def test_chirpstacks_events_of_other_things_say_nothing_of_a_command() -> None:
    assert event("log") is None
    assert event("log", code="EXPIRED", context={}) is None
    assert event("up") is None
    assert event("ack", queueItemId="") is None


def things_stack(kind: str, about: dict[str, Any], **members: Any) -> DownlinkEvent | None:
    message = {
        "end_device_ids": {"device_id": "dev1", "application_ids": {"application_id": "app1"}},
        "received_at": "2026-03-02T08:15:42.120Z",
        f"downlink_{kind}": about,
        **members,
    }
    return things_stack_down.told(kind, message)


def test_the_things_stacks_events_carry_the_commands_id_along() -> None:
    about = {"f_port": 85, "correlation_ids": ["as:downlink:01", f"knutpunkt:{ID}"]}
    for kind, what in (("queued", "accepted"), ("sent", "transmitted"), ("ack", "acknowledged"), ("nack", "retried")):
        told = things_stack(kind, about)
        assert told is not None
        assert (told.id, told.what) == (ID, what)
    failed = things_stack(
        "failed",
        {"downlink": about, "error": {"name": "max_retries_reached", "message_format": "reached the maximum retries"}},
    )
    assert failed == DownlinkEvent(ID, "failed", "The Things Stack: reached the maximum retries.")
    assert things_stack("ack", {}, correlation_ids=[f"knutpunkt:{ID}"]) == DownlinkEvent(ID, "acknowledged")


def test_the_things_stacks_events_of_others_downlinks_say_nothing() -> None:
    assert things_stack("ack", {"correlation_ids": ["as:downlink:01", 7]}) is None
    assert things_stack_down.told("invalidated", {}) is None
    assert things_stack_down.told("ack", {"downlink_queued": {}}) is None


def test_a_coap_device_acknowledges_with_or_without_a_measurement() -> None:
    def read(payload: bytes, acknowledged: str) -> Any:
        return read_coap(
            "350457790000001",
            payload,
            42,
            exchange=b"\x01\x02",
            received_at=NOW,
            limits=Limits(),
            acknowledged=acknowledged,
        )

    tag = tag_of(ID)
    assert tag == "800000000000beef"
    alone, along, without = read(b"", tag.upper()), read(b"\x01", tag), read(b"\x01", "")
    assert (alone.kind, alone.payload, alone.downlink) == ("ack", None, DownlinkEvent(tag, "acknowledged"))
    assert (along.kind, along.payload, along.downlink) == ("up", b"\x01", DownlinkEvent(tag, "acknowledged"))
    assert without.downlink is None
    assert len({alone.frame_key, along.frame_key, without.frame_key}) == 3
    for wrong in ("beef", "x" * 16):
        with pytest.raises(NotUnderstood, match="'ack' must be the ETag"):
            read(b"", wrong)
