"""Notifications over MQTT, from a real store to a real Mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from broker.config import Delivery as DeliverySettings
from broker.subscriptions.signing import SetSecret
from tests.integration.test_delivery import City, opened
from tests.support.api import running_broker
from tests.support.bad_server import Bad
from tests.support.mosquitto import Mosquitto, make_certificates
from tests.support.mqtt_receiver import Published, subscribed

FAST = DeliverySettings(retry_first_seconds=0.02, retry_longest_seconds=0.1, timeout_seconds=2.0)


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[City]:
    async with opened(tmp_path / "city.db") as made:
        yield made


def endpoint(uri: str, **info: str) -> dict[str, Any]:
    pairs = [{"key": name.replace("_", "-"), "value": value} for name, value in info.items()]
    return {"endpoint": {"uri": uri, "notifierInfo": pairs}}


def counted(messages: list[Published]) -> list[int]:
    return [entity["count"] for message in messages for entity in message.body["data"]]


@pytest.mark.parametrize("version", ["mqtt3.1.1", "mqtt5.0"])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_an_app_gets_every_change_in_order(tmp_path: Path, city: City, version: str, qos: int) -> None:
    with Mosquitto(tmp_path / "mqtt") as broker:
        uri = f"{broker.url}/city/rooms/{qos}"
        info = endpoint(uri, MQTT_QoS=str(qos), MQTT_Version=version)
        info["endpoint"]["receiverInfo"] = [{"key": "Colour", "value": "blå"}]
        await city.subscribe(uri, notification=info)
        async with subscribed(broker.port) as app, city.delivering(FAST):
            rows = await city.count(20)
            messages = await app.wait_for(20)
            await city.until(city.nothing_owed)
    assert counted(messages) == list(range(1, 21))
    assert {(message.topic, message.qos) for message in messages} == {(f"city/rooms/{qos}", qos)}
    first = messages[0]
    assert first.metadata["Content-Type"] == "application/json"
    assert first.metadata["Colour"] == "blå"
    assert 'rel="http://www.w3.org/ns/json-ld#context"' in first.metadata["Link"]
    assert first.body["id"] == f"urn:ngsi-ld:Notification:{rows[0].id}"
    assert first.body["subscriptionId"] == "urn:x:Subscription:1"


async def test_json_ld_has_its_context_in_the_body(tmp_path: Path, city: City) -> None:
    with Mosquitto(tmp_path / "mqtt") as broker:
        uri = f"{broker.url}/rooms"
        await city.subscribe(uri, notification={"endpoint": {"uri": uri, "accept": "application/ld+json"}})
        async with subscribed(broker.port) as app, city.delivering(FAST):
            await city.count()
            (message,) = await app.wait_for(1)
    assert message.metadata == {"Content-Type": "application/ld+json"}
    assert "@context" in message.body


@pytest.mark.parametrize("qos", [1, 2])
async def test_nothing_is_lost_when_the_broker_is_restarted(tmp_path: Path, city: City, qos: int) -> None:
    with Mosquitto(tmp_path / "mqtt") as broker:
        uri = f"{broker.url}/rooms"
        await city.subscribe(uri, notification=endpoint(uri, MQTT_QoS=str(qos)))
        async with subscribed(broker.port) as app, city.delivering(FAST):
            for round_ in range(1, 4):
                await city.count(100)
                await app.wait_for(100 * round_ - 70)
                await asyncio.to_thread(broker.restart)
            await city.count(10)
            messages = await app.wait_until(lambda messages: bool(messages) and counted(messages)[-1] == 310)
            await city.until(city.nothing_owed)
    assert list(dict.fromkeys(counted(messages))) == list(range(1, 311))


async def test_credentials_of_the_uri_are_used_and_not_told(
    tmp_path: Path, city: City, capfd: pytest.CaptureFixture[str]
) -> None:
    with Mosquitto(tmp_path / "mqtt", users={"app": "s3cret/word"}) as broker:
        wrong = broker.url.replace("mqtt://", "mqtt://app:not-it@") + "/rooms"
        right = broker.url.replace("mqtt://", "mqtt://app:s3cret%2Fword@") + "/rooms"
        await city.subscribe(wrong, "urn:x:wrong")
        await city.subscribe(right, "urn:x:right")
        async with subscribed(broker.port, user="app", password="s3cret/word") as app, city.delivering(FAST):
            await city.count(8, "urn:x:wrong", "urn:x:right")
            # A wrong password is that subscription's fault alone: the broker behind it does not rest for the others.
            messages = await app.wait_for(8)

            async def refused() -> bool:
                return (await city.state("urn:x:wrong")).attempts >= 5

            await city.until(refused)
            state = await city.state("urn:x:wrong")
    assert counted(messages) == list(range(1, 9))
    assert f"'mqtt://127.0.0.1:{broker.port}/rooms' does not let us in" in state.last_error
    written = state.last_error + "".join(capfd.readouterr())
    assert "not-it" not in written and "s3cret" not in written


async def test_a_certificate_is_verified(tmp_path: Path, city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = make_certificates(tmp_path)
    with Mosquitto(tmp_path / "mqtt", certificates=certificates) as broker:
        uri = f"{broker.url}/rooms"
        await city.subscribe(uri, notification=endpoint(uri, MQTT_QoS="1"))
        async with city.delivering(FAST):
            await city.count()

            async def failed() -> bool:
                return (await city.state()).attempts >= 1

            await city.until(failed)
        assert "certificate" in (await city.state()).last_error
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
        async with city.delivering(FAST):
            await city.until(city.nothing_owed)
        assert (await city.state()).last_success


async def test_private_addresses_are_as_forbidden_as_for_http(tmp_path: Path, city: City) -> None:
    with Mosquitto(tmp_path / "mqtt") as broker:
        await city.subscribe(f"{broker.url}/rooms")
        settings = DeliverySettings(retry_first_seconds=0.02, private_networks=False)
        async with subscribed(broker.port) as app, city.delivering(settings):
            await city.count()

            async def failed() -> bool:
                return (await city.state()).attempts >= 2

            await city.until(failed)
    assert "private or loopback" in (await city.state()).last_error
    assert app.messages == []


async def test_a_broker_that_is_away_gets_all_of_it_when_it_is_back(tmp_path: Path, city: City) -> None:
    broker = Mosquitto(tmp_path / "mqtt")
    await city.subscribe(f"{broker.url}/rooms", notification=endpoint(f"{broker.url}/rooms", MQTT_QoS="1"))
    async with city.delivering(FAST):
        await city.count(5)

        async def failed() -> bool:
            return (await city.state()).attempts >= 3

        await city.until(failed)
        assert "refused" in (await city.state()).last_error
        with broker:
            async with subscribed(broker.port) as app:
                messages = await app.wait_for(5)
    assert counted(messages) == [1, 2, 3, 4, 5]


async def test_one_that_takes_the_connection_and_says_nothing_delays_nobody_else(tmp_path: Path, city: City) -> None:
    bad = Bad()
    async with bad.serving(bad.silent) as url:
        port = urlsplit(url).port
        with Mosquitto(tmp_path / "mqtt") as broker:
            await city.subscribe(f"mqtt://127.0.0.1:{port}/rooms", "urn:x:silent")
            await city.subscribe(f"{broker.url}/rooms", "urn:x:well")
            settings = DeliverySettings(retry_first_seconds=0.02, retry_longest_seconds=0.1, timeout_seconds=0.3)
            async with subscribed(broker.port) as app, city.delivering(settings):
                await city.count(50, "urn:x:silent", "urn:x:well")
                messages = await app.wait_for(50)

                async def failed() -> bool:
                    return (await city.state("urn:x:silent")).attempts >= 1

                await city.until(failed)
    assert counted(messages) == list(range(1, 51))
    assert "did not answer within 0.3 s" in (await city.state("urn:x:silent")).last_error


async def test_endpoints_share_connections_which_are_few_and_closed_when_idle(tmp_path: Path, city: City) -> None:
    settings = DeliverySettings(retry_first_seconds=0.02, mqtt_connections=2, mqtt_idle_seconds=0.2)
    with Mosquitto(tmp_path / "mqtt", users={f"app{n}": "password" for n in range(4)}) as broker:
        names = []
        for number in range(12):
            uri = broker.url.replace("mqtt://", f"mqtt://app{number % 4}:password@") + f"/rooms/{number}"
            names.append(await city.subscribe(uri, f"urn:x:{number}", notification=endpoint(uri, MQTT_QoS="1")))
        async with subscribed(broker.port, user="app0", password="password") as app, city.delivering(settings):
            await city.count(5, *names)
            messages = await app.wait_for(60)
            await city.until(city.nothing_owed)
            assert city.transports is not None
            assert len(city.transports.mqtt) <= 2

            async def closed() -> bool:
                return city.transports is not None and len(city.transports.mqtt) == 0

            await city.until(closed)
            await city.count(1, *names)  # and opened again
            await app.wait_for(72)
    for number in range(12):
        assert [counted([one])[0] for one in messages[:60] if one.topic == f"rooms/{number}"] == [1, 2, 3, 4, 5]


async def test_a_signature_is_a_user_property(tmp_path: Path, city: City) -> None:
    with Mosquitto(tmp_path / "mqtt") as broker:
        await city.subscribe(f"{broker.url}/rooms")
        await city.apply(SetSecret("urn:x:Subscription:1", "sixteen letters and more"))
        async with subscribed(broker.port) as app, city.delivering(FAST):
            await city.count()
            (message,) = await app.wait_for(1)
    signed = dict(message.properties["user_property"])["Knutpunkt-Signature"]
    at, made = (part.partition("=")[2] for part in signed.split(","))
    wanted = hmac.new(b"sixteen letters and more", f"{at}.".encode() + message.payload, hashlib.sha256).hexdigest()
    assert made == wanted


async def test_brokers_that_say_nothing_leave_connections_to_the_others(tmp_path: Path, city: City) -> None:
    """Each silent one may take a minute here, and there are more of them than connections."""
    settings = DeliverySettings(retry_first_seconds=0.02, mqtt_connections=4, timeout_seconds=60)
    bad = Bad()
    async with contextlib.AsyncExitStack() as stack:
        broker = stack.enter_context(Mosquitto(tmp_path / "mqtt"))
        app = await stack.enter_async_context(subscribed(broker.port))
        await city.subscribe(
            f"{broker.url}/rooms", "urn:x:well", notification=endpoint(f"{broker.url}/rooms", MQTT_QoS="1")
        )
        silent = []
        for number in range(6):
            url = await stack.enter_async_context(bad.serving(bad.silent))
            silent.append(await city.subscribe(url.replace("http:", "mqtt:"), f"urn:x:silent:{number}"))
        async with city.delivering(settings) as delivery:
            await city.count(1, "urn:x:well")
            await app.wait_for(1)
            for _ in range(20):
                await city.count(1, *silent, "urn:x:well")
            messages = await app.wait_for(21)
            assert city.transports is not None and len(city.transports.mqtt) <= 4
            await delivery.stop(0.1)
    assert counted(messages) == list(range(1, 22))


async def test_an_app_asks_for_it_by_api_and_its_password_is_told_to_nobody_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Mosquitto(tmp_path / "mqtt", users={"app": "s3cret"}) as broker:
        uri = broker.url.replace("mqtt://", "mqtt://app:s3cret@") + "/north/rooms"
        document = {
            "id": "urn:x:mqtt",
            "type": "Subscription",
            "entities": [{"type": "Room"}],
            "notification": endpoint(uri, MQTT_QoS="2", MQTT_Version="mqtt3.1.1"),
        }
        async with (
            subscribed(broker.port, user="app", password="s3cret") as app,
            running_broker(tmp_path) as api,
        ):
            await api.ask("POST", "/subscriptions", document, status=201, NGSILD_Tenant="north")
            room = {"id": "urn:x:1", "type": "Room", "number": {"type": "Property", "value": 214}}
            await api.ask("POST", "/entities", room, status=201, NGSILD_Tenant="north")
            (message,) = await app.wait_for(1)
            shown = (await api.ask("GET", "/subscriptions/urn:x:mqtt", status=200, NGSILD_Tenant="north")).json()
            assert shown["notification"]["endpoint"]["uri"] == uri  # as it was given, to who reads the subscription
            metrics = (await api.ask("GET", "/metrics", status=200)).body.decode()
    assert (message.topic, message.qos) == ("north/rooms", 2)
    assert message.metadata["NGSILD-Tenant"] == "north"
    assert message.body["data"][0]["id"] == "urn:x:1"
    assert "s3cret" not in metrics + "".join(capfd.readouterr())
