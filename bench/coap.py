"""CoAP requests to the durable commit, in one process: UDP, OSCORE, DTLS, TCP in turn; all counted in the history at the end.

Each device sends its next message when the one before is answered 2.04. Beside the rate stands what the process spent of
its CPU, all threads of it: on a machine that the load shares, that tells what a core of its own would take.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from aiocoap import Code, Message, oscore
from aiocoap.numbers.types import CON

from adapters.coap.framing import Frames, framed
from bench.figures import Figure
from broker.clock import iso
from tests.support.broker import BrokerProcess
from tests.support.city import START, dev_eui, elsys_temperature, register, room
from tests.support.coap import until_served
from tests.support.dtls import DtlsDevice
from tests.support.ports import free_port

DEVICES = 64
PROCESSES = 2
MEASURED_SECONDS = 5.0
AIM = "3,000/s UDP a core"
CHANGED = 0x44
Key = dict[str, Any]


async def run(store: str, folder: Path) -> list[Figure]:
    """Requests a second by transport. Fails when one that was answered 2.04 is missing in the history."""
    broker = served(store, folder)
    await broker.start()
    await prepare(broker)
    figures, answered = [], 0
    try:
        for name in TRANSPORTS:
            figure, count = await _measured(broker, name)
            answered += count
            figures.append(figure)
        await _all_in_history(broker, answered)
    finally:
        await broker.stop()
    return figures


def served(store: str, folder: Path, **more: object) -> BrokerProcess:
    """A broker that serves CoAP over all there is; `more`: other settings of coap's."""
    settings: dict[str, object] = {
        "ENABLED": True,
        "PLAIN": True,
        "PORT": free_port(),
        "TCP": True,
        "DTLS": True,
        "DTLS_PORT": free_port(),
        **more,
    }
    environment = {f"KNUTPUNKT_COAP_{name}": str(value).lower() for name, value in settings.items()}
    return BrokerProcess(store, folder, environment | {"KNUTPUNKT_LOG_LEVEL": "warning"})


async def prepare(broker: BrokerProcess) -> None:
    """Its devices."""
    await register(broker, DEVICES)
    await until_served(int(broker.settings["KNUTPUNKT_COAP_PORT"]))


async def loaded(broker: BrokerProcess, name: str, pid: int) -> tuple[int, float]:
    """The devices ask by one of TRANSPORTS, each as soon as it is answered.

    How many were, and what process `pid` spent of its CPU, seconds.
    """
    load, scheme = TRANSPORTS[name]
    port = int(broker.settings["KNUTPUNKT_COAP_DTLS_PORT" if load is _dtls else "KNUTPUNKT_COAP_PORT"])
    keys = [await provision(broker, number, scheme) if scheme else {} for number in range(DEVICES)]
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(PROCESSES) as pool:
        numbers = [list(range(part, DEVICES, PROCESSES)) for part in range(PROCESSES)]
        used = _cpu_seconds(pid)
        counts = await asyncio.gather(
            *(loop.run_in_executor(pool, load, port, part, [keys[number] for number in part]) for part in numbers)
        )
        return sum(counts), _cpu_seconds(pid) - used


async def provision(broker: BrokerProcess, number: int, scheme: str) -> Key:
    """A new key of a device, as the answer has it."""
    _, made = await broker.ask("POST", f"/api/v1/devices/{dev_eui(number)}/keys", {"scheme": scheme})
    key: Key = made.get("oscore") or made["psk"]
    return key


async def _measured(broker: BrokerProcess, name: str) -> tuple[Figure, int]:
    assert broker.process is not None
    count, used = await loaded(broker, name, broker.process.pid)
    rate, each = count / MEASURED_SECONDS, used / count
    text = (
        f"{rate:,.0f} ({count:,} of {DEVICES} devices, none missing); "
        f"{each * 1e6:,.0f} µs of CPU each: {1 / each:,.0f} a core"
    )
    values = {"per_second": rate, "cpu_microseconds": each * 1e6, "per_core": 1 / each}
    return Figure(f"requests/s, CoAP over {name} to durable commit", text, AIM if name == "UDP" else "", values), count


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _all_in_history(broker: BrokerProcess, answered: int) -> None:
    """Every message that was answered has its observation."""
    found = 0
    for number in range(DEVICES):
        since = iso(START)
        while True:
            query = f"entity={room(number)}&attribute=temperature&since={since}&limit=1000"
            _, rows = await broker.ask("GET", f"/api/v1/history?{query}")
            fresh = [row for row in rows if row["observedAt"] != since]
            found += len(fresh)
            if len(rows) < 1000:
                break
            since = rows[-1]["observedAt"]
    if found != answered:
        raise AssertionError(f"{found} of {answered} messages are in the history")


# --- devices, in processes of their own -------------------------------------------------------------------------------


def _first() -> int:
    """Where a device's messages are counted from: where another's were a moment ago from its port, they must not be its own."""
    return secrets.randbelow(1 << 31)


def _request(number: int, serial: int, *, named: bool = True) -> Message:
    return Message(
        code=Code.POST,
        uri_path=("up", dev_eui(number)) if named else ("up",),
        payload=elsys_temperature(serial % 500 / 10),
        _mtype=CON,
        _mid=serial & 0xFFFF,
        _token=serial.to_bytes(4, "big"),
    )


class _Device(asyncio.DatagramProtocol):
    """Asks again as soon as it is answered."""

    def __init__(self, make: Callable[[int], bytes], read: Callable[[bytes], int]) -> None:
        self._make = make
        self._read = read
        self._serial, self.answered = _first(), 0
        self.stopped = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._serial += 1
        self._transport.sendto(self._make(self._serial))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        code = self._read(data)
        if code == CHANGED:
            self.answered += 1
        elif code != 0x81:  # an OSCORE server that asks for freshness
            raise AssertionError(f"answered {code:#x}")
        if not self.stopped:
            self._ask()


def _udp(port: int, numbers: list[int], keys: list[Key]) -> int:
    def make(number: int) -> tuple[Callable[[int], bytes], Callable[[bytes], int]]:
        return (lambda serial: bytes(_request(number, serial).encode())), (lambda data: data[1])

    return uvloop.run(_datagrams(port, [make(number) for number in numbers]))


async def _datagrams(port: int, devices: list[tuple[Callable[[int], bytes], Callable[[bytes], int]]]) -> int:
    loop = asyncio.get_running_loop()
    made = []
    for make, read in devices:
        _, device = await loop.create_datagram_endpoint(partial(_Device, make, read), remote_addr=("127.0.0.1", port))
        made.append(device)
    await asyncio.sleep(MEASURED_SECONDS)
    for device in made:
        device.stopped = True
    await asyncio.sleep(1.0)  # for what is under way
    return sum(device.answered for device in made)


class _Context(oscore.CanProtect, oscore.CanUnprotect, oscore.SecurityContextUtils):  # type: ignore[misc]  # no types
    """A device's security context."""

    alg_aead = oscore.algorithms[oscore.DEFAULT_ALGORITHM]
    hashfun = oscore.hashfunctions[oscore.DEFAULT_HASHFUNCTION]
    is_signing = responses_send_kid = False

    def __init__(self, key: Key) -> None:
        self.sender_id, self.recipient_id = bytes.fromhex(key["senderId"]), bytes.fromhex(key["recipientId"])
        self.id_context = None
        self.derive_keys(bytes.fromhex(key["masterSalt"]), bytes.fromhex(key["masterSecret"]))
        self.sender_sequence_number = 0
        self.recipient_replay_window = oscore.ReplayWindow(32, lambda: None)
        self.recipient_replay_window.initialize_empty()

    def post_seqnoincrease(self) -> None:
        """Nothing: it does not outlive the run."""


def _oscore(port: int, numbers: list[int], keys: list[Key]) -> int:
    def make(number: int, key: Key) -> tuple[Callable[[int], bytes], Callable[[bytes], int]]:
        context, sent = _Context(key), [None]

        def protected(serial: int) -> bytes:
            inner = _request(number, serial, named=False)
            outer, sent[0] = context.protect(inner)
            outer.mtype, outer.mid, outer.token = inner.mtype, inner.mid, inner.token
            return bytes(outer.encode())

        def opened(data: bytes) -> int:
            return int(context.unprotect(Message.decode(data), sent[0])[0].code)

        return protected, opened

    return uvloop.run(_datagrams(port, [make(number, key) for number, key in zip(numbers, keys, strict=True)]))


def _dtls(port: int, numbers: list[int], keys: list[Key]) -> int:
    """A thread each: GnuTLS waits without the interpreter's lock."""
    counts: list[int] = []

    def device(number: int, key: Key) -> None:
        session = DtlsDevice(port, key["identity"], bytes.fromhex(key["key"]), seconds=30)
        ends, answered, serial = time.perf_counter() + MEASURED_SECONDS, 0, _first()
        while time.perf_counter() < ends:
            serial += 1
            answer = session.ask(bytes(_request(number, serial, named=False).encode()))
            if answer is None or answer[1] != CHANGED:
                raise AssertionError(f"answered {answer!r}")
            answered += 1
        session.close()
        counts.append(answered)

    threads = [threading.Thread(target=device, args=pair) for pair in zip(numbers, keys, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(counts) < len(numbers):
        raise AssertionError("a device was not answered")
    return sum(counts)


def _tcp(port: int, numbers: list[int], keys: list[Key]) -> int:
    return uvloop.run(_streams(port, numbers))


async def _streams(port: int, numbers: list[int]) -> int:
    ends = asyncio.get_running_loop().time() + MEASURED_SECONDS

    async def device(number: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x00\xe1")  # a CSM
        frames, answered, serial = Frames(1 << 16), 0, _first()
        while asyncio.get_running_loop().time() < ends:
            serial += 1
            writer.write(framed(_request(number, serial)))
            code = 0xE1
            while code == 0xE1:
                for message in frames.feed(await reader.read(4096)):
                    code = int(message.code)
            if code != CHANGED:
                raise AssertionError(f"answered {code:#x}")
            answered += 1
        writer.close()
        return answered

    return sum(await asyncio.gather(*map(device, numbers)))


TRANSPORTS: dict[str, tuple[Callable[[int, list[int], list[Key]], int], str]] = {
    "UDP": (_udp, ""),
    "TCP": (_tcp, ""),
    "UDP with OSCORE": (_oscore, "oscore"),
    "DTLS": (_dtls, "dtls-psk"),
}
"""What asks, and the scheme of the keys that it asks with."""
