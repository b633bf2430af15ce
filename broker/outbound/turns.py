"""Turns: how many requests are under way, to an endpoint, to a host and in all, so that one that hangs holds up nobody else.

An *endpoint* (a URL and the time it is given) is *proven* while its last request was answered, *failing* while it was not,
and *new* before the first. A failing one gets one request at a time, and so does a new one. All that are new have half of a
host's connections, and of all there are; all that are failing have a quarter. So those that are proven never wait for
those that are not. Who waits is served first come, first served: a subscription sends one notification at a time, so those
of one host take turns.

Whoever cannot connect says something about the host: its breaker counts that. Whoever connects and gets no answer says
something about the endpoint: it has a breaker of its own, and its neighbours behind the same host go on.
"""

from __future__ import annotations

import asyncio
import resource
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal, TypeVar

import structlog
from prometheus_client import Gauge

from broker import metrics
from broker.outbound.breaker import Breaker

log = structlog.get_logger(__name__)

REMEMBERED: Final = 20_000
"""Endpoints, and hosts, that are remembered, count; those in use always are."""

Standing = Literal["proven", "new", "failing"]
Outcome = Literal["answered", "silent", "unreachable"]
SHARES: Final[dict[Standing, int]] = {"proven": 1, "new": 2, "failing": 4}
"""One of so many connections they may have at most."""


class Resting(Exception):
    """Not now: it did not answer lately. Come back after `seconds`."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(name)
        self.name = name
        self.seconds = seconds


class _Slots:
    """So many at once, of those that are not proven fewer."""

    def __init__(self, most: int) -> None:
        self._of = {standing: asyncio.Semaphore(max(1, most // share)) for standing, share in SHARES.items()}

    async def take(self, standing: Standing, held: list[asyncio.Semaphore]) -> None:
        if standing != "proven":
            await _take(self._of[standing], held)
        await _take(self._of["proven"], held)


async def _take(slot: asyncio.Semaphore, held: list[asyncio.Semaphore]) -> None:
    await slot.acquire()
    held.append(slot)


class _Peer:
    """A host or an endpoint: whether it is worth trying."""

    def __init__(self, name: str, what: str, now: Callable[[], float]) -> None:
        self._name = name
        self.breaker = Breaker(now)
        self.users = 0
        self._resting = metrics.outbound_resting.labels(what)
        self._counted = False

    def enter(self) -> None:
        wait = self.breaker.enter()
        if wait > 0:
            raise Resting(self._name, wait)

    def leave(self, answered: bool | None) -> None:
        self.breaker.leave(answered)
        if self.breaker.open != self._counted:
            self._counted = self.breaker.open
            self._resting.inc(1 if self._counted else -1)
            log.info("outbound.rests" if self._counted else "outbound.back", peer=self._name)

    def forget(self) -> None:
        if self._counted:
            self._resting.dec()


class _Host(_Peer):
    def __init__(self, name: str, connections: int, now: Callable[[], float]) -> None:
        super().__init__(name, "hosts", now)
        self.slots = _Slots(connections)


class _Endpoint(_Peer):
    def __init__(self, name: str, now: Callable[[], float]) -> None:
        super().__init__(name, "endpoints", now)
        self.standing: Standing = "new"
        self.one = asyncio.Semaphore(1)

    def answers(self) -> bool:
        return self.standing == "proven"


_P = TypeVar("_P", bound=_Peer)


class Turns:
    """All turns of a process. `connections` at once in all, `host_connections` to one host."""

    def __init__(self, connections: int, host_connections: int, now: Callable[[], float]) -> None:
        self._host_connections = host_connections
        self._now = now
        self._slots = _Slots(connections)
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._endpoints: OrderedDict[tuple[str, float], _Endpoint] = OrderedDict()
        self._under_way = {standing: metrics.outbound_requests.labels(standing) for standing in SHARES}
        self._waiting = metrics.outbound_waiting

    async def begin(self, host: str, url: str, seconds: float, *, failed_before: bool = False) -> Turn:
        """A request to `url` at `host`, which has `seconds` to answer; waits until it is its turn. Raises Resting.

        `end` it. `failed_before`: the caller knows that an endpoint that is new here is failing.
        """
        there = _known(self._hosts, host, lambda: _Host(host, self._host_connections, self._now))
        endpoint = _known(self._endpoints, (url, seconds), lambda: _Endpoint(url, self._now))
        if failed_before and endpoint.standing == "new":
            endpoint.standing = "failing"
        there.users += 1
        endpoint.users += 1
        held: list[asyncio.Semaphore] = []
        try:
            self._waiting.inc()
            try:
                standing = await self._wait(there, endpoint, held)
            finally:
                self._waiting.dec()
            there.enter()
            try:
                endpoint.enter()
            except Resting:
                there.leave(None)
                raise
        except BaseException:
            _release(there, endpoint, held)
            raise
        under_way = self._under_way[standing]
        under_way.inc()
        return Turn(there, endpoint, held, under_way)

    def close(self) -> None:
        """Count nothing of this any more."""
        for peer in (*self._hosts.values(), *self._endpoints.values()):
            peer.forget()
        self._hosts.clear()
        self._endpoints.clear()

    async def _wait(self, there: _Host, endpoint: _Endpoint, held: list[asyncio.Semaphore]) -> Standing:
        if not endpoint.answers():
            await _take(endpoint.one, held)
            if endpoint.answers():  # it has answered meanwhile
                held.pop().release()
        standing = endpoint.standing
        await there.slots.take(standing, held)
        await self._slots.take(standing, held)
        return standing


class Turn:
    """A request that may go out."""

    __slots__ = ("_endpoint", "_held", "_host", "_under_way")

    def __init__(self, host: _Host, endpoint: _Endpoint, held: list[asyncio.Semaphore], under_way: Gauge) -> None:
        self._host = host
        self._endpoint = endpoint
        self._held = held
        self._under_way = under_way

    def end(self, outcome: Outcome | None) -> None:
        """How it went; None: it cannot be told (cancelled, never sent)."""
        host, endpoint = self._host, self._endpoint
        host.leave(None if outcome is None else outcome != "unreachable")
        endpoint.leave(_ANSWERED.get(outcome))
        if outcome is not None:
            endpoint.standing = "proven" if outcome == "answered" else "failing"
        self._under_way.dec()
        _release(host, endpoint, self._held)


_ANSWERED: Final[dict[Outcome | None, bool]] = {"answered": True, "silent": False}


def _release(host: _Host, endpoint: _Endpoint, held: list[asyncio.Semaphore]) -> None:
    host.users -= 1
    endpoint.users -= 1
    for slot in reversed(held):
        slot.release()


_K = TypeVar("_K")


def open_at_once(wanted: int) -> int:
    """How many connections there may be, with what the system lets this process open; some are others' (HTTP, the store)."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if most == resource.RLIM_INFINITY else max(1, min(wanted, most // 2))


def _known(peers: OrderedDict[_K, _P], key: _K, make: Callable[[], _P]) -> _P:
    peer = peers.get(key)
    if peer is not None:
        peers.move_to_end(key)
        return peer
    peer = peers[key] = make()
    if len(peers) > REMEMBERED:
        for old, other in list(peers.items())[:10]:
            if not other.users and other is not peer:
                other.forget()
                del peers[old]
    return peer
