"""What devices and others can make the CoAP server hold: no more than is allowed, and nothing once they are gone.

`python -m bench dtls` does the same with the numbers of production, and looks at memory.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.coap import dtls as dtls_module
from adapters.coap.server import CoapIntake
from adapters.coap.tcp import PIPELINED
from broker.clock import Clock
from broker.config import Coap, Limits
from tests.integration.test_coap_intake import free_udp_port
from tests.integration.test_coap_security import recorded
from tests.support.dtls import DtlsDevice, HandshakeFailed, client_hello, cookie_of
from tests.support.intake import RecordingIntake
from tests.support.keyring import KEY, Keyring

POST = b"\x40\x02%b\xb2up\x01m\xff1"  # to /up/m, from where there is no key
SECURE_POST = b"\x40\x02%b\xb2up\xff1"
CHANGED = 0x44
IDENTITIES = {f"meter-{n}.psk": f"meter-{n}" for n in range(4)}


@asynccontextmanager
async def serving(intake: RecordingIntake, **settings: Any) -> AsyncIterator[CoapIntake]:
    given = Coap(enabled=True, plain=True, port=free_udp_port(), dtls_port=free_udp_port(), **settings)
    adapter = CoapIntake(given, intake, Clock(), Limits(uplink_bytes=4096), keyring=Keyring(dict(IDENTITIES)))
    task = asyncio.create_task(adapter.run())
    try:
        await asyncio.wait_for(adapter.ready.wait(), 10)
        yield adapter
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Any, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def shake_hands(port: int, number: int, how: str) -> bytes | None:
    """A device's session with one message in it."""
    identity = list(IDENTITIES)[number % len(IDENTITIES)]
    device = DtlsDevice(port, identity, KEY)
    answer = device.ask(SECURE_POST % number.to_bytes(2, "big"))
    (device.close if how == "closed" else device.leave)()
    return answer


@pytest.mark.parametrize("how", ["closed", "left"])
async def test_sessions_end_when_they_are_closed_and_are_as_many_as_are_allowed(how: str) -> None:
    intake = RecordingIntake()
    async with serving(intake, dtls=True, sessions=20) as server:
        assert server.dtls is not None
        port, loop = server.dtls.port, asyncio.get_running_loop()
        with ThreadPoolExecutor(4) as pool:
            answers = await asyncio.gather(
                *(loop.run_in_executor(pool, shake_hands, port, number, how) for number in range(100))
            )
        assert all(answer is not None and answer[1] == CHANGED for answer in answers)
        assert {uplink.device_id for uplink in intake.uplinks} == set(IDENTITIES.values())
        left = 0 if how == "closed" else 20
        await until(lambda: server.dtls.state == {"handshaking": 0, "open": left, "library": left})
    assert server.dtls.state == {"handshaking": 0, "open": 0, "library": 0}


async def test_nothing_is_kept_of_junk_and_no_handshake_is_begun_without_a_cookie() -> None:
    chance = random.Random(7)
    async with serving(RecordingIntake(), dtls=True) as server:
        assert server.dtls is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as junk:
            junk.connect(("127.0.0.1", server.dtls.port))
            for number in range(2000):
                data = bytearray(client_hello() if number % 2 else b"\x16\xfe\xfd" + chance.randbytes(90))
                if number % 4 > 1:
                    data[chance.randrange(len(data))] = chance.randrange(256)
                junk.send(data)
                if number % 50 == 0:
                    await asyncio.sleep(0.002)
            await asyncio.sleep(0.1)
            assert server.dtls.state == {"handshaking": 0, "open": 0, "library": 0}
        answer = await asyncio.to_thread(shake_hands, server.dtls.port, 1, "closed")
        assert answer is not None


async def test_handshakes_that_are_not_finished_are_few_and_do_not_keep_others_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dtls_module, "HANDSHAKES", 30)
    async with serving(RecordingIntake(), dtls=True) as server:
        assert server.dtls is not None
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(100)]
        try:
            loop = asyncio.get_running_loop()
            for one in sockets:
                one.setblocking(False)
                one.connect(("127.0.0.1", server.dtls.port))
                await loop.sock_sendall(one, client_hello())
                verify = await asyncio.wait_for(loop.sock_recv(one, 2000), 5)
                await loop.sock_sendall(one, client_hello(cookie_of(verify), message=1))
                await asyncio.wait_for(loop.sock_recv(one, 2000), 5)  # the server's hello
            assert server.dtls.state == {"handshaking": 30, "open": 0, "library": 30}
            answer = await asyncio.to_thread(shake_hands, server.dtls.port, 1, "closed")
            assert answer is not None
            assert answer[1] == CHANGED
        finally:
            for one in sockets:
                one.close()


async def test_a_device_that_begins_anew_from_where_it_was_is_heard_and_nobody_else_ends_its_session() -> None:
    async with serving(RecordingIntake(), dtls=True) as server:
        assert server.dtls is not None
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            device.setblocking(False)
            device.connect(("127.0.0.1", server.dtls.port))

            async def answered(datagram: bytes, kind: int) -> bytes:
                """The handshake message of a kind that is answered."""
                await loop.sock_sendall(device, datagram)
                async with asyncio.timeout(5):
                    while (answer := await loop.sock_recv(device, 2000))[13] != kind:
                        pass
                return answer

            for number in range(3):
                chance = bytes((number,)) * 32
                verify = await answered(client_hello(chance=chance), 3)
                await answered(client_hello(cookie_of(verify), message=1, chance=chance), 2)
                assert server.dtls.state == {"handshaking": 1, "open": 0, "library": 1}
            own = device.getsockname()
        # From there a whole session, and then first messages that somebody else sends in its name, who sees no answer.
        session = await asyncio.to_thread(DtlsDevice, server.dtls.port, "meter-1.psk", KEY, local=own)
        assert server.dtls.state == {"handshaking": 0, "open": 1, "library": 1}
        server.dtls.datagram_received(client_hello(), own)
        server.dtls.datagram_received(client_hello(bytes(32), message=1), own)
        server.dtls.datagram_received(b"\x15\xfe\xfd" + bytes(8) + b"\0\x02\x01\0", own)
        assert server.dtls.state == {"handshaking": 0, "open": 1, "library": 1}
        session.close()
        await until(lambda: server.dtls.state == {"handshaking": 0, "open": 0, "library": 0})


async def test_a_handshake_takes_six_datagrams_as_the_page_says() -> None:
    async with serving(RecordingIntake(), dtls=True) as server:
        assert server.dtls is not None
        async with recorded(server.dtls.port) as (port, sent, answered):
            device = await asyncio.to_thread(DtlsDevice, port, "meter-1.psk", KEY)
            assert (len(sent), len(answered)) == (3, 3)
            assert sum(map(len, sent + answered)) == pytest.approx(620, abs=30)
            message = SECURE_POST % b"\x12\x34"
            await asyncio.to_thread(device.ask, message)
            assert len(sent[3]) - len(message) == 29
            await asyncio.to_thread(device.close)


async def test_who_has_not_the_key_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtls_module, "HANDSHAKE_SECONDS", 1.0)
    monkeypatch.setattr(dtls_module, "SWEEP_SECONDS", 0.1)
    async with serving(RecordingIntake(), dtls=True) as server:
        assert server.dtls is not None
        for identity, key in (("meter-1.psk", bytes(16)), ("nobody", KEY), ("x" * 120, KEY)):
            with pytest.raises(HandshakeFailed):
                await asyncio.to_thread(DtlsDevice, server.dtls.port, identity, key, seconds=0.5)
        await until(lambda: server.dtls.state == {"handshaking": 0, "open": 0, "library": 0})


async def test_requests_and_remembered_answers_are_as_many_as_are_allowed() -> None:
    intake = RecordingIntake()
    async with serving(intake, remembered=100, requests=10) as server:
        assert server.messages is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            device.setblocking(False)
            device.connect(("127.0.0.1", server.port))
            loop = asyncio.get_running_loop()

            async def ask(number: int) -> bytes:
                await loop.sock_sendall(device, POST % number.to_bytes(2, "big"))
                return await asyncio.wait_for(loop.sock_recv(device, 2000), 5)

            for number in range(300):
                assert (await ask(number))[1] == CHANGED
            assert server.messages.state["remembered"] == 100
            # Its repetition is answered from memory; what is forgotten is a new message, and the intake tells.
            assert (await ask(299))[1] == CHANGED
            assert len(intake.uplinks) == 300
            intake.open.clear()
            for number in range(1000, 1010):
                await loop.sock_sendall(device, POST % number.to_bytes(2, "big"))
            await until(lambda: intake.waiting == 10)
            busy = await ask(2000)
            assert busy[1] == 0xA3, "5.03"
            assert b"\xd1\x01\x0a" in busy, "Max-Age 10"
            assert server.messages.state["requests"] == 10
            intake.open.set()
            await until(lambda: len(intake.uplinks) == 310)


async def test_tcp_connections_and_what_they_ask_at_once_are_as_many_as_are_allowed() -> None:
    intake = RecordingIntake()
    hello, post = b"\x00\xe1", b"\x71\x02%b\xb2up\x01m\xff1"
    async with serving(intake, tcp=True, connections=3) as server:
        assert server.tcp is not None
        open_ones = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(4)]
        try:
            assert await asyncio.wait_for(open_ones[3][0].read(), 5) == b"", "one too many"
            reader, writer = open_ones[0]
            intake.open.clear()
            writer.write(hello + b"".join(post % bytes((number,)) for number in range(PIPELINED + 20)))
            await until(lambda: intake.waiting == PIPELINED)
            answers = b""
            async with asyncio.timeout(5):
                while answers.count(b"Too much is under way.") < 20:
                    answers += await reader.read(10_000)
            assert server.tcp.state == {"connections": 3, "requests": PIPELINED}
            # It goes while it is worked on: nothing is left of it.
            writer.transport.abort()
            await until(lambda: server.tcp.state == {"connections": 2, "requests": 0})
            # A message that would be too long is refused when it is announced.
            reader, writer = open_ones[1]
            writer.write(hello + b"\xf0\x00\x10\x00\x00\x02")
            assert b"at most" in await asyncio.wait_for(reader.read(), 5)
            # The first message must be a CSM.
            reader, writer = open_ones[2]
            writer.write(post % b"1")
            assert b"must be a CSM" in await asyncio.wait_for(reader.read(), 5)
            await until(lambda: server.tcp.state["connections"] == 0)
        finally:
            for _, writer in open_ones:
                writer.transport.abort()
