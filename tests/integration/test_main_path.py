"""The main path as its users see it: from a LoRaWAN uplink over MQTT to a notified app, and what goes wrong on it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.clock import SECOND, iso
from tests.support.broker import BrokerProcess, Refused
from tests.support.city import START, dev_eui, elsys_temperature, register, room, topic, uplink
from tests.support.mosquitto import Mosquitto, publish
from tests.support.receiver import Receiver, receiving

TEMPERATURE = "temperature"


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[tuple[BrokerProcess, Mosquitto, Receiver]]:
    """Three rooms on an embedded store, a subscription, and a broker that listens."""
    with Mosquitto(tmp_path / "mosquitto") as mosquitto:
        async with receiving() as receiver, running(tmp_path, {"KNUTPUNKT_MQTT": mosquitto.url}) as broker:
            await register(broker, 3)
            await broker.ask(
                "POST",
                "/ngsi-ld/v1/subscriptions",
                {
                    "type": "Subscription",
                    "entities": [{"type": "IndoorEnvironmentObserved"}],
                    "watchedAttributes": [TEMPERATURE],
                    "notification": {"endpoint": {"uri": receiver.url(), "accept": "application/json"}},
                },
            )
            yield broker, mosquitto, receiver


@asynccontextmanager
async def running(folder: Path, settings: dict[str, str]) -> AsyncIterator[BrokerProcess]:
    broker = BrokerProcess(f"sqlite:///{folder / 'city.db'}", folder, settings)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.kill()


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What `condition` gives once it is true."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
        return found


async def current(broker: BrokerProcess, number: int) -> dict[str, Any] | None:
    try:
        _, entity = await broker.ask("GET", f"/ngsi-ld/v1/entities/{room(number)}")
    except Refused as error:
        assert error.status == 404
        return None
    found: dict[str, Any] = entity
    return found


async def test_an_uplink_becomes_an_attribute_with_time_unit_and_provenance_and_the_app_is_told(
    city: tuple[BrokerProcess, Mosquitto, Receiver],
) -> None:
    broker, mosquitto, receiver = city
    await publish(mosquitto, [(topic(1), uplink(1, elsys_temperature(-5.3), START))])
    (notification,) = await receiver.wait_for(1)
    told = notification.data[0]
    assert told["id"] == room(1)
    assert told[TEMPERATURE]["value"] == -5.3
    entity = await current(broker, 1)
    assert entity is not None
    assert entity["type"] == "IndoorEnvironmentObserved"
    assert entity[TEMPERATURE] == {
        "type": "Property",
        "value": -5.3,
        "unitCode": "CEL",
        "observedAt": iso(START),
        "observedBy": {"type": "Relationship", "object": f"urn:ngsi-ld:Device:{dev_eui(1)}"},
    }
    _, device = await broker.ask("GET", f"/api/v1/devices/{dev_eui(1)}")
    assert device["state"]["lastSeen"] == iso(START)
    assert device["state"]["rssi"] == -97


async def test_late_data_is_history_and_not_news(city: tuple[BrokerProcess, Mosquitto, Receiver]) -> None:
    broker, mosquitto, receiver = city
    await publish(mosquitto, [(topic(0), uplink(0, elsys_temperature(21.0), START + 600 * SECOND))])
    await receiver.wait_for(1)
    await publish(mosquitto, [(topic(0), uplink(0, elsys_temperature(15.0), START))])
    await publish(mosquitto, [(topic(1), uplink(1, elsys_temperature(20.0), START))])
    await receiver.wait_for(2)
    assert [notification.data[0]["id"] for notification in receiver.accepted] == [room(0), room(1)]
    entity = await current(broker, 0)
    assert entity is not None
    assert entity[TEMPERATURE]["value"] == 21.0
    _, rows = await broker.ask("GET", f"/api/v1/history?entity={room(0)}&attribute=temperature")
    assert [row["value"]["value"] for row in rows] == [15.0, 21.0]


async def test_a_redelivered_frame_changes_nothing(city: tuple[BrokerProcess, Mosquitto, Receiver]) -> None:
    broker, mosquitto, receiver = city
    message = uplink(2, elsys_temperature(19.5), START)
    await publish(mosquitto, [(topic(2), message)] * 3)
    await receiver.wait_for(1)
    _, receipt = await broker.ask("POST", "/api/v1/uplinks/chirpstack?event=up", message)
    assert receipt["outcome"] == "duplicate"
    _, rows = await broker.ask("GET", f"/api/v1/history?entity={room(2)}")
    assert len(rows) == 1
    assert len(receiver.accepted) == 1


def bad_messages() -> dict[str, tuple[str, bytes]]:
    good = json.loads(uplink(0, elsys_temperature(99.0), START + 900 * SECOND))

    def with_members(**members: Any) -> bytes:
        return json.dumps({**good, "deduplicationId": str(uuid.uuid4()), **members}).encode()

    return {
        "not JSON": (topic(0), b'{"deduplicationId": "x", '),
        "not an object": (topic(0), b"[1, 2, 3]"),
        "fCnt of the wrong type": (topic(0), with_members(fCnt="seven")),
        "deviceInfo of the wrong type": (topic(0), with_members(deviceInfo=[1])),
        "an fPort without measurements": (topic(0), with_members(fPort=77)),
        "base64 cut short": (topic(0), with_members(data="AQDhA")),
        "a payload cut short": (topic(0), with_members(data=base64.b64encode(b"\x01\x00").decode())),
        "a payload of an unknown type": (topic(0), with_members(data=base64.b64encode(b"\xee\x01\x02").decode())),
        "a megabyte": (topic(0), with_members(filler="x" * 1_000_000)),
        "not UTF-8": (topic(0), b"\xff\xfe\xfd"),
        "two devices": (topic(1), with_members(fCnt=3)),
    }


async def test_bad_messages_are_kept_with_a_reason_and_the_next_good_one_is_taken(
    city: tuple[BrokerProcess, Mosquitto, Receiver],
) -> None:
    broker, mosquitto, receiver = city
    messages = bad_messages()
    await publish(mosquitto, messages.values())
    await publish(mosquitto, [(topic(0), uplink(0, elsys_temperature(20.5), START + 1000 * SECOND))])
    (notification,) = await receiver.wait_for(1)
    assert notification.data[0][TEMPERATURE]["value"] == 20.5

    async def all_kept() -> Any:
        _, rows = await broker.ask("GET", "/api/v1/uplinks?status=rejected")
        return rows if len(rows) == len(messages) else None

    rejected = await until(all_kept)
    assert all(row["reason"] for row in rejected)
    _, metrics = await broker.ask("GET", "/metrics")
    assert f'knutpunkt_uplinks_total{{outcome="rejected",source="mqtt:chirpstack"}} {len(messages)}.0' in metrics


@pytest.mark.parametrize("absurd", ["1970-01-01T00:00:00Z", "2099-01-01T00:00:00Z"])
async def test_an_absurd_network_time_does_not_become_the_time_of_observation(
    city: tuple[BrokerProcess, Mosquitto, Receiver], absurd: str
) -> None:
    broker, mosquitto, receiver = city
    before = time.time_ns() // 1000
    await publish(mosquitto, [(topic(0), uplink(0, elsys_temperature(18.0), START, time=absurd))])
    await receiver.wait_for(1)
    entity = await current(broker, 0)
    assert entity is not None
    assert iso(before) <= entity[TEMPERATURE]["observedAt"] <= iso(time.time_ns() // 1000)
    await publish(mosquitto, [(topic(0), uplink(0, elsys_temperature(18.5), time.time_ns() // 1000))])
    assert (await receiver.wait_for(2))[1].data[0][TEMPERATURE]["value"] == 18.5


async def test_a_dev_eui_in_another_letter_case_is_the_same_device(
    city: tuple[BrokerProcess, Mosquitto, Receiver],
) -> None:
    broker, mosquitto, receiver = city
    message = json.loads(uplink(1, elsys_temperature(17.0), START))
    message["deviceInfo"]["devEui"] = dev_eui(1).upper()
    await publish(mosquitto, [(f"application/1/device/{dev_eui(1).upper()}/event/up", json.dumps(message).encode())])
    await receiver.wait_for(1)
    entity = await current(broker, 1)
    assert entity is not None
    assert entity[TEMPERATURE]["value"] == 17.0


async def test_an_unknown_device_waits_in_quarantine_and_claiming_replays_it_in_order(
    city: tuple[BrokerProcess, Mosquitto, Receiver],
) -> None:
    broker, mosquitto, receiver = city
    await publish(mosquitto, [(topic(0), uplink(0, elsys_temperature(20.0), START))])
    await receiver.wait_for(1)
    unknown = 0xBEEF
    sent = [(topic(unknown), uplink(unknown, elsys_temperature(t), START + (60 + t) * SECOND)) for t in (21, 22, 23)]
    await publish(mosquitto, sent)

    async def waiting() -> Any:
        _, groups = await broker.ask("GET", "/api/v1/quarantine")
        return groups and groups[0]["count"] == 3 and groups

    (group,) = await until(waiting)
    assert group["device"] == dev_eui(unknown)
    assert "not registered" in group["reason"]
    _, claimed = await broker.ask(
        "POST", f"/api/v1/devices/{dev_eui(unknown).upper()}/claim", {"virtualSensor": "room-0"}
    )
    assert claimed["replayed"] == {"applied": 3, "rejected": 0, "left": 0}
    assert claimed["closed"]["device"] == dev_eui(0)
    told = await receiver.wait_for(4)
    assert [notification.data[0][TEMPERATURE]["value"] for notification in told] == [20.0, 21.0, 22.0, 23.0]
    _, rows = await broker.ask("GET", f"/api/v1/history?entity={room(0)}&attribute=temperature")
    assert [row["device"] for row in rows] == [dev_eui(0)] + [dev_eui(unknown)] * 3
    assert (await broker.ask("GET", "/api/v1/quarantine"))[1] == []


async def test_a_swap_loses_nothing_and_the_app_sees_only_values(
    city: tuple[BrokerProcess, Mosquitto, Receiver],
) -> None:
    broker, mosquitto, receiver = city
    new = 0xCAFE
    await publish(mosquitto, [(topic(0), uplink(0, elsys_temperature(20.0), START))])
    await receiver.wait_for(1)
    await broker.ask(
        "POST", "/api/v1/swaps", {"virtualSensor": "room-0", "device": dev_eui(new), "at": iso(START + 60 * SECOND)}
    )
    # The old device's last words arrive after the swap, from before it.
    await publish(mosquitto, [(topic(0), uplink(0, elsys_temperature(20.5), START + 30 * SECOND))])
    await publish(mosquitto, [(topic(new), uplink(new, elsys_temperature(21.0), START + 90 * SECOND))])
    told = await receiver.wait_for(3)
    assert {notification.data[0]["id"] for notification in told} == {room(0)}
    assert [notification.data[0][TEMPERATURE]["value"] for notification in told] == [20.0, 20.5, 21.0]
    _, old = await broker.ask("GET", f"/ngsi-ld/v1/entities/urn:ngsi-ld:Device:{dev_eui(0)}")
    _, now = await broker.ask("GET", f"/ngsi-ld/v1/entities/urn:ngsi-ld:Device:{dev_eui(new)}")
    assert "controlledAsset" not in old
    assert now["controlledAsset"]["object"] == room(0)
    # What the old one still sends waits in quarantine: it is nobody now.
    await publish(mosquitto, [(topic(0), uplink(0, elsys_temperature(9.0), START + 120 * SECOND))])

    async def waiting() -> Any:
        return (await broker.ask("GET", "/api/v1/quarantine"))[1]

    (group,) = await until(waiting)
    assert group["device"] == dev_eui(0)


async def test_the_broker_stops_in_order_and_nothing_admitted_is_lost(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "mosquitto") as mosquitto:
        async with running(tmp_path, {"KNUTPUNKT_MQTT": mosquitto.url}) as broker:
            await register(broker, 1)
            messages = [
                (topic(0), uplink(0, elsys_temperature(serial / 10), START + serial * SECOND)) for serial in range(2000)
            ]
            await publish(mosquitto, messages)
            started = time.monotonic()
            assert await broker.stop() == 0, broker.log()[-2000:]
            assert time.monotonic() - started < 10
            await broker.start()

            async def all_there() -> Any:
                _, rows = await broker.ask(
                    "GET", f"/api/v1/history?entity={room(0)}&limit=1&newestFirst=true&attribute=temperature"
                )
                return rows and rows[0]["value"]["value"] == 199.9

            await until(all_there)
            _, rows = await broker.ask("GET", f"/api/v1/history?entity={room(0)}&limit=1000&attribute=temperature")
            assert [row["value"]["value"] for row in rows] == [serial / 10 for serial in range(1000)]


async def test_one_uplink_can_be_followed_by_its_id_from_the_message_to_the_notification(
    city: tuple[BrokerProcess, Mosquitto, Receiver],
) -> None:
    broker, mosquitto, receiver = city
    await publish(mosquitto, [(topic(0), uplink(0, elsys_temperature(20.0), START))])
    await receiver.wait_for(1)
    _, (row,) = await broker.ask("GET", f"/api/v1/uplinks?device={dev_eui(0)}&limit=1")
    _, (observed,) = await broker.ask("GET", f"/api/v1/history?entity={room(0)}")
    assert observed["uplink"] == row["id"]
    lines = [line for line in broker.log().splitlines() if row["id"] in line]
    assert any("mqtt" in line for line in lines), lines
    assert any("notification" in line for line in lines), lines


async def test_a_token_protects_every_route_but_health(tmp_path: Path) -> None:
    async with running(tmp_path, {"KNUTPUNKT_HTTP_TOKEN": "s3cret-token"}) as broker:
        for path in ("/ngsi-ld/v1/entities?type=T", "/api/v1/devices", "/metrics"):
            with pytest.raises(Refused) as refused:
                await broker.ask("GET", path)
            assert refused.value.status == 401
            assert (await broker.ask("GET", path, headers={"Authorization": "Bearer s3cret-token"}))[0] == 200
        assert (await broker.ask("GET", "/health/live"))[0] == 200
