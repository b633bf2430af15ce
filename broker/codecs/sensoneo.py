"""Sensoneo's ultrasonic fill level sensors (Sensoneo, payload documents of Single Sensor 1 to 3 and Quatro Sensor 2).

fPort 1, the first two versions: a text '(U3.76T+14D251P1)': volts, °C, cm, and 1 when upright. fPort 2: 0xFFFF, what it is (2),
an id (4), events (1), four distances (1 each, 2 cm), battery (1, 10 mV above 2.5 V), temperature (1, signed), tilt (1); the Quatro
then has a time, a position (two floats, little-endian, each with a letter for its side) and counters.
"""

from __future__ import annotations

import math
import re
import struct

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.reading import Findings, Reader

_TEXT_PORT, _BINARY_PORT = 1, 2
_TEXT = re.compile(rb"\(U(\d{1,2}(?:\.\d{1,3})?)T([+-]?\d{1,3})D(\d{1,5})P([01])\)")
_MARK = 0xFFFF
_SINGLE, _QUATRO = 17, 33
"""Bytes of the two layouts."""
_BATTERY_LOW = 0x10


class Sensoneo:
    """The codec 'sensoneo'."""

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """The distance to what fills the container, by each of the four cones too; temperature, tilt, battery."""
        found = Findings(at)
        if f_port == _TEXT_PORT:
            _text(payload, found)
        elif f_port == _BINARY_PORT:
            _binary(Reader(payload), found)
        else:
            raise CodecError(f"fPort {f_port} is not one of Sensoneo's: {_TEXT_PORT}, {_BINARY_PORT}.")
        return found.found


def _text(payload: bytes, found: Findings) -> None:
    parts = _TEXT.fullmatch(payload)
    if parts is None:
        raise CodecError("The payload must be a text like (U3.76T+14D251P1).")
    volts, temperature, distance, upright = parts.groups()
    found.put("distance", int(distance) / 100)
    found.put("temperature", int(temperature))
    found.put("tilted", upright == b"0")
    found.put("batteryVoltage", float(volts))


def _binary(reader: Reader, found: Findings) -> None:
    if len(reader.data) not in (_SINGLE, _QUATRO):
        raise CodecError(f"The payload must have {_SINGLE} or {_QUATRO} bytes, got {len(reader.data)}.")
    if reader.big(2, "the mark") != _MARK:
        raise CodecError(f"Byte 0: the payload must begin with 0x{_MARK:04X}.")
    reader.take(6, "what it is and its id")
    events = reader.big(1, "the events")
    sonars = reader.take(4, "the distances")
    found.put("distance", sum(sonars) / 4 * 2 / 100)
    for number, half in enumerate(sonars, start=1):
        found.put("distance", half * 2 / 100, str(number))
    found.put("batteryVoltage", (250 + reader.big(1, "the battery")) / 100)
    found.put("batteryLow", bool(events & _BATTERY_LOW))
    found.put("temperature", reader.big(1, "the temperature", signed=True))
    found.put("tilt", reader.big(1, "the tilt"))
    if len(reader.data) == _QUATRO:
        reader.take(4, "the time")
        _position(reader, found)


def _position(reader: Reader, found: Findings) -> None:
    latitude, north = struct.unpack("<fc", reader.take(5, "the latitude"))
    longitude, east = struct.unpack("<fc", reader.take(5, "the longitude"))
    if north not in b"NS" or east not in b"EW" or not (math.isfinite(latitude) and math.isfinite(longitude)):
        return  # it has no position yet
    if abs(latitude) <= 90 and abs(longitude) <= 180:
        found.put("latitude", latitude if north == b"N" else -latitude)
        found.put("longitude", longitude if east == b"E" else -longitude)
