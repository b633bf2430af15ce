"""Alarms as operations staff and apps see them, on both stores: from an uplink, or none, to an Alert and a notification."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from broker.cli.main import main
from broker.clock import SECOND, iso
from tests.support.broker import BrokerProcess, Refused
from tests.support.city import ELSYS, dev_eui, elsys_temperature, room, uplink
from tests.support.receiver import Receiver, receiving

FAST = {"KNUTPUNKT_ALARMS_SCAN_SECONDS": "0.3", "KNUTPUNKT_ALARMS_REGISTRY_SECONDS": "0.5"}
FROST = {"id": "frost", "quantity": "temperature", "below": 5, "hysteresis": 1, "severity": "critical"}


def now() -> int:
    return time.time_ns() // 1000


@pytest.fixture(params=["sqlite", "mongo"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of its own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'city.db'}"
    url: str = request.getfixturevalue("mongo_url")
    return url


@asynccontextmanager
async def running(url: str, folder: Path) -> AsyncIterator[BrokerProcess]:
    broker = BrokerProcess(url, folder, FAST)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.kill()


@pytest.fixture
async def broker(store_url: str, tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    async with running(store_url, tmp_path) as started:
        await started.ask("PUT", "/api/v1/device-models/elsys-ers", ELSYS)
        yield started


@pytest.fixture
async def app(broker: BrokerProcess) -> AsyncIterator[Receiver]:
    """An app that is subscribed to alerts."""
    async with receiving() as receiver:
        await broker.ask(
            "POST",
            "/ngsi-ld/v1/subscriptions",
            {
                "type": "Subscription",
                "entities": [{"type": "Alert"}],
                "notification": {"endpoint": {"uri": receiver.url(), "accept": "application/json"}},
            },
        )
        yield receiver


async def put_room(broker: BrokerProcess, number: int = 0, **members: Any) -> None:
    outputs = [{"quantity": "temperature", "attribute": "temperature"}]
    await broker.ask(
        "PUT",
        f"/api/v1/virtual-sensors/room-{number}",
        {
            "name": f"Room {number}",
            "entity": room(number),
            "entityType": "IndoorEnvironmentObserved",
            "outputs": outputs,
            **members,
        },
    )


async def bind(broker: BrokerProcess, number: int = 0, device: int | None = None) -> None:
    asked = {"virtualSensor": f"room-{number}", "device": dev_eui(number if device is None else device)}
    await broker.ask("POST", "/api/v1/swaps", {**asked, "model": "elsys-ers"})


async def send(broker: BrokerProcess, celsius: float, number: int = 0, **members: Any) -> None:
    _, receipt = await broker.ask(
        "POST", "/api/v1/uplinks/chirpstack?event=up", uplink(number, elsys_temperature(celsius), now(), **members)
    )
    assert receipt["outcome"] == "applied", receipt


async def alarms(broker: BrokerProcess, query: str = "state=active") -> list[dict[str, Any]]:
    _, found = await broker.ask("GET", f"/api/v1/alarms?{query}")
    rows: list[dict[str, Any]] = found
    return rows


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 40.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.1)
        return found


async def one_alarm(broker: BrokerProcess, query: str = "state=active") -> dict[str, Any]:
    (alarm,) = await until(lambda: alarms(broker, query))
    found: dict[str, Any] = alarm
    return found


async def test_a_value_beyond_a_threshold_becomes_an_alert_that_an_app_is_told_of_and_ends_behind_the_hysteresis(
    broker: BrokerProcess, app: Receiver
) -> None:
    await put_room(broker, thresholds=[FROST])
    await bind(broker)
    await send(broker, 21.0)
    assert await alarms(broker, "") == []
    await send(broker, 4.5)
    (told,) = await app.wait_for(1)
    alert = told.data[0]
    assert alert["type"] == "Alert"
    assert (alert["severity"]["value"], alert["alarmState"]["value"]) == ("critical", "open")
    assert alert["description"]["value"] == "temperature is 4.5, below 5."
    assert alert["alertSource"]["object"] == room(0)
    (alarm,) = await alarms(broker)
    assert alarm["alert"] == alert["id"]
    assert alarm["device"] == dev_eui(0)
    await send(broker, 5.5)
    await send(broker, 4.9)
    assert [one["id"] for one in await alarms(broker, "")] == [alarm["id"]], "one alarm through it all"
    await send(broker, 6.1)
    _, closing = await app.wait_for(2)
    assert closing.data[0]["alarmState"]["value"] == "closed"
    assert closing.data[0]["validTo"]["value"]["@type"] == "DateTime"
    (closed,) = await alarms(broker, "")
    assert (closed["state"], closed["closedBecause"]) == ("closed", "recovered")
    assert [step["state"] for step in closed["steps"]] == ["open", "closed"]
    _, entity = await broker.ask("GET", f"/ngsi-ld/v1/entities/{closed['alert']}")
    assert entity["closedBecause"]["value"] == "recovered", "it stays, closed"
    await asyncio.sleep(0.5)
    assert len(app.accepted) == 2


async def test_a_device_that_falls_silent_alarms_and_its_next_uplink_ends_it(
    broker: BrokerProcess, app: Receiver
) -> None:
    await put_room(broker, silentAfterSeconds=2)
    await put_room(broker, 1)
    await bind(broker)
    await bind(broker, 1)
    await send(broker, 21.0)
    await send(broker, 21.0, 1)
    alarm = await one_alarm(broker)
    assert (alarm["virtualSensor"], alarm["kind"], alarm["severity"]) == ("room-0", "silence", "high")
    assert "No uplink since" in alarm["text"]
    assert "expected every 10 min" in alarm["text"]
    await app.wait_for(1)
    await send(broker, 21.5)
    assert await alarms(broker) == []
    _, told = await app.wait_for(2)
    assert told.data[0]["closedBecause"]["value"] == "recovered"
    await one_alarm(broker)  # and it falls silent again


async def test_a_device_that_has_never_sent_is_silent_too_and_a_swap_ends_it_and_begins_anew(
    broker: BrokerProcess,
) -> None:
    await put_room(broker, silentAfterSeconds=2)
    await bind(broker)
    alarm = await one_alarm(broker)
    assert "has never been heard" in alarm["text"]
    await bind(broker, device=0xCAFE)
    closed = await one_alarm(broker, "state=closed")
    assert (closed["id"], closed["closedBecause"]) == (alarm["id"], "swap")
    dead = await one_alarm(broker)
    assert dead["device"] == dev_eui(0xCAFE), "a dead replacement alarms as well"


async def test_an_alarm_is_acknowledged_once_and_does_not_open_again(broker: BrokerProcess, app: Receiver) -> None:
    await put_room(broker, thresholds=[FROST])
    await bind(broker)
    await send(broker, 4.0)
    (alarm,) = await alarms(broker)
    path = f"/api/v1/alarms/{alarm['id']}"
    _, acknowledged = await broker.ask("POST", f"{path}/acknowledge", {"by": "Karin", "comment": "On my way."})
    assert (acknowledged["state"], acknowledged["acknowledgedBy"]) == ("acknowledged", "Karin")
    await send(broker, 3.0)
    assert [one["id"] for one in await alarms(broker, "state=acknowledged")] == [alarm["id"]]
    assert await alarms(broker, "state=open") == []
    _, told = await app.wait_for(2)
    assert told.data[0]["comment"]["value"] == "On my way."
    # By hand: it stays quiet while it is cold, and opens when it gets cold the next time.
    _, closed = await broker.ask("POST", f"{path}/close", {"by": "Karin"})
    assert closed["closedBecause"] == "by hand"
    await send(broker, 3.5)
    assert await alarms(broker) == []
    await send(broker, 20.0)
    await send(broker, 3.5)
    assert len(await alarms(broker)) == 1
    with pytest.raises(Refused) as refused:
        await broker.ask("POST", f"{path}/acknowledge", {"by": "Karin"})
    assert refused.value.status == 412


async def test_a_delay_passes_without_further_uplinks(broker: BrokerProcess) -> None:
    await put_room(broker, thresholds=[{**FROST, "delaySeconds": 2}])
    await bind(broker)
    await send(broker, 4.0)
    _, health = await broker.ask("GET", "/api/v1/virtual-sensors/room-0/health")
    assert health["health"] == "pending"
    assert await alarms(broker) == []
    alarm = await one_alarm(broker)
    assert alarm["rule"] == "frost"


async def test_while_a_virtual_sensor_is_shelved_nothing_opens_and_what_still_holds_opens_afterwards(
    broker: BrokerProcess,
) -> None:
    await put_room(broker, thresholds=[FROST])
    await put_room(broker, 1, thresholds=[FROST])
    for number in (0, 1):
        await bind(broker, number)
        await broker.ask(
            "POST",
            f"/api/v1/virtual-sensors/room-{number}/shelve",
            {"until": iso(now() + 5 * SECOND), "by": "Karin", "reason": "New windows."},
        )
        await send(broker, 3.0, number)
    _, health = await broker.ask("GET", "/api/v1/virtual-sensors/room-0/health")
    assert (health["health"], health["shelf"]["reason"]) == ("shelved", "New windows.")
    await send(broker, 20.0, 1)
    assert await alarms(broker, "") == []
    alarm = await one_alarm(broker)
    assert alarm["virtualSensor"] == "room-0", "what recovered meanwhile never alarms"


async def test_a_building_is_shelved_with_all_that_is_in_it(broker: BrokerProcess) -> None:
    building = "urn:ngsi-ld:Building:school"
    for number in range(3):
        await put_room(broker, number, thresholds=[FROST])
        await bind(broker, number)
        await send(broker, 20.0, number)
    for number, place in ((0, building), (1, room(0))):
        tie = {"refPointOfInterest": {"type": "Relationship", "object": place}}
        await broker.ask("POST", f"/ngsi-ld/v1/entities/{room(number)}/attrs", tie)
    _, shelved = await broker.ask(
        "POST", "/api/v1/alarms/shelve", {"entity": building, "until": iso(now() + 3600 * SECOND), "by": "Karin"}
    )
    assert shelved == {"virtualSensors": ["room-0", "room-1"]}
    for number in range(3):
        await send(broker, 3.0, number)
    assert [alarm["virtualSensor"] for alarm in await alarms(broker)] == ["room-2"]
    with pytest.raises(Refused) as refused:
        await broker.ask(
            "POST", "/api/v1/alarms/shelve", {"entity": "urn:x:y", "until": iso(now() + 3600 * SECOND), "by": "Karin"}
        )
    assert refused.value.status == 404


async def test_a_low_battery_and_a_weak_radio_alarm(broker: BrokerProcess) -> None:
    await put_room(broker)
    await bind(broker)
    weak = [{"gatewayId": "0016c001f153a14c", "rssi": -126, "snr": -18.5}]
    for serial in range(2):
        await send(broker, 20.0, f_cnt=serial, rxInfo=weak)
    assert await alarms(broker) == []
    await send(broker, 20.0, f_cnt=3, rxInfo=weak)
    (alarm,) = await alarms(broker)
    assert alarm["kind"] == "radio"
    status = {"deviceInfo": {"devEui": dev_eui(0)}, "time": iso(now()), "batteryLevel": 9.0, "margin": 10}
    await broker.ask("POST", "/api/v1/uplinks/chirpstack?event=status", {"deduplicationId": "b1", **status})
    (alarm,) = await alarms(broker, "kind=battery&severity=medium&state=open")
    assert alarm["text"] == "The battery is at 9 % (low at 15 %)."
    assert len(await alarms(broker, f"device={dev_eui(0)}&virtualSensor=room-0")) == 2
    assert await alarms(broker, "virtualSensor=room-0&severity=critical") == []


async def test_metrics_count_what_is_open(broker: BrokerProcess) -> None:
    await put_room(broker, thresholds=[FROST])
    await bind(broker)
    await send(broker, 4.0)

    async def counted() -> Any:
        _, metrics = await broker.ask("GET", "/metrics")
        return 'knutpunkt_alarms{kind="threshold",severity="critical"} 1.0' in metrics

    await until(counted)


async def test_silence_is_noticed_over_a_kill_of_the_broker(store_url: str, tmp_path: Path) -> None:
    async with running(store_url, tmp_path) as broker:
        await broker.ask("PUT", "/api/v1/device-models/elsys-ers", ELSYS)
        await put_room(broker, silentAfterSeconds=3)
        await bind(broker)
        await send(broker, 20.0)
    async with running(store_url, tmp_path) as broker:
        alarm = await one_alarm(broker)
        assert alarm["kind"] == "silence"


async def test_operations_staff_do_all_of_it_from_the_command_line(broker: BrokerProcess) -> None:
    await put_room(broker, thresholds=[FROST])
    await bind(broker)
    await send(broker, 4.0)

    async def knutpunkt(*arguments: str) -> str:
        found = await asyncio.to_thread(
            CliRunner().invoke, main, ["alarm", *arguments], env={"KNUTPUNKT_URL": broker.url}
        )
        assert found.exit_code == 0, found.output
        return found.output

    listed = await knutpunkt("list")
    assert "temperature is 4, below 5." in listed
    (alarm,) = await alarms(broker)
    said = await knutpunkt("ack", alarm["id"], "--by", "Karin", "--comment", "Looking.")
    assert "Now acknowledged by Karin." in said
    assert "acknowledged by Karin" in await knutpunkt("list", "--severity", "critical", "--sensor", "room-0")
    await knutpunkt("close", alarm["id"], "--comment", "The window was open.")
    shown = await knutpunkt("show", alarm["id"])
    assert "The window was open." in shown
    assert "by hand" in shown
    assert "There is no such alarm." in await knutpunkt("list")
    assert "room-0" in await knutpunkt("shelve", room(0), "--until", iso(now() + 3600 * SECOND), "--reason", "Work")
    _, health = await broker.ask("GET", "/api/v1/virtual-sensors/room-0/health")
    assert health["shelf"]["reason"] == "Work"
    await knutpunkt("unshelve", "room-0")
    _, health = await broker.ask("GET", "/api/v1/virtual-sensors/room-0/health")
    assert health["shelf"] is None


async def test_of_two_processes_one_looks_and_when_it_dies_the_other_does(mongo_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        brokers = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            brokers.append(await stack.enter_async_context(running(mongo_url, folder)))
        one, two = brokers
        await one.ask("PUT", "/api/v1/device-models/elsys-ers", ELSYS)
        for number in range(5):
            await put_room(one, number, silentAfterSeconds=2)
            await bind(one, number)
            await send(two, 20.0, number)

        async def all_silent(asked: BrokerProcess, count: int) -> Any:
            found = await alarms(asked, "kind=silence&limit=100")
            return found if len(found) >= count else None

        found = await until(lambda: all_silent(two, 5))
        assert sorted(alarm["virtualSensor"] for alarm in found) == [f"room-{number}" for number in range(5)]
        looked = [broker for broker in brokers if "alarms.looked" in broker.log()]
        assert len(looked) == 1
        await looked[0].kill()
        left = two if looked[0] is one else one
        for number in range(5):
            await send(left, 20.0, number)
        assert await alarms(left) == []
        await until(lambda: all_silent(left, 10))
        assert "alarms.looked" in left.log()
