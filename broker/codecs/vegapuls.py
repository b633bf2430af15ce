"""VEGAPULS Air 23, 41 and 42: radar level sensors over LoRaWAN (VEGA, operating instructions, "LoRaWAN: byte structure").

The first byte says which packet it is, and so which parts follow, big-endian. A float that is no number and an integer 0x8000
mean that there is no value. Packets 2 to 7 and 16 to 26 are the older and the descriptive ones.
"""

from __future__ import annotations

import math
import struct
from typing import Final, Literal

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.quantities import convert
from broker.codecs.reading import Findings, Reader

_LENGTHS: Final = {44: "FOT", 45: "MTR", 47: "INH", 49: "MMT"}
_TEMPERATURES: Final = {32: "CEL", 33: "FAH"}
_NO_VALUE: Final = -0x8000
_DIGITS: Final = 7
"""Digits that a 32-bit float holds: 1.87334 is sent as 1.8733350038…"""

_Part = Literal[
    "state", "distance", "percent", "battery", "position", "detail", "celsius", "temperature", "inclination"
]
_PACKETS: dict[int, tuple[_Part, ...]] = {
    2: ("state", "distance", "battery", "celsius", "inclination"),
    3: ("state", "distance", "battery", "celsius", "position", "inclination"),
    4: ("state", "distance", "battery", "celsius", "detail", "inclination"),
    5: ("state", "distance", "battery", "celsius", "position", "detail", "inclination"),
    6: ("state", "position"),
    7: ("state", "detail"),
    8: ("distance", "battery", "temperature", "inclination"),
    9: ("distance", "battery", "position", "temperature", "inclination"),
    10: ("state", "distance", "battery", "detail", "temperature", "inclination"),
    11: ("state", "distance", "battery", "position", "detail", "temperature", "inclination"),
    12: ("distance", "percent", "battery", "temperature", "inclination"),
    13: ("distance", "percent", "battery", "position", "temperature", "inclination"),
    14: ("state", "distance", "percent", "battery", "detail", "temperature", "inclination"),
    15: ("state", "distance", "percent", "battery", "position", "detail", "temperature", "inclination"),
}
_DESCRIPTIVE = range(16, 27)


class VegapulsAir:
    """The codec 'vegapuls-air'."""

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Measurements of one uplink; any fPort. Packets that describe the device have none."""
        reader, found = Reader(payload), Findings(at)
        packet = reader.big(1, "the packet's number")
        if packet in _DESCRIPTIVE:
            return []
        if packet not in _PACKETS:
            raise CodecError(f"Byte 0: packet {packet} is not one of the VEGAPULS Air's.")
        for part in _PACKETS[packet]:
            _read(part, reader, found)
        if reader.left:
            raise CodecError(f"Byte {reader.at}: {reader.left} bytes are left after packet {packet}.")
        return found.found


def _read(part: _Part, reader: Reader, found: Findings) -> None:
    match part:
        case "state":
            found.put("errorCode", reader.big(1, "the NAMUR state"), "namur")
        case "detail":
            found.put("errorCode", reader.big(4, "the detailed state"), "detail")
        case "distance":
            value, unit = _float(reader, "the distance"), reader.big(1, "the distance's unit")
            if unit not in _LENGTHS:
                raise CodecError(f"Byte {reader.at - 1}: unit {unit} is not one of a distance.")
            if value is not None:
                found.put("distance", convert(value, _LENGTHS[unit], "MTR"))
        case "percent":
            for channel in ("", "linear"):
                hundredths = reader.big(2, "the fill level", signed=True)
                if hundredths != _NO_VALUE:
                    found.put("fillLevel", hundredths / 100, channel)
            scaled = _float(reader, "the scaled value")
            reader.take(1, "the scaled value's unit")
            if scaled is not None:
                found.put("genericValue", scaled, "scaled")
        case "battery":
            found.put("batteryLevel", reader.big(1, "the battery"))
        case "position":
            latitude, longitude = _float(reader, "the latitude"), _float(reader, "the longitude")
            if latitude is not None and longitude is not None:
                found.put("latitude", latitude)
                found.put("longitude", longitude)
        case "celsius":
            _temperature(reader.big(2, "the temperature", signed=True), "CEL", found)
        case "temperature":
            tenths, unit = reader.big(2, "the temperature", signed=True), reader.big(1, "the temperature's unit")
            if unit not in _TEMPERATURES:
                raise CodecError(f"Byte {reader.at - 1}: unit {unit} is not one of a temperature.")
            _temperature(tenths, _TEMPERATURES[unit], found)
        case "inclination":
            found.put("tilt", reader.big(1, "the inclination"))


def _temperature(tenths: int, unit: str, found: Findings) -> None:
    if tenths != _NO_VALUE:
        found.put("temperature", convert(tenths / 10, unit, "CEL"))


def _float(reader: Reader, what: str) -> float | None:
    """As the shortest decimal that a 32-bit float of this value is written as; None when it is no number."""
    (value,) = struct.unpack(">f", reader.take(4, what))
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
