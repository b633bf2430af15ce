"""Where the time of a hot path goes: the broker in this process, its event loop under cProfile, the load from others.

cProfile makes many small calls look dearer than they are: good for finding what is called too often; what a change
gains only `python -m bench` tells. The store's writing thread is not in it.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import uvloop

from bench import coap
from bench.load import load
from bench.mqtt import applied, messages, wait_with_backlog
from bench.patch import create_entities, prepared
from broker.app import Running, serve
from broker.config import load_settings
from broker.logs import configure_logs
from tests.support.broker import BrokerProcess
from tests.support.mosquitto import Mosquitto

CONNECTIONS = 64
SECONDS = 8.0
LINES = 40

Work = Callable[[BrokerProcess], Awaitable[int]]
"""Loads the broker; returns how many operations it did."""


def profile_patch(store: str, folder: Path) -> None:
    """PATCH at 64 connections."""

    async def work(broker: BrokerProcess) -> int:
        return (await asyncio.to_thread(load, broker.port, prepared(), CONNECTIONS, SECONDS)).answered

    _profile(BrokerProcess(store, folder), create_entities, work)


def profile_mqtt(store: str, folder: Path) -> None:
    """A backlog of uplinks."""
    with Mosquitto(folder / "mosquitto") as mosquitto:
        broker = BrokerProcess(store, folder, {"KNUTPUNKT_MQTT": mosquitto.url})
        backlog = messages(0)
        asyncio.run(wait_with_backlog(broker, mosquitto, backlog))

        async def work(broker: BrokerProcess) -> int:
            while await applied(broker) < len(backlog):  # noqa: ASYNC110  (only to be asked for)
                await asyncio.sleep(0.5)
            return len(backlog)

        _profile(broker, None, work)


def _profile_coap(transport: str, store: str, folder: Path) -> None:
    async def work(broker: BrokerProcess) -> int:
        return (await coap.loaded(broker, transport, os.getpid()))[0]

    _profile(coap.served(store, folder), coap.prepare, work)


PROFILES: dict[str, Callable[[str, Path], None]] = {
    "patch": profile_patch,
    "mqtt": profile_mqtt,
    "coap": partial(_profile_coap, "UDP"),
    "oscore": partial(_profile_coap, "UDP with OSCORE"),
    "dtls": partial(_profile_coap, "DTLS"),
}


def _profile(broker: BrokerProcess, prepare: Callable[[BrokerProcess], Awaitable[None]] | None, work: Work) -> None:
    flags = {"http.port": broker.port, "store.url": broker.store, "log.level": "warning"}
    settings = load_settings(None, broker.settings, flags)
    configure_logs(settings.log)
    profiler = cProfile.Profile()
    done: list[tuple[int, float]] = []

    async def run() -> None:
        stop = asyncio.Event()
        running: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(settings, stop, started=running.set_result))
            await running
            if prepare is not None:
                await prepare(broker)
            began = time.perf_counter()
            profiler.enable()
            try:
                done.append((await work(broker), time.perf_counter() - began))
            finally:
                profiler.disable()
                stop.set()

    uvloop.run(run())
    operations, seconds = done[0]
    stats = pstats.Stats(profiler)
    stats.strip_dirs().sort_stats("tottime").print_stats(LINES)
    print(f"{operations:,} operations in {seconds:.1f} s under the profiler")
