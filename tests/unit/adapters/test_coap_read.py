"""What a CoAP request becomes."""

from __future__ import annotations

import json

import pytest

from adapters.coap.reading import EXCHANGE_LIFETIME, SENML_JSON, read
from adapters.members import NotUnderstood
from broker.clock import SECOND
from broker.config import Limits
from broker.pipeline.intake import Uplink

NOW = 1_780_000_000 * SECOND
LIMITS = Limits()


def request(
    payload: bytes = b"21.5",
    *,
    device: str = "m1",
    exchange: bytes = b"tok\x00\x01",
    at: int = NOW,
    form: int | None = None,
) -> Uplink:
    return read(device, payload, form, exchange=exchange, received_at=at, limits=LIMITS)


def same_frame(first: Uplink, later: Uplink) -> bool:
    return first.frame_key in (later.frame_key, *later.earlier_frame_keys)


@pytest.mark.parametrize("seconds", [0, 10, 93, 247])
def test_a_retransmission_is_the_same_frame_wherever_a_window_ends(seconds: int) -> None:
    for start in range(0, EXCHANGE_LIFETIME, 13 * SECOND):
        assert same_frame(request(at=NOW + start), request(at=NOW + start + seconds * SECOND))


def test_the_same_payload_hours_later_is_a_new_frame() -> None:
    assert not same_frame(request(), request(at=NOW + 3600 * SECOND))


def test_another_message_id_payload_or_device_is_another_frame() -> None:
    first = request()
    assert not same_frame(first, request(exchange=b"tok\x00\x02"))
    assert not same_frame(first, request(b"21.6"))
    assert not same_frame(first, request(device="m2"))


def test_a_value_has_the_name_it_has_on_every_device_of_its_model() -> None:
    pack = [
        {"bn": "urn:dev:imei:350457790000001:", "n": "volume", "v": 1},
        {"n": "leak", "vb": False},
        {"bn": "", "n": "temperature", "v": 1},
    ]
    uplink = request(json.dumps(pack).encode(), device="350457790000001", form=SENML_JSON)
    assert [value.name for value in uplink.values] == ["volume", "leak", "temperature"]


@pytest.mark.parametrize("at", [400_000_000, 1_780_090_000])
def test_a_time_that_cannot_be_true_is_noted_and_not_used(at: int) -> None:
    uplink = request(json.dumps([{"n": "volume", "v": 1, "t": at}]).encode(), form=SENML_JSON)
    assert uplink.values[0].at is None
    assert "volume" in uplink.meta["time"]


@pytest.mark.parametrize("device", ["", " ", "a b", "../x", "-a", "å", "x" * 65, "a\x00"])
def test_a_hostile_device_name_is_refused(device: str) -> None:
    with pytest.raises(NotUnderstood, match="device in the path"):
        request(device=device)
