"""`knutpunkt demo`: Mosquitto, the broker, the city and its simulator, started and stopped together."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import click
import uvloop
from prometheus_client import REGISTRY

from broker.app import Running, serve
from broker.cli.demo.city import City, load_city
from broker.cli.demo.client import Api, DemoError, load
from broker.cli.demo.mosquitto import find_mosquitto, mosquitto
from broker.cli.demo.networks import Network, OverCoap, OverHttp, OverMqtt
from broker.cli.demo.ports import LOOPBACK, free_tcp_port, free_udp_port
from broker.cli.demo.simulator import Simulator
from broker.clock import Clock
from broker.config import load_settings
from broker.errors import BrokerError
from broker.logs import configure_logs
from broker.stores.base import StoreTooNew

WAIT_SECONDS = 20.0
"""For the broker's subscription at Mosquitto, and for the first value to be there."""
LOOK_SECONDS = 0.05
FIRST_TO_LOOK_AT = "urn:ngsi-ld:IndoorEnvironmentObserved:room-214"


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=1026, show_default=True, help="HTTP port; 0: any free.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to keep the city in; by default a temporary one.",
)
@click.option(
    "--every",
    type=click.FloatRange(0.5),
    default=10.0,
    show_default=True,
    help="Each sensor sends every so many seconds.",
)
@click.option(
    "--mosquitto",
    "mosquitto_program",
    default="mosquitto",
    show_default=True,
    metavar="PROGRAM",
    help="The Mosquitto to start.",
)
@click.option("--log-level", default="error", show_default=True, help="Of the broker: debug, info, warning or error.")
def demo(port: int, data: Path | None, every: float, mosquitto_program: str, log_level: str) -> None:
    """Run a broker with a small city: buildings, rooms, some twenty sensors that send, until Ctrl-C.

    Everything runs on this machine's loopback address. Environment variables and settings files are not looked at.
    """
    with tempfile.TemporaryDirectory(prefix="knutpunkt-demo-") as temporary:
        folder = data if data is not None else Path(temporary)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(
                    _Demo(
                        folder.resolve(),
                        port,
                        every,
                        find_mosquitto(mosquitto_program),
                        log_level,
                        keeps=data is not None,
                    ).run()
                )
        except* (DemoError, BrokerError, StoreTooNew, OSError, aiohttp.ClientError) as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise click.ClickException(f"The demo stops: {error}") from None
    click.echo("Stopped.")


class _Demo:
    """One run."""

    def __init__(
        self, folder: Path, port: int, every: float, mosquitto_program: str | None, log_level: str, *, keeps: bool
    ) -> None:
        self._folder = folder
        self._wanted = port
        self._port = free_tcp_port(port)
        self._coap_port = free_udp_port(5683)
        self._every = every
        self._mosquitto = mosquitto_program
        self._log_level = log_level
        self._keeps = keeps
        self._clock = Clock()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        if self._wanted not in (0, self._port):
            click.echo(f"Port {self._wanted} is taken; using {self._port}.")
        async with AsyncExitStack() as running:
            mqtt_port = None
            if self._mosquitto is not None:
                click.echo("Starting Mosquitto ...")
                mqtt_port = await running.enter_async_context(mosquitto(self._mosquitto, self._folder / "mosquitto"))
            else:
                click.echo(
                    "Mosquitto is not installed (apt-get install mosquitto); the sensors use the HTTP intake instead."
                )
            await self._broker_and_city(mqtt_port)

    async def _broker_and_city(self, mqtt_port: int | None) -> None:
        click.echo("Starting the broker ...")
        flags: dict[str, Any] = {
            "http.host": LOOPBACK,
            "http.port": self._port,
            "store.url": f"sqlite:///{self._folder}/knutpunkt.db",
            "mqtt": (f"mqtt://{LOOPBACK}:{mqtt_port}",) if mqtt_port is not None else (),
            "coap.enabled": True,
            "coap.plain": True,
            "coap.port": self._coap_port,
            "log.level": self._log_level,
        }
        settings = load_settings(flags=flags)
        configure_logs(settings.log)
        serves: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        stop_broker = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(settings, stop_broker, started=serves.set_result))
            city = tasks.create_task(self._city(serves, mqtt_port))
            await self._stop.wait()
            click.echo("\nStopping ...")
            city.cancel()
            await asyncio.wait([city])
            stop_broker.set()

    async def _city(self, serves: asyncio.Future[Running], mqtt_port: int | None) -> None:
        """Load the city, then send for it until cancelled."""
        url = f"http://{LOOPBACK}:{(await serves).port}"
        city = load_city()
        async with aiohttp.ClientSession() as session, AsyncExitStack() as open_networks:
            api = Api(session, url)
            click.echo("Building the city ...")
            await load(api, city, self._clock.now())
            networks = await self._networks(api, mqtt_port, open_networks)
            simulator = Simulator(city, api, networks, self._clock)
            await simulator.first_round()
            await self._first_value(api)
            click.echo(_welcome(url, city, self._coap_port, mqtt_port, self._folder if self._keeps else None))
            await simulator.run(self._every)

    async def _networks(self, api: Api, mqtt_port: int | None, closing: AsyncExitStack) -> dict[str, Network]:
        coap = OverCoap(self._coap_port)
        await coap.open()
        closing.push_async_callback(coap.close)
        if mqtt_port is None:
            return {"lorawan": OverHttp(api, self._clock), "nb-iot": coap}
        await _until(_subscribed, "the broker has not subscribed at Mosquitto")
        mqtt = OverMqtt(mqtt_port, self._clock)
        await mqtt.open()
        closing.push_async_callback(mqtt.close)
        return {"lorawan": mqtt, "nb-iot": coap}

    async def _first_value(self, api: Api) -> None:
        async def there() -> bool:
            return "temperature" in await api.ask("GET", f"/ngsi-ld/v1/entities/{FIRST_TO_LOOK_AT}")

        await _until(there, "no value of a sensor has arrived")


async def _until(true: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    for _ in range(round(WAIT_SECONDS / LOOK_SECONDS)):
        if await true():
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise DemoError(f"{otherwise} within {WAIT_SECONDS:.0f} s.")


async def _subscribed() -> bool:
    """Whether the broker's subscription stands: what is published before goes to nobody."""
    return any(
        sample.value == 1
        for family in REGISTRY.collect()
        if family.name == "knutpunkt_connected"
        for sample in family.samples
        if sample.labels["adapter"] == "mqtt"
    )


def _welcome(url: str, city: City, coap_port: int, mqtt_port: int | None, kept: Path | None) -> str:
    program = os.path.relpath(sys.argv[0]) if Path(sys.argv[0]).name == "knutpunkt" else "knutpunkt"
    if program.startswith(".."):
        program = "knutpunkt"
    command = program if url.endswith(":1026") else f"KNUTPUNKT_URL={url} {program}"
    intake = f"mqtt://{LOOPBACK}:{mqtt_port}" if mqtt_port is not None else f"{url}/api/v1/uplinks/chirpstack"
    unknown = city.unknown
    return f"""
Knutpunkt runs with the city of Sörälva: {len(city.entities)} entities, {len(city.virtual_sensors)} virtual sensors.

  API        {url}/ngsi-ld/v1
  health     {url}/health/ready     metrics  {url}/metrics
  uplinks    {intake}     CoAP  coap://{LOOPBACK}:{coap_port}/up/DEVICE
  data       {kept or "temporary, removed at the end"}

Look at a room's climate; it changes every few seconds:

  curl '{url}/ngsi-ld/v1/entities/{FIRST_TO_LOOK_AT}?options=simplified'

A school and all that it contains, with what is known of each:

  {command} place show urn:ngsi-ld:Building:school

All climates, the sensors, and a device that nobody knows:

  curl '{url}/ngsi-ld/v1/entities?type=IndoorEnvironmentObserved&options=simplified'
  {command} sensor list
  {command} quarantine
  {command} device claim {unknown.id} {unknown.virtual_sensor} --model {unknown.model}

Swap room 214's sensor for the spare on the shelf; the entity stays the same:

  {command} swap room-214-climate {city.spare}

Ctrl-C stops everything."""
