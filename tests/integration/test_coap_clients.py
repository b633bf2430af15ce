"""libcoap's clients over TCP and DTLS, against a broker with keys provisioned over its API."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import cbor2
import pytest

from tests.integration.test_actuation_coap import METER
from tests.integration.test_coap_intake import free_udp_port
from tests.integration.test_coap_security import PACK, Served, serving
from tests.support.coap import until_served
from tests.support.dtls import DtlsDevice, HandshakeFailed

LIBRARIES = ("gnutls", "openssl")


def program(library: str) -> str:
    """The client built with a TLS library."""
    found = shutil.which(f"coap-client-{library}")
    if found is None:
        raise RuntimeError(f"coap-client-{library} is not installed; on Debian: apt-get install libcoap3-bin")
    return found


class Client:
    """libcoap's client as a device."""

    def __init__(self, served: Served, dtls_port: int) -> None:
        self.served = served
        self.dtls_port = dtls_port

    async def run(self, library: str, *arguments: str, seconds: int = 5) -> str:
        """What it prints: nothing on success."""
        process = await asyncio.create_subprocess_exec(
            *(program(library), "-B", str(seconds), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return (await process.communicate())[0].decode(errors="replace").strip()

    async def post(self, library: str, psk: dict[str, str], value: int, path: str = "/up", seconds: int = 5) -> str:
        """A message over DTLS."""
        file = self.served.folder / "payload"
        file.write_bytes(PACK % value)
        return await self.run(
            *(library, "-u", psk["identity"], "-k", psk["text"], "-m", "post", "-t", "110", "-f", str(file)),
            f"coaps://127.0.0.1:{self.dtls_port}{path}",
            seconds=seconds,
        )

    async def psk(self, text: str, **members: object) -> dict[str, str]:
        """A key that can be given on a command line, provisioned."""
        made = await self.served.key(METER, scheme="dtls-psk", psk={"key": text.encode().hex()}, **members)
        return {"id": made["id"], "text": text, **made["psk"]}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    dtls_port = free_udp_port()
    settings = {"tcp": "true", "dtls": "true", "dtls_port": str(dtls_port)}
    async with serving(f"sqlite:///{tmp_path / 'city.db'}", tmp_path, **settings) as served:
        yield Client(served, dtls_port)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_device_is_known_by_its_pre_shared_key(client: Client, library: str) -> None:
    psk = await client.psk("correct horse battery")
    assert await client.post(library, psk, 1) == ""
    assert await client.post(library, psk, 2, f"/up/{METER}") == ""
    assert "4.03" in await client.post(library, psk, 3, "/up/someone-else")
    assert await client.served.volumes() == [1, 2]
    _, uplinks = await client.served.broker.ask("GET", f"/api/v1/uplinks?device={METER}")
    assert {one["meta"]["key"] for one in uplinks} == {psk["id"]}
    # Neither a wrong key nor an unknown identity is heard.
    assert await client.post(library, psk | {"text": "another horse battery"}, 4, seconds=1) != ""
    assert await client.post(library, psk | {"identity": "nobody"}, 5, seconds=1) != ""
    assert await client.served.volumes() == [1, 2]


async def test_keys_are_rotated_and_a_revoked_one_ends_an_open_session_at_once(client: Client) -> None:
    broker = client.served.broker
    old = await client.psk("the first key there is")
    new = await client.psk("the second key there is", othersEndInSeconds=3600)
    request = b"\x40\x02%b\xb2up\x11\x6e\xff" + PACK.replace(b"%d", b"7")  # POST /up, Content-Format 110
    before = await asyncio.to_thread(DtlsDevice, client.dtls_port, old["identity"], old["text"].encode())
    after = await asyncio.to_thread(DtlsDevice, client.dtls_port, new["identity"], new["text"].encode())
    try:
        assert (await asyncio.to_thread(before.ask, request % b"\x00\x01") or b"")[1:4] == b"\x44\x00\x01"
        await broker.ask("DELETE", f"/api/v1/devices/{METER}/keys/{old['id']}")
        answer = await asyncio.to_thread(before.ask, request % b"\x00\x02")
        assert answer is None or answer[1:4] == b"\x81\x00\x02", "4.01, or the session's end"
        assert (await asyncio.to_thread(after.ask, request % b"\x00\x03") or b"")[1:4] == b"\x44\x00\x03"
        with pytest.raises(HandshakeFailed):
            await asyncio.to_thread(DtlsDevice, client.dtls_port, old["identity"], old["text"].encode(), seconds=1)
    finally:
        before.leave()
        after.close()


async def test_over_tcp_messages_of_many_blocks_and_whole_ones_are_taken(client: Client) -> None:
    served = client.served
    pack = served.folder / "pack"
    where = f"coap+tcp://127.0.0.1:{served.port}/up/{METER}"
    for first, options in ((0, ()), (200, ("-b", "256"))):
        values = ",".join(f'{{"n":"volume","u":"m3","v":{n},"t":{n - 3000}}}' for n in range(first, first + 200))
        pack.write_text(f"[{values}]")
        assert await client.run("notls", *options, "-m", "post", "-t", "110", "-f", str(pack), where) == ""
    assert await served.volumes() == list(range(400))
    assert "4.00" in await client.run("notls", "-m", "post", "-t", "110", "-e", "[]", where)
    await served.key()
    assert "4.01" in await client.run("notls", "-m", "post", "-t", "110", "-f", str(pack), where)


async def test_time_and_a_command_come_in_one_answer(client: Client) -> None:
    broker = client.served.broker
    psk = await client.psk("correct horse battery")
    assert await client.post("gnutls", psk, 1) == ""
    await broker.ask("POST", "/api/v1/virtual-sensors/valve/commands", {"command": "close"})
    file, told = client.served.folder / "payload", client.served.folder / "told"
    printed = await client.run(
        *("gnutls", "-u", psk["identity"], "-k", psk["text"], "-m", "post", "-t", "110", "-A", "60", "-f", str(file)),
        *("-o", str(told), f"coaps://127.0.0.1:{client.dtls_port}/up"),
    )
    assert printed == ""
    answer = cbor2.loads(told.read_bytes())
    assert answer["command"] == b"\xc0"
    assert len(answer["tag"]) == 8
    assert answer["time"] > 1_700_000_000


async def test_an_orderly_stop_tells_the_devices_and_they_come_back(client: Client) -> None:
    psk = await client.psk("correct horse battery")
    assert await client.post("openssl", psk, 1) == ""
    await client.served.restart(kill=False)
    await until_served(client.served.port)
    assert await client.post("openssl", psk, 2) == ""
    assert await client.served.volumes() == [1, 2]
