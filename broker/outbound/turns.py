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
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Literal, TypeVar

import structlog

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


class Turn:
    """A request that may go out. Say how it went; nothing said: it cannot be told (cancelled, never sent)."""

    def __init__(self) -> None:
        self.outcome: Outcome | None = None


class _Slots:
    """So many at once, of those that are not proven fewer."""

    def __init__(self, most: int) -> None:
        self._of = {standing: asyncio.Semaphore(max(1, most // share)) for standing, share in SHARES.items()}

    async def take(self, standing: Standing, held: AsyncExitStack) -> None:
        if standing != "proven":
            await held.enter_async_context(self._of[standing])
        await held.enter_async_context(self._of["proven"])


class _Peer:
    """A host or an endpoint: whether it is worth trying."""

    def __init__(self, what: str, now: Callable[[], float]) -> None:
        self.breaker = Breaker(now)
        self.users = 0
        self._resting = metrics.outbound_resting.labels(what)
        self._counted = False

    def enter(self, name: str) -> None:
        wait = self.breaker.enter()
        if wait > 0:
            raise Resting(name, wait)

    def leave(self, name: str, answered: bool | None) -> None:
        self.breaker.leave(answered)
        if self.breaker.open != self._counted:
            self._counted = self.breaker.open
            self._resting.inc(1 if self._counted else -1)
            log.info("outbound.rests" if self._counted else "outbound.back", peer=name)

    def forget(self) -> None:
        if self._counted:
            self._resting.dec()


class _Host(_Peer):
    def __init__(self, connections: int, now: Callable[[], float]) -> None:
        super().__init__("hosts", now)
        self.slots = _Slots(connections)


class _Endpoint(_Peer):
    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__("endpoints", now)
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

    @asynccontextmanager
    async def turn(self, host: str, url: str, seconds: float, *, failed_before: bool = False) -> AsyncIterator[Turn]:
        """A request to `url` at `host`, which has `seconds` to answer; waits until it is its turn. Raises Resting.

        `failed_before`: the caller knows that an endpoint that is new here is failing.
        """
        there = _known(self._hosts, host, lambda: _Host(self._host_connections, self._now))
        endpoint = _known(self._endpoints, (url, seconds), lambda: _Endpoint(self._now))
        if failed_before and endpoint.standing == "new":
            endpoint.standing = "failing"
        there.users += 1
        endpoint.users += 1
        try:
            async with AsyncExitStack() as held:
                standing = await self._wait(there, endpoint, held)
                there.enter(host)
                try:
                    endpoint.enter(url)
                except Resting:
                    there.leave(host, None)
                    raise
                made = Turn()
                self._under_way[standing].inc()
                try:
                    yield made
                finally:
                    self._under_way[standing].dec()
                    self._settle(there, host, endpoint, url, made.outcome)
        finally:
            there.users -= 1
            endpoint.users -= 1

    def close(self) -> None:
        """Count nothing of this any more."""
        for peer in (*self._hosts.values(), *self._endpoints.values()):
            peer.forget()
        self._hosts.clear()
        self._endpoints.clear()

    async def _wait(self, there: _Host, endpoint: _Endpoint, held: AsyncExitStack) -> Standing:
        with self._waiting.track_inprogress():
            if not endpoint.answers():
                await endpoint.one.acquire()
                if endpoint.answers():  # it has answered meanwhile
                    endpoint.one.release()
                else:
                    held.callback(endpoint.one.release)
            standing = endpoint.standing
            await there.slots.take(standing, held)
            await self._slots.take(standing, held)
        return standing

    @staticmethod
    def _settle(there: _Host, host: str, endpoint: _Endpoint, url: str, outcome: Outcome | None) -> None:
        connected = None if outcome is None else outcome != "unreachable"
        there.leave(host, connected)
        endpoint.leave(url, {"answered": True, "silent": False}.get(outcome or ""))
        if outcome is not None:
            endpoint.standing = "proven" if outcome == "answered" else "failing"


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
