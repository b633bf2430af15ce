"""Elsys: the ERS, ELT, EMS and ETHD families' one payload format (Elsys, "Sensor payload"; uplinks on fPort 5).

A payload is a row of values: one byte of type, then the value, big-endian unless said otherwise. The two upper bits of
the type say how many bytes of time offset stand between the two: how many seconds ago the value was taken.
Type 0x3E begins the settings that a device reports after a start (fPort 6): no measurements in it.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.clock import SECOND, Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.reading import Findings, Reader

_SETTINGS = 0x3E
_BYTES = 0x3B
_G_STEPS = 63
"""Steps of the accelerometer in one standard gravity."""
_STANDARD_GRAVITY = 9.80665
"""m/s²"""

_Take = Callable[[Findings, bytes, Micros], None]


def _number(quantity: str, unit: str, *, divide: int = 1, signed: bool = False, channel: str = "") -> _Take:
    def take(found: Findings, data: bytes, at: Micros) -> None:
        raw = int.from_bytes(data, "big", signed=signed)
        found.add(quantity, raw if divide == 1 else raw / divide, unit, channel=channel, at=at)

    return take


def _acceleration(found: Findings, data: bytes, at: Micros) -> None:
    for axis, step in zip("XYZ", data, strict=True):
        signed = step - 256 if step > 127 else step
        found.add(f"acceleration{axis}", signed / _G_STEPS * _STANDARD_GRAVITY, "MSK", at=at)


def _position(found: Findings, data: bytes, at: Micros) -> None:
    found.add("latitude", int.from_bytes(data[:3], "little", signed=True) / 10000, "DD", at=at)
    found.add("longitude", int.from_bytes(data[3:], "little", signed=True) / 10000, "DD", at=at)


def _infrared(found: Findings, data: bytes, at: Micros) -> None:
    found.add("temperature", int.from_bytes(data[:2], "big", signed=True) / 10, "CEL", channel="irInternal", at=at)
    found.add("temperature", int.from_bytes(data[2:], "big", signed=True) / 10, "CEL", channel="irExternal", at=at)


def _water_leak(found: Findings, data: bytes, at: Micros) -> None:
    found.add("waterLeak", data[0] > 0, at=at)
    found.add("waterLeakLevel", data[0], at=at)


def _grid_eye(found: Findings, data: bytes, at: Micros) -> None:
    for pixel, tenths in enumerate(data[1:], start=1):
        found.add("temperature", (data[0] * 10 + tenths) / 10, "CEL", channel=f"grid{pixel}", at=at)


def _sound(found: Findings, data: bytes, at: Micros) -> None:
    found.add("soundLevelPeak", data[0], "2N", at=at)
    found.add("soundLevel", data[1], "2N", at=at)


def _generic_bool(found: Findings, data: bytes, at: Micros) -> None:
    found.add("switch", data[0] != 0, at=at)


def _nothing(found: Findings, data: bytes, at: Micros) -> None:
    """Diagnostics: read over."""


_TYPES: dict[int, tuple[str, int, _Take]] = {
    0x01: ("temperature", 2, _number("temperature", "CEL", divide=10, signed=True)),
    0x02: ("humidity", 1, _number("humidity", "P1")),
    0x03: ("acceleration", 3, _acceleration),
    0x04: ("light", 2, _number("illuminance", "LUX")),
    0x05: ("motion", 1, _number("motion", "C62")),
    0x06: ("CO2", 2, _number("co2", "59")),
    0x07: ("battery voltage", 2, _number("batteryVoltage", "VLT", divide=1000)),
    0x08: ("analog input 1", 2, _number("voltage", "VLT", divide=1000, channel="1")),
    0x09: ("position", 6, _position),
    0x0A: ("pulses 1", 2, _number("pulses", "C62", channel="1")),
    0x0B: ("pulse counter 1", 4, _number("pulseCount", "C62", channel="1")),
    0x0C: ("external temperature", 2, _number("temperature", "CEL", divide=10, signed=True, channel="external")),
    0x0D: ("digital input 1", 1, _number("digitalInput", "", channel="1")),
    0x0E: ("distance", 2, _number("distance", "MTR", divide=1000)),
    0x0F: ("movements by acceleration", 1, _number("accelerationMotion", "C62")),
    0x10: ("infrared temperatures", 4, _infrared),
    0x11: ("occupancy", 1, _number("occupancy", "")),
    0x12: ("water leak", 1, _water_leak),
    0x13: ("temperature grid", 65, _grid_eye),
    0x14: ("air pressure", 4, _number("pressure", "A97", divide=1000)),
    0x15: ("sound", 2, _sound),
    0x16: ("pulses 2", 2, _number("pulses", "C62", channel="2")),
    0x17: ("pulse counter 2", 4, _number("pulseCount", "C62", channel="2")),
    0x18: ("analog input 2", 2, _number("voltage", "VLT", divide=1000, channel="2")),
    0x1A: ("digital input 2", 1, _number("digitalInput", "", channel="2")),
    0x1B: ("load cell", 4, _number("voltage", "VLT", divide=1_000_000, signed=True, channel="loadCell")),
    0x1C: ("TVOC", 2, _number("tvoc", "61")),
    0x1D: ("air quality index", 1, _number("airQualityIndex", "")),
    0x1E: ("generic boolean", 1, _generic_bool),
    0x1F: ("generic 8-bit number", 1, _number("genericValue", "", signed=True, channel="int8")),
    0x20: ("generic 16-bit number", 2, _number("genericValue", "", signed=True, channel="int16")),
    0x21: ("display view", 1, _number("view", "")),
    0x22: ("setpoint", 2, _number("setpoint", "CEL", divide=10, signed=True)),
    0x23: ("fan speed", 1, _number("fanSpeed", "")),
    0x24: ("external humidity", 1, _number("humidity", "P1", channel="external")),
    0x3C: ("CRC", 4, _nothing),
    0x3D: ("debug data", 4, _nothing),
}
_EXTERNAL_TEMPERATURE_2 = 0x19


class Elsys:
    """The codec 'elsys'."""

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Measurements of one uplink. External temperatures have the channels 'external', 'external2', 'external3', …"""
        reader, found = Reader(payload), Findings(at)
        externals = 1
        while reader.left:
            start = reader.at
            head = reader.take(1, "a type")[0]
            kind, offset_size = head & 0x3F, head >> 6
            if kind == _SETTINGS:
                break
            taken_at = at - reader.big(offset_size, "a time offset") * SECOND if offset_size else at
            if kind == _EXTERNAL_TEMPERATURE_2:
                externals += 1
                tenths = reader.big(2, "external temperature 2", signed=True)
                found.add("temperature", tenths / 10, "CEL", channel=f"external{externals}", at=taken_at)
                continue
            if kind == _BYTES:
                reader.take(reader.big(1, "the length of a byte array"), "a byte array")
                continue
            row = _TYPES.get(kind)
            if row is None:
                raise CodecError(f"Byte {start}: type 0x{kind:02X} is not one of Elsys's.")
            label, size, take = row
            take(found, reader.take(size, label), taken_at)
        return found.found
