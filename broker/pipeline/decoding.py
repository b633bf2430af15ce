"""The steps 'decode', and 'encode' of commands: where they are done. Scripts run in threads of their own, so that none holds up the event loop.

The devices of one model share a thread, and with it the model's sandbox. A thread that is behind makes its uplinks wait,
and those that wait too long are asked for again; a script that goes beyond its bounds is stopped by the sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from zlib import crc32

from broker import metrics
from broker.codecs.base import CodecError
from broker.codecs.javascript.codec import encode_script
from broker.codecs.javascript.sandbox import Bounds
from broker.codecs.javascript.scripts import bound_here
from broker.codecs.registry import JAVASCRIPT, decode
from broker.config import Codecs
from broker.devices.commanding import Encoded, ToEncode
from broker.devices.model import DeviceModel
from broker.errors import Overloaded
from broker.pipeline.apply_uplink import Decoded
from broker.pipeline.intake import Uplink

ResultT = TypeVar("ResultT")
_Job = tuple["asyncio.Future[Any]", Callable[[], Any]]


def decode_by(model: DeviceModel, version: int, uplink: Uplink) -> Decoded:
    """The uplink's measurements by a device model, or why there are none. Runs the model's script here, if it has one."""
    if uplink.payload is None and uplink.decoded is None and not uplink.values:
        return Decoded(model, version)
    try:
        measurements = decode(
            model,
            payload=uplink.payload,
            f_port=uplink.f_port,
            decoded=uplink.decoded,
            values=uplink.values,
            at=uplink.observed_at,
        )
    except CodecError as error:
        return Decoded(model, version, problem=str(error))
    return Decoded(model, version, measurements)


def encode_by(wanted: ToEncode) -> Encoded:
    """What the model's script makes of a command, or why it does not. Runs it here."""
    try:
        f_port, payload = encode_script(wanted.model.script, wanted.data, wanted.f_port)
    except CodecError as error:
        return Encoded(wanted, problem=str(error))
    return Encoded(wanted, f_port, payload)


class Decoders:
    """For one event loop. Threads begin with the first uplink that needs them; `close` ends them."""

    def __init__(self, settings: Codecs | None = None) -> None:
        self._settings = settings or Codecs()
        self._threads: dict[int, _Thread] = {}
        self._waiting = 0
        self._depth = metrics.queue_depth.labels("codecs")

    async def decode(self, model: DeviceModel, version: int, uplink: Uplink) -> Decoded:
        """As `decode_by`. Raises Overloaded when the scripts are behind."""
        if model.codec != JAVASCRIPT or uplink.payload is None:
            return decode_by(model, version, uplink)
        return await self._in_thread(model.id, partial(decode_by, model, version, uplink))

    async def encode(self, wanted: ToEncode) -> Encoded:
        """As `encode_by`. Raises Overloaded when the scripts are behind."""
        return await self._in_thread(wanted.model.id, partial(encode_by, wanted))

    async def _in_thread(self, model_id: str, job: Callable[[], ResultT]) -> ResultT:
        if self._waiting >= self._settings.queued:
            raise Overloaded(f"{self._waiting} uplinks wait for their codecs (codecs.queued); send it again.")
        found: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._count(1)
        try:
            self._thread(model_id).put((found, job))
            async with asyncio.timeout(self._settings.wait_seconds):
                return await found
        except TimeoutError:
            raise Overloaded(
                f"The codec of model '{model_id}' gave no answer in {self._settings.wait_seconds:g} s "
                "(codecs.wait_seconds); send it again."
            ) from None
        finally:
            self._count(-1)

    def close(self) -> None:
        """End the threads when they have done what waits; does not wait for that."""
        for thread in self._threads.values():
            thread.put(None)
        self._threads.clear()

    def _count(self, more: int) -> None:
        self._waiting += more
        self._depth.set(self._waiting)

    def _thread(self, model_id: str) -> _Thread:
        number = crc32(model_id.encode()) % self._settings.threads
        thread = self._threads.get(number)
        if thread is None:
            bounds = Bounds(self._settings.script_seconds, self._settings.script_megabytes)
            thread = self._threads[number] = _Thread(asyncio.get_running_loop(), bounds)
        return thread


class _Thread:
    """One thread; what it has done is told to the event loop together, not one by one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bounds: Bounds) -> None:
        self._loop = loop
        self._bounds = bounds
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: deque[tuple[asyncio.Future[Any], Any]] = deque()
        self._told = False
        # A daemon: a process that ends does not wait for a script.
        threading.Thread(target=self._run, name="codecs", daemon=True).start()

    def put(self, job: _Job | None) -> None:
        """One more; None: the last."""
        self._jobs.put(job)

    def _run(self) -> None:
        bound_here(self._bounds)
        while (job := self._jobs.get()) is not None:
            found, do = job
            if found.cancelled():
                continue
            made: Any
            try:
                made = do()
            except Exception as error:  # the thread goes on; whoever waits for the answer is told
                made = error
            self._done.append((found, made))
            if not self._told:
                self._told = True
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        # First, so that what is done from here on is told anew.
        self._told = False
        while self._done:
            found, made = self._done.popleft()
            if found.done():
                continue
            if isinstance(made, Exception):
                found.set_exception(made)
            else:
                found.set_result(made)
