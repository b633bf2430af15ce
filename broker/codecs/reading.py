"""Reading a payload byte by byte, with errors that say at which byte and why."""

from __future__ import annotations

from broker.clock import SECOND, Micros
from broker.codecs.base import CodecError, Measurement, Value
from broker.codecs.quantities import quantity as info_of

MAX_MEASUREMENTS = 256
"""Measurements of one uplink: more than any LoRaWAN payload (242 bytes) can hold meaningfully."""


class Reader:
    """A cursor over a payload. Every read moves it, or raises CodecError when the payload ends first."""

    __slots__ = ("_end", "at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self._end = len(data)

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self._end - self.at

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes, which are `what`."""
        end = self.at + size
        if end > self._end:
            raise CodecError(
                f"Byte {self.at}: {what} needs {size} {'byte' if size == 1 else 'bytes'}, but the payload of {self._end} bytes has {self.left} left."
            )
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def big(self, size: int, what: str, *, signed: bool = False) -> int:
        """The next big-endian integer."""
        return int.from_bytes(self.take(size, what), "big", signed=signed)

    def little(self, size: int, what: str, *, signed: bool = False) -> int:
        """The next little-endian integer."""
        return int.from_bytes(self.take(size, what), "little", signed=signed)


class Findings:
    """The measurements found so far. Each takes the unit that the quantity's table row has."""

    __slots__ = ("at", "found")

    def __init__(self, at: Micros) -> None:
        self.at = at
        self.found: list[Measurement] = []

    def add(self, quantity: str, value: Value, unit: str = "", *, channel: str = "", at: Micros | None = None) -> None:
        """One more, observed when the uplink was received unless `at` says otherwise."""
        if len(self.found) == MAX_MEASUREMENTS:
            raise CodecError(f"The payload holds more than {MAX_MEASUREMENTS} measurements.")
        self.found.append(Measurement(quantity, value, unit, self.at if at is None else at, channel))

    def put(self, quantity: str, value: Value, channel: str = "", at: Micros | None = None) -> None:
        """One more, its value in the unit that the table has for the quantity."""
        self.add(quantity, value, info_of(quantity).unit, channel=channel, at=at)


def from_epoch(seconds: int) -> Micros:
    """A device's Unix time as ours."""
    return seconds * SECOND
