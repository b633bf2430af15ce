"""gmqtt's client, with our hands in it: everything that touches what is private of gmqtt 0.8 is here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import gmqtt
from gmqtt.mqtt.connection import MQTTConnection
from gmqtt.mqtt.protocol import MQTTProtocol

REFUSED: Final = 0x80
"""Reason codes from here on are refusals (MQTT 5.0, 2.4)."""

Dial = Callable[[str, int], Awaitable[socket.socket]]
"""(host, port) -> a connected socket. Raises OSError."""


class Client(gmqtt.Client):  # type: ignore[misc]  # gmqtt has no types
    """gmqtt's client without its reconnecting, with a gate before its reading, and QoS 1 handed over with its packet id."""

    gate: asyncio.Event
    on_qos_1: Callable[[int, bytes, str | bytes, dict[str, Any]], None]
    on_puback: Callable[[int, int], None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dial: Dial | None = None
        handler = self._package_handler
        handler._handle_qos_1_publish_packet = lambda *packet: self.on_qos_1(*packet)
        take_puback, take_pubrec = handler._handle_puback_packet, handler._handle_pubrec_packet
        take_pubcomp = handler._handle_pubcomp_packet

        def puback(command: int, packet: bytes) -> None:
            take_puback(command, packet)
            self.on_puback(*_answered(packet))

        def pubrec(command: int, packet: bytes) -> None:
            take_pubrec(command, packet)
            mid, code = _answered(packet)
            if code >= REFUSED:  # that ends it [MQTT 5.0, 4.3.3]; else PUBREL goes out, and PUBCOMP comes
                self.on_puback(mid, code)

        def pubcomp(command: int, packet: bytes) -> None:
            take_pubcomp(command, packet)
            self.on_puback(_answered(packet)[0], 0)

        handler._handle_puback_packet = puback
        handler._handle_pubrec_packet = pubrec
        handler._handle_pubcomp_packet = pubcomp

    def publish_once(self, topic: str, payload: bytes, qos: int, properties: dict[str, Any]) -> int | None:
        """Publish on this connection alone; the packet id, None at QoS 0. What is not acknowledged on it, the caller sends
        again.
        """
        mid, _ = self._connection.publish(gmqtt.Message(topic, payload, qos=qos, **properties))
        return mid if mid is None else int(mid)

    def abort(self) -> None:
        """Close the socket at once."""
        if self._connection is not None:
            self._connection._transport.abort()

    @property
    def unwritten(self) -> int:
        """Bytes that the system has not taken yet."""
        return int(self._connection._transport.get_write_buffer_size())

    def limit(self, name: str) -> int | None:
        """A property of the broker's CONNACK."""
        values = self._package_handler._connack_properties.get(name)
        return int(values[0]) if values else None

    async def reconnect(self, delay: bool = False) -> None:
        """Nothing: whoever opened the connection opens the next."""

    def send(self, packets: bytes) -> None:
        """Write whole packets, unless the connection is closing."""
        if not self._connection.is_closing():
            self._connection.send_package(packets)

    async def _create_connection(self, host: str, port: int, ssl: Any, clean_session: bool, keepalive: int) -> Any:
        if self.dial is None:
            connection = await super()._create_connection(host, port, ssl, clean_session, keepalive)
        else:
            connection = await self._dialled(self.dial, host, port, ssl, clean_session, keepalive)
        read = connection._protocol.read

        async def read_when_open(n: int = -1) -> bytes:
            while not self.gate.is_set():
                # Answers to our pings wait unread meanwhile: that is no sign of a dead broker.
                connection._last_data_in = time.monotonic()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.gate.wait(), timeout=self._keepalive / 2)
            try:
                return bytes(await read(n))
            except OSError as error:
                # The one error that gmqtt's reading loop expects.
                raise ConnectionResetError(str(error)) from error

        connection._protocol.read = read_when_open
        return connection

    async def _dialled(self, dial: Dial, host: str, port: int, ssl: Any, clean_session: bool, keepalive: int) -> Any:
        """A connection on a socket that the caller makes."""
        made = await dial(host, port)
        try:
            transport, protocol = await asyncio.get_running_loop().create_connection(
                partial(
                    MQTTProtocol,
                    connection_state=self._connection_state,
                    id_generator=self._package_handler.id_generator,
                ),
                sock=made,
                ssl=ssl or None,
                server_hostname=host if ssl else None,
            )
        except BaseException:
            made.close()
            raise
        return MQTTConnection(transport, protocol, clean_session, keepalive, package_handler=self._package_handler)


def _answered(packet: bytes) -> tuple[int, int]:
    """Packet id and reason code of a PUBACK, PUBREC or PUBCOMP: no code at the end means success [MQTT 5.0, 3.4.2.1]."""
    return int.from_bytes(packet[:2], "big"), packet[2] if len(packet) > 2 else 0
