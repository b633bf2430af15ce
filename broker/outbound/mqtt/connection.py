"""One connection to an MQTT broker, on gmqtt: acknowledged by hand, in order, and read only while there is room.

What gmqtt 0.8 does by itself and why this goes around it:

- It reads from the socket without end; Receive Maximum is the broker's promise, and Mosquitto 2.0.11 overshoots it. Here
  nothing is read while the gate is shut, so that TCP's window pushes back.
- It acknowledges on whichever connection stands when a handler returns. A packet id is only good on the connection it came
  on, so every connection has a client of its own, and reconnecting is the caller's.
- It acknowledges in the order in which handlers return; [MQTT-4.6.0-2] asks for the order of arrival.
- It forgets what a PUBACK says. A publication of ours is waited for until it is acknowledged, and a refusal is told.
- It falls back to MQTT 3.1.1 by itself. Here the settings say which version, and a refusal is a failed try.
- It sends MQTT 5's options with a subscription in MQTT 3.1.1 too, where those bits must be 0 [MQTT-3.8.3-4].
- It resolves names and connects by itself. Where addresses are to be judged, the caller makes the socket (`dial`).
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import gmqtt
import structlog

from broker.outbound.mqtt.client import REFUSED, Client, Dial
from broker.outbound.mqtt.uri import Address

CONNECT_SECONDS = 15.0
"""From the first SYN to CONNACK; a broker that takes longer is tried again."""
LARGEST_PACKET = 8 * 1024 * 1024
"""Maximum Packet Size, bytes: gmqtt assembles a packet in memory, copying it once per 64 KB. A broker discards what is
larger [MQTT-3.1.2-25]; a message that is larger than the settings' limit but not than this is kept and shown."""
_VERSIONS = {"5": 5, "3.1.1": 4}
"""What the settings call a version -> protocol level in CONNECT."""
_PUBACK = 0x40
_AROUND = 512
"""Room for what stands around topic and payload in a packet, bytes."""
UNWRITTEN_SECONDS = 0.005
"""How often it is looked whether what was published at QoS 0 is written."""
_NO_SUBSCRIBERS = 0x10  # a PUBACK's "nobody has subscribed to it" (MQTT 5.0, 3.4.2.1)


_log = structlog.get_logger()


class Publication:
    """A message as it arrived. `acknowledge` once it is durable."""

    __slots__ = ("_connection", "done", "mid", "payload", "topic")

    def __init__(self, connection: Connection, topic: str, payload: bytes, mid: int | None) -> None:
        self._connection = connection
        self.topic = topic
        self.payload = payload
        self.mid = mid
        """Packet id; None at QoS 0, which nobody acknowledges."""
        self.done = False

    def acknowledge(self) -> None:
        """Tell the broker that it need not deliver this again. On a lost connection: nothing, it will deliver again."""
        self.done = True
        self._connection.flush_soon()


class NotAdmitted(ConnectionRefusedError):
    """The broker answered, and does not let us in; the text says why."""


class Refused(Exception):
    """The broker acknowledged a publication as not taken; the text says why."""


class Unheard(Refused):
    """The broker has taken it, and nobody has subscribed to its topic."""


class Connection:
    """A connection from CONNECT to its loss. `take` is called with every message, from the event loop, in order.

    Nothing is read while `gate` is cleared; `ready` is set here while the connection stands and the broker has answered the
    subscription.
    """

    def __init__(
        self,
        address: Address,
        client_id: str,
        *,
        receive_maximum: int,
        session_expiry_seconds: int,
        keepalive_seconds: int,
        version: str = "5",
        qos: int = 1,
        gate: asyncio.Event,
        ready: asyncio.Event,
        take: Callable[[Publication], None],
        dial: Dial | None = None,
    ) -> None:
        self.lost = asyncio.Event()
        self.session_present = False
        self._address = address
        self._keepalive = keepalive_seconds
        self._version = _VERSIONS[version]
        self._qos = qos
        self._ready = ready
        self._take = take
        self._unacknowledged: deque[Publication] = deque()
        self._flushing = False
        self._filters: tuple[str, ...] = ()
        self._client = Client(
            # As bytes: gmqtt counts characters where the packet's length counts bytes.
            client_id.encode(),
            # In MQTT 3.1.1 a session has no expiry of its own: it is kept, or there is none.
            clean_session=version != "5" and session_expiry_seconds == 0,
            optimistic_acknowledgement=False,
            **(
                {
                    "session_expiry_interval": session_expiry_seconds,
                    "receive_maximum": receive_maximum,
                    "maximum_packet_size": LARGEST_PACKET,
                }
                if version == "5"
                else {}
            ),
        )
        self._client.gate = gate
        self._client.dial = dial
        self._client.on_qos_1 = self._on_qos_1
        self._client.on_message = self._on_qos_0
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._client.on_puback = self._on_puback
        self._published: dict[int, asyncio.Future[int]] = {}
        if address.username:
            self._client.set_auth_credentials(address.username, address.password or None)

    async def open(self, filters: Sequence[str]) -> None:
        """Connect, and subscribe to `filters`, if there are any. Raises OSError (TimeoutError included) when that
        fails.
        """
        connecting = asyncio.ensure_future(
            self._client.connect(
                self._address.host,
                self._address.port,
                ssl=self._address.tls or False,
                keepalive=self._keepalive,
                version=self._version,
            )
        )
        lost = asyncio.ensure_future(self.lost.wait())
        try:
            done, _ = await asyncio.wait(
                {connecting, lost}, timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise TimeoutError(f"no answer within {CONNECT_SECONDS:g} s")
            if connecting not in done:
                raise ConnectionError("the broker closed the connection instead of accepting it")
            try:
                connecting.result()
            except gmqtt.mqtt.handler.MQTTConnectError as error:
                raise NotAdmitted(str(error)) from None
        finally:
            for task in (connecting, lost):
                task.cancel()
            await asyncio.gather(connecting, lost, return_exceptions=True)
        self._filters = tuple(filters)
        if not filters:
            return
        # Retained messages only when the subscription is new: later they were seen before.
        retained = {"retain_handling_options": 1} if self._version == _VERSIONS["5"] else {"retain_handling_options": 0}
        self._client.subscribe([gmqtt.Subscription(each, qos=self._qos, **retained) for each in filters])

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, user_properties: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Publish; returns when the broker has acknowledged it (PUBACK, PUBCOMP), at QoS 0 when the system has taken it.

        `user_properties`: in MQTT 5 only. Raises Refused, and OSError when the connection goes.
        """
        if self.lost.is_set():
            raise ConnectionError("the connection was lost")
        self._check_limits(topic, payload, qos)
        properties = {"user_property": list(user_properties)} if user_properties else {}
        mid = self._client.publish_once(topic, payload, qos, properties)
        if mid is None:
            while self._client.unwritten and not self.lost.is_set():  # noqa: ASYNC110 - nobody tells when it is written
                await asyncio.sleep(UNWRITTEN_SECONDS)
            if self.lost.is_set():
                raise ConnectionError("the connection was lost")
            return
        acknowledged: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._published[mid] = acknowledged
        try:
            code = await acknowledged
        finally:
            del self._published[mid]
        if code == _NO_SUBSCRIBERS:
            raise Unheard(f"nobody has subscribed to '{topic}'")
        if code >= REFUSED:
            raise Refused(f"the MQTT broker refused '{topic}' with reason code 0x{code:02x}")

    def limit(self, name: str) -> int | None:
        """What the broker said in its CONNACK: 'receive_maximum', 'maximum_packet_size', 'max_qos'; None: nothing."""
        return self._client.limit(name)

    def _check_limits(self, topic: str, payload: bytes, qos: int) -> None:
        most = self.limit("max_qos")
        if most is not None and qos > most:
            raise Refused(f"the MQTT broker takes QoS {most} at most")
        longest = self.limit("maximum_packet_size")
        if longest is not None and len(payload) + len(topic.encode()) + _AROUND > longest:
            raise Refused(f"the MQTT broker takes at most {longest} bytes, and this is {len(payload)}")

    async def close(self) -> None:
        """Disconnect without ending the session: the broker keeps what comes until we return."""
        self._flush()
        with contextlib.suppress(OSError):
            await self._client.disconnect()
        self._on_disconnect()

    def abort(self) -> None:
        """Drop the connection, whatever is still to be written: the broker does not answer."""
        self._client.abort()
        self._on_disconnect()

    def flush_soon(self) -> None:
        """Acknowledge what is done by the end of this turn of the loop: one write for all that one commit made durable."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Acknowledge what is done, in order of arrival, up to the first that is not."""
        self._flushing = False
        packets = bytearray()
        while self._unacknowledged and self._unacknowledged[0].done:
            packets += struct.pack("!BBH", _PUBACK, 2, self._unacknowledged.popleft().mid)
        if packets and not self.lost.is_set():
            self._client.send(bytes(packets))

    def _on_qos_1(self, mid: int, payload: bytes, topic: str | bytes, properties: dict[str, Any]) -> None:
        publication = Publication(self, _as_text(topic), payload, mid)
        self._unacknowledged.append(publication)
        self._take(publication)

    def _on_qos_0(self, _: Any, topic: str | bytes, payload: bytes, qos: int, properties: dict[str, Any]) -> None:
        self._take(Publication(self, _as_text(topic), payload, None))

    def _on_connect(self, _: Any, session_present: int, result: int, properties: dict[str, Any]) -> None:
        self.session_present = bool(session_present)

    def _on_subscribe(self, _: Any, mid: int, granted: tuple[int, ...], properties: dict[str, Any]) -> None:
        refused = [each for each, code in zip(self._filters, granted, strict=False) if code >= REFUSED]
        if refused:
            _log.error("mqtt.subscription_refused", host=self._address.host, filters=refused)
        if len(refused) < len(granted):
            self._ready.set()

    def _on_puback(self, mid: int, code: int) -> None:
        waiting = self._published.get(mid)
        if waiting is not None and not waiting.done():
            waiting.set_result(code)

    def _on_disconnect(self, *_: Any) -> None:
        self._ready.clear()
        self.lost.set()
        for waiting in self._published.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("the connection was lost before the MQTT broker acknowledged it"))


def _as_text(topic: str | bytes) -> str:
    """gmqtt hands over a topic that is not UTF-8 as bytes."""
    return topic if isinstance(topic, str) else topic.decode("utf-8", errors="replace")
