"""Two broker processes on one MongoDB database: one city, shared work, nothing lost or twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from broker.clock import SECOND, iso
from tests.support.broker import BrokerProcess
from tests.support.city import ELSYS, START, elsys_temperature, register, room, topic, uplink
from tests.support.mosquitto import Mosquitto, publish
from tests.support.network import chirpstack
from tests.support.receiver import Receiver, receiving

DEVICES = 5
EACH = 60


@pytest.fixture
async def both(
    mongo_url: str, tmp_path: Path
) -> AsyncIterator[tuple[BrokerProcess, BrokerProcess, Mosquitto, Receiver]]:
    async with AsyncExitStack() as stack:
        mosquitto = stack.enter_context(Mosquitto(tmp_path / "mosquitto"))
        receiver = await stack.enter_async_context(receiving())
        brokers = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            config = folder / "knutpunkt.toml"
            config.write_text(f'[[mqtt]]\nurl = "{mosquitto.url}"\nshare = "city"\nclient_id = "{name}"\n')
            broker = BrokerProcess(mongo_url, folder, {"KNUTPUNKT_CONFIG": str(config)})
            await broker.start()
            stack.push_async_callback(broker.kill)
            brokers.append(broker)
        await register(brokers[0], DEVICES)
        yield brokers[0], brokers[1], mosquitto, receiver


async def subscribe(broker: BrokerProcess, receiver: Receiver) -> None:
    await broker.ask(
        "POST",
        "/ngsi-ld/v1/subscriptions",
        {
            "type": "Subscription",
            "entities": [{"type": "IndoorEnvironmentObserved"}],
            "notification": {"endpoint": {"uri": receiver.url(), "accept": "application/json"}},
        },
    )


async def test_uplinks_shared_between_two_processes_are_each_applied_once_and_told_in_order(
    both: tuple[BrokerProcess, BrokerProcess, Mosquitto, Receiver],
) -> None:
    one, two, mosquitto, receiver = both
    await subscribe(one, receiver)
    messages = [
        (topic(number), uplink(number, elsys_temperature(serial / 10), START + serial * SECOND))
        for serial in range(EACH)
        for number in range(DEVICES)
    ]
    await publish(mosquitto, messages)
    expected = {serial / 10 for serial in range(EACH)}
    for number in range(DEVICES):
        async with asyncio.timeout(30):
            while True:
                _, rows = await two.ask(
                    "GET", f"/api/v1/history?entity={room(number)}&attribute=temperature&limit=1000"
                )
                if len(rows) >= EACH:
                    break
                await asyncio.sleep(0.1)
        assert sorted(row["value"]["value"] for row in rows) == sorted(expected)
        _, entity = await one.ask("GET", f"/ngsi-ld/v1/entities/{room(number)}")
        assert entity["temperature"]["value"] == max(expected)
    last = max(expected)
    async with asyncio.timeout(30):
        while {note.data[0]["id"] for note in receiver.accepted if note.data[0]["temperature"]["value"] == last} != {
            room(number) for number in range(DEVICES)
        }:
            await asyncio.sleep(0.1)
    for number in range(DEVICES):
        times = [
            note.data[0]["temperature"]["observedAt"]
            for note in receiver.accepted
            if note.data[0]["id"] == room(number)
        ]
        assert times == sorted(times), "an app saw an older value after a newer one"
    assert all("uplink.applied" in broker.log() for broker in (one, two)), "both took their share"


async def test_patches_of_one_entity_through_both_processes_are_all_applied(
    both: tuple[BrokerProcess, BrokerProcess, Mosquitto, Receiver],
) -> None:
    one, two, _, _ = both
    await one.ask("POST", "/ngsi-ld/v1/entities", {"id": "urn:counter", "type": "Counter"})
    await asyncio.gather(
        *(
            (one, two)[number % 2].ask(
                "POST", "/ngsi-ld/v1/entities/urn:counter/attrs", {f"n{number}": {"type": "Property", "value": number}}
            )
            for number in range(60)
        )
    )
    _, entity = await two.ask("GET", "/ngsi-ld/v1/entities/urn:counter?options=keyValues")
    assert {name: value for name, value in entity.items() if name.startswith("n")} == {
        f"n{number}": number for number in range(60)
    }


async def test_a_swap_through_one_process_holds_for_the_other_at_once(
    both: tuple[BrokerProcess, BrokerProcess, Mosquitto, Receiver],
) -> None:
    one, two, _, _ = both
    before = uplink(0, elsys_temperature(20.0), START)
    assert (await two.ask("POST", "/api/v1/uplinks/chirpstack?event=up", before))[1]["outcome"] == "applied"
    await one.ask(
        "POST", "/api/v1/swaps", {"virtualSensor": "room-0", "device": "a81758fffe00cafe", "at": iso(START + SECOND)}
    )
    new, old = (
        uplink(0xCAFE, elsys_temperature(21.0), START + 2 * SECOND),
        uplink(0, b"\x01\x00\x10", START + 3 * SECOND),
    )
    assert (await two.ask("POST", "/api/v1/uplinks/chirpstack?event=up", new))[1]["outcome"] == "applied"
    assert (await two.ask("POST", "/api/v1/uplinks/chirpstack?event=up", old))[1]["outcome"] == "quarantined"
    _, entity = await two.ask("GET", f"/ngsi-ld/v1/entities/{room(0)}")
    assert entity["temperature"]["value"] == 21.0


async def test_commands_queued_through_both_processes_are_published_once_each_and_go_on_when_one_dies(
    both: tuple[BrokerProcess, BrokerProcess, Mosquitto, Receiver],
) -> None:
    one, two, mosquitto, _ = both
    command = {"fPort": 6, "payload": ["01"]}
    await one.ask("PUT", "/api/v1/device-models/elsys-ers", ELSYS | {"commands": {"measure": command}})
    messages = [(topic(number), uplink(number, elsys_temperature(20.0), START)) for number in range(DEVICES)]
    await publish(mosquitto, messages)

    async def queue(broker: BrokerProcess) -> list[str]:
        return [
            (await broker.ask("POST", f"/api/v1/virtual-sensors/room-{n}/commands", {"command": "measure"}))[1]["id"]
            for n in range(DEVICES)
        ]

    async with chirpstack(mosquitto) as network:
        queued = [each for ids in await asyncio.gather(queue(one), queue(two), queue(one), queue(two)) for each in ids]
        await network.until(len(queued))
        await until_all(two, queued, "sent")
        assert sorted(message["id"] for _, message in network.taken) == sorted(queued)
        await one.kill()
        more = await queue(two)
        # At the latest when the dead one's lease has run out.
        await until_all(two, more, "sent")
        assert len(network.taken) == len(queued) + len(more)


async def until_all(broker: BrokerProcess, ids: list[str], status: str) -> None:
    async with asyncio.timeout(60):
        for each in ids:
            while (await broker.ask("GET", f"/api/v1/commands/{each}"))[1]["status"] != status:
                await asyncio.sleep(0.1)
