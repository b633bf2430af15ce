"""An LwM2M 1.1 server for devices that measure: registration, update, deregistration, and observing what they have.

Registrations are in memory: after a restart a device's update is answered 4.04, and it registers anew, as LwM2M has it. A
registration is handed in as a join, so that a device that nobody registered with us waits in the quarantine to be claimed.

After a registration, and after an update that came from elsewhere, what the device has that measures is observed, one
request after the other: it listens then, also in queue mode. Its notifications are acknowledged after the commit.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any, Final, Protocol

import structlog
from aiocoap import Code, Message

from adapters.coap.links import (
    Links,
    accept_of,
    device_of_endpoint,
    lifetime_of,
    read_links,
    worth_observing,
)
from adapters.coap.messages import Heard, NoAnswer
from adapters.coap.peer import Peer, exchange_of
from adapters.coap.reading import FORMATS, LINKS, SOURCE, TLV, read
from adapters.coap.refusal import Refused
from adapters.coap.speakers import Speakers
from adapters.coap.tlv import Path
from adapters.members import NotUnderstood, shown
from broker.clock import Clock
from broker.config import Limits
from broker.errors import BrokerError, Overloaded
from broker.pipeline.intake import Intake

log = structlog.get_logger(__name__)

SWEEP_SECONDS: Final = 60.0
"""How often registrations are looked for whose lifetime has passed."""
OBSERVING: Final = 200
"""Devices at once whose objects are being observed, count; others' wait for their next update."""
OBSERVABLE: Final = frozenset((*FORMATS, 1542))


class Asker(Protocol):
    """What asks devices: `adapters.coap.messages.Messages`."""

    async def ask(self, peer: Peer, request: Message, heard: Heard | None = None) -> Message:
        """Their answer. Raises NoAnswer."""
        ...

    def forget(self, token: bytes) -> None:
        """No more notifications under a token."""
        ...


class _Registration:
    __slots__ = ("asker", "device", "ends_at", "format", "lifetime", "links", "observed", "peer", "version")

    def __init__(self, device: str, peer: Peer, asker: Asker | None, links: Links, lifetime: int, version: str) -> None:
        self.device, self.peer, self.asker, self.links = device, peer, asker, links
        self.lifetime, self.version = lifetime, version
        self.format = accept_of(links, version)
        self.observed: dict[Path, bytes] = {}
        self.ends_at = 0.0


class Registry:
    """The registrations, at most `most` of them."""

    def __init__(self, intake: Intake, clock: Clock, limits: Limits, most: int, speakers: Speakers) -> None:
        self._intake = intake
        self._clock = clock
        self._limits = limits
        self._most = most
        self._speakers = speakers
        self._registrations: OrderedDict[str, _Registration] = OrderedDict()
        self._by_device: dict[str, str] = {}
        self._by_peer: dict[Hashable, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def count(self) -> int:
        """Registrations now."""
        return len(self._registrations)

    def device_at(self, key: Hashable) -> str:
        """The device that registered from an endpoint; '' for none."""
        known = self._registrations.get(self._by_peer.get(key, ""))
        return known.device if known is not None else ""

    async def run(self) -> None:
        """Let registrations end, until cancelled."""
        try:
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                now = asyncio.get_running_loop().time()
                for one in [one for one, known in self._registrations.items() if known.ends_at < now]:
                    self._remove(one)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def serve(self, request: Message, rest: Sequence[str]) -> Message:
        """The answer to a request to /rd. One that is not understood is kept, with the reason."""
        query = dict(one.partition("=")[::2] for one in request.opt.uri_query)
        try:
            if not rest:
                if request.code != Code.POST:
                    raise Refused(Code.METHOD_NOT_ALLOWED, "Only POST is for this resource.")
                return await self._register(request, query)
            known = self._registrations.get(rest[0])
            proven = self._speakers.proven(request.remote)
            if known is None or (proven and proven != known.device):
                raise Refused(Code.NOT_FOUND, "There is no such registration; register again.")
            self._speakers.who(request.remote, known.device)
            if request.code == Code.DELETE:
                self._remove(rest[0])
                return Message(code=Code.DELETED)
            if request.code not in (Code.POST, Code.PUT):
                raise Refused(Code.METHOD_NOT_ALLOWED, "Only POST and DELETE are for a registration.")
            self._update(rest[0], known, request, query)
        except NotUnderstood as error:
            meta = _meta(request.remote, "/" + "/".join(request.opt.uri_path), LINKS)
            meta["query"] = [one[:200] for one in request.opt.uri_query]
            await self._intake.reject(source=SOURCE, raw=request.payload, reason=str(error), meta=meta, wait=False)
            raise Refused(Code.BAD_REQUEST, str(error)) from None
        return Message(code=Code.CHANGED)

    async def _register(self, request: Message, query: dict[str, str]) -> Message:
        version = query.get("lwm2m", "1.0")
        if not version.startswith("1."):
            raise Refused(Code.PRECONDITION_FAILED, f"LwM2M 1.0 and 1.1 are spoken here, not {version[:10]}.")
        if request.opt.content_format is not None and int(request.opt.content_format) != LINKS:
            raise Refused(Code.UNSUPPORTED_CONTENT_FORMAT, f"Content-Format must be {LINKS}.")
        if "ep" not in query and not request.remote.device:
            raise Refused(Code.BAD_REQUEST, "'ep' must say which device registers.")
        device = self._speakers.who(request.remote, device_of_endpoint(query["ep"]) if "ep" in query else "")
        links, lifetime = read_links(request.payload), lifetime_of(query.get("lt"))
        before = self._by_device.get(device)
        if before is None and len(self._registrations) >= self._most:
            raise Overloaded("There are as many registrations as are taken.")
        exchange = exchange_of(request)
        joined = read(
            device, request.payload, LINKS, exchange=exchange, received_at=self._clock.now(), limits=self._limits
        )
        joined.meta.update(
            _meta(request.remote, "/rd", LINKS), endpoint=query.get("ep", "")[:200], exchange=exchange.hex()
        )
        await self._intake.submit(joined, wait=False)
        if before is not None:
            self._remove(before)
        name = secrets.token_hex(8)
        asker = getattr(request.remote, "asker", None)
        known = _Registration(device, request.remote, asker, links, lifetime, version)
        self._registrations[name], self._by_device[device] = known, name
        self._by_peer[request.remote.key] = name
        self._prolong(known)
        self._observe_soon(name, known)
        return Message(code=Code.CREATED, location_path=("rd", name))

    def _update(self, name: str, known: _Registration, request: Message, query: dict[str, str]) -> None:
        if "lt" in query:
            known.lifetime = lifetime_of(query["lt"])
        if request.payload:
            known.links = read_links(request.payload)
            known.format = accept_of(known.links, known.version)
        if known.peer.key != request.remote.key:
            # Observations are the endpoint's (RFC 7641, 4.1): from another address they begin anew.
            if self._by_peer.get(known.peer.key) == name:
                del self._by_peer[known.peer.key]
            self._forget(known)
            self._by_peer[request.remote.key] = name
        known.peer, known.asker = request.remote, getattr(request.remote, "asker", None)
        self._prolong(known)
        self._observe_soon(name, known)

    def _prolong(self, known: _Registration) -> None:
        known.ends_at = asyncio.get_running_loop().time() + known.lifetime

    def _remove(self, name: str) -> None:
        known = self._registrations.pop(name, None)
        if known is None:
            return
        if self._by_device.get(known.device) == name:
            del self._by_device[known.device]
        if self._by_peer.get(known.peer.key) == name:
            del self._by_peer[known.peer.key]
        self._forget(known)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    def _forget(self, known: _Registration) -> None:
        if known.asker is not None:
            for token in known.observed.values():
                known.asker.forget(token)
        known.observed.clear()

    # --- observing ----------------------------------------------------------------------------------------------------

    def _observe_soon(self, name: str, known: _Registration) -> None:
        missing = [path for path in worth_observing(known.links) if path not in known.observed]
        if missing and known.asker is not None and name not in self._tasks and len(self._tasks) < OBSERVING:
            task = self._tasks[name] = asyncio.create_task(self._observe(known, missing))
            task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def _observe(self, known: _Registration, paths: Sequence[Path]) -> None:
        peer, asker = known.peer, known.asker
        assert asker is not None
        for path in paths:
            request = Message(code=Code.GET, uri_path=tuple(map(str, path)), observe=0, accept=known.format)

            async def heard(message: Message, path: Path = path) -> bool:
                return await self._told(known, asker, peer, path, message)

            try:
                first = await asker.ask(peer, request, heard)
            except NoAnswer as error:
                log.info("lwm2m.not_observed", device=known.device, reason=str(error))
                return
            if not first.code.is_successful():
                log.info("lwm2m.not_observed", device=known.device, path=path, code=str(first.code))
                continue
            if known.peer is not peer or known.asker is not asker:
                asker.forget(first.token)
                return
            if first.opt.observe is not None:
                known.observed[path] = first.token
            await self._told(known, asker, peer, path, first)

    async def _told(self, known: _Registration, asker: Asker, peer: Peer, path: Path, message: Message) -> bool:
        """Hand in a notification, with the blocks that follow it. False: it is not durable, and must come again."""
        try:
            whole = await self._whole(known, asker, peer, path, message)
        except NoAnswer as error:
            log.info("lwm2m.not_whole", device=known.device, path=path, reason=str(error))
            return False
        return await self._notified(known.device, peer, path, whole)

    async def _whole(self, known: _Registration, asker: Asker, peer: Peer, path: Path, message: Message) -> Message:
        """A notification with the blocks that are asked for after the first (RFC 7959, 2.6). Raises NoAnswer."""
        block, payload = message.opt.block2, bytearray(message.payload)
        while block is not None and block.more:
            if len(payload) > self._limits.uplink_bytes:
                raise NoAnswer(f"it is longer than {self._limits.uplink_bytes} bytes")
            number = block.block_number + 1
            request = Message(
                code=Code.GET,
                uri_path=tuple(map(str, path)),
                accept=known.format,
                block2=(number, False, block.size_exponent),
            )
            following = await asker.ask(peer, request)
            block = following.opt.block2
            if not following.code.is_successful() or block is None or block.block_number != number:
                raise NoAnswer(f"its block {number} was not given")
            if following.opt.etag != message.opt.etag:
                raise NoAnswer("it changed while its blocks were asked for")
            payload += following.payload
        message.payload = bytes(payload)
        return message

    async def _notified(self, device: str, peer: Peer, path: Path, message: Message) -> bool:
        """Hand in what a device says of a path. False: it is not durable, and must come again."""
        if not message.code.is_successful():
            return True
        format_ = int(message.opt.content_format) if message.opt.content_format is not None else None
        format_ = TLV if format_ == 1542 else format_
        meta: dict[str, Any] = _meta(peer, "/" + "/".join(map(str, path)), format_)
        exchange = exchange_of(message)
        meta |= {"base": list(path), "exchange": exchange.hex()}
        try:
            self._speakers.who(peer, device)
            try:
                if format_ is not None and format_ not in OBSERVABLE:
                    raise NotUnderstood(f"Content-Format {format_} is not one that was asked for.")
                uplink = read(
                    device,
                    message.payload,
                    format_ if format_ is not None else 0,
                    exchange=exchange,
                    received_at=self._clock.now(),
                    limits=self._limits,
                    base=path,
                )
            except NotUnderstood as error:
                await self._intake.reject(source=SOURCE, raw=message.payload, reason=str(error), meta=meta, wait=False)
                return True
            uplink.meta.update(meta, content_format=format_ if format_ is not None else 0)
            await self._intake.submit(uplink, wait=False)
        except BrokerError as error:
            log.warning("lwm2m.not_taken", device=device, reason=error.detail)
            return False
        except Refused as refused:
            log.warning("lwm2m.refused", device=shown(device), reason=refused.text)
            return False
        return True


def _meta(peer: Peer, path: str, format_: int | None) -> dict[str, Any]:
    meta: dict[str, Any] = {"path": path, "content_format": format_, "from": peer.hostinfo}
    return meta | {"key": peer.key_id} if peer.key_id else meta
