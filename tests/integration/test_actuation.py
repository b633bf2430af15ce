"""Commands to sensors as their users see them: queued over HTTP, sent through a real MQTT broker, followed, kept over restarts."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker.clock import SECOND, Clock, iso
from tests.support.broker import BrokerProcess, Refused
from tests.support.city import dev_eui
from tests.support.mosquitto import Mosquitto, publish
from tests.support.network import ChirpStack, chirpstack

INTERVAL = {"command": "set-interval", "parameters": {"seconds": 1200}, "by": "eva"}
LITTLE = {
    "vendor": "Milesight",
    "name": "EM300-TH",
    "codec": "milesight-em300",
    "quantities": [{"quantity": "temperature", "unit": "CEL"}],
    "commands": {
        "set-interval": {
            "fPort": 85,
            "parameters": {"seconds": {"minimum": 60, "maximum": 64800, "unit": "SEC"}},
            "payload": ["ff03", {"parameter": "seconds", "size": 2, "order": "little"}],
        },
        "reboot": {"fPort": 85, "confirmed": False, "payload": ["ff10ff"]},
    },
}
BIG = {
    "vendor": "Decentlab",
    "name": "DL-DS18",
    "codec": "object",
    "quantities": [{"quantity": "temperature", "unit": "CEL", "source": "t"}],
    "commands": {
        "set-interval": {
            "fPort": 1,
            "parameters": {"seconds": {"minimum": 1, "maximum": 65535}},
            "payload": ["0002", {"parameter": "seconds", "size": 2}, {"checksum": "crc16-modbus", "size": 2}],
        }
    },
}


@dataclass
class Scene:
    """A broker that is heard over MQTT, with a network behind it."""

    broker: BrokerProcess
    mosquitto: Mosquitto
    network: ChirpStack

    async def hear(self, number: int) -> None:
        """An uplink of device `number`, so that it is known where it is."""
        _, device = await self.broker.ask("GET", f"/api/v1/devices/{dev_eui(number)}")
        seen = (device["state"] or {}).get("uplinks", 0)
        event = {
            "deduplicationId": Clock().new_id(),
            "time": iso(Clock().now()),
            "deviceInfo": {"applicationId": "1", "devEui": dev_eui(number)},
            "fPort": 85,
            "data": base64.b64encode(bytes.fromhex("0367d200")).decode(),
            "object": {"t": 21.0},
        }
        topic = f"application/1/device/{dev_eui(number)}/event/up"
        await publish(self.mosquitto, [(topic, json.dumps(event).encode())])

        async def heard() -> bool:
            _, now = await self.broker.ask("GET", f"/api/v1/devices/{dev_eui(number)}")
            return bool((now["state"] or {}).get("uplinks", 0) > seen)

        await until(heard)

    async def send(self, sensor: str = "valve", **members: Any) -> str:
        """Queue a command; its id."""
        status, command = await self.broker.ask(
            "POST", f"/api/v1/virtual-sensors/{sensor}/commands", INTERVAL | members
        )
        assert (status, command["status"]) == (201, "queued")
        return str(command["id"])

    async def command(self, command_id: str) -> dict[str, Any]:
        _, command = await self.broker.ask("GET", f"/api/v1/commands/{command_id}")
        made: dict[str, Any] = command
        return made

    async def becomes(self, command_id: str, **wanted: Any) -> dict[str, Any]:
        """The command once its members are as `wanted`; a callable is asked."""
        last: dict[str, Any] = {}

        async def as_wanted() -> bool:
            last.update(await self.command(command_id))
            return all(want(last[name]) if callable(want) else last[name] == want for name, want in wanted.items())

        try:
            await until(as_wanted)
        except TimeoutError:
            raise AssertionError(f"{wanted} was awaited, but it is {last}\n{self.broker.log()[-3000:]}") from None
        return last


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def scene(store: str, folder: Path, **settings: str) -> AsyncIterator[Scene]:
    with Mosquitto(folder / "mosquitto") as mosquitto:
        chosen = {"KNUTPUNKT_MQTT": mosquitto.url, "KNUTPUNKT_ACTUATION_LOOK_SECONDS": "0.2"} | settings
        broker = BrokerProcess(store, folder, chosen)
        await broker.start()
        try:
            async with chirpstack(mosquitto) as network:
                await broker.ask("PUT", "/api/v1/device-models/little", LITTLE)
                await broker.ask("PUT", "/api/v1/device-models/big", BIG)
                await broker.ask(
                    "PUT",
                    "/api/v1/virtual-sensors/valve",
                    {
                        "name": "Valve",
                        "entity": "urn:ngsi-ld:Device:valve",
                        "entityType": "IndoorEnvironmentObserved",
                        "outputs": [{"quantity": "temperature", "attribute": "temperature"}],
                    },
                )
                for number, model in enumerate(("little", "big")):
                    await broker.ask("PUT", f"/api/v1/devices/{dev_eui(number)}", {"model": model})
                await broker.ask(
                    "POST",
                    "/api/v1/swaps",
                    {"virtualSensor": "valve", "device": dev_eui(0), "at": iso(Clock().now() - 3600 * SECOND)},
                )
                yield Scene(broker, mosquitto, network)
        finally:
            await broker.kill()


@pytest.fixture(params=["sqlite", "mongo"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'city.db'}"
    url: str = request.getfixturevalue("mongo_url")
    return url


async def test_a_command_is_sent_transmitted_and_acknowledged(store: str, tmp_path: Path) -> None:
    async with scene(store, tmp_path) as city:
        await city.hear(0)
        sent = await city.send()
        ((topic, message),) = await city.network.until(1)
        assert topic == f"application/1/device/{dev_eui(0)}/command/down"
        assert base64.b64decode(message.pop("data")).hex() == "ff03b004"
        shown = await city.becomes(sent, status="sent")
        assert message == {
            "id": sent,
            "devEui": dev_eui(0),
            "confirmed": True,
            "fPort": 85,
            "expiresAt": shown["expiresAt"],
        }
        assert shown["payload"] == "ff03b004"
        assert (shown["device"], shown["model"], shown["network"]) == (dev_eui(0), "little", "mqtt:chirpstack")
        assert (shown["by"], shown["attempts"], shown["open"]) == ("eva", 1, True)

        await city.network.tell("txack", dev_eui(0), queueItemId=sent, downlinkId=1, gatewayId="0016c001f153a14c")
        await city.becomes(sent, status="sent", transmittedAt=bool)
        await city.network.tell("ack", dev_eui(0), queueItemId=sent, acknowledged=True, deduplicationId="d1")
        done = await city.becomes(sent, status="acknowledged", open=False)
        assert done["acknowledgedAt"] is not None
        _, metrics = await city.broker.ask("GET", "/metrics")
        for outcome in ("queued", "sent", "acknowledged"):
            assert f'knutpunkt_device_commands_total{{outcome="{outcome}"}} 1.0' in metrics
        assert len(city.network.taken) == 1


async def test_a_command_queued_before_a_crash_is_sent_after_it(store: str, tmp_path: Path) -> None:
    async with scene(store, tmp_path) as city:
        await city.hear(0)
        city.mosquitto.stop()
        command = await city.send()
        waits = await city.becomes(command, attempts=lambda count: count >= 1, reason=bool)
        assert waits["status"] == "queued"
        await city.broker.kill()
        city.mosquitto.start()
        await city.broker.start()
        ((_, message),) = await city.network.until(1)
        assert message["id"] == command
        shown = await city.becomes(command, status="sent")
        assert shown["attempts"] >= 2


async def test_an_orderly_stop_leaves_no_command_half_way(tmp_path: Path) -> None:
    async with scene(f"sqlite:///{tmp_path / 'city.db'}", tmp_path) as city:
        await city.hear(0)
        city.mosquitto.stop()
        command = await city.send()
        await city.becomes(command, attempts=lambda count: count >= 1)
        assert await city.broker.stop() == 0
        assert "not_settled_at_stop" not in city.broker.log()
        await city.broker.start()

        async def cancelled() -> bool:
            try:
                _, answer = await city.broker.ask("POST", f"/api/v1/commands/{command}/cancel", {})
            except Refused:
                return False  # it is being tried at this very moment
            return bool(answer["status"] == "cancelled")

        await until(cancelled)
        city.mosquitto.start()
        later = await city.send(command="reboot", parameters={})
        await city.becomes(later, status="sent")
        assert [message["id"] for _, message in await city.network.until(1)] == [later]


async def test_a_command_is_sent_when_its_network_server_is_back(tmp_path: Path) -> None:
    """Nobody has subscribed to commands: the MQTT broker says so, and the command waits instead of being lost."""
    async with scene(f"sqlite:///{tmp_path / 'city.db'}", tmp_path) as city:
        await city.hear(0)
        await city.network.disconnect()
        city.mosquitto.stop()
        (tmp_path / "mosquitto" / "mosquitto.db").unlink()
        city.mosquitto.start()
        command = await city.send()
        await city.becomes(command, status="queued", reason=lambda text: "nobody has subscribed" in text)
        async with chirpstack(city.mosquitto) as back:
            ((_, message),) = await back.until(1)
        assert message["id"] == command
        await city.becomes(command, status="sent", reason="")


async def test_a_command_queued_before_a_swap_goes_to_the_new_device_in_its_own_language(
    store: str, tmp_path: Path
) -> None:
    async with scene(store, tmp_path) as city:
        command, reboot = await city.send(), await city.send(command="reboot", parameters={})
        waits = await city.becomes(command, reason=bool)
        assert waits["reason"] == f"Device {dev_eui(0)} has not been heard yet."
        await city.broker.ask("POST", "/api/v1/swaps", {"virtualSensor": "valve", "device": dev_eui(1)})
        await city.hear(1)
        await city.hear(0)
        ((topic, message),) = await city.network.until(1)
        assert topic == f"application/1/device/{dev_eui(1)}/command/down"
        payload = base64.b64decode(message["data"])
        assert payload[:4].hex() == "000204b0"
        assert (len(payload), message["fPort"]) == (6, 1)
        shown = await city.becomes(command, status="sent")
        assert (shown["device"], shown["model"]) == (dev_eui(1), "big")
        failed = await city.becomes(reboot, status="failed", open=False)
        assert failed["reason"] == (
            f"Device {dev_eui(1)} is of the model 'big', which has no command 'reboot'; it has: set-interval."
        )


async def test_a_command_that_was_sent_before_a_swap_is_followed_at_the_old_device(tmp_path: Path) -> None:
    async with scene(f"sqlite:///{tmp_path / 'city.db'}", tmp_path) as city:
        await city.hear(0)
        command = await city.send()
        await city.becomes(command, status="sent")
        await city.broker.ask("POST", "/api/v1/swaps", {"virtualSensor": "valve", "device": dev_eui(1)})
        await city.hear(1)
        await city.network.tell("ack", dev_eui(1), queueItemId=command, acknowledged=True)
        await city.network.tell("ack", dev_eui(0), queueItemId=command, acknowledged=True)
        shown = await city.becomes(command, status="acknowledged")
        assert shown["device"] == dev_eui(0)
        assert len(city.network.taken) == 1


async def test_a_device_that_does_not_acknowledge_and_a_network_that_gives_up_are_failures(tmp_path: Path) -> None:
    async with scene(f"sqlite:///{tmp_path / 'city.db'}", tmp_path) as city:
        await city.hear(0)
        refused, late, long = [await city.send() for _ in range(3)]
        unconfirmed = await city.send(command="reboot", parameters={})
        await city.network.until(4)
        assert [message["id"] for _, message in city.network.taken] == [refused, late, long, unconfirmed]
        await city.network.tell("ack", dev_eui(0), queueItemId=refused)
        for command, code in ((late, "EXPIRED"), (long, "DOWNLINK_PAYLOAD_SIZE")):
            context = {"queue_item_id": command}
            await city.network.tell("log", dev_eui(0), level="ERROR", code=code, description=code, context=context)
        await city.network.tell("txack", dev_eui(0), queueItemId=unconfirmed)
        assert "did not acknowledge" in (await city.becomes(refused, status="failed"))["reason"]
        await city.becomes(late, status="expired", reason="ChirpStack: EXPIRED.")
        await city.becomes(long, status="failed", reason="ChirpStack: DOWNLINK_PAYLOAD_SIZE.")
        await city.becomes(unconfirmed, status="sent", open=False)


async def test_what_is_not_sent_or_not_acknowledged_in_time_expires(store: str, tmp_path: Path) -> None:
    async with scene(store, tmp_path) as city:
        unheard = await city.send(expiresInSeconds=1)
        shown = await city.becomes(unheard, status="expired", open=False)
        assert shown["reason"].endswith(f": Device {dev_eui(0)} has not been heard yet.")
        await city.hear(0)
        unanswered = await city.send(expiresInSeconds=2)
        await city.becomes(unanswered, status="sent")
        await city.becomes(
            unanswered, status="expired", reason=lambda text: text.startswith("The device did not get it")
        )
        assert [message["id"] for _, message in city.network.taken] == [unanswered]
        # It did get it, as it says after all.
        await city.network.tell("ack", dev_eui(0), queueItemId=unanswered, acknowledged=True)
        await city.becomes(unanswered, status="acknowledged", reason="")


async def test_what_has_not_been_sent_can_be_cancelled_and_what_was_sent_cannot(tmp_path: Path) -> None:
    async with scene(f"sqlite:///{tmp_path / 'city.db'}", tmp_path) as city:
        command = await city.send()
        _, cancelled = await city.broker.ask("POST", f"/api/v1/commands/{command}/cancel", {"by": "adam"})
        assert (cancelled["status"], cancelled["reason"], cancelled["open"]) == (
            "cancelled",
            "Cancelled by adam.",
            False,
        )
        await city.hear(0)
        sent = await city.send()
        await city.becomes(sent, status="sent")
        for each, why in ((sent, "cannot be called back"), (command, "It has ended: cancelled.")):
            with pytest.raises(Refused) as refused:
                await city.broker.ask("POST", f"/api/v1/commands/{each}/cancel", {})
            assert refused.value.status == 412
            assert why in json.loads(refused.value.body)["detail"]
        assert [message["id"] for _, message in city.network.taken] == [sent]


async def test_a_command_that_cannot_be_is_refused_at_once_by_name_and_rule(tmp_path: Path) -> None:
    async with scene(f"sqlite:///{tmp_path / 'city.db'}", tmp_path, KNUTPUNKT_ACTUATION_QUEUED_PER_SENSOR="2") as city:
        for body, status, detail in (
            ({"command": "open"}, 400, "which has no command 'open'; it has: reboot, set-interval."),
            ({"command": "set-interval", "parameters": {"seconds": 59}}, 400,
             "'set-interval': 'seconds' must be a whole number from 60 to 64800 (SEC), got 59."),
            ({"command": "set-interval"}, 400, "'set-interval': 'seconds' is needed"),
            ({"command": "reboot", "parameters": {"hard": True}}, 400, "'reboot' has no parameter 'hard'"),
            ({"command": "reboot", "expiresInSeconds": 0}, 400, "'expiresInSeconds' must be from 1 to"),
        ):  # fmt: skip
            with pytest.raises(Refused) as refused:
                await city.broker.ask("POST", "/api/v1/virtual-sensors/valve/commands", body)
            assert refused.value.status == status
            assert detail in json.loads(refused.value.body)["detail"]
        with pytest.raises(Refused) as refused:
            await city.broker.ask("POST", "/api/v1/virtual-sensors/nobody/commands", {"command": "reboot"})
        assert refused.value.status == 404
        await city.send()
        await city.send()
        with pytest.raises(Refused) as refused:
            await city.send()
        assert refused.value.status == 422
        assert "actuation.queued_per_sensor" in json.loads(refused.value.body)["detail"]


async def test_commands_are_listed_by_sensor_device_and_status(tmp_path: Path) -> None:
    async with scene(f"sqlite:///{tmp_path / 'city.db'}", tmp_path) as city:
        cancelled = await city.send()
        await city.broker.ask("POST", f"/api/v1/commands/{cancelled}/cancel", {})
        await city.hear(0)
        sent = await city.send()
        await city.becomes(sent, status="sent")

        async def ids(query: str) -> list[str]:
            _, found = await city.broker.ask("GET", f"/api/v1/{query}")
            return [each["id"] for each in found]

        assert await ids("commands") == [cancelled, sent]
        assert await ids("commands?limit=1") == [cancelled]
        assert await ids(f"commands?limit=1&after={cancelled}") == [sent]
        assert await ids("commands?status=sent") == [sent]
        assert await ids("commands?open=false") == [cancelled]
        assert await ids(f"commands?device={dev_eui(0).upper()}&open=true") == [sent]
        assert await ids(f"commands?device={dev_eui(0)}&status=cancelled") == []
        assert await ids("virtual-sensors/valve/commands?open=true") == [sent]
        with pytest.raises(Refused):
            await ids("commands?status=gone")


async def test_it_is_done_from_the_command_line(tmp_path: Path) -> None:
    async with scene(f"sqlite:///{tmp_path / 'city.db'}", tmp_path) as city:

        async def knutpunkt(*arguments: str) -> str:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "broker.cli.main", *arguments, "--url", city.broker.url),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            printed, _ = await process.communicate()
            return printed.decode()

        possible = await knutpunkt("send", "valve")
        assert re.search(r"set-interval +seconds: 60-64800 SEC", possible), possible
        said = await knutpunkt("send", "valve", "set-interval", "seconds=1200", "--by", "eva", "--expires", "600")
        command = re.findall(r"Queued as (\S+)", said)[0]
        assert "must be a whole number from 60 to 64800" in await knutpunkt(
            "send", "valve", "set-interval", "seconds=1"
        )
        assert "NAME=VALUE" in await knutpunkt("send", "valve", "set-interval", "1200")
        unwanted = json.loads(await knutpunkt("send", "valve", "reboot", "--json"))["id"]
        assert "is cancelled" in await knutpunkt("command", "cancel", unwanted)
        await city.hear(0)
        await city.becomes(command, status="sent")
        listed = await knutpunkt("command", "list", "--sensor", "valve", "--open")
        assert "set-interval seconds=1200" in listed
        assert unwanted not in listed
        shown = await knutpunkt("command", "show", command)
        assert "Asked by:     eva" in shown
        assert "Bytes:        ff03b004 on fPort 85" in shown


async def test_what_cannot_be_kept_is_refused_even_when_no_device_says_what_the_command_is(tmp_path: Path) -> None:
    async with scene(f"sqlite:///{tmp_path / 'city.db'}", tmp_path) as city:
        await city.broker.ask("POST", "/api/v1/virtual-sensors/valve/unbind", {})
        for body, detail in (
            ({"command": "set interval"}, "The command's id must be letters"),
            ({"command": "set", "parameters": {"seconds": [1]}}, "'set': 'seconds' must be a number below 2^63"),
            ({"command": "set", "parameters": {"seconds": 1 << 63}}, "'set': 'seconds' must be a number below 2^63"),
            ({"command": "set", "parameters": {"a.b": 1}}, "a parameter's name must be letters"),
            ({"command": "set", "parameters": [1]}, "'parameters' must be an object"),
        ):  # fmt: skip
            with pytest.raises(Refused) as refused:
                await city.broker.ask("POST", "/api/v1/virtual-sensors/valve/commands", body)
            assert refused.value.status == 400
            assert detail in json.loads(refused.value.body)["detail"]
        kept = await city.send(
            command="set", parameters={"seconds": (1 << 62) + 1, "half": 0.5, "mode": "eco", "on": True}
        )
        shown = await city.command(kept)
        assert shown["parameters"] == {"seconds": (1 << 62) + 1, "half": 0.5, "mode": "eco", "on": True}
        assert shown["reason"] == "No device is 'valve' now."
