"""The one place that builds the parts, runs them together, and stops them in order.

start  store -> tenants (a writer and a delivery each) -> HTTP, MQTT, CoAP
stop   HTTP, MQTT, CoAP take nothing new -> what is being sent to devices is settled -> the writers drain -> deliveries end what is under way -> the store closes
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web

from adapters.coap.server import CoapIntake
from adapters.kept import read_kept
from adapters.mqtt.client import MqttIntake
from adapters.mqtt.networks.known import Networks, networks
from adapters.mqtt.sender import MqttSender
from broker import __version__
from broker.access.source import SourceSecret
from broker.api.server import build_app, make_runner
from broker.api.services import Services, UplinkDoor
from broker.clock import Clock
from broker.config import InvalidSetting, Limits, Settings
from broker.devices.sealing import Sealer
from broker.ending import end
from broker.entities.contexts import ContextShelf
from broker.errors import BrokerError
from broker.jsonld.resolver import ContextResolver
from broker.jsonld.upkeep import Upkeep
from broker.outbound import Fetched, Outbound
from broker.outbound.transports import Transports
from broker.pipeline.claims import Claims
from broker.pipeline.decoding import Decoders
from broker.pipeline.downlinks import Downlinks
from broker.pipeline.expiry import Expiry
from broker.pipeline.feed import Feed
from broker.pipeline.fetching import Fetching
from broker.pipeline.following import Following
from broker.pipeline.guard import GuardedTenants, guarded
from broker.pipeline.intake import Uplink
from broker.pipeline.keyring import Keys
from broker.pipeline.personal import SHARED_TRUST_SECONDS, PersonalData
from broker.pipeline.quarantine import Quarantine
from broker.pipeline.raw_uplinks import RawUplinks
from broker.pipeline.replays import Replays
from broker.pipeline.reprocess.looking import Looking
from broker.pipeline.reprocess.run import Reprocessings
from broker.pipeline.retention import Retention
from broker.pipeline.silence import Silence
from broker.pipeline.tenants import Tenant, Tenants
from broker.pipeline.uplinks import Uplinks
from broker.pipeline.writer import Writer
from broker.places.about import about
from broker.places.containment import vocabulary
from broker.stores.base import BYTES_DROPPED, Store, TenantStore, UplinkRow
from broker.stores.open import create_store
from broker.subscriptions.delivery import Delivery
from broker.subscriptions.index import SubscriptionIndex
from broker.subscriptions.receivers.telling import Telling
from broker.subscriptions.receivers.words import About

log = structlog.get_logger(__name__)

OPEN_FILES = 65_536
"""Files and sockets open at once, count, where the system allows it: what a shell allows by default (1,024) is for people."""
LOOK_SECONDS = 2.0
"""How often planned swaps are looked for whose moment has come."""
CATCH_UP_LOOKS = 30
"""Every so many looks, the quarantine is looked through for devices that are bound."""


@dataclass(frozen=True, slots=True)
class Parts:
    """One process's parts, built and not yet running."""

    settings: Settings
    clock: Clock
    store: Store
    following: Following
    outbound: Outbound
    transports: Transports
    telling: Telling
    """Of the default tenant."""
    contexts: ContextResolver
    upkeep: Upkeep
    tenants: Tenants
    uplinks: Uplinks
    claims: Claims
    quarantine: Quarantine
    reprocessings: Reprocessings
    raw_uplinks: RawUplinks
    silence: Silence
    retention: Retention
    downlinks: Downlinks
    decoders: Decoders
    keys: Keys
    networks: Networks


@dataclass(frozen=True, slots=True)
class Running:
    """Where a running broker can be reached."""

    host: str
    port: int
    parts: Parts
    stop: asyncio.Event
    """Set it to stop the broker."""


async def serve_until_stopped(settings: Settings, *, started: Callable[[Running], None] | None = None) -> None:
    """Run a broker until SIGTERM, SIGINT or `Running.stop`; `started` is called when it serves."""
    stop = asyncio.Event()
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, wanted), most))
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    try:
        await serve(settings, stop, started=started)
    finally:
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(signal_number)


async def serve(settings: Settings, stop: asyncio.Event, *, started: Callable[[Running], None] | None = None) -> None:
    """Run a broker until `stop` is set. A part that fails stops the whole, and its error is raised."""
    clock = Clock()
    async with _built(settings, clock) as parts, asyncio.TaskGroup() as inner:
        inner.create_task(_watched(stop, "tenants", parts.tenants.run()))
        chores = [inner.create_task(_watched(stop, "following", parts.following.run()))]
        inner.create_task(_watched(stop, "claims", _catch_up(parts, stop)))
        inner.create_task(_watched(stop, "quarantine", parts.quarantine.run(stop)))
        inner.create_task(_watched(stop, "reprocessings", parts.reprocessings.run(stop)))
        inner.create_task(_watched(stop, "contexts", parts.upkeep.run()))
        inner.create_task(_watched(stop, "silence", parts.silence.run(stop)))
        inner.create_task(_watched(stop, "retention", parts.retention.run(stop)))
        inner.create_task(_watched(stop, "downlinks", parts.downlinks.run()))
        try:
            async with _http(parts) as (host, port), asyncio.TaskGroup() as intakes:
                tasks = [intakes.create_task(_watched(stop, name, run)) for name, run in _adapters(parts)]
                log.info("broker.started", version=__version__, host=host, port=port, store=_kind(settings))
                if started is not None:
                    started(Running(host, port, parts, stop))
                await stop.wait()
                log.info("broker.stopping")
                for task in tasks:
                    task.cancel()
        finally:
            await parts.downlinks.close()
            await parts.upkeep.close()
            await parts.tenants.close(settings.shutdown_seconds / 2, settings.shutdown_seconds / 5)
            await end(chores)
    log.info("broker.stopped")


@asynccontextmanager
async def _built(settings: Settings, clock: Clock) -> AsyncIterator[Parts]:
    """All parts on an open store; closed again at the end."""
    store = create_store(settings.store, clock)
    await store.open()
    outbound = Outbound(settings.delivery)
    transports = Transports(settings.delivery, settings.smtp, outbound)
    decoders = Decoders(settings.codecs)
    try:
        contexts = ContextResolver(_fetch(outbound, settings), clock, settings.limits)

        async def make(name: str) -> Tenant:
            """Opens a tenant's store and builds what serves it."""
            tenant = await store.tenant(name)
            shared = not settings.store.url.startswith("sqlite:")
            personal = PersonalData(tenant, trust_seconds=SHARED_TRUST_SECONDS if shared else 0.0)
            index = SubscriptionIndex()
            delivery = Delivery(
                tenant,
                transports,
                settings.delivery,
                clock,
                clock.new_id(),
                contexts.resolve,
                shared=shared,
                tenant=name,
                personal=personal.now,
                limits=settings.limits,
                known=index.known,
                telling=_telling(tenant, personal, settings, contexts, clock),
            )
            writer = Writer(
                tenant,
                clock,
                settings.writer,
                index,
                delivery.wake,
                tenant=name,
                personal=personal,
                on_subscriptions=delivery.refresh,
                in_step=lambda: following is None or following.in_step(),
            )
            expiry = Expiry(tenant, writer, clock, settings.delivery.told_days)
            replays = Replays(tenant, delivery, clock, personal, clock.new_id(), settings.delivery.lease_seconds)
            feed = Feed(tenant, writer, clock, settings.streams)
            return Tenant(name, tenant, writer, delivery, expiry, personal, replays, feed)

        following: Following | None = None
        tenants = Tenants(await make(""), make, settings.tenants, clock)
        following = Following(store, tenants.moved, alone=settings.store.url.startswith("sqlite:"))
        here = tenants.default
        raw = RawUplinks(settings.raw_uplinks.keep_days, tenants.stores, tenants.record_of, clock)
        await raw.refresh()
        uplinks = Uplinks(here.store, here.writer, clock, settings.limits, decoders, raw)
        asked = guarded(here)  # what handlers call looks at on whose behalf it is called
        known = networks(settings.networks)
        read_again = _reader_of_kept(known, settings.limits)
        claims = Claims(asked.store, asked.writer, uplinks, read_again, clock, settings.limits)
        quarantine = Quarantine(asked.store, asked.writer, clock, settings.quarantine.keep_days)
        looking = Looking(uplinks, read_again, settings.limits)
        reprocessings = Reprocessings(
            asked.store, asked.writer, here.writer, looking, clock, settings.reprocess.preview_seconds
        )
        senders = _senders(settings, known, clock)
        downlinks = Downlinks(asked.store, asked.writer, clock, settings.actuation, senders, decoders)
        upkeep = Upkeep(contexts, ContextShelf(here.store, here.writer))
        keys = Keys(here.store, here.writer, clock, Sealer(settings.coap.key_secret))
        silence = Silence(here.store, here.writer, clock, settings.alarms, clock.new_id())
        yield Parts(
            settings=settings,
            clock=clock,
            store=store,
            following=following,
            outbound=outbound,
            transports=transports,
            telling=_telling(here.store, here.personal, settings, contexts, clock),
            contexts=contexts,
            upkeep=upkeep,
            tenants=tenants,
            uplinks=uplinks,
            claims=claims,
            quarantine=quarantine,
            reprocessings=reprocessings,
            raw_uplinks=raw,
            silence=silence,
            retention=Retention(here.store, here.writer, here.personal, clock, raw=raw),
            downlinks=downlinks,
            decoders=decoders,
            keys=keys,
            networks=known,
        )
    finally:
        decoders.close()
        await transports.close()
        await outbound.close()
        await store.close()


def _telling(
    store: TenantStore, personal: PersonalData, settings: Settings, contexts: ContextResolver, clock: Clock
) -> Telling:
    """What ready receivers are told is made with it: names of rooms and buildings are looked up when it is told."""
    words = vocabulary(settings.places, contexts.core)
    name = contexts.core.expand("name")

    async def describe(ids: Iterable[str], granted: bool) -> Mapping[str, About]:
        hidden = None if granted else await personal.now()
        return await about(store, ids, words, name, hidden, levels=settings.places.levels, now=clock.now())

    return Telling(describe, settings.base_url)


def _reader_of_kept(known: Networks, limits: Limits) -> Callable[[UplinkRow], Uplink]:
    def read_again(row: UplinkRow) -> Uplink:
        assert row.device_id is not None
        if BYTES_DROPPED in row.meta:
            raise ValueError("its bytes are not kept any more (raw_uplinks.keep_days)")
        return read_kept(
            known,
            source=row.source,
            device_id=row.device_id,
            raw=row.raw,
            meta=row.meta,
            received_at=row.received_at,
            limits=limits,
        )

    return read_again


def _fetch(outbound: Outbound, settings: Settings) -> Callable[[str], Coroutine[Any, Any, Fetched]]:
    async def fetch(url: str) -> Fetched:
        return await outbound.fetch(
            url,
            accept="application/ld+json, application/json",
            max_bytes=settings.limits.context_bytes,
            timeout=settings.limits.context_seconds,
        )

    return fetch


@asynccontextmanager
async def _http(parts: Parts) -> AsyncIterator[tuple[str, int]]:
    """The HTTP server; at the end it finishes the requests it has and takes no more."""
    settings = parts.settings
    services = Services(
        settings=settings,
        tenants=GuardedTenants(parts.tenants),
        contexts=parts.contexts,
        clock=parts.clock,
        ready=lambda: _ready(parts),
        intake=parts.uplinks,
        claims=parts.claims,
        downlinks=parts.downlinks,
        quarantine=parts.quarantine,
        reprocessings=parts.reprocessings,
        raw_uplinks=parts.raw_uplinks,
        transport=parts.transports,
        telling=parts.telling,
        uplink_doors=_uplink_doors(settings, parts.networks),
        keys_changed=parts.keys.refresh_device,
    )
    runner = make_runner(build_app(services), services)
    await runner.setup()
    try:
        listening = _listen(settings.http.host, settings.http.port)
        await web.SockSite(runner, listening).start()
        host, port = listening.getsockname()[:2]
        yield host, port
    finally:
        parts.tenants.end_streams()
        await runner.cleanup()


def _uplink_doors(settings: Settings, known: Networks) -> dict[str, UplinkDoor]:
    """Every network that pushes, by its own name, and the sources of the settings by theirs. Raises InvalidSetting."""
    doors = {
        name: UplinkDoor(name, server.read_http, server.http_parameters)
        for name, server in known.items()
        if server.read_http is not None
    }
    networks_that_push = sorted(doors)
    made: dict[str, UplinkDoor] = {}
    for source in settings.sources:
        server = known.get(source.network)
        if server is None or server.read_http is None:
            names = ", ".join(networks_that_push)
            raise InvalidSetting(
                f"sources '{source.name}': 'network' must be one of {names}, got '{source.network[:60]}'."
            )
        if source.name in made:
            raise InvalidSetting(f"sources: the name '{source.name}' is taken.")
        secret = SourceSecret(source)
        made[source.name] = UplinkDoor(source.network, server.read_http, server.http_parameters, secret.check)
    return doors | made


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. OSError names the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(f"http.host '{host}', http.port {port}: cannot listen there: {error.strerror}.") from None
    return listening


async def _ready(parts: Parts) -> dict[str, str]:
    """Component -> 'ok' or what is wrong."""
    state = {}
    try:
        await parts.store.ping()
        state["store"] = "ok"
    except BrokerError as error:
        state["store"] = error.detail
    state["writer"] = "ok" if not parts.tenants.default.writer.closing else "stopping"
    state["caches"] = _caches(parts)
    return state


def _caches(parts: Parts) -> str:
    if not parts.following.in_step():
        return f"not in step: nothing heard of the other processes' changes for {parts.following.silent_seconds:.0f} s"
    return "ok" if parts.tenants.default.writer.in_step else "subscriptions are being loaded"


def _adapters(parts: Parts) -> list[tuple[str, Coroutine[Any, Any, None]]]:
    """The intakes that the settings ask for."""
    settings = parts.settings
    intakes: list[tuple[str, Coroutine[Any, Any, None]]] = []
    for one in settings.mqtt:
        mqtt = MqttIntake(one, parts.networks, parts.uplinks, parts.clock, settings.limits)
        intakes.append((f"mqtt:{mqtt.name}", mqtt.run()))
    if settings.coap.enabled:
        intakes += [("keys", parts.keys.run()), ("coap", _coap(parts))]
    return intakes


async def _coap(parts: Parts) -> None:
    """The CoAP server, once it is known which devices have keys."""
    here, settings = parts.tenants.default, parts.settings
    await parts.keys.known.wait()
    fetching = Fetching(here.store, here.writer, parts.clock, parts.decoders)
    await CoapIntake(settings.coap, parts.uplinks, parts.clock, settings.limits, fetching, parts.keys).run()


def _senders(settings: Settings, known: Networks, clock: Clock) -> dict[str, MqttSender]:
    """What takes downlinks, by the name of the MQTT broker; of several with one name none, for it says not which."""
    made = [MqttSender(one, known, clock.new_id()) for one in settings.mqtt]
    names = [sender.name for sender in made]
    return {sender.name: sender for sender in made if names.count(sender.name) == 1}


async def _watched(stop: asyncio.Event, name: str, run: Coroutine[Any, Any, None]) -> None:
    """Run a part; when it fails, say so and stop the rest in order."""
    try:
        await run
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("broker.part_failed", part=name)
        stop.set()
        raise


async def _catch_up(parts: Parts, stop: asyncio.Event) -> None:
    """Planned swaps take effect; what was bound and still waits is replayed: a claim that ended in the middle, an uplink
    that crossed another process's.
    """
    looks = 0
    while not stop.is_set():
        with contextlib.suppress(BrokerError):
            await parts.claims.take_effect()
            if looks % CATCH_UP_LOOKS == 0:
                await parts.claims.catch_up()
        looks += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await stop.wait()


def _kind(settings: Settings) -> str:
    return settings.store.url.partition(":")[0]
