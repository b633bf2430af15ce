"""What deploy/ says, tried as far as a machine without a container engine can."""

import asyncio
import os
import pwd
import re
import shutil
import ssl
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import gmqtt
import pytest

from adapters.mqtt.networks.known import networks
from adapters.mqtt.sender import MqttSender
from broker.cli.demo.city import load_city
from broker.cli.demo.frames import chirpstack_event, chirpstack_topic, frame
from broker.clock import Clock
from broker.config import Mqtt, load_settings
from broker.pipeline.intake import Downlink, NotSent
from tests.docs.commands import ROOT
from tests.support.broker import BrokerProcess
from tests.support.mosquitto import program
from tests.support.ports import free_port

DEPLOY = ROOT / "deploy"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """deploy/ with secrets made, elsewhere."""
    folder = tmp_path / "deploy"
    shutil.copytree(DEPLOY, folder, ignore=shutil.ignore_patterns("secrets", ".env"))
    subprocess.run([sys.executable, folder / "make-secrets", "127.0.0.1"], check=True, stdout=subprocess.DEVNULL)
    return folder


def test_secrets_are_for_this_user_alone_and_made_once(secrets: Path) -> None:
    assert (secrets / "secrets").stat().st_mode & 0o077 == 0
    assert (secrets / ".env").stat().st_mode & 0o077 == 0
    before = (secrets / ".env").read_text()
    subprocess.run([sys.executable, secrets / "make-secrets"], check=True, stdout=subprocess.DEVNULL)
    assert (secrets / ".env").read_text() == before


def test_the_compose_files_settings_exist_and_its_variables_are_made(secrets: Path) -> None:
    compose = (DEPLOY / "compose.yaml").read_text()
    made = dict(line.split("=", 1) for line in (secrets / ".env").read_text().splitlines())
    assert {name for name, _ in re.findall(r"\$\{(\w+)(:\?[^}]*)?\}", compose)} <= set(made)
    variables = re.findall(r"^ +(KNUTPUNKT_\w+):", compose, re.MULTILINE)
    assert "KNUTPUNKT_HTTP_TOKEN" in variables
    load_settings(secrets / "secrets/knutpunkt.toml", {name: "" for name in variables if name != "KNUTPUNKT_CONFIG"})
    mounted = re.findall(r"- \./(\S+?):", compose)
    assert [path for path in mounted if not (secrets / path).exists()] == []


def test_the_images_and_the_units_settings_exist() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    unit = (DEPLOY / "systemd/knutpunkt.service").read_text()
    found = {name: value for text in (dockerfile, unit) for name, value in re.findall(r"(KNUTPUNKT_\w+)=(\S+)", text)}
    assert {"KNUTPUNKT_LOG_FORMAT", "KNUTPUNKT_HTTP_HOST"} <= set(found)
    load_settings(environment={name: value for name, value in found.items() if name != "KNUTPUNKT_HTTP_TOKEN"})
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.MULTILINE)
    assert [name for line in copied for name in line.split() if not (ROOT / name).exists()] == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    unit = tmp_path / "knutpunkt.service"
    text = (DEPLOY / "systemd/knutpunkt.service").read_text().replace("/opt/knutpunkt/bin/knutpunkt", sys.executable)
    unit.write_text(text)
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert verified.returncode == 0 and "knutpunkt.service" not in verified.stderr, verified.stderr
    exposure: list[str | Path] = ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit]
    assert subprocess.run(exposure, capture_output=True).returncode == 0, "more exposed than 2.0"


@asynccontextmanager
async def _mosquitto(secrets: Path, port: int) -> AsyncIterator[None]:
    """Mosquitto with the configuration of deploy/, its paths and ports moved."""
    folder = secrets / "secrets"
    text = (DEPLOY / "mosquitto/mosquitto.conf").read_text()
    for path, here in {
        "/etc/mosquitto/certs/": f"{folder}/",
        "/etc/mosquitto/passwords": f"{folder}/mosquitto-passwords",
        "/etc/mosquitto/acl": f"{secrets}/mosquitto/acl",
        "/var/lib/mosquitto/": f"{folder}/",
        "user mosquitto": f"user {pwd.getpwuid(os.geteuid()).pw_name}",
        "listener 8883": f"listener {port} 127.0.0.1",
        "listener 1883": f"listener {free_port()}",
    }.items():
        assert path in text
        text = text.replace(path, here)
    (folder / "mosquitto.conf").write_text(text)
    with (folder / "mosquitto.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program("mosquitto"), "-c", str(folder / "mosquitto.conf"), stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def test_mosquitto_takes_the_network_servers_uplinks_over_tls_and_nobody_elses(secrets: Path) -> None:
    folder = secrets / "secrets"
    port = free_port()
    settings = tomllib.loads((folder / "knutpunkt.toml").read_text())["mqtt"][0]
    (folder / "broker.toml").write_text(
        f'[[mqtt]]\nurl = "mqtts://127.0.0.1:{port}"\nusername = "{settings["username"]}"\n'
        f'password = "{settings["password"]}"\nca_file = "{folder}/ca.crt"\n'
    )
    sensor = next(sensor for sensor in load_city().virtual_sensors if sensor.id == "room-214-climate")
    assert sensor.device is not None
    clock = Clock()
    sent = frame(sensor.device, "elsys-ers-co2", sensor.signal, sensor.id, clock.now(), 0)
    event = chirpstack_event(sent, "", clock.now(), clock.new_id())

    broker = BrokerProcess("sqlite:///" + str(folder / "db"), folder, {"KNUTPUNKT_CONFIG": str(folder / "broker.toml")})
    async with _mosquitto(secrets, port):
        await broker.start()
        try:
            await _connected(broker)
            password = (folder / "chirpstack-password").read_text().strip()
            for user, word, arrives in (("chirpstack", password, True), ("chirpstack", "wrong", False)):
                assert await _publish(port, folder / "ca.crt", user, word, chirpstack_topic(sent), event) is arrives
            for _ in range(100):
                _, kept = await broker.ask("GET", "/api/v1/quarantine")
                if kept:
                    break
                await asyncio.sleep(0.1)
            assert [(group["device"], group["count"]) for group in kept] == [(sensor.device, 1)]
        finally:
            await broker.stop()


async def _connected(broker: BrokerProcess) -> None:
    for _ in range(100):
        _, metrics = await broker.ask("GET", "/metrics")
        if re.search(r'^knutpunkt_connected\{adapter="mqtt".*\} 1', metrics, re.MULTILINE):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(broker.log())


async def _publish(port: int, authority: Path, user: str, password: str, topic: str, body: bytes) -> bool:
    """Whether Mosquitto let the user in; if so, the message was published."""
    client = gmqtt.Client(f"test-{user}")
    client.set_config({"reconnect_retries": 0})
    client.set_auth_credentials(user, password)
    try:
        await client.connect("127.0.0.1", port, ssl=ssl.create_default_context(cafile=str(authority)))
    except gmqtt.mqtt.handler.MQTTConnectError:
        return False
    client.publish(topic, body, qos=1)
    await asyncio.sleep(0.2)
    await client.disconnect()
    return True


async def test_mosquitto_lets_the_hub_send_commands_to_the_network_server_and_nobody_else(secrets: Path) -> None:
    folder = secrets / "secrets"
    port = free_port()
    hub = tomllib.loads((folder / "knutpunkt.toml").read_text())["mqtt"][0]
    password = (folder / "chirpstack-password").read_text().strip()

    def sender(user: str, word: str) -> MqttSender:
        url, authority = f"mqtts://127.0.0.1:{port}", str(folder / "ca.crt")
        return MqttSender(Mqtt(url=url, username=user, password=word, ca_file=authority), networks(), "test")

    command = Downlink(
        "0199", "a81758fffe000001", "application/1/device/a81758fffe000001/event/up", b"\x01", 1, True, 0
    )
    network = gmqtt.Client("network")
    arrived: asyncio.Queue[str] = asyncio.Queue()

    async def take(_: object, topic: str, *__: object) -> int:
        await arrived.put(topic)
        return 0

    network.on_message = take
    network.set_auth_credentials("chirpstack", password)
    async with _mosquitto(secrets, port):
        ours, other = sender(hub["username"], hub["password"]), sender("chirpstack", password)
        async with asyncio.timeout(20):
            while True:
                try:
                    await ours.send(command)
                except NotSent as error:
                    if "nobody has subscribed" in str(error):
                        break
                    await asyncio.sleep(0.1)
            authority = ssl.create_default_context(cafile=str(folder / "ca.crt"))
            await network.connect("127.0.0.1", port, ssl=authority)
            network.subscribe("application/+/device/+/command/+", qos=1)
            while True:
                try:
                    await ours.send(command)
                    break
                except NotSent:
                    await asyncio.sleep(0.1)
            assert await arrived.get() == "application/1/device/a81758fffe000001/command/down"
            with pytest.raises(NotSent, match=r"refused .* with reason code 0x87"):
                await other.send(command)
        for each in (ours, other):
            await each.close()
        await network.disconnect()
