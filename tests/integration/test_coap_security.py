"""Devices that prove who they are: OSCORE with aiocoap's client, keys over the API and the command line."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiocoap import Code, Message, oscore
from aiocoap.numbers.types import CON
from click.testing import CliRunner

from broker.cli.main import main
from broker.clock import SECOND, Clock, iso
from tests.integration.test_actuation_coap import METER, MODEL
from tests.integration.test_coap_intake import free_udp_port
from tests.support.broker import BrokerProcess, Refused
from tests.support.coap import raw_post, until_served
from tests.support.oscore import oscore_client, provision

SECRET = "00112233445566778899aabbccddeeff" * 2
ENTITY = "urn:ngsi-ld:WaterConsumptionObserved:valve"
PACK = b'[{"n":"volume","u":"m3","v":%d}]'


@dataclass
class Served:
    """A broker with a meter registered, and its CoAP port."""

    broker: BrokerProcess
    port: int
    folder: Path

    async def key(self, device: str = METER, **members: Any) -> dict[str, Any]:
        """A new key for a device, and the device's folder with it."""
        status, made = await self.broker.ask("POST", f"/api/v1/devices/{device}/keys", {"scheme": "oscore", **members})
        assert status == 201
        if "oscore" in made:
            provision(self.folder / made["id"], made["oscore"])
        known: dict[str, Any] = made
        return known

    async def restart(self, *, kill: bool) -> None:
        """Stop the broker one way or the other, and start it again."""
        await (self.broker.kill() if kill else self.broker.stop())
        await self.broker.start()
        await until_served(self.port)

    async def volumes(self) -> list[float]:
        """The volumes in the history, in order."""
        _, rows = await self.broker.ask("GET", f"/api/v1/history?entity={ENTITY}&attribute=volume&limit=1000")
        return [row["value"]["value"] for row in rows]


@asynccontextmanager
async def serving(store: str, folder: Path, **settings: str) -> AsyncIterator[Served]:
    """A broker that takes unprotected messages too, unless `settings` say otherwise."""
    port = free_udp_port()
    given = {"KNUTPUNKT_COAP_ENABLED": "true", "KNUTPUNKT_COAP_PLAIN": "true", "KNUTPUNKT_COAP_PORT": str(port)}
    broker = BrokerProcess(
        store, folder, given | {f"KNUTPUNKT_COAP_{name.upper()}": one for name, one in settings.items()}
    )
    await broker.start()
    try:
        await broker.ask("PUT", "/api/v1/device-models/meter", MODEL)
        await broker.ask(
            "PUT",
            "/api/v1/virtual-sensors/valve",
            {
                "name": "Valve",
                "entity": ENTITY,
                "entityType": "WaterConsumptionObserved",
                "outputs": [{"quantity": "volume", "attribute": "volume"}],
            },
        )
        await broker.ask("PUT", f"/api/v1/devices/{METER}", {"model": "meter"})
        at = iso(Clock().now() - 3600 * SECOND)
        await broker.ask("POST", "/api/v1/swaps", {"virtualSensor": "valve", "device": METER, "at": at})
        await until_served(port)
        yield Served(broker, port, folder)
    finally:
        await broker.kill()


@pytest.fixture(params=["sqlite", "mongo"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    mongo = request.param == "mongo"
    store = request.getfixturevalue("mongo_url") if mongo else f"sqlite:///{tmp_path / 'city.db'}"
    async with serving(store, tmp_path, key_secret=SECRET) as made:
        yield made


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(f"sqlite:///{tmp_path / 'city.db'}", tmp_path) as made:
        yield made


async def test_a_device_is_known_by_its_key_over_restarts(served: Served) -> None:
    key = await served.key()
    folder = served.folder / key["id"]
    async with recorded(served.port) as (port, _, answers), oscore_client(folder, port) as device:
        assert str((await device.post("/up", PACK % 1, 110)).code) == "2.04 Changed"
        assert str((await device.post(f"/up/{METER}", PACK % 2, 110)).code) == "2.04 Changed"
        # Killed: the replay window is not known, and the device proves that it is fresh. It notices nothing.
        await served.restart(kill=True)
        assert str((await device.post("/up", PACK % 3, 110)).code) == "2.04 Changed"
        await served.restart(kill=False)
        assert str((await device.post("/up", PACK % 4, 110)).code) == "2.04 Changed"
        assert await served.volumes() == [1, 2, 3, 4]
        answer = await device.post("/up/someone-else", PACK % 9, 110)
        assert str(answer.code) == "4.03 Forbidden"
        assert await served.volumes() == [1, 2, 3, 4]
    # Each answer has a number of ours that comes never again; one without would be encrypted with the request's nonce.
    numbers = [oscore.verify_start(Message.decode(one)).get(oscore.COSE_PIV) for one in answers]
    assert None not in numbers
    assert len(set(numbers)) == len(numbers) >= 6
    _, uplinks = await served.broker.ask("GET", f"/api/v1/uplinks?device={METER}")
    assert all(one["meta"]["key"] == key["id"] for one in uplinks)


async def test_a_recorded_message_does_nothing_when_it_is_sent_again(here: Served) -> None:
    key = await here.key()
    async with recorded(here.port) as (port, datagrams, _), oscore_client(here.folder / key["id"], port) as device:
        assert str((await device.post("/up", PACK % 1, 110)).code) == "2.04 Changed"
    for kill in (None, True, False):
        if kill is not None:
            await here.restart(kill=kill)
        for datagram in list(datagrams):
            # Another message id, so that it is no retransmission.
            answer = await raw_post(here.port, datagram[:2] + b"\x77\x77" + datagram[4:])
            assert answer is not None
            # After a restart it is an encrypted challenge, whose code says nothing.
            assert kill is not None or (answer[1] >> 5, answer[1] & 31) == (4, 1)
    assert await here.volumes() == [1]


@asynccontextmanager
async def recorded(port: int) -> AsyncIterator[tuple[int, list[bytes], list[bytes]]]:
    """A relay before a port that keeps what devices send and what they are answered."""
    loop, datagrams, answers = asyncio.get_running_loop(), list[bytes](), list[bytes]()
    device: tuple[str, int] | None = None

    class Outer(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            nonlocal device
            device = addr
            datagrams.append(data)
            inner.sendto(data)

    class Inner(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            assert device is not None
            answers.append(data)
            outer.sendto(data, device)

        def error_received(self, exc: Exception) -> None:
            pass  # the broker is being restarted

    inner, _ = await loop.create_datagram_endpoint(Inner, remote_addr=("127.0.0.1", port))
    outer, _ = await loop.create_datagram_endpoint(Outer, local_addr=("127.0.0.1", 0))
    try:
        yield outer.get_extra_info("sockname")[1], datagrams, answers
    finally:
        inner.close()
        outer.close()


async def test_a_device_with_a_key_is_not_heard_without_it(here: Served) -> None:
    async def plainly() -> str:
        return await here_post(here, METER, PACK % 5)

    assert await plainly() == "2.04"
    await here.key()
    assert await plainly() == "4.01"
    assert await here_post(here, "another", PACK % 5) == "2.04"
    assert await here.volumes() == [5]


_mids = itertools.count(100)


async def here_post(served: Served, device: str, payload: bytes) -> str:
    """The code that a POST without protection is answered."""
    request = Message(
        code=Code.POST,
        uri_path=("up", device),
        payload=payload,
        content_format=110,
        _mtype=CON,
        _mid=next(_mids),
        _token=b"t",
    )
    answer = await raw_post(served.port, request.encode())
    assert answer is not None
    return f"{answer[1] >> 5}.{answer[1] & 31:02d}"


async def test_without_plain_only_protected_messages_are_taken(tmp_path: Path) -> None:
    async with serving(f"sqlite:///{tmp_path / 'city.db'}", tmp_path, plain="false") as made:
        assert await here_post(made, METER, PACK % 1) == "4.01"
        assert await here_post(made, "no device", b"?") == "4.01"
        _, kept = await made.broker.ask("GET", "/api/v1/uplinks")
        assert kept == [], "nobody can fill the store from outside"
        key = await made.key()
        async with oscore_client(tmp_path / key["id"], made.port) as device:
            assert str((await device.post("/up", PACK % 2, 110)).code) == "2.04 Changed"
        assert await made.volumes() == [2]


async def test_keys_overlap_when_they_are_rotated_and_a_revoked_one_ends_at_once(here: Served) -> None:
    old = await here.key()
    new = await here.key(othersEndInSeconds=3600)
    async with (
        oscore_client(here.folder / old["id"], here.port) as before,
        oscore_client(here.folder / new["id"], here.port) as after,
    ):
        assert str((await before.post("/up", PACK % 1, 110)).code) == "2.04 Changed"
        assert str((await after.post("/up", PACK % 2, 110)).code) == "2.04 Changed"
        await here.broker.ask("DELETE", f"/api/v1/devices/{METER}/keys/{old['id']}")
        with pytest.raises(Exception, match=r"4\.01|not protected|NotAProtected|Unauthorized|No Object-Security"):
            await before.post("/up", PACK % 3, 110)
        assert str((await after.post("/up", PACK % 4, 110)).code) == "2.04 Changed"
    assert await here.volumes() == [1, 2, 4]
    _, keys = await here.broker.ask("GET", f"/api/v1/devices/{METER}/keys")
    assert [(one["id"], one["inForce"]) for one in keys] == [(old["id"], False), (new["id"], True)]


async def test_secrets_are_shown_once_and_stored_encrypted(served: Served) -> None:
    made = await served.key()
    secret = made["oscore"]["masterSecret"]
    _, listed = await served.broker.ask("GET", f"/api/v1/devices/{METER}/keys")
    assert secret not in json.dumps(listed)
    _, device = await served.broker.ask("GET", f"/api/v1/devices/{METER}")
    assert secret not in json.dumps(device)
    assert secret not in served.broker.log()
    database = served.folder / "city.db"
    if database.exists():
        await served.broker.stop()
        kept = b"".join(file.read_bytes() for file in served.folder.glob("city.db*"))
        assert made["id"].encode() in kept
        assert secret.encode() not in kept
        assert bytes.fromhex(secret) not in kept


async def test_a_key_that_a_device_has_already_is_taken_and_no_other_device_can_have_it(here: Served) -> None:
    own = {"masterSecret": "0102030405060708090a0b0c0d0e0f10", "senderId": "", "recipientId": "01", "idContext": "aabb"}
    made = await here.key(oscore=own)
    async with oscore_client(here.folder / made["id"], here.port) as device:
        assert str((await device.post("/up", PACK % 1, 110)).code) == "2.04 Changed"
    with pytest.raises(Refused, match="409"):
        await here.broker.ask("POST", "/api/v1/devices/other/keys", {"scheme": "oscore", "oscore": own})
    for wrong in (
        {"scheme": "rot13"},
        {"scheme": "oscore", "psk": {}},
        {"scheme": "oscore", "oscore": {**own, "senderId": "01"}},
        {"scheme": "oscore", "oscore": {**own, "senderId": "0102030405060708"}},
        {"scheme": "oscore", "oscore": {**own, "masterSecret": "01"}},
        {"scheme": "dtls-psk", "psk": {"identity": "with space"}},
        {"scheme": "oscore", "othersEndInSeconds": -1},
    ):
        with pytest.raises(Refused, match="400"):
            await here.broker.ask("POST", "/api/v1/devices/other/keys", wrong)


async def test_deleting_a_device_ends_its_keys(here: Served) -> None:
    await here.broker.ask("PUT", "/api/v1/devices/loose", {"model": "meter"})
    made = await here.key("loose")
    await here.broker.ask("DELETE", "/api/v1/devices/loose")
    _, keys = await here.broker.ask("GET", "/api/v1/devices/loose/keys")
    assert keys == []
    await asyncio.sleep(2.5)
    async with oscore_client(here.folder / made["id"], here.port) as device:
        with pytest.raises(Exception, match=r"Object-Security|NotAProtected|not protected"):
            await device.post("/up", PACK % 1, 110)


async def test_keys_on_the_command_line(here: Served) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(main, ["device", "key", *arguments, "--url", here.broker.url])
        assert done.exit_code == 0, done.output
        return done.output

    added = json.loads(await asyncio.to_thread(run, "add", METER, "--json", "--by", "eva"))
    printed = await asyncio.to_thread(run, "rotate", METER, "--overlap", "60")
    assert "masterSecret" in printed
    assert "not shown again" in printed
    listed = await asyncio.to_thread(run, "list", METER)
    assert listed.count("yes") == 2
    assert "eva" in listed
    assert added["oscore"]["masterSecret"] not in listed
    assert "Revoked" in await asyncio.to_thread(run, "revoke", METER, added["id"])
    assert "revoked" in await asyncio.to_thread(run, "list", METER)
