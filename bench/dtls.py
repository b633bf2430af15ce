"""What DTLS sessions, half-open ones and junk make the broker hold: its memory and its counts, round after round.

Memory is the broker process's resident set. Python and the C library keep what they have once had, so the first round shows
what the allowed number of sessions costs, and the rounds after it whether anything is left behind.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from bench.coap import Key, provision, served
from bench.figures import Figure
from tests.support.broker import BrokerProcess
from tests.support.city import register
from tests.support.coap import until_served
from tests.support.dtls import DtlsDevice, client_hello, cookie_of

DEVICES = 64
CONTENT = 0x45
HANDSHAKES = 10_000
SESSIONS = 5_000
JUNK = 20_000
HALF_OPEN = 3_000
IDLE_SECONDS = 25.0
ROUNDS = 2
PROCESSES, THREADS = 2, 4
ASK = b"\x40\x01%b\xb4time"
"""GET /time, which goes no further than the CoAP server: what uplinks take of memory is another matter."""
REMEMBERED = 2_000
"""coap.remembered: little, so that the first round reaches it."""
GROWTH_MB = 8.0
"""What a later round may add before it counts as a leak, MB."""


async def run(store: str, folder: Path) -> list[Figure]:
    """Fails when a bound is not kept or a later round needs more memory than the one before."""
    broker = served(store, folder, SESSIONS=SESSIONS, SESSION_IDLE_SECONDS=IDLE_SECONDS, REMEMBERED=REMEMBERED)
    await broker.start()
    figures: list[Figure] = []
    try:
        await register(broker, DEVICES)
        port = int(broker.settings["KNUTPUNKT_COAP_DTLS_PORT"])
        await until_served(int(broker.settings["KNUTPUNKT_COAP_PORT"]))
        keys = [await provision(broker, number, "dtls-psk") for number in range(DEVICES)]
        await _sessions(broker, port, keys, 500, closed=True)
        before = memory = _resident_mb(broker)
        for number in range(1, ROUNDS + 1):
            memory = await _round(broker, port, keys, number, memory, figures)
        figures.append(Figure("DTLS, memory after all", f"{memory:.1f} MB (before: {before:.1f} MB)", "flat"))
    finally:
        await broker.stop()
    return figures


async def _round(
    broker: BrokerProcess, port: int, keys: list[Key], number: int, before: float, figures: list[Figure]
) -> float:
    """The memory after one round, MB; `before` is that before it."""

    async def told(what: str, bounds: dict[str, int]) -> None:
        await asyncio.sleep(2.5)  # the metrics are brought up to date each second
        held, memory = await _held(broker), _resident_mb(broker)
        for name, most in bounds.items():
            if held[name] > most:
                raise AssertionError(f"{what}: {held[name]} {name}, at most {most} are allowed")
        counts = ", ".join(f"{held[name]:,} {name.removeprefix('dtls ')}" for name in bounds)
        figures.append(Figure(f"DTLS round {number}: {what}", f"{memory:.1f} MB; {counts}", "", {"megabytes": memory}))

    rate = await _sessions(broker, port, keys, HANDSHAKES, closed=True)
    await told(
        f"{HANDSHAKES:,} sessions with a message each, closed ({rate:,.0f}/s)",
        {"dtls open": 0, "dtls handshaking": 0, "dtls library": 0},
    )
    rate = await _sessions(broker, port, keys, HANDSHAKES, closed=False)
    await told(f"{HANDSHAKES:,} never closed ({rate:,.0f}/s)", {"dtls open": SESSIONS, "dtls library": SESSIONS})
    await asyncio.to_thread(_half_open, port, HALF_OPEN)
    await told(f"{HALF_OPEN:,} half-open", {"dtls handshaking": 1000})
    await asyncio.to_thread(_junk, port, JUNK)
    await told(f"{JUNK:,} junk datagrams", {"dtls handshaking": 1000})
    deadline = time.monotonic() + 90
    while (held := await _held(broker))["dtls library"] and time.monotonic() < deadline:  # noqa: ASYNC110  (a process)
        await asyncio.sleep(1)
    if held["dtls library"]:
        raise AssertionError(f"{held['dtls library']} sessions are left that nobody uses")
    await told("all idle", {"dtls open": 0, "dtls handshaking": 0, "dtls library": 0})
    memory = _resident_mb(broker)
    if number > 1 and memory > before + GROWTH_MB:
        raise AssertionError(f"Memory grew from {before:.1f} to {memory:.1f} MB in round {number}")
    return memory


def _resident_mb(broker: BrokerProcess) -> float:
    assert broker.process is not None
    status = Path(f"/proc/{broker.process.pid}/status").read_text("ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


async def _held(broker: BrokerProcess) -> dict[str, int]:
    _, text = await broker.ask("GET", "/metrics")
    return {what: int(float(count)) for what, count in re.findall(r'knutpunkt_coap_held\{what="([^"]+)"\} (\S+)', text)}


async def _sessions(broker: BrokerProcess, port: int, keys: list[Key], count: int, *, closed: bool) -> float:
    """So many sessions with a message each; how many a second."""
    loop, began = asyncio.get_running_loop(), time.perf_counter()
    with ProcessPoolExecutor(PROCESSES) as pool:
        parts = [(part, count // PROCESSES) for part in range(PROCESSES)]
        await asyncio.gather(*(loop.run_in_executor(pool, _devices, port, keys, *part, closed) for part in parts))
    return count / (time.perf_counter() - began)


def _devices(port: int, keys: list[Key], part: int, count: int, closed: bool) -> None:
    def one(number: int) -> None:
        key = keys[number % len(keys)]
        device = DtlsDevice(port, key["identity"], bytes.fromhex(key["key"]), seconds=30)
        answer = device.ask(ASK % (number & 0xFFFF).to_bytes(2, "big"))
        if answer is None or answer[1] != CONTENT:
            raise AssertionError(f"answered {answer!r}")
        (device.close if closed else device.leave)()

    with ThreadPoolExecutor(THREADS) as threads:
        for done in threads.map(one, range(part * count, (part + 1) * count)):
            assert done is None


def _half_open(port: int, count: int) -> None:
    """Handshakes that go no further than the server's hello."""
    for _ in range(count):
        # Some come from where another device was a moment ago, as behind an operator's NAT.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            device.settimeout(10)
            device.connect(("127.0.0.1", port))
            chance = os.urandom(32)
            device.send(client_hello(chance=chance))
            device.send(client_hello(cookie_of(device.recv(2000)), message=1, chance=chance))
            device.recv(2000)


def _junk(port: int, count: int) -> None:
    """Noise, noise with a record's head, first messages with a byte changed; from a new address each hundred."""
    chance, hello = random.Random(1), client_hello()
    for first in range(0, count, 100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            device.connect(("127.0.0.1", port))
            for number in range(first, first + 100):
                kind = number % 3
                data = bytearray(chance.randbytes(chance.randrange(200)) if kind == 0 else hello)
                if kind == 1:
                    data = bytearray(b"\x16\xfe\xfd" + bytes(data[:60]) + chance.randbytes(60))
                elif kind == 2:
                    data[chance.randrange(len(data))] = chance.randrange(256)
                device.send(data)
            time.sleep(0.005)
