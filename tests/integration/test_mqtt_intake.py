"""MQTT intake against a real Mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from adapters.mqtt.client import MqttIntake
from adapters.mqtt.networks.known import networks
from broker.clock import Clock
from broker.config import InvalidSetting, Limits, Mqtt
from broker.errors import StoreUnavailable
from tests.support.intake import RecordingIntake
from tests.support.mosquitto import Mosquitto, make_certificates, program, publish

RECORDED = json.loads((Path(__file__).parent.parent / "recorded" / "chirpstack" / "up.json").read_text("utf-8"))
LIMITS = Limits()


def uplink(number: int, device: int = 1) -> tuple[str, bytes]:
    eui = f"a81758fffe{device:06x}"
    event = RECORDED | {
        "deduplicationId": f"frame-{number}",
        "fCnt": number,
        "deviceInfo": RECORDED["deviceInfo"] | {"devEui": eui},
    }
    return f"application/8d5b1c1e/device/{eui}/event/up", json.dumps(event).encode()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "mosquitto") as broker:
        yield broker


@contextlib.asynccontextmanager
async def running(intake: RecordingIntake, settings: Mqtt) -> AsyncIterator[MqttIntake]:
    adapter = MqttIntake(settings, networks(), intake, Clock(), LIMITS)
    task = asyncio.create_task(adapter.run())
    try:
        yield adapter
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def subscribed(intake: RecordingIntake, settings: Mqtt) -> None:
    """Make the persistent session, so that the broker keeps what is published from now on."""
    async with running(intake, settings) as adapter:
        await asyncio.wait_for(adapter.ready.wait(), 10)


async def test_uplinks_arrive_once_each_in_the_order_of_their_device(mosquitto: Mosquitto) -> None:
    intake, settings = RecordingIntake(), Mqtt(url=mosquitto.url)
    await subscribed(intake, settings)
    await publish(mosquitto, (uplink(n, device=n % 7) for n in range(1000)))
    async with running(intake, settings):
        await intake.until_committed(1000)
    for device in range(7):
        frames = [each.f_cnt for each in intake.uplinks if each.device_id.endswith(f"{device:06x}")]
        assert frames == list(range(device, 1000, 7))


async def test_an_uplink_that_is_not_committed_is_delivered_again_after_reconnecting(mosquitto: Mosquitto) -> None:
    intake, settings = RecordingIntake(), Mqtt(url=mosquitto.url)
    await subscribed(intake, settings)
    intake.failure = StoreUnavailable("The store is away.")
    await publish(mosquitto, [uplink(1)])
    # Stopped hard, as by a crash: nothing was committed, so nothing may have been acknowledged.
    adapter = MqttIntake(settings, networks(), intake, Clock(), LIMITS)
    task = asyncio.create_task(adapter.run())
    await adapter.ready.wait()
    await intake.until(lambda: intake.attempts > 0)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert intake.uplinks == []

    intake.failure = None
    async with running(intake, settings):
        await intake.until_committed(1)
    assert [each.f_cnt for each in intake.uplinks] == [1]


async def test_an_array_is_acknowledged_when_each_of_its_messages_is_committed(mosquitto: Mosquitto) -> None:
    body = (Path(__file__).parent.parent / "recorded" / "netmore" / "http.json").read_bytes()
    topic, settings = "netmore/up", Mqtt(url=mosquitto.url, network="netmore", topics=("netmore/up",))
    intake = RecordingIntake()
    await subscribed(intake, settings)
    intake.fail_on = lambda each: StoreUnavailable("Away.") if each.device_id == "a81758fffe03f6d5" else None
    await publish(mosquitto, [(topic, body)])
    adapter = MqttIntake(settings, networks(), intake, Clock(), LIMITS)
    task = asyncio.create_task(adapter.run())
    await intake.until_committed(1)
    # As by a crash: one of two is committed, so the whole may not have been acknowledged.
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    intake.fail_on = lambda each: None
    async with running(intake, settings):
        await intake.until_committed(3)
    assert intake.uplinks[0].device_id.endswith("c5")
    assert sorted(each.device_id[-2:] for each in intake.uplinks) == ["c5", "c5", "d5"]
    async with running(intake, settings):
        await asyncio.sleep(0.5)
    assert len(intake.uplinks) == 3


@pytest.mark.parametrize("qos", [0, 1])
async def test_uplinks_arrive_over_mqtt_3_1_1_too(mosquitto: Mosquitto, qos: int) -> None:
    intake, settings = RecordingIntake(), Mqtt(url=mosquitto.url, version="3.1.1", qos=qos)
    async with running(intake, settings) as adapter:
        await adapter.ready.wait()
        await publish(mosquitto, (uplink(n, device=n % 7) for n in range(200)), qos=qos)
        await intake.until_committed(200)
    for device in range(7):
        frames = [each.f_cnt for each in intake.uplinks if each.device_id.endswith(f"{device:06x}")]
        assert frames == list(range(device, 200, 7))


async def test_over_mqtt_3_1_1_what_comes_meanwhile_is_kept_and_what_is_not_committed_comes_again(
    mosquitto: Mosquitto,
) -> None:
    intake, settings = RecordingIntake(), Mqtt(url=mosquitto.url, version="3.1.1")
    await subscribed(intake, settings)
    await publish(mosquitto, [uplink(1)])
    intake.failure = StoreUnavailable("The store is away.")
    task = asyncio.create_task(MqttIntake(settings, networks(), intake, Clock(), LIMITS).run())
    await intake.until(lambda: intake.attempts > 0)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    intake.failure = None
    async with running(intake, settings):
        await intake.until_committed(1)
    async with running(intake, settings):
        await asyncio.sleep(0.5)
    assert [each.f_cnt for each in intake.uplinks] == [1]


async def test_an_acknowledged_uplink_is_not_delivered_again(mosquitto: Mosquitto) -> None:
    intake, settings = RecordingIntake(), Mqtt(url=mosquitto.url)
    await subscribed(intake, settings)
    await publish(mosquitto, [uplink(1)])
    async with running(intake, settings):
        await intake.until_committed(1)
    await publish(mosquitto, [uplink(2)])
    async with running(intake, settings):
        await intake.until_committed(2)
    assert [each.f_cnt for each in intake.uplinks] == [1, 2]


async def test_a_failing_device_is_tried_again_in_order_while_others_go_on(mosquitto: Mosquitto) -> None:
    intake, settings = RecordingIntake(), Mqtt(url=mosquitto.url)
    await subscribed(intake, settings)
    broken = True
    intake.fail_on = lambda each: (
        StoreUnavailable("Conflict.") if broken and each.device_id.endswith("000001") and each.f_cnt == 1 else None
    )
    async with running(intake, settings):
        await publish(mosquitto, [uplink(1, device=1), uplink(2, device=1), *(uplink(n, device=2) for n in range(50))])
        await intake.until_committed(50)
        assert {each.device_id[-1] for each in intake.uplinks} == {"2"}
        broken = False
        await intake.until_committed(52)
    assert [each.f_cnt for each in intake.uplinks if each.device_id.endswith("000001")] == [1, 2]


async def test_an_uplink_that_always_fails_by_a_fault_is_kept_and_passed_over(mosquitto: Mosquitto) -> None:
    intake, settings = RecordingIntake(), Mqtt(url=mosquitto.url)
    await subscribed(intake, settings)
    intake.fail_on = lambda each: RuntimeError("bug") if each.f_cnt == 1 else None
    async with running(intake, settings):
        await publish(mosquitto, [uplink(1), uplink(2)])
        await intake.until_committed(1)
    assert [each.f_cnt for each in intake.uplinks] == [2]
    assert intake.rejected[0].raw == uplink(1)[1]
    assert "RuntimeError" in intake.rejected[0].reason


async def test_nothing_is_lost_when_the_broker_restarts(mosquitto: Mosquitto) -> None:
    intake, settings = RecordingIntake(), Mqtt(url=mosquitto.url)
    await subscribed(intake, settings)
    async with running(intake, settings):
        intake.open.clear()
        await publish(mosquitto, (uplink(n, device=n % 5) for n in range(300)))
        mosquitto.restart()
        intake.open.set()
        await publish(mosquitto, (uplink(n, device=n % 5) for n in range(300, 400)))
        await intake.until(lambda: {each.f_cnt for each in intake.uplinks} >= set(range(400)))


async def test_in_flight_stays_bounded_while_the_intake_is_stuck(mosquitto: Mosquitto) -> None:
    intake = RecordingIntake()
    settings = Mqtt(url=mosquitto.url, receive_maximum=64, keepalive_seconds=1)
    await subscribed(intake, settings)
    intake.open.clear()
    async with running(intake, settings) as adapter:
        await publish(mosquitto, (uplink(n, device=n % 500) for n in range(5000)))
        await asyncio.sleep(3.5)  # longer than the keep-alive's patience: the connection must stand
        attempts = intake.attempts
        # A read of 64 KB brings some sixty such messages beyond the bound.
        assert 64 <= adapter.in_flight <= 64 + 2 * 65536 // len(uplink(0)[1])
        intake.open.set()
        await intake.until_committed(5000)
    assert sorted(each.f_cnt or 0 for each in intake.uplinks) == list(range(5000))
    assert attempts < 300


async def test_in_flight_stays_bounded_against_a_broker_that_does_not_mind_receive_maximum(
    mosquitto: Mosquitto,
) -> None:
    """Receive Maximum does not hold for QoS 0, so that nothing but our own bound does."""
    intake = RecordingIntake()
    settings = Mqtt(url=mosquitto.url, receive_maximum=64)
    await subscribed(intake, settings)
    intake.open.clear()
    async with running(intake, settings) as adapter:
        await adapter.ready.wait()
        await publish(mosquitto, (uplink(n, device=n % 500) for n in range(5000)), qos=0)
        await _until(lambda: adapter.in_flight >= 64)
        await asyncio.sleep(1)
        assert adapter.in_flight <= 64 + 2 * 65536 // len(uplink(0)[1])
        intake.open.set()
        await publish(mosquitto, [uplink(5000)])
        await _until(lambda: any(each.f_cnt == 5000 for each in intake.uplinks))


async def test_two_members_of_a_shared_subscription_divide_the_uplinks(mosquitto: Mosquitto) -> None:
    first, second = RecordingIntake(), RecordingIntake()
    one = Mqtt(url=mosquitto.url, share="knutpunkt", client_id="slot-1")
    two = Mqtt(url=mosquitto.url, share="knutpunkt", client_id="slot-2")
    async with running(first, one) as here, running(second, two) as there:
        await here.ready.wait()
        await there.ready.wait()
        await publish(mosquitto, (uplink(n, device=n) for n in range(200)))
        await _until(lambda: len(_first_200(first)) + len(_first_200(second)) == 200)
    assert sorted(_first_200(first) + _first_200(second)) == list(range(200))
    assert _first_200(first)
    assert _first_200(second)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def _first_200(intake: RecordingIntake) -> list[int]:
    return [each.f_cnt for each in intake.uplinks if each.f_cnt is not None and each.f_cnt < 200]


async def test_tls_and_a_password_are_used_and_the_certificate_is_checked(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with Mosquitto(tmp_path / "mosquitto", certificates=certificates, users={"stad": "hemlig/#1"}) as broker:
        url = broker.url.replace("mqtts://", "mqtts://stad:hemlig%2F%231@")
        intake = RecordingIntake()
        topic, body = uplink(7)
        command = [program("mosquitto_pub"), "-h", "localhost", "-p", str(broker.port), "-u", "stad", "-P", "hemlig/#1",
                   "--cafile", str(certificates.ca_file), "-q", "1", "-t", topic, "-s"]  # fmt: skip
        async with running(intake, Mqtt(url=url, ca_file=str(certificates.ca_file))) as adapter:
            await adapter.ready.wait()
            await asyncio.to_thread(subprocess.run, command, input=body, check=True)
            await intake.until_committed(1)
        assert intake.uplinks[0].f_cnt == 7

        # An authority that we were not told to trust, and a wrong password: no connection, and no end of trying.
        refused = RecordingIntake()
        async with (
            running(refused, Mqtt(url=url, client_id="untrusting")),
            running(refused, Mqtt(url=broker.url, username="stad", ca_file=str(certificates.ca_file), client_id="x")),
        ):
            await asyncio.sleep(1)
            await asyncio.to_thread(subprocess.run, command, input=body, check=True)
            await asyncio.sleep(0.2)
        assert refused.attempts == 0


async def test_messages_that_are_no_uplinks_are_kept_and_do_not_stop_the_stream(mosquitto: Mosquitto) -> None:
    intake, settings = RecordingIntake(), Mqtt(url=mosquitto.url, topics=("application/#",))
    await subscribed(intake, settings)
    topic, body = uplink(1)
    large = b'{"data": "' + b"A" * 1_000_000 + b'"}'
    huge = b"B" * (LIMITS.uplink_kept_bytes + 100_000)
    await publish(
        mosquitto,
        [
            (topic, b"{"),
            (topic, b""),
            (topic, b"\xff\xfe"),
            (topic, body.replace(b"AQDhAikEACcFAAYB4QcOOA==", b"AQDhAikEACcFAAYB4QcOO")),
            (topic.replace("/up", "/\u00e5\u00e4\u00f6"), body),
            ("application/x", body),
            (topic, large),
            (topic, huge),
            (topic, body),
        ],
    )
    async with running(intake, settings):
        await intake.until_committed(1)
        await intake.until(lambda: len(intake.rejected) == 8)
    assert [each.f_cnt for each in intake.uplinks] == [1]
    by_size = {each.meta.get("bytes"): each for each in intake.rejected}
    assert by_size[len(large)].raw == large
    assert by_size[len(huge)].raw == huge[: LIMITS.uplink_kept_bytes]
    assert "limits.uplink_bytes" in by_size[len(huge)].reason
    assert any("base64" in each.reason for each in intake.rejected)


async def test_two_brokers_feed_one_intake(tmp_path: Path) -> None:
    intake = RecordingIntake()
    with Mosquitto(tmp_path / "a") as first, Mosquitto(tmp_path / "b") as second:
        a, b = Mqtt(url=first.url, name="north"), Mqtt(url=second.url, name="south")
        await subscribed(intake, a)
        await subscribed(intake, b)
        async with running(intake, a), running(intake, b):
            await publish(first, [uplink(1, device=1)])
            await publish(second, [uplink(2, device=2)])
            await intake.until_committed(2)
    assert {each.meta["broker"] for each in intake.uplinks} == {"north", "south"}


async def test_stopping_waits_for_what_is_on_its_way_and_acknowledges_it(mosquitto: Mosquitto) -> None:
    intake, settings = RecordingIntake(), Mqtt(url=mosquitto.url)
    await subscribed(intake, settings)
    intake.open.clear()
    await publish(mosquitto, [uplink(1)])
    task = asyncio.create_task(MqttIntake(settings, networks(), intake, Clock(), LIMITS).run())
    await _until(lambda: intake.waiting > 0)
    task.cancel()
    await asyncio.sleep(0.05)
    intake.open.set()
    await asyncio.gather(task, return_exceptions=True)
    assert [each.f_cnt for each in intake.uplinks] == [1]
    await publish(mosquitto, [uplink(2)])
    async with running(intake, settings):
        await intake.until_committed(2)
    assert [each.f_cnt for each in intake.uplinks] == [1, 2]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (Mqtt(url="http://city.example"), "mqtt.url"),
        (Mqtt(url="mqtt://:1883"), "mqtt.url"),
        (Mqtt(url="mqtt://h:99999"), "mqtt.url"),
        (Mqtt(url="mqtts://h", ca_file="/nowhere.pem"), "mqtt.ca_file"),
        (Mqtt(url="mqtt://h", ca_file="/nowhere.pem"), "mqtt.ca_file"),
        (Mqtt(url="mqtt://h", network="yggdrasil"), "mqtt.network"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(settings: Mqtt, named: str) -> None:
    with pytest.raises(InvalidSetting, match=named):
        MqttIntake(settings, networks(), RecordingIntake(), Clock(), LIMITS)
