"""Downlinks to one MQTT broker, over a connection of their own: the intake's is not read while the broker is behind, and with
that no acknowledgement either. It is made when there is something to send, and kept.
"""

from __future__ import annotations

import asyncio

import structlog

from adapters.mqtt.address import address_of
from adapters.mqtt.networks.known import Networks, choice
from broker.config import Mqtt
from broker.outbound.mqtt.connection import Connection, Refused
from broker.pipeline.intake import Downlink, NotSent

CONNECT_SECONDS = 4.0
"""A broker that has not let us in by then is away; less than `actuation.handover_seconds`, so that the reason is known."""
PAUSE_SECONDS = 2.0
"""How long a broker that is away is not asked again: what waits for it does not wait for one connection after the other."""
IN_FLIGHT = 64
"""Publications that may wait for their PUBACK at once, count: more than are ever handed over at once."""

_log = structlog.get_logger()


class MqttSender:
    """A `Network`: one MQTT broker with the network server of the settings behind it.

    Raises InvalidSetting as the intake does.
    """

    def __init__(self, settings: Mqtt, networks: Networks, owner: str) -> None:
        """`owner` tells this process's connection from those of others."""
        self._settings = settings
        self._address = address_of(settings)
        self._networks = choice(settings.network, settings.topics, networks)
        self.name = settings.name or self._address.host
        self._client_id = f"knutpunkt-{self.name}-down-{owner[-8:]}"
        self._open = asyncio.Event()
        self._open.set()
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._away = (0.0, "")
        """Until when (the loop's time) the broker is taken to be away, and why."""

    async def send(self, downlink: Downlink) -> None:
        """Publish a downlink; returns at its PUBACK, at QoS 0 when it is written to the socket. Raises NotSent."""
        topic, body = self._networks.write(downlink)
        try:
            connection = await self._connected()
            await connection.publish(topic, body, qos=self._settings.qos)
        except (OSError, Refused) as error:
            reason = str(error) or type(error).__name__
            raise NotSent(f"MQTT broker '{self.name}': {reason}.") from None

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> Connection:
        """The connection that stands, or a new one. Raises OSError."""
        async with self._connecting:
            if self._connection is not None and not self._connection.lost.is_set():
                return self._connection
            until, why = self._away
            if asyncio.get_running_loop().time() < until:
                raise ConnectionError(why)
            await self.close()
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    self._connection = await self._made()
            except OSError as error:
                why = str(error) or f"no answer within {CONNECT_SECONDS:g} s"
                self._away = (asyncio.get_running_loop().time() + PAUSE_SECONDS, why)
                raise ConnectionError(why) from None
            _log.info("mqtt.sender_connected", mqtt=self.name)
            return self._connection

    async def _made(self) -> Connection:
        connection = Connection(
            self._address,
            self._client_id,
            receive_maximum=IN_FLIGHT,
            session_expiry_seconds=0,
            keepalive_seconds=self._settings.keepalive_seconds,
            version=self._settings.version,
            gate=self._open,
            ready=asyncio.Event(),
            take=lambda publication: None,
        )
        try:
            await connection.open(())
        except BaseException:
            await connection.close()
            raise
        return connection
