"""Commands to sensors on their way: queued, looked for, handed to the network that the device was last heard on, given up.

One process sends (a lease). A command is written down as being handed over, published, and written down as sent when the MQTT
broker has acknowledged it: at least once. After a crash in between it is published again, under the same id. Commands of one
virtual sensor go in the order in which they were queued. A device that asks for itself (CoAP) fetches its own: `fetching.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from broker import metrics
from broker.clock import SECOND, Clock
from broker.codecs.downlink import check_values
from broker.config import Actuation
from broker.devices import actuation
from broker.devices.actuation import DeviceCommand
from broker.devices.check import check_id
from broker.devices.commanding import (
    BeginSending,
    Change,
    ForgetCommands,
    QueueCommand,
    ToEncode,
    as_command,
    cancelling,
)
from broker.errors import BadRequestData, BrokerError, Overloaded, ResourceNotFound
from broker.pipeline.command_log import as_downlink, since, tell
from broker.pipeline.decoding import Decoders
from broker.pipeline.encoding import begin
from broker.pipeline.expiry import Executor
from broker.pipeline.intake import Network, NotSent
from broker.stores.base import TenantStore

log = structlog.get_logger(__name__)

LEASE: Final = "downlinks"
LEASE_SECONDS: Final = 15.0
PAGE: Final = 200
"""Commands that are read at once, count."""
AT_ONCE: Final = 16
"""Commands that are handed over at once, count."""
FORGET_SECONDS: Final = 3600.0
A_SECOND: Final = 100
"""Waiting commands that are tried again in a second, count: with more, each is tried less often."""
TRIES: Final = 3
"""To queue a command whose model is changed meanwhile, count."""
LONGEST_PAUSE: Final = 10.0
"""Between two tries of one waiting command, seconds, unless there are more than `A_SECOND` allows."""


class Downlinks:
    """The default tenant's. `run` until `close`. `networks`: by the name of the MQTT broker."""

    def __init__(
        self,
        store: TenantStore,
        writer: Executor,
        clock: Clock,
        settings: Actuation,
        networks: Mapping[str, Network],
        decoders: Decoders,
    ) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._settings = settings
        self._networks = networks
        self._decoders = decoders
        self._owner = clock.new_id()
        self._open = 0
        """Open commands when they were last looked at, and those queued here since."""
        self._tried: dict[str, tuple[float, float]] = {}
        """Of a command that waits: when it is tried again (the loop's time), and after what pause."""
        self._forgot = 0.0
        self._held = False
        """Whether this process is the one that sends."""
        self._woken = asyncio.Event()
        self._stopping = False
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self._depth = metrics.queue_depth.labels("downlinks")

    # --- what the API does ---

    async def queue(
        self,
        virtual_sensor: str,
        command: str,
        parameters: Mapping[str, Any],
        *,
        expires_seconds: int | None = None,
        by: str = "",
    ) -> DeviceCommand:
        """Queue a command, durably. Raises what `QueueCommand` does, BadRequestData, Overloaded when too many wait."""
        seconds = expires_seconds if expires_seconds is not None else self._settings.expire_seconds
        if not 1 <= seconds <= self._settings.longest_seconds:
            raise BadRequestData(
                f"'expiresInSeconds' must be from 1 to {self._settings.longest_seconds} "
                f"(actuation.longest_seconds), got {seconds}."
            )
        check_id(command, "command")
        check_values(command, parameters)
        if self._open >= self._settings.queued:
            raise Overloaded(f"There are {self._open} open commands (actuation.queued); nothing was queued.")
        queued = await self._queue(
            QueueCommand(
                self._clock.new_id(),
                virtual_sensor,
                command,
                parameters,
                self._clock.now() + seconds * SECOND,
                by,
                self._settings.queued_per_sensor,
            )
        )
        self._open += 1
        tell(queued)
        self._woken.set()
        return queued

    async def _queue(self, command: QueueCommand) -> DeviceCommand:
        """Execute it; a script that encodes it is tried first, so that whoever asks hears what it says."""
        for _ in range(TRIES):
            queued = await self._writer.execute(command)
            if not isinstance(queued, ToEncode):
                return queued
            command = replace(command, encoded=await self._decoders.encode(queued))
        raise Overloaded("The device's model is being changed; nothing was queued.")

    async def cancel(self, command_id: str, by: str = "") -> DeviceCommand:
        """Cancel a command that has not been sent. Raises ResourceNotFound, PreconditionFailed."""
        cancelled = await self._writer.execute(Change(command_id, cancelling(by)))
        if cancelled is None:
            raise ResourceNotFound(f"There is no command '{command_id[:80]}'.")
        tell(cancelled)
        return cancelled

    # --- the task ---

    async def run(self) -> None:
        """Send and expire until `close`."""
        self._ended.clear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hold())
                while not self._stopping:
                    self._woken.clear()
                    try:
                        await self._look()
                    except BrokerError as error:
                        log.warning("downlinks.put_off", reason=error.detail)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._settings.look_seconds):
                            await self._woken.wait()
        finally:
            self._ended.set()

    async def _hold(self) -> None:
        """Keep the lease, however long a look takes; without it nothing is begun.

        Ends by itself: a driver may take a cancellation for its own.
        """
        while not self._stopping:
            try:
                self._held = await self._store.lease(LEASE, self._owner, LEASE_SECONDS)
            except BrokerError:
                self._held = False
            pause = LEASE_SECONDS / 5 if self._held else min(LEASE_SECONDS / 5, self._settings.look_seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stop.wait()

    async def close(self) -> None:
        """Begin nothing more; returns when what was under way is written down (at most `handover_seconds` and a commit)."""
        self._stopping = True
        self._stop.set()
        self._woken.set()
        try:
            async with asyncio.timeout(self._settings.handover_seconds + 2):
                await self._ended.wait()
                await self._store.release([LEASE], self._owner)
        except (TimeoutError, BrokerError):
            log.warning("downlinks.not_settled_at_stop")
        for network in self._networks.values():
            await network.close()

    async def _look(self) -> None:
        """Look at every open command once."""
        seen: set[str] = set()
        stuck: set[str] = set()
        after = ""
        while not self._stopping:
            page = await self._store.records("device_command", key="open", after=after, limit=PAGE)
            seen.update(record.id for record in page)
            if self._held:
                await self._work([as_command(record) for record in page], stuck)
            if len(page) < PAGE:
                break
            after = page[-1].id
        self._open = len(seen)
        self._depth.set(self._open)
        self._tried = {each: tried for each, tried in self._tried.items() if each in seen}
        if self._held and asyncio.get_running_loop().time() >= self._forgot:
            await self._forget()

    async def _work(self, page: list[DeviceCommand], stuck: set[str]) -> None:
        """Expire and send what is on a page; the virtual sensors whose turn has not come are added to `stuck`."""
        now = self._clock.now()
        queues: dict[str, list[DeviceCommand]] = {}
        for command in page:
            if now >= command.expires_at:
                await self._change(command, Change(command.id, actuation.expired))
            elif command.status == "queued":
                queues.setdefault(command.virtual_sensor, []).append(command)
        room = asyncio.Semaphore(AT_ONCE)

        async def serve(sensor_id: str, queue: list[DeviceCommand]) -> None:
            async with room:
                for command in sorted(queue, key=since):
                    if self._stopping or not self._held or not await self._serve(command):
                        stuck.add(sensor_id)
                        return

        async with asyncio.TaskGroup() as group:
            for sensor_id, queue in queues.items():
                if sensor_id not in stuck:
                    group.create_task(serve(sensor_id, queue))

    async def _serve(self, command: DeviceCommand) -> bool:
        """Try one command; whether the next of its virtual sensor may go."""
        now = asyncio.get_running_loop().time()
        again, pause = self._tried.get(command.id, (0.0, self._settings.look_seconds / 2))
        if now < again:
            return False
        try:
            gone = await self._send(command)
        except BrokerError as error:
            log.warning("command.put_off", command=command.id, reason=error.detail)
            gone = False
        if not gone:
            longer = min(2 * pause, max(LONGEST_PAUSE, self._open / A_SECOND))
            self._tried[command.id] = (now + longer, longer)
        return gone

    async def _send(self, command: DeviceCommand) -> bool:
        """Hand one command over; False when it stays queued."""
        begun = await begin(self._writer, self._decoders, BeginSending(command.id, self._waits_for))
        if begun is None:
            return True
        if not begun.command.sending:
            if begun.command.status != "queued":
                tell(begun.command)
            return begun.command.status != "queued"
        try:
            async with asyncio.timeout(self._settings.handover_seconds):
                await self._networks[begun.broker].send(as_downlink(begun.command, begun.topic))
        except (NotSent, TimeoutError) as error:
            reason = (
                str(error) or f"No acknowledgement of the MQTT broker within {self._settings.handover_seconds:g} s."
            )
            log.warning("command.not_sent", command=command.id, device=begun.command.device, reason=reason)
            await self._writer.execute(Change(command.id, lambda now, at: actuation.waiting(now, reason)), wait=True)
            return False
        await self._change(begun.command, Change(command.id, actuation.sent))
        return True

    async def _change(self, before: DeviceCommand, change: Change) -> None:
        after = await self._writer.execute(change, wait=True)
        if after is not None and after.status != before.status:
            tell(after)

    def _waits_for(self, source: str, broker: str) -> str | None:
        """See `BeginSending.networks`."""
        if not source.startswith("mqtt:"):
            return None
        if broker in self._networks:
            return ""
        return f"The settings have no MQTT broker named '{broker}', or several."

    async def _forget(self) -> None:
        """Delete what has ended long ago: ids are in order of time, so that the oldest are looked at."""
        before = self._clock.now() - self._settings.keep_days * 24 * 3600 * SECOND
        after = ""
        while not self._stopping:
            page = await self._store.records("device_command", after=after, limit=PAGE)
            old = [record.id for record in page if (record.body["endedAt"] or before) < before]
            if not old:
                break
            await self._writer.execute(ForgetCommands(old, before), wait=True)
            after = page[-1].id
        self._forgot = asyncio.get_running_loop().time() + FORGET_SECONDS
