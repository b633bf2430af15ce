"""Every network's messages through a real Mosquitto, and pushed over HTTP, to entities and devices' states."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import gmqtt
import pytest

from adapters.mqtt.networks.known import AUTO, choice, networks
from broker.clock import iso
from broker.config import Http, Limits, Mqtt, Source
from tests.support.api import Api, running_broker
from tests.support.mosquitto import Mosquitto, publish
from tests.support.recorded import BEACHES, CITY, FOLDER, MESSAGES, SILENT, Recorded

KNOWN = networks([CITY, BEACHES])
TOKEN = "ett-hemligt-ord-som-bara-den-har"


def groups() -> dict[str, list[Recorded]]:
    """By folder; data points that a network decoded need another device model than its bytes."""
    found: dict[str, list[Recorded]] = defaultdict(list)
    for message in MESSAGES:
        found[message.file.partition("/")[0] + ("-points" if "point" in message.file else "")].append(message)
    return found


GROUPS = groups()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "mosquitto", options=["log_type all"]) as broker:
        yield broker


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
        return found


def model_of(messages: list[Recorded]) -> dict[str, Any]:
    """By what the first message with a temperature has: bytes, named values or an object."""
    message = next(each for each in messages if each.temperature)
    server = KNOWN[message.network]
    read, where = (server.read, message.topic) if message.topic else (server.read_http, message.event)
    assert read is not None
    part = read(where, message.body, source="x", received_at=0, limits=Limits())[0]
    codec = (
        "elsys" if getattr(part, "payload", None) is not None else "senml" if getattr(part, "values", ()) else "object"
    )
    return {
        "vendor": "V",
        "name": "M",
        "codec": codec,
        "quantities": [{"quantity": "temperature", "unit": "CEL", "source": "temperature"}],
        "commands": {"open": {"fPort": 85, "payload": ["ff"]}},
    }


async def register(api: Api, device: str, model: dict[str, Any]) -> str:
    """A device that has been a virtual sensor since January 2026; the entity's id."""
    entity = f"urn:ngsi-ld:IndoorEnvironmentObserved:{device}"
    await api.ask("PUT", "/api/v1/device-models/m", model)
    await api.ask("PUT", f"/api/v1/devices/{device}", {"model": "m"})
    outputs = [{"quantity": "temperature", "attribute": "temperature"}]
    await api.ask(
        "PUT",
        f"/api/v1/virtual-sensors/{device}",
        {"name": device, "entity": entity, "entityType": "IndoorEnvironmentObserved", "outputs": outputs},
    )
    swap = {"virtualSensor": device, "device": device, "at": "2026-01-01T00:00:00Z"}
    answer = await api.ask("POST", "/api/v1/swaps", swap)
    assert answer.status in (200, 201), answer
    return entity


@asynccontextmanager
async def hub(folder: Path, mosquitto: Mosquitto, *more: Mqtt, **settings: Any) -> AsyncIterator[Api]:
    """A broker that listens to all networks, and lets each push by a secret of its own."""
    sources = tuple(
        Source(name=f"{name}-push", network=name, token=f"{TOKEN}-{name}")
        for name, server in KNOWN.items()
        if server.read_http is not None
    )
    everything = Mqtt(url=mosquitto.url, name="all", topics=(*_topics(), "+/obj/#", "+/evt/#", "publish/#"))
    given: dict[str, Any] = {"mqtt": more or (everything,), "networks": (CITY, BEACHES), "sources": sources} | settings
    async with running_broker(folder, **given) as api:
        log = folder / "mosquitto" / "mosquitto.log"

        async def subscribed() -> bool:
            return "Sending SUBACK to knutpunkt" in log.read_text("utf-8")

        await until(subscribed)
        yield api


def _topics() -> list[str]:
    return [*choice(AUTO, (), KNOWN).topics, "v3/+/devices/+/service/data", "application/+/device/+/rx"]


async def state(api: Api, device: str) -> dict[str, Any]:
    answer = await api.ask("GET", f"/api/v1/devices/{device}")
    found: dict[str, Any] = answer.json()["state"] or {}
    return found


async def kept(api: Api, status: str) -> list[Any]:
    found: list[Any] = (await api.ask("GET", f"/api/v1/uplinks?status={status}&limit=200")).json()
    return found


@pytest.mark.parametrize("group", list(GROUPS))
async def test_a_networks_messages_become_values_and_what_is_known_of_the_device(
    group: str, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    messages = sorted(GROUPS[group], key=lambda each: each.at or "9999")
    (device,) = {each.device for each in messages if each.temperature}
    mine = [each for each in messages if each.device == device]
    async with hub(tmp_path, mosquitto) as api:
        entity = await register(api, device, model_of(messages))
        published = [each for each in mine if each.topic]
        await publish(mosquitto, [(each.topic, each.body) for each in published])

        async def arrived() -> bool:
            return int((await state(api, device)).get("uplinks", 0)) >= len(published)

        await until(arrived)
        for message in mine:
            if KNOWN[message.network].read_http is None or "/dp/" in message.topic:
                continue
            answer = await api.ask(
                "POST",
                f"/api/v1/uplinks/{message.network}-push?event={message.event}",
                message.body,
                Authorization=f"Bearer {TOKEN}-{message.network}",
                Content_Type="application/octet-stream",
            )
            receipts = answer.json().get("uplinks", [answer.json()])
            # What came over MQTT is known again, and applied once.
            outcome = "duplicate" if message.topic else receipts[0]["outcome"]
            assert receipts[0]["outcome"] == outcome, answer
            assert len(receipts) == 1 + len(message.others)

        assert await kept(api, "rejected") == []
        found = (await api.ask("GET", f"/entities/{entity}")).json()
        assert found["temperature"]["value"] == 22.5
        times = [each.at for each in mine if each.temperature]
        if None not in times:
            assert found["temperature"]["observedAt"] == iso(max(each.observed_at for each in mine if each.temperature))
        known = await state(api, device)
        for name, member in (
            ("batteryPercent", "battery"),
            ("margin", "margin"),
            ("rssi", "rssi"),
            ("gateway", "gateway"),
        ):
            said = [value for each in mine if (value := getattr(each, member)) is not None]
            assert known[name] == (said[-1] if said else None), name
        for name, member in (("gatewayLocation", "gateway_location"), ("location", "location")):
            said = [value for each in mine if (value := getattr(each, member)) is not None]
            assert known[name] == (list(said[-1]) if said else None), name
        assert (known["joinedAt"] is not None) == any(each.kind == "join" for each in mine)


async def test_what_tells_of_no_device_leaves_nothing_and_what_nobody_knows_is_kept(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    async with hub(tmp_path, mosquitto) as api:
        await publish(mosquitto, [(topic, (FOLDER / file).read_bytes()) for _, file, topic in SILENT])
        await publish(
            mosquitto, [("publish/what", b"{}"), ("beaches/all", (FOLDER / "generic/list.json").read_bytes())]
        )

        async def both() -> list[Any]:
            found = await kept(api, "rejected")
            return found if len(found) == 2 and len(await kept(api, "quarantined")) == 2 else []

        rejected = await until(both)
        reasons = {each["source"]: each["reason"] for each in rejected}
        assert "no message of" in reasons["mqtt:auto"]
        assert "'bad 2'" in reasons["mqtt:beaches"]
        waiting = {each["device"] for each in await kept(api, "quarantined")}
        assert waiting == {"bad-1", "bad-3"}
        assert (
            'knutpunkt_uplinks_total{outcome="passed_over",source="mqtt:zigbee2mqtt"} 4.0'
            in (await api.ask("GET", "/metrics")).body.decode()
        )


async def test_a_claimed_device_of_an_array_gets_its_own_value(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with hub(tmp_path, mosquitto) as api:
        await publish(mosquitto, [("beaches/all", (FOLDER / "generic/list.json").read_bytes())])

        async def waiting() -> bool:
            return len(await kept(api, "quarantined")) == 2

        await until(waiting)
        quantities = [{"quantity": "temperature", "unit": "CEL", "source": "temperature"}]
        model = {"vendor": "V", "name": "M", "codec": "object", "quantities": quantities}
        entity = await register(api, "bad-3", model)

        async def claimed() -> Any:
            answer = await api.ask("GET", f"/entities/{entity}")
            return answer.json() if answer.status == 200 else None

        assert (await until(claimed))["temperature"]["value"] == 16.5


async def test_each_source_is_let_in_by_its_own_secret_only(tmp_path: Path, mosquitto: Mosquitto) -> None:
    sources = (
        Source(name="malmo", network="netmore", token=TOKEN),
        Source(name="lulea", network="netmore", token=TOKEN + "2", header="X-API-Key"),
        Source(name="chirpstack", network="chirpstack", token=TOKEN + "3", user="natet"),
    )
    body = (FOLDER / "netmore/http.json").read_bytes()

    def basic(user: str, password: str) -> str:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    async with hub(tmp_path, mosquitto, sources=sources, http=Http(port=0, token="allas")) as api:
        known = "Bearer allas"

        async def status(name: str, **headers: Any) -> int:
            return (await api.ask("POST", f"/api/v1/uplinks/{name}", body, **headers)).status

        assert await status("malmo", Authorization=f"Bearer {TOKEN}") == 202
        assert await status("lulea", X_API_Key=TOKEN + "2") == 200  # the same frames again
        assert await status("chirpstack", Authorization=basic("natet", TOKEN + "3")) == 400
        assert await status("netmore", Authorization=known) == 200
        for name in ("malmo", "lulea", "chirpstack", "netmore", "nobody"):
            for wrong in ("", "Bearer ", f"Bearer {TOKEN}x", "Bearer åäö", basic("natet", TOKEN), TOKEN):
                assert await status(name, Authorization=wrong) == 401, (name, wrong)
            assert await status(name) == 401, name
        # Neither does the token of all routes open a source's door, nor a source's secret anything else.
        assert await status("malmo", Authorization=known) == 401
        assert await status("malmo", Authorization=f"Bearer {TOKEN}2") == 401
        assert await status("lulea", Authorization=f"Bearer {TOKEN}2") == 401
        assert await status("netmore", Authorization=f"Bearer {TOKEN}") == 401
        assert (await api.ask("GET", "/api/v1/devices", Authorization=f"Bearer {TOKEN}")).status == 401
        answer = await api.ask("POST", "/api/v1/uplinks/nobody", body, Authorization=known)
        assert answer.status == 404
        assert (await api.ask("GET", "/api/v1/uplinks?status=quarantined", Authorization=known)).status == 200


async def test_thingpark_adds_parameters_of_its_own_to_the_url(tmp_path: Path, mosquitto: Mosquitto) -> None:
    async with hub(tmp_path, mosquitto) as api:
        url = "/api/v1/uplinks/actility?LrnDevEui=A81758FFFE03F6C6&LrnFPort=5&LrnInfos=TWA_1.AS-1-1&AS_ID=TWA_1"
        body = (FOLDER / "actility/uplink.json").read_bytes()
        assert (await api.ask("POST", url, body)).status == 202
        assert (await api.ask("POST", url.replace("actility", "netmore"), body)).status == 400


async def test_the_things_stack_is_spoken_to_in_mqtt_3_1_1_at_qos_0_and_commands_reach_its_devices(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    settings = Mqtt(url=mosquitto.url, name="ttn", network="the-things-stack", version="3.1.1", qos=0)
    (up,) = (each for each in MESSAGES if each.file == "the-things-stack/up.json")
    pushed: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()

    async def on_message(_: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        pushed.put_nowait((topic, json.loads(payload)))
        return 0

    network = gmqtt.Client("the-things-stack")
    network.on_message = on_message
    async with hub(tmp_path, mosquitto, settings) as api:
        await register(api, up.device, model_of([up]))
        await network.connect("127.0.0.1", mosquitto.port)
        network.subscribe(gmqtt.Subscription("v3/+/devices/+/down/push", qos=1))
        await publish(mosquitto, [(up.topic, up.body)], qos=0)

        async def heard() -> Any:
            return (await state(api, up.device)).get("source")

        assert await until(heard) == "mqtt:the-things-stack"
        queued = await api.ask("POST", f"/api/v1/virtual-sensors/{up.device}/commands", {"command": "open"})
        assert queued.status in (201, 202), queued
        command = queued.json()["id"]
        topic, body = await asyncio.wait_for(pushed.get(), 20)
        assert topic == "v3/inomhusklimat@ttn/devices/rum-216/down/push"
        (downlink,) = body["downlinks"]
        assert downlink["frm_payload"] == base64.b64encode(b"\xff").decode()

        async def status() -> Any:
            return (await api.ask("GET", f"/api/v1/commands/{command}")).json()["status"]

        async def told(what: str) -> None:
            file = json.loads((FOLDER / f"the-things-stack/down_{what}.json").read_text("utf-8"))
            file[f"downlink_{what}"]["correlation_ids"] = downlink["correlation_ids"]
            file["received_at"] = "2026-03-02T08:16:00Z"
            await publish(mosquitto, [(up.topic.replace("/up", f"/down/{what}"), json.dumps(file).encode())], qos=0)

        await told("queued")
        await told("ack")

        async def acknowledged() -> bool:
            return bool(await status() == "acknowledged")

        await until(acknowledged)
    await network.disconnect()
    log = (tmp_path / "mosquitto" / "mosquitto.log").read_text("utf-8")
    connected = [line for line in log.splitlines() if "New client connected" in line and "knutpunkt-ttn" in line]
    assert len(connected) == 2, connected
    assert all("(p2," in line for line in connected), connected
    assert "QoS 0" in log[log.index("Received SUBSCRIBE from knutpunkt-ttn") :][:200]


SCRIPT = """
function decodeUplink(input) { return {data: {temperature: 22.5}}; }
function encodeDownlink(input) { return {bytes: [0xff, input.data.report.minutes, input.data.on ? 1 : 0], fPort: 86}; }
"""
SCRIPTED: dict[str, Any] = {
    "vendor": "V",
    "name": "M",
    "codec": "javascript",
    "script": SCRIPT,
    "quantities": [{"quantity": "temperature", "unit": "CEL", "source": "temperature"}],
    "commands": {
        "report": {
            "encoder": "script",
            "parameters": {"minutes": {"minimum": 1, "maximum": 200}},
            "data": {"report": {"minutes": {"parameter": "minutes"}}, "on": True},
        }
    },
}


@pytest.mark.parametrize(
    ("file", "commands"),
    [
        ("chirpstack/up.json", "application/+/device/+/command/down"),
        ("chirpstack-protobuf/up.bin", "application/+/device/+/command/down"),
        ("chirpstack-v3/up.json", "application/+/device/+/command/down"),
        ("chirpstack-v3-protobuf/up.bin", "application/+/device/+/command/down"),
        ("actility/uplink.json", "mqtt/things/+/downlink"),
        ("the-things-stack/up.json", "v3/+/devices/+/down/push"),
    ],
)
async def test_what_a_models_script_encodes_reaches_the_network_that_heard_the_device_and_its_answer_counts(
    file: str, commands: str, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    (up,) = (each for each in MESSAGES if each.file == file)
    taken: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()

    async def on_message(_: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        taken.put_nowait((topic, json.loads(payload)))
        return 0

    network = gmqtt.Client("the-network")
    network.on_message = on_message
    async with hub(tmp_path, mosquitto) as api:
        await register(api, up.device, SCRIPTED)
        await network.connect("127.0.0.1", mosquitto.port)
        network.subscribe(gmqtt.Subscription(commands, qos=1))
        await publish(mosquitto, [(up.topic, up.body)])

        async def heard() -> Any:
            return (await state(api, up.device)).get("source")

        assert await until(heard) == f"mqtt:{up.network}"
        path = f"/api/v1/virtual-sensors/{up.device}/commands"
        refused = await api.ask("POST", path, {"command": "report", "parameters": {"minutes": 201}})
        assert refused.status == 400
        queued = await api.ask("POST", path, {"command": "report", "parameters": {"minutes": 10}})
        assert queued.status == 201, queued
        command = queued.json()["id"]
        topic, body = await asyncio.wait_for(taken.get(), 20)
        sent = body["downlinks"][0] if "downlinks" in body else body.get("DevEUI_downlink", body)
        payload = (
            sent.get("data") or sent.get("frm_payload") or base64.b64encode(bytes.fromhex(sent["payload_hex"])).decode()
        )
        assert base64.b64decode(payload) == b"\xff\x0a\x01"
        assert next(sent[name] for name in ("fPort", "f_port", "FPort") if name in sent) == 86

        async def status(*wanted: str) -> bool:
            found = (await api.ask("GET", f"/api/v1/commands/{command}")).json()
            return found["status"] in wanted and (found["transmittedAt"] is not None or wanted == ("sent",))

        await until(lambda: status("sent"))
        answer = answer_of(up, sent, topic)
        if answer is not None:
            await publish(mosquitto, [answer])
            await until(lambda: status("sent", "acknowledged"))
    await network.disconnect()


def answer_of(up: Recorded, sent: dict[str, Any], topic: str) -> tuple[str, bytes] | None:
    """What the network says once a gateway has taken it, with the command's own identification; None: it names none."""
    if up.network == "chirpstack":
        told = json.loads((FOLDER / "chirpstack/txack.json").read_text("utf-8"))
        return topic.replace("command/down", "event/txack"), json.dumps(told | {"queueItemId": sent["id"]}).encode()
    if up.network == "actility":
        told = json.loads((FOLDER / "actility/downlink_sent.json").read_text("utf-8"))
        told["DevEUI_downlink_Sent"]["CorrelationID"] = sent["CorrelationID"]
        return up.topic, json.dumps(told).encode()
    if up.network == "the-things-stack":
        told = json.loads((FOLDER / "the-things-stack/down_sent.json").read_text("utf-8"))
        told["downlink_sent"]["correlation_ids"] = sent["correlation_ids"]
        return topic.replace("down/push", "down/sent"), json.dumps(told).encode()
    return None
