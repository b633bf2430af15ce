"""Sensative Strips (Sensative, "Strips LoRa payload formats").

fPort 1: a sequence number of the history (2), then a row of reports: a type (1, the upper bit says that it is kept in the
history), then the value, big-endian. fPort 2 answers a question about the history: the sequence number, then seconds ago (4)
before each report; with the sequence number 0xFFFF it holds plain reports as fPort 1 does.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.clock import SECOND, Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.reading import Findings, Reader

_REPORTS, _HISTORY = 1, 2
_NO_HISTORY = 0xFFFF

_Take = Callable[[Findings, bytes, Micros], None]


def _number(quantity: str, *, divide: int = 1, signed: bool = False, channel: str = "") -> _Take:
    def take(found: Findings, data: bytes, at: Micros) -> None:
        raw = int.from_bytes(data, "big", signed=signed)
        found.put(quantity, raw if divide == 1 else raw / divide, channel, at)

    return take


def _boolean(quantity: str, channel: str = "", *, inverted: bool = False) -> _Take:
    def take(found: Findings, data: bytes, at: Micros) -> None:
        found.put(quantity, (data[0] != 0) is not inverted, channel, at)

    return take


def _temperature_alarm(channel: str) -> _Take:
    def take(found: Findings, data: bytes, at: Micros) -> None:
        found.put("alarm", bool(data[0] & 1), f"{channel}High", at)
        found.put("alarm", bool(data[0] & 2), f"{channel}Low", at)

    return take


def _both(size: int, first: _Take, second: _Take) -> _Take:
    def take(found: Findings, data: bytes, at: Micros) -> None:
        first(found, data[:size], at)
        second(found, data[size:], at)

    return take


def _nothing(found: Findings, data: bytes, at: Micros) -> None:
    """About the device: read over."""


_TEMPERATURE = _number("temperature", divide=10, signed=True)
_AVERAGE = _number("temperature", divide=10, signed=True, channel="average")
_HUMIDITY = _number("humidity", divide=2)
_DOOR = _boolean("open", inverted=True)  # the device says whether it is closed

_TYPES: dict[int, tuple[str, int, _Take]] = {
    0: ("nothing", 0, _nothing),
    1: ("battery", 1, _number("batteryLevel")),
    2: ("temperature", 2, _TEMPERATURE),
    3: ("temperature alarm", 1, _temperature_alarm("temperature")),
    4: ("average temperature", 2, _AVERAGE),
    5: ("average temperature alarm", 1, _temperature_alarm("temperatureAverage")),
    6: ("humidity", 1, _HUMIDITY),
    7: ("light", 2, _number("illuminance")),
    8: ("second light", 2, _number("illuminance", channel="2")),
    9: ("door", 1, _DOOR),
    10: ("door alarm", 1, _boolean("alarm", "open")),
    11: ("tamper switch", 1, _number("digitalInput", channel="tamperSwitch")),
    12: ("tamper alarm", 1, _boolean("tamper")),
    13: ("flood level", 1, _number("waterLeakLevel")),
    14: ("flood alarm", 1, _boolean("waterLeak")),
    15: ("oil alarm", 1, _boolean("alarm", "oil")),
    16: ("user switch", 1, _boolean("alarm", "userSwitch")),
    17: ("door count", 2, _number("openings")),
    18: ("presence", 1, _boolean("presence")),
    19: ("infrared proximity", 2, _number("genericValue", channel="irProximity")),
    20: ("infrared close proximity", 2, _number("genericValue", channel="irCloseProximity")),
    21: ("close proximity", 1, _boolean("presence", "close")),
    22: ("disinfection", 1, _number("genericValue", channel="disinfection")),
    80: ("humidity and temperature", 3, _both(1, _HUMIDITY, _TEMPERATURE)),
    81: ("average humidity and temperature", 3, _both(1, _number("humidity", divide=2, channel="average"), _AVERAGE)),
    82: ("door and temperature", 3, _both(1, _DOOR, _TEMPERATURE)),
    110: ("build and status", 8, _nothing),
    112: ("flood capacitance", 2, _nothing),
    113: ("pad capacitance", 2, _nothing),
    114: ("end capacitance", 2, _nothing),
}


class SensativeStrips:
    """The codec 'sensative-strips'."""

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Measurements of one uplink; those of the history have the times they were taken at."""
        if f_port not in (_REPORTS, _HISTORY):
            raise CodecError(f"fPort {f_port} is not one of the Strips': {_REPORTS}, {_HISTORY}.")
        reader, found = Reader(payload), Findings(at)
        dated = reader.big(2, "the sequence number") != _NO_HISTORY and f_port == _HISTORY
        while reader.left:
            taken_at = at - reader.big(4, "a time") * SECOND if dated else at
            start = reader.at
            kind = reader.big(1, "a type") & 0x7F
            row = _TYPES.get(kind)
            if row is None:
                raise CodecError(f"Byte {start}: type {kind} is not one of the Strips'.")
            label, size, take = row
            take(found, reader.take(size, label), taken_at)
        return found.found
