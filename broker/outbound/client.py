"""The one guarded HTTP client: every request the broker makes for others (notifications, remote @contexts) goes through it.

Rules against server-side request forgery: http and https only; no credentials in the URL; and the address is judged when
the socket is made, so neither a name that resolves differently the second time nor a number in disguise gets past.
Redirects are not followed from a POST, and by a GET only on the same host. What does not answer is left alone for a while
(`turns.py`): requests to it fail at once, saying when to come back, so nothing is lost by it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from broker.config import Delivery
from broker.outbound import signature
from broker.outbound.address import AddressForbidden, check_address
from broker.outbound.answer import NotHttp
from broker.outbound.message import Message, shown_of, shown_uri
from broker.outbound.turns import Outcome, Resting, Turns, open_at_once
from broker.outbound.wires import Unconnected, Wires

OutcomeT = TypeVar("OutcomeT")

USER_AGENT = "Knutpunkt"
URL_CHARACTERS = 4096
REDIRECTS = 3
"""How many redirects on one host a GET follows: a slash added, http to https."""
CONNECT_SECONDS = 5.0
"""Time to look up the name, connect and shake hands; the endpoint's own, if that is less."""
URLS_KEPT = 20_000
"""URLs that need not be read again, count: endpoints are the same all the time."""
DNS_SECONDS = 10
IDLE_SECONDS = 30.0


class OutboundError(Exception):
    """A request that did not succeed; the text is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Forbidden(OutboundError):
    """The URL or the address behind it is not allowed."""


class Unreachable(OutboundError):
    """No connection, or it broke before an answer came."""


class TimedOut(OutboundError):
    """No whole answer in time."""


class BadAnswer(OutboundError):
    """An answer that is of no use: not 2xx, too large, a redirect elsewhere."""


class HostResting(OutboundError):
    """Not tried: the host or the endpoint did not answer lately. Come back after `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered to a POST."""

    status: int

    @property
    def ok(self) -> bool:
        """Any 2xx."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a GET brought."""

    body: bytes
    headers: Mapping[str, str]
    """Of the answer; names in lower case."""


class Outbound:
    """The client. Make it inside a running event loop; `close` it, or use it as an async context manager."""

    def __init__(self, settings: Delivery, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._turns = Turns(open_at_once(settings.connections), settings.host_connections, now)
        self._wires = Wires(self._socket, USER_AGENT)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # bounded by the turns, whose waiting does not count against the endpoint's time
                ttl_dns_cache=DNS_SECONDS,
                keepalive_timeout=IDLE_SECONDS,
                socket_factory=self._socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": USER_AGENT},
        )

    async def __aenter__(self) -> Outbound:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        self._wires.close()
        await self._session.close()
        self._turns.close()

    async def send(self, message: Message) -> str:
        """POST a message (see Transport); any 2xx takes it. Its id and signature are headers."""
        ours = {"Idempotency-Key": message.id} if message.id else {}
        if message.secrets:
            ours[signature.HEADER] = signature.sign(message.secrets, message.body, message.at)
        taken = {name.lower() for name in ours}
        headers = {name: value for name, value in message.headers.items() if name.lower() not in taken} | ours
        shown = shown_of(message)
        answer = await self.post(
            message.uri, message.body, headers, message.timeout, shown=shown, failed_before=message.failed_before
        )
        if not answer.ok:
            raise BadAnswer(f"'{shown}' answered {answer.status}.")
        return str(answer.status)

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109 - the endpoint's time, without the wait for a free connection
        *,
        shown: str = "",
        failed_before: bool = False,
    ) -> Answer:
        """POST `body` to `url`; the answer's status, whatever it is. `timeout` in seconds, from the connection on.

        `shown`: what to call the URL in error texts.

        `failed_before`: the endpoint did not take the last one, as is known from before the start.
        Raises Forbidden, Unreachable, TimedOut, HostResting.
        """
        target = _target(url)

        async def send() -> Answer:
            async with asyncio.timeout(timeout):
                return Answer(await self._wires.post(target, body, headers, _connect_seconds(timeout)))

        return await self._guarded(target, send, timeout, shown=shown, failed_before=failed_before)

    async def get(self, url: str, *, accept: str, max_bytes: int, timeout: float) -> bytes:  # noqa: ASYNC109 - see post
        """The body behind `url`, at most `max_bytes`, in `timeout` seconds.

        Raises Forbidden, Unreachable, TimedOut, BadAnswer, HostResting.
        """
        return (await self.fetch(url, accept=accept, max_bytes=max_bytes, timeout=timeout)).body

    async def fetch(self, url: str, *, accept: str, max_bytes: int, timeout: float) -> Fetched:  # noqa: ASYNC109 - see post
        """As `get`, with the answer's headers."""
        target = _target(url)
        first = target
        for _ in range(REDIRECTS + 1):
            there, fetched = await self._get(target, accept, max_bytes, timeout)
            if there is None:
                return fetched
            target = _target(urljoin(str(target), there))
            if target.host != first.host:
                raise BadAnswer(f"'{url}' redirects to another host ('{target.host}'), which is not followed.")
        raise BadAnswer(f"'{url}' redirects more than {REDIRECTS} times.")

    async def _get(self, target: URL, accept: str, max_bytes: int, seconds: float) -> tuple[str | None, Fetched]:
        """Where it redirects to, or what it answered."""

        async def fetch() -> tuple[str | None, Fetched]:
            async with self._session.get(
                target,
                headers={"Accept": accept, "Accept-Encoding": "identity"},
                allow_redirects=False,
                timeout=_timeout(seconds),
            ) as response:
                if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                    response.close()
                    return response.headers["Location"], Fetched(b"", {})
                if response.status != 200:
                    response.close()
                    raise BadAnswer(f"'{target}' answered {response.status}.")
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    response.close()
                    raise BadAnswer(f"'{target}' answered compressed, which was not asked for.")
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > max_bytes:
                        response.close()
                        raise BadAnswer(f"'{target}' answered more than the limit of {max_bytes} bytes.")
                return None, Fetched(bytes(body), {name.lower(): value for name, value in response.headers.items()})

        return await self._guarded(target, fetch, seconds)

    async def _guarded(
        self,
        target: URL,
        request: Callable[[], Awaitable[OutcomeT]],
        seconds: float,
        *,
        shown: str = "",
        failed_before: bool = False,
    ) -> OutcomeT:
        """`request` when it is its turn, its failures in our words."""
        shown = shown or shown_uri(str(target))
        try:
            turn = await self._turns.begin(*_peers(target), seconds, failed_before=failed_before)
        except Resting as resting:
            name = resting.name if resting.name == str(target.origin()) else shown
            raise HostResting(
                f"'{name}' has not answered lately; it is tried again in {resting.seconds:.1f} s.", resting.seconds
            ) from None
        answered: Outcome | None = None
        try:
            outcome = await request()
            answered = "answered"
            return outcome
        except BadAnswer:
            answered = "answered"  # it may be of no use, but somebody is there
            raise
        except aiohttp.ConnectionTimeoutError:
            answered = "unreachable"
            raise _not_connected(shown, TimeoutError(), seconds) from None
        except Unconnected as error:
            answered = None if isinstance(error.__cause__, AddressForbidden) else "unreachable"
            raise _not_connected(shown, error.__cause__, seconds) from None
        except TimeoutError:
            answered = "silent"
            raise TimedOut(f"'{shown}' did not answer within {seconds:g} s.") from None
        except aiohttp.ClientConnectorError as error:
            answered = None if isinstance(error.os_error, AddressForbidden) else "unreachable"
            raise _not_connected(shown, error.os_error, seconds) from None
        except (aiohttp.ClientError, OSError, NotHttp) as error:
            answered = "silent"
            raise Unreachable(f"The connection to '{shown}' failed: {plain(error)}.") from None
        except ValueError as error:
            raise Forbidden(f"'{shown}' cannot be requested: {error}.") from None
        finally:
            turn.end(answered)

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """The socket for one resolved address: here nothing can be between the check and the connection."""
        family, kind, protocol, _, where = address
        check_address(where[0], private=self._settings.private_networks)
        made = socket.socket(family=family, type=kind, proto=protocol)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


@lru_cache(maxsize=URLS_KEPT)
def _peers(target: URL) -> tuple[str, str]:
    """What a request has its turn at: the host, the endpoint."""
    return str(target.origin()), str(target.with_query(None))


@lru_cache(maxsize=URLS_KEPT)
def _target(url: str) -> URL:
    """The URL, if it may be requested at all."""
    if len(url) > URL_CHARACTERS:
        raise Forbidden(f"A URL of {len(url)} characters is longer than the limit of {URL_CHARACTERS}.")
    try:
        target = URL(url)
        host = target.host
    except ValueError:
        raise Forbidden(f"'{url}' is not a URL.") from None
    if target.scheme not in ("http", "https") or not host:
        raise Forbidden(f"'{url}' is not allowed: it must be an http or https URL with a host.")
    if target.user is not None or target.password is not None:
        raise Forbidden(
            f"'{shown_uri(url)}' is not allowed: credentials belong in a header (receiverInfo), not in the URL."
        )
    return target


def _not_connected(shown: str, why: BaseException | None, seconds: float) -> OutboundError:
    if isinstance(why, AddressForbidden):
        return Forbidden(f"'{shown}' is not allowed: {why.reason}.")
    if isinstance(why, TimeoutError) and why.errno is None:
        return TimedOut(f"'{shown}' could not be connected to within {min(seconds, CONNECT_SECONDS):g} s.")
    return Unreachable(f"'{shown}' cannot be reached: {plain(why or OSError())}.")


def _connect_seconds(seconds: float) -> float:
    return min(seconds * 0.99, CONNECT_SECONDS)


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    # No rounding up: aiohttp would wake late for timeouts above 5 s.
    return aiohttp.ClientTimeout(total=seconds, connect=_connect_seconds(seconds), ceil_threshold=float("inf"))


def plain(error: BaseException) -> str:
    """What a failure is called, without the driver's names."""
    if isinstance(error, socket.gaierror):
        return "its name does not resolve"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, (ConnectionResetError, aiohttp.ServerDisconnectedError)):
        return "the connection was closed"
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        return "its certificate was not accepted"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, NotHttp):
        return str(error)
    return "it did not speak HTTP" if isinstance(error, aiohttp.ClientResponseError) else "it broke off"
