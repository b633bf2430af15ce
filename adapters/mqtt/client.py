"""MQTT intake: what a broker delivers goes into the intake and is acknowledged once it is durable.

- At most `receive_maximum` messages and IN_FLIGHT_BYTES are on their way at once (plus what one read of 64 KB brings);
  beyond that nothing is read from the socket, and the broker keeps the rest.
- The messages of one device enter the intake one after the other, in order of arrival. One that cannot be committed is tried
  again in its place, for ever; other devices go on.
- A body with several messages is acknowledged when each of them is durable.
- What is not understood is handed to `reject`, kept there, and acknowledged: it cannot stop the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from adapters.members import NotUnderstood
from adapters.mqtt.address import address_of
from adapters.mqtt.backoff import Backoff
from adapters.mqtt.networks.base import Part
from adapters.mqtt.networks.known import Networks, choice
from broker import metrics
from broker.clock import Clock
from broker.config import Limits, Mqtt
from broker.errors import Overloaded
from broker.outbound.mqtt.connection import Connection, Publication
from broker.pipeline.intake import Intake, Unread, Uplink

IN_FLIGHT_BYTES = 32 * 1024 * 1024
"""Message bytes in memory at once: 512 ordinary messages are 0.5 MB, 512 hostile ones would be 512 MB."""
GRACE_SECONDS = 5.0
"""How long messages on their way may take to be committed and acknowledged when stopping; half of `shutdown_seconds`."""
SUBMIT_TRIES = 5
"""How often an uplink is tried whose application fails by a fault of ours, before it is rejected, kept and passed over."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _Whole:
    """A publication, acknowledged when all that it holds is durable."""

    publication: Publication
    left: int

    def one_done(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.publication.acknowledge()


@dataclass(frozen=True, slots=True)
class _Message:
    """What was read from a publication, or from an element of its array: an uplink, or why it is none."""

    publication: Publication
    source: str
    uplink: Uplink | None
    raw: bytes
    reason: str
    meta: dict[str, Any]

    @property
    def lane(self) -> str:
        """What is kept in order: a device's messages; of what no device can be read from, a topic's."""
        return self.uplink.device_id if self.uplink is not None else self.publication.topic


class MqttIntake:
    """One MQTT broker's messages into the intake. Several brokers: several of these.

    Raises InvalidSetting when the settings name no broker, files that cannot be read or an unknown network.
    """

    def __init__(self, settings: Mqtt, networks: Networks, intake: Intake, clock: Clock, limits: Limits) -> None:
        self._settings = settings
        self._intake = intake
        self._clock = clock
        self._limits = limits
        self._address = address_of(settings)
        self._networks = choice(settings.network, settings.topics, networks)
        self.name = settings.name or self._address.host
        self._log = _log.bind(mqtt=self.name)
        group = f"$share/{settings.share}/" if settings.share else ""
        self._filters = tuple(group + topic for topic in self._networks.topics)
        self.ready = asyncio.Event()
        """Set while the connection stands and at least one subscription is granted."""
        self._room = asyncio.Event()
        self._room.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._in_flight_bytes = 0
        self._stopping = False
        self._behind = False
        self._connected = metrics.connected.labels("mqtt", self.name)
        self._depth = metrics.queue_depth.labels(f"mqtt:{self.name}")

    @property
    def in_flight(self) -> int:
        """Messages taken and not yet committed."""
        return len(self._tasks)

    async def run(self) -> None:
        """Take messages until cancelled; reconnect for ever.

        When cancelled: takes nothing more, lets what is on its way be committed and acknowledged (GRACE_SECONDS at most),
        and disconnects; the session stays, so the broker keeps what comes meanwhile.
        """
        backoff = Backoff(0.5, 30.0)
        try:
            while True:
                # Over a lost connection's messages no new ones: they would add up.
                await self._room.wait()
                try:
                    await self._serve(backoff)
                    self._log.warning("mqtt.connection_lost")
                except OSError as error:
                    self._log.warning("mqtt.connection_failed", reason=str(error) or type(error).__name__)
                await asyncio.sleep(backoff.pause())
        finally:
            await self._drain()
            self._log.info("mqtt.stopped")

    async def _serve(self, backoff: Backoff) -> None:
        connection = Connection(
            self._address,
            self._settings.client_id or f"knutpunkt-{self.name}",
            receive_maximum=self._settings.receive_maximum,
            session_expiry_seconds=self._settings.session_expiry_seconds,
            keepalive_seconds=self._settings.keepalive_seconds,
            version=self._settings.version,
            qos=self._settings.qos,
            gate=self._room,
            ready=self.ready,
            take=self._take,
        )
        try:
            await connection.open(self._filters)
            backoff.reset()
            self._connected.set(1)
            self._log.info("mqtt.connected", session_present=connection.session_present, filters=self._filters)
            await connection.lost.wait()
        except asyncio.CancelledError:
            # Before the connection goes: what is committed now can still be acknowledged.
            await self._drain()
            raise
        finally:
            self._connected.set(0)
            await connection.close()

    async def _drain(self) -> None:
        self._stopping = True
        self._room.clear()
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)
        finally:
            if self._tasks:
                self._log.warning("mqtt.not_committed_at_stop", messages=len(self._tasks))
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, publication: Publication) -> None:
        if self._stopping:
            return
        messages = self._understand(publication)
        whole = _Whole(publication, len(messages))
        if not messages:
            whole.one_done()
        for message in messages:
            lane = message.lane
            task = asyncio.get_running_loop().create_task(self._settle(message, whole, self._lanes.get(lane)))
            self._lanes[lane] = task
            self._tasks.add(task)
            self._in_flight_bytes += len(message.raw)
            task.add_done_callback(partial(self._settled, lane, len(message.raw)))
        self._weigh()

    def _understand(self, publication: Publication) -> list[_Message]:
        body = publication.payload
        meta: dict[str, Any] = {"topic": publication.topic, "broker": self.name}
        limit = self._limits.uplink_bytes
        source = f"mqtt:{self._settings.network}"

        def unread(raw: bytes, reason: str, **more: Any) -> _Message:
            return _Message(publication, source, None, raw, reason, meta | more)

        parts: Sequence[Part]
        try:
            network = self._networks.of(publication.topic, body)
            source = f"mqtt:{network.name}"
            if len(body) > limit:
                kept = body[: self._limits.uplink_kept_bytes]
                reason = f"The message must have at most {limit} bytes (limits.uplink_bytes), got {len(body)}."
                return [unread(kept, reason, bytes=len(body))]
            parts = network.read(
                publication.topic, body, source=source, received_at=self._clock.now(), limits=self._limits
            )
        except NotUnderstood as error:
            more = {"bytes": len(body)} if len(body) > self._limits.uplink_kept_bytes else {}
            return [unread(body[: self._limits.uplink_kept_bytes], str(error), **more)]
        except Exception as error:
            # A fault of the reader's must not stop the stream either.
            self._log.exception("mqtt.reader_failed", topic=publication.topic)
            return [unread(body, f"The reader failed: {type(error).__name__}.")]
        if not parts:
            metrics.uplinks.labels(source, "passed_over").inc()
        messages = []
        for part in parts:
            if isinstance(part, Unread):
                messages.append(unread(part.raw, part.reason))
            else:
                part.meta["broker"] = self.name
                messages.append(_Message(publication, source, part, part.raw, "", meta))
        return messages

    async def _settle(self, message: _Message, whole: _Whole, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait((before,))  # not `await before`: cancelling this one must not cancel that one
        await self._commit(message)
        whole.one_done()

    async def _commit(self, message: _Message) -> None:
        """Hand `message` in until it is durable."""
        backoff = Backoff(0.1, 10.0)
        faults = 0
        reason = message.reason
        while True:
            try:
                if message.uplink is not None and faults < SUBMIT_TRIES:
                    await self._intake.submit(message.uplink, wait=True)
                else:
                    await self._intake.reject(
                        source=message.source, raw=message.raw, reason=reason, meta=message.meta, wait=True
                    )
            except Overloaded as error:
                # Once for all messages that wait, not once a message.
                if not self._behind:
                    self._behind = True
                    self._log.warning("mqtt.intake_waits", reason=error.detail, in_flight=self.in_flight)
            except Exception as error:
                faults += 1
                reason = reason or f"Applying it failed {SUBMIT_TRIES} times: {type(error).__name__}."
                self._log.exception("mqtt.submit_failed", topic=message.publication.topic, tries=faults)
            else:
                if self._behind:
                    self._behind = False
                    self._log.info("mqtt.intake_goes_on")
                return
            await asyncio.sleep(backoff.pause())

    def _settled(self, lane: str, size: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._lanes.get(lane) is task:
            del self._lanes[lane]
        self._in_flight_bytes -= size
        self._weigh()

    def _weigh(self) -> None:
        """Open or shut the gate to the socket, by what is on its way."""
        count = len(self._tasks)
        self._depth.set(count)
        if self._stopping or count >= self._settings.receive_maximum or self._in_flight_bytes >= IN_FLIGHT_BYTES:
            self._room.clear()
        else:
            self._room.set()
