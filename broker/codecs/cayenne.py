"""Cayenne Low Power Payload (myDevices, "Cayenne LPP", and the IPSO types that the common libraries add).

A payload is a row of values: one byte of channel, one of type, then the value, big-endian. The channel's number is the
measurement's channel.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.reading import Findings, Reader

_MILLI_G = 9.80665
"""Thousandths of a standard gravity in mm/s²."""

_Take = Callable[[Findings, bytes, str], None]


def _number(quantity: str, unit: str = "", *, divide: int = 1, signed: bool = False) -> _Take:
    def take(found: Findings, data: bytes, channel: str) -> None:
        raw = int.from_bytes(data, "big", signed=signed)
        found.add(quantity, raw if divide == 1 else raw / divide, unit, channel=channel)

    return take


def _boolean(quantity: str) -> _Take:
    def take(found: Findings, data: bytes, channel: str) -> None:
        found.add(quantity, data[0] != 0, channel=channel)

    return take


def _axes(data: bytes) -> tuple[int, int, int]:
    x, y, z = (int.from_bytes(data[at : at + 2], "big", signed=True) for at in (0, 2, 4))
    return x, y, z


def _acceleration(found: Findings, data: bytes, channel: str) -> None:
    for axis, raw in zip("XYZ", _axes(data), strict=True):
        found.add(f"acceleration{axis}", raw * _MILLI_G / 1000, "MSK", channel=channel)


def _rotation(found: Findings, data: bytes, channel: str) -> None:
    for axis, raw in zip("XYZ", _axes(data), strict=True):
        found.add(f"rotation{axis}", raw / 100, "E96", channel=channel)


def _position(found: Findings, data: bytes, channel: str) -> None:
    found.add("latitude", int.from_bytes(data[:3], "big", signed=True) / 10000, "DD", channel=channel)
    found.add("longitude", int.from_bytes(data[3:6], "big", signed=True) / 10000, "DD", channel=channel)
    found.add("altitude", int.from_bytes(data[6:], "big", signed=True) / 100, "MTR", channel=channel)


def _colour(found: Findings, data: bytes, channel: str) -> None:
    found.add("colour", f"#{data.hex()}", channel=channel)


_TYPES: dict[int, tuple[str, int, _Take]] = {
    0: ("digital input", 1, _number("digitalInput")),
    1: ("digital output", 1, _number("digitalOutput")),
    2: ("analog input", 2, _number("analogInput", divide=100, signed=True)),
    3: ("analog output", 2, _number("analogOutput", divide=100, signed=True)),
    100: ("generic sensor", 4, _number("genericValue")),
    101: ("luminosity", 2, _number("illuminance", "LUX")),
    102: ("presence", 1, _boolean("presence")),
    103: ("temperature", 2, _number("temperature", "CEL", divide=10, signed=True)),
    104: ("humidity", 1, _number("humidity", "P1", divide=2)),
    113: ("accelerometer", 6, _acceleration),
    115: ("barometric pressure", 2, _number("pressure", "A97", divide=10)),
    116: ("voltage", 2, _number("voltage", "VLT", divide=100)),
    117: ("current", 2, _number("current", "AMP", divide=1000)),
    118: ("frequency", 4, _number("frequency", "HTZ")),
    120: ("percentage", 1, _number("percentage", "P1")),
    121: ("altitude", 2, _number("altitude", "MTR", signed=True)),
    125: ("concentration", 2, _number("concentration", "59")),
    128: ("power", 2, _number("power", "WTT")),
    130: ("distance", 4, _number("distance", "MTR", divide=1000)),
    131: ("energy", 4, _number("energy", "KWH", divide=1000)),
    132: ("direction", 2, _number("direction", "DD")),
    133: ("Unix time", 4, _number("deviceTime", "SEC")),
    134: ("gyrometer", 6, _rotation),
    135: ("colour", 3, _colour),
    136: ("GPS location", 9, _position),
    142: ("switch", 1, _boolean("switch")),
}


class CayenneLpp:
    """The codec 'cayenne-lpp'."""

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Measurements of one uplink; any fPort."""
        reader, found = Reader(payload), Findings(at)
        while reader.left:
            start = reader.at
            channel, kind = reader.take(2, "a channel and a type")
            row = _TYPES.get(kind)
            if row is None:
                raise CodecError(f"Byte {start}: type {kind} on channel {channel} is not one of Cayenne LPP's.")
            label, size, take = row
            take(found, reader.take(size, label), str(channel))
        return found.found
