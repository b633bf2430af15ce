"""CoAP intake asked by libcoap's client."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import cbor2
import pytest

from adapters.coap.server import CoapIntake
from broker.clock import SECOND, Clock
from broker.config import Coap, Limits
from broker.errors import Overloaded
from tests.support.intake import RecordingIntake
from tests.support.ports import free_port

LIMITS = Limits(uplink_bytes=8192)
NOW = 1_780_000_000 * SECOND
METER = "350457790000001"
PACK = b'[{"bn":"urn:dev:imei:350457790000001:","bt":1779999900,"n":"volume","u":"m3","v":123.456}]'


def free_udp_port() -> int:
    return free_port(socket.SOCK_DGRAM)


def client() -> str:
    found = shutil.which("coap-client-notls") or shutil.which("coap-client")
    if found is None:
        raise RuntimeError("coap-client is not installed; on Debian: apt-get install libcoap3-bin")
    return found


class Server:
    """A served CoapIntake and libcoap's client to ask it with."""

    def __init__(self, intake: RecordingIntake, port: int, folder: Path) -> None:
        self.intake = intake
        self.port = port
        self._folder = folder

    async def post(self, path: str, payload: bytes, *options: str) -> str:
        """What the client prints: nothing on success, else the code and the diagnostic payload."""
        file = self._folder / "payload"
        file.write_bytes(payload)
        return await self.ask("-m", "post", "-f", str(file), *options, f"coap://127.0.0.1:{self.port}{path}")

    async def ask(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            client(), "-B", "10", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        return output.decode(errors="replace").strip()


@contextlib.asynccontextmanager
async def serving(folder: Path, intake: RecordingIntake, port: int) -> AsyncIterator[Server]:
    adapter = CoapIntake(Coap(enabled=True, plain=True, port=port), intake, Clock(lambda: NOW), LIMITS)
    task = asyncio.create_task(adapter.run())
    try:
        await asyncio.wait_for(adapter.ready.wait(), 10)
        yield Server(intake, port, folder)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path, RecordingIntake(), free_udp_port()) as running:
        yield running


async def test_a_senml_json_pack_is_taken_with_its_values(server: Server) -> None:
    assert await server.post(f"/up/{METER}", PACK, "-t", "110") == ""
    uplink = server.intake.uplinks[0]
    assert (uplink.source, uplink.device_id, uplink.raw) == ("coap", METER, PACK)
    assert [(v.name, v.value, v.unit, v.at) for v in uplink.values] == [
        ("volume", 123.456, "m3", 1_779_999_900 * SECOND)
    ]


async def test_a_senml_cbor_pack_is_taken_with_its_values(server: Server) -> None:
    pack = cbor2.dumps([{-2: "volume", 1: "m3", 2: 7.5, 6: -60}])
    assert await server.post("/up/Meter-7", pack, "-t", "112") == ""
    uplink = server.intake.uplinks[0]
    assert uplink.device_id == "meter-7"
    assert [(v.name, v.value, v.at) for v in uplink.values] == [("volume", 7.5, NOW - 60 * SECOND)]


@pytest.mark.parametrize("options", [(), ("-t", "42")])
async def test_raw_bytes_are_taken_as_payload(server: Server, options: tuple[str, ...]) -> None:
    assert await server.post(f"/up/{METER}", b"\x01\x02\xff", *options) == ""
    assert server.intake.uplinks[0].payload == b"\x01\x02\xff"


async def test_a_block_wise_transfer_is_taken_whole(server: Server) -> None:
    payload = bytes(range(256)) * 16
    assert await server.post(f"/up/{METER}", payload, "-b", "256") == ""
    assert [each.payload for each in server.intake.uplinks] == [payload]


async def test_a_transfer_beyond_the_limit_is_refused_and_the_next_is_taken(server: Server) -> None:
    assert "4.13" in await server.post(f"/up/{METER}", b"x" * 10_000, "-b", "512")
    assert await server.post(f"/up/{METER}", b"ok") == ""
    assert [each.payload for each in server.intake.uplinks] == [b"ok"]


async def test_what_cannot_be_understood_is_kept_and_told(server: Server) -> None:
    answer = await server.post(f"/up/{METER}", b'[{"n":"volume"}]', "-t", "110")
    assert "4.00" in answer
    assert "Record 0" in answer
    assert server.intake.rejected[0].raw == b'[{"n":"volume"}]'
    assert server.intake.rejected[0].meta["content_format"] == 110
    assert "4.00" in await server.post("/up/a%20b", b"1")


async def test_another_format_another_path_and_another_method_are_refused(server: Server) -> None:
    assert "4.15" in await server.post(f"/up/{METER}", b"1", "-t", "41")
    assert "4.04" in await server.post("/up/a/b", b"1")
    assert "4.04" in await server.post("/elsewhere", b"1")
    assert "4.05" in await server.ask("-m", "get", f"coap://127.0.0.1:{server.port}/up/{METER}")
    assert server.intake.attempts == 0


async def test_overload_is_answered_5_03_with_max_age(server: Server) -> None:
    server.intake.failure = Overloaded("The writer is behind.", retry_after=17)
    answer = await server.post(f"/up/{METER}", b"1", "-v", "7")
    assert "5.03" in answer
    assert "Max-Age:17" in answer
    assert "The writer is behind." in answer


async def test_an_unregistered_device_is_told_that_its_message_is_kept(server: Server) -> None:
    server.intake.outcome = "quarantined"
    assert await server.post("/up/unknown", b"1") == ""
    assert len(server.intake.uplinks) == 1


async def test_the_answer_waits_for_the_commit(server: Server) -> None:
    server.intake.open.clear()
    asking = asyncio.create_task(server.post(f"/up/{METER}", b"1"))
    await asyncio.sleep(0.5)
    assert not asking.done()
    server.intake.open.set()
    assert await asking == ""


async def test_the_resource_is_discoverable(server: Server) -> None:
    answer = await server.ask("-m", "get", f"coap://127.0.0.1:{server.port}/.well-known/core")
    assert "</up>" in answer
    assert "knutpunkt.uplink" in answer


async def test_a_retransmission_after_a_restart_has_the_same_frame_key(tmp_path: Path) -> None:
    """The same datagram to two processes, one after the other, from the same socket."""
    datagram = struct.pack("!BBH", 0x44, 0x02, 4711) + b"tokn" + b"\xb2up" + b"\x01m" + b"\xff" + b"21.5"
    intake, port = RecordingIntake(), free_udp_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.setblocking(False)
        device.bind(("127.0.0.1", 0))
        for count in (1, 2):
            async with serving(tmp_path, intake, port):
                device.sendto(datagram, ("127.0.0.1", port))
                device.sendto(datagram, ("127.0.0.1", port))
                await intake.until_committed(count)
    first, second = intake.uplinks
    assert first.frame_key == second.frame_key


async def test_junk_datagrams_do_not_stop_the_server(server: Server) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as junk:
        for size in range(64):
            junk.sendto(bytes((size * 7 + n * 13) % 256 for n in range(size)), ("127.0.0.1", server.port))
            junk.sendto(b"\x40" + bytes((size * 5 + n * 11) % 256 for n in range(size)), ("127.0.0.1", server.port))
    assert await server.post(f"/up/{METER}", b"1") == ""
