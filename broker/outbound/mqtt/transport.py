"""Notifications over MQTT (ETSI GS CIM 009 v1.9.1, 7.2).

A message is {"metadata": {"Content-Type": …, "Link": …, …}, "body": the notification}. It is delivered at QoS 0 when the
system has taken it, at QoS 1 at its PUBACK, at QoS 2 at its PUBCOMP. What is not acknowledged on one connection is sent
again on the next, whatever the QoS: the notification's id tells what was seen before.

Endpoints at one broker with one account share a connection. Connections are bounded in number and closed when nobody has
used them for a while; a broker that does not answer rests (breaker), and what waits for it is not lost by that.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from broker.config import Delivery
from broker.jsonio import dumps
from broker.outbound import signature
from broker.outbound.address import AddressForbidden
from broker.outbound.breaker import Breaker
from broker.outbound.client import BadAnswer, Forbidden, HostResting, TimedOut, Unreachable, plain
from broker.outbound.dial import dial
from broker.outbound.message import Message, shown_uri
from broker.outbound.mqtt.connection import Connection, NotAdmitted, Refused, Unheard
from broker.outbound.mqtt.uri import Account, Address, Target, read_target

CLOSE_SECONDS: Final = 1.0
"""Time to say goodbye."""
IN_FLIGHT: Final = 64
"""Publications on one connection that wait for their acknowledgement, count; fewer where the broker says so."""
KEEPALIVE_SECONDS: Final = 30
CONNECT_SECONDS: Final = 5.0
"""From the first SYN to CONNACK, at most: those that do not get through are not to keep connections from others."""
FULL_SECONDS: Final = 1.0
"""When all connections are in use: how long until it is tried again."""
HOSTS_REMEMBERED: Final = 10_000


class _Client:
    """One account's connection: made when it is needed, made again when it was lost."""

    def __init__(self, account: Account, settings: Delivery, tls: Callable[[], ssl.SSLContext]) -> None:
        self.users = 0
        self.idle: asyncio.TimerHandle | None = None
        self._account = account
        self._private = settings.private_networks
        self._tls = tls
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._connecting = asyncio.Lock()
        self._connection: Connection | None = None
        self._open = asyncio.Event()
        self._open.set()

    @property
    def connected(self) -> bool:
        """Whether its connection stands."""
        return self._connection is not None and not self._connection.lost.is_set()

    async def publish(self, target: Target, payload: bytes, properties: list[tuple[str, str]]) -> None:
        """Publish on the connection that stands, or a new one. Raises OSError, Refused."""
        async with self._connecting:
            connection = self._connection
            if connection is None or connection.lost.is_set():
                await self.close()
                connection = self._connection = await self._connected()
                most = min(connection.limit("receive_maximum") or IN_FLIGHT, IN_FLIGHT)
                self._slots = asyncio.Semaphore(most)
        slots = self._slots
        await slots.acquire()
        try:
            await connection.publish(target.topic, payload, qos=target.qos, user_properties=properties)
        except asyncio.CancelledError:
            connection.abort()  # out of time: what comes next is not to wait for this connection as well
            raise
        finally:
            slots.release()

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.close()
            except TimeoutError:
                connection.abort()

    async def _connected(self) -> Connection:
        account = self._account
        connection = Connection(
            Address(
                account.host, account.port, self._tls() if account.tls else None, account.username, account.password
            ),
            f"knutpunkt-{secrets.token_hex(6)}",  # at most 23 characters: all that MQTT 3.1.1 promises
            receive_maximum=IN_FLIGHT,
            session_expiry_seconds=0,
            keepalive_seconds=KEEPALIVE_SECONDS,
            version=account.version,
            gate=self._open,
            ready=asyncio.Event(),
            take=lambda publication: None,
            dial=self._dial,
        )
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.open(())
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _dial(self, host: str, port: int) -> socket.socket:
        return await dial(host, port, private=self._private)


class MqttTransport:
    """Sends messages to mqtt and mqtts URIs. `close` it at the end."""

    def __init__(self, settings: Delivery, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._now = now
        self._clients: OrderedDict[Account, _Client] = OrderedDict()
        self._breakers: OrderedDict[tuple[str, int], Breaker] = OrderedDict()
        self._context: ssl.SSLContext | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many connections are kept."""
        return len(self._clients)

    async def send(self, message: Message) -> str:
        """See Transport."""
        where = shown_uri(message.uri)
        try:
            target = read_target(message.uri, message.info)
        except ValueError as error:
            raise Forbidden(f"'{where}' cannot be sent to: {error}.") from None
        payload = b'{"metadata":' + dumps(dict(message.headers)) + b',"body":' + message.body + b"}"
        properties = []
        if message.secrets and target.account.version == "5":
            properties.append((signature.HEADER, signature.sign(message.secrets, payload, message.at)))
        breaker = self._breaker(target.account)
        rest = breaker.enter()
        if rest > 0:
            raise HostResting(f"'{where}' has not answered lately; it is tried again in {rest:.1f} s.", rest)
        answered: bool | None = None
        try:
            client = self._client(target.account, where)
            try:
                async with asyncio.timeout(message.timeout):
                    await client.publish(target, payload, properties)
            finally:
                self._release(target.account, client)
            answered = True
        except TimeoutError:
            answered = False
            raise TimedOut(
                f"'{where}' did not answer within {message.timeout:g} s, or {CONNECT_SECONDS:g} s to connect."
            ) from None
        except Unheard:
            answered = True  # it is the receivers' to subscribe, with a session that lasts where they come and go
        except Refused as error:
            answered = True
            raise BadAnswer(f"'{where}': {error}.") from None
        except NotAdmitted as error:
            answered = True
            raise BadAnswer(f"'{where}' does not let us in: {error}.") from None
        except AddressForbidden as error:
            raise Forbidden(f"'{where}' is not allowed: {error.reason}.") from None
        except OSError as error:
            answered = False
            raise Unreachable(f"'{where}' cannot be reached: {plain(error)}.") from None
        finally:
            breaker.leave(answered)
        return "acknowledged" if target.qos else "handed over"

    async def close(self) -> None:
        """Close all connections."""
        clients, self._clients = list(self._clients.values()), OrderedDict()
        for client in clients:
            if client.idle is not None:
                client.idle.cancel()
        await asyncio.gather(*(client.close() for client in clients), *self._closing, return_exceptions=True)

    def _client(self, account: Account, where: str) -> _Client:
        client = self._clients.get(account)
        if client is None:
            most = self._settings.mqtt_connections
            # Those that are not through (yet) have half of them, so that dead brokers never crowd out the others.
            trying = sum(not one.connected for one in self._clients.values())
            if trying >= max(1, most // 2) or (len(self._clients) >= most and not self._make_room()):
                raise HostResting(f"'{where}' waits for one of {most} MQTT connections.", FULL_SECONDS)
            client = self._clients[account] = _Client(account, self._settings, self._tls)
        self._clients.move_to_end(account)
        client.users += 1
        if client.idle is not None:
            client.idle.cancel()
            client.idle = None
        return client

    def _release(self, account: Account, client: _Client) -> None:
        client.users -= 1
        if client.users or self._clients.get(account) is not client:
            return
        if not client.connected:
            self._drop(account)  # it did not get through, and takes no place meanwhile
        else:
            client.idle = asyncio.get_running_loop().call_later(self._settings.mqtt_idle_seconds, self._drop, account)

    def _make_room(self) -> bool:
        """Let go of the connection that has been idle for longest."""
        for account, client in self._clients.items():
            if not client.users:
                self._drop(account)
                return True
        return False

    def _drop(self, account: Account) -> None:
        client = self._clients.pop(account)
        if client.idle is not None:
            client.idle.cancel()
        task = asyncio.get_running_loop().create_task(_quietly(client), name=f"mqtt close {account.host}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _breaker(self, account: Account) -> Breaker:
        where = (account.host, account.port)
        breaker = self._breakers.get(where)
        if breaker is None:
            breaker = self._breakers[where] = Breaker(self._now)
            if len(self._breakers) > HOSTS_REMEMBERED:
                self._breakers.popitem(last=False)
        return breaker

    def _tls(self) -> ssl.SSLContext:
        """Verifies the certificate and the name, by the system's authorities (SSL_CERT_FILE names others)."""
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context


async def _quietly(client: _Client) -> None:
    with contextlib.suppress(OSError):
        await client.close()
