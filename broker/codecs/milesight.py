"""Milesight's channel format (user guides of the EM300, EM310, EM400, EM500, AM100 and AM300 series; fPort 85).

A payload is a row of values: one byte of channel, one of type, then the value, little-endian. What a channel and a type
mean is the same in all products but for a few, and the layout of stored values (channel 0x20, type 0xCE) is each
product's own: so there is a codec a product line, and 'milesight', which knows all but the stored values.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.reading import Findings, Reader, from_epoch

Take = Callable[[Findings, bytes, Micros], None]
_Row = tuple[str, int, Take]
Rows = Mapping[tuple[int, int], _Row]

_NO_READING, _OUT_OF_RANGE = 0xFFFF, 0xFFFD
"""What the submersible and soil probes send instead of a value."""
_MODE_STATE, _MODE_PULSES = 1, 2
_STORED_COUNTER = 6
"""Bytes of an EM300-DI's stored input before firmware 1.3: mode, state, counter."""


def number(quantity: str, unit: str = "", *, divide: int = 1, signed: bool = False, probe: bool = False) -> Take:
    """A little-endian number; a `probe` sends 0xFFFF or 0xFFFD instead when it cannot measure."""

    def take(found: Findings, data: bytes, at: Micros) -> None:
        if probe:
            fault = int.from_bytes(data, "little") in (_NO_READING, _OUT_OF_RANGE)
            found.add("deviceFault", fault, channel=quantity, at=at)
            if fault:
                return
        raw = int.from_bytes(data, "little", signed=signed)
        found.add(quantity, raw if divide == 1 else raw / divide, unit, at=at)

    return take


def boolean(quantity: str) -> Take:
    """A byte that is 0 or not."""

    def take(found: Findings, data: bytes, at: Micros) -> None:
        found.add(quantity, data[0] != 0, at=at)

    return take


def alarmed(value: Take, size: int, quantity: str) -> Take:
    """A value, what may stand between (how much it changed), and a last byte that says whether the alarm holds."""

    def take(found: Findings, data: bytes, at: Micros) -> None:
        value(found, data[:size], at)
        found.add("alarm", data[-1] != 0, channel=quantity, at=at)

    return take


def _tilt(found: Findings, data: bytes, at: Micros) -> None:
    for axis, start in zip("XYZ", (0, 2, 4), strict=True):
        found.add(f"tilt{axis}", int.from_bytes(data[start : start + 2], "little", signed=True) / 100, "DD", at=at)
        found.add("alarm", bool(data[6] >> (start // 2) & 1), channel=f"tilt{axis}", at=at)


def _tilt_and_flags(found: Findings, data: bytes, at: Micros) -> None:
    for axis, start in zip("XYZ", (0, 2, 4), strict=True):
        raw = int.from_bytes(data[start : start + 2], "little", signed=True)
        found.add(f"tilt{axis}", (raw >> 1) / 100, "DD", at=at)
        found.add("alarm", bool(raw & 1), channel=f"tilt{axis}", at=at)


def _light_sensors(found: Findings, data: bytes, at: Micros) -> None:
    # Then follow two raw counts of infrared light, which have no unit.
    found.add("illuminance", int.from_bytes(data[:2], "little"), "LUX", at=at)


def nothing(found: Findings, data: bytes, at: Micros) -> None:
    """About the device, not about what it measures: read over."""


TEMPERATURE = number("temperature", "CEL", divide=10, signed=True)
HUMIDITY = number("humidity", "P1", divide=2)
_CO2 = number("co2", "59")
PRESSURE = number("pressure", "A97", divide=10)
DISTANCE = number("distance", "MTR", divide=1000)
_LEVEL = number("waterLevel", "MTR", divide=100, probe=True)
_LEAK = boolean("waterLeak")
_MAGNET = boolean("open")
_LIGHT = number("illuminance", "LUX")
_SOIL_TEMPERATURE = number("temperature", "CEL", divide=10, signed=True, probe=True)
_SOIL_MOISTURE = number("soilMoisture", "P1", divide=100, probe=True)
_CONDUCTIVITY = number("conductivity", "D10", divide=10000, probe=True)


def _pipe_pressure(found: Findings, data: bytes, at: Micros) -> None:
    found.add("pressure", int.from_bytes(data, "little", signed=True) * 10, "A97", at=at)


def _converted_pulses(found: Findings, data: bytes, at: Micros) -> None:
    # Two factors (2 bytes each), then the pulses converted with them to what the meter counts, in a unit set on site.
    (value,) = struct.unpack("<f", data[4:8])
    if not math.isfinite(value):
        raise CodecError(f"The converted pulses must be a finite number, got {value}.")
    found.add("genericValue", value, channel="convertedPulses", at=at)


def _stored_input(found: Findings, data: bytes, at: Micros) -> None:
    # A mode says which of the two that follow counts: the input's state (1 byte) or its pulses.
    if data[0] == _MODE_STATE:
        found.add("digitalInput", data[1], at=at)
    elif data[0] == _MODE_PULSES and len(data) == _STORED_COUNTER:
        found.add("pulseCount", int.from_bytes(data[2:], "little"), "C62", at=at)
    elif data[0] == _MODE_PULSES:
        _converted_pulses(found, data[2:], at)


_ABOUT_THE_DEVICE: dict[tuple[int, int], _Row] = {
    (0xFF, 0x01): ("protocol version", 1, nothing),
    (0xFF, 0x09): ("hardware version", 2, nothing),
    (0xFF, 0x0A): ("software version", 2, nothing),
    (0xFF, 0x0B): ("power on", 1, nothing),
    (0xFF, 0x0F): ("device class", 1, nothing),
    (0xFF, 0x16): ("serial number", 8, nothing),
    (0xFF, 0x18): ("enabled sensors", 2, nothing),
    (0xFF, 0x1B): ("measuring range", 5, nothing),
    (0xFF, 0xFE): ("reset", 1, nothing),
    (0xFF, 0xFF): ("TSL version", 2, nothing),
}
# What a device answers to a setting: the setting as it was sent.
_ANSWERS: dict[tuple[int, int], _Row] = {
    (channel, kind): ("answer to a setting", size, nothing)
    for channel in (0xFE, 0xFF)
    for kind, size in {
        0x02: 2, 0x03: 2, 0x06: 9, 0x10: 1, 0x27: 1, 0x28: 1, 0x68: 1, 0x69: 1, 0x6A: 3, 0x6D: 1, 0x79: 6, 0xEA: 3,
    }.items()
}  # fmt: skip

FAMILY: dict[tuple[int, int], _Row] = {
    **_ANSWERS,
    **_ABOUT_THE_DEVICE,
    (0x01, 0x75): ("battery", 1, number("batteryLevel", "P1")),
    (0x03, 0x67): ("temperature", 2, TEMPERATURE),
    (0x03, 0x77): ("water level", 2, _LEVEL),
    (0x03, 0x7B): ("pipe pressure", 2, _pipe_pressure),
    (0x03, 0x82): ("distance", 2, DISTANCE),
    (0x03, 0x94): ("light", 4, _LIGHT),
    (0x03, 0xCF): ("inclination", 7, _tilt),
    (0x03, 0xD4): ("inclination", 6, _tilt_and_flags),
    (0x04, 0x00): ("position", 1, boolean("tilted")),
    (0x04, 0x68): ("humidity", 1, HUMIDITY),
    (0x04, 0x82): ("distance", 2, DISTANCE),
    (0x05, 0x00): ("water leak", 1, _LEAK),
    (0x05, 0x7D): ("CO2", 2, _CO2),
    (0x05, 0xC8): ("pulse counter", 4, number("pulseCount", "C62")),
    (0x06, 0x00): ("magnet", 1, _MAGNET),
    (0x06, 0x73): ("air pressure", 2, PRESSURE),
    (0x83, 0x67): ("temperature and alarm", 3, alarmed(TEMPERATURE, 2, "temperature")),
    (0x83, 0xD7): ("temperature, change and alarm", 5, alarmed(TEMPERATURE, 2, "temperature")),
    (0x84, 0x82): ("distance and alarm", 3, alarmed(DISTANCE, 2, "distance")),
}
_STORED = (0x20, 0xCE)


def _stored(*parts: tuple[int, Take]) -> _Row:
    """Stored values: a time (4), then `parts`, each with its size."""

    def take(found: Findings, data: bytes, at: Micros) -> None:
        taken_at = from_epoch(int.from_bytes(data[:4], "little"))
        start = 4
        for size, part in parts:
            part(found, data[start : start + size], taken_at)
            start += size

    return "stored values", 4 + sum(size for size, _ in parts), take


def with_stored(*parts: tuple[int, Take], rows: Rows | None = None) -> Rows:
    """The family's rows, a product's own, and its stored values."""
    return {**FAMILY, **(rows or {}), _STORED: _stored(*parts)}


_SOIL: Rows = {
    (0x03, 0x67): ("soil temperature", 2, _SOIL_TEMPERATURE),
    (0x04, 0x68): ("soil moisture", 1, number("soilMoisture", "P1", divide=2)),
    (0x04, 0xCA): ("soil moisture", 2, _SOIL_MOISTURE),
    (0x05, 0x7F): ("conductivity", 2, _CONDUCTIVITY),
}
_STATE = number("digitalInput")
_INPUT: Rows = {
    (0x05, 0x00): ("digital input", 1, _STATE),
    (0x05, 0xE1): ("converted pulses", 8, _converted_pulses),
    (0x85, 0x00): ("digital input and alarm", 2, alarmed(_STATE, 1, "digitalInput")),
    (0x85, 0xE1): ("converted pulses and alarm", 9, alarmed(_converted_pulses, 8, "convertedPulses")),
    (0x21, 0xCE): _stored((2, TEMPERATURE), (1, HUMIDITY), (1, nothing), (10, _stored_input)),
}
_EM500_UDL: Rows = {
    # Here, and only here, the distance comes in tenths of a millimetre.
    (0x83, 0xE9): ("distance, change and alarm", 5, alarmed(number("distance", "MTR", divide=10000), 2, "distance")),
}
AIR: Rows = {
    (0x05, 0x00): ("presence", 1, boolean("presence")),
    (0x05, 0x6A): ("activity", 2, number("motion", "C62")),
    (0x06, 0x65): ("light", 6, _light_sensors),
    (0x06, 0xCB): ("light level", 1, number("lightLevel")),
    (0x07, 0x7D): ("CO2", 2, _CO2),
    (0x08, 0x7D): ("TVOC", 2, number("tvoc", "61")),
    (0x08, 0xE6): ("TVOC", 2, number("tvocMass", "GQ")),
    (0x09, 0x73): ("air pressure", 2, PRESSURE),
    (0x0A, 0x7D): ("formaldehyde", 2, number("formaldehyde", "GP", divide=100)),
    (0x0B, 0x7D): ("PM2.5", 2, number("pm25", "GQ")),
    (0x0C, 0x7D): ("PM10", 2, number("pm10", "GQ")),
    (0x0D, 0x7D): ("ozone", 2, number("ozone", "59", divide=100)),
    (0x0E, 0x01): ("buzzer", 1, boolean("buzzer")),
}
_RATED_AIR: Rows = {**AIR, (0x08, 0x7D): ("air quality", 2, number("airQualityRating", divide=100))}

_PRODUCTS: dict[str, Rows] = {
    "milesight": {**_EM500_UDL, **FAMILY},
    "milesight-em320-th": with_stored((2, TEMPERATURE), (1, HUMIDITY)),
    "milesight-em500-pt100": with_stored((2, TEMPERATURE)),
    "milesight-em300": with_stored((2, TEMPERATURE), (1, HUMIDITY), (1, nothing)),
    "milesight-em300-leak": with_stored((2, TEMPERATURE), (1, HUMIDITY), (1, _LEAK)),
    "milesight-em300-mcs": with_stored((2, TEMPERATURE), (1, HUMIDITY), (1, _MAGNET)),
    "milesight-em300-mld": with_stored((2, nothing), (1, nothing), (1, _LEAK)),
    "milesight-em300-di": with_stored((2, TEMPERATURE), (1, HUMIDITY), (_STORED_COUNTER, _stored_input), rows=_INPUT),
    "milesight-em400": {**FAMILY, (0x05, 0x00): ("position", 1, boolean("tilted"))},
    "milesight-em500-udl": with_stored((2, DISTANCE), rows=_EM500_UDL),
    "milesight-em500-swl": with_stored((2, _LEVEL)),
    "milesight-em500-pp": with_stored((2, _pipe_pressure)),
    "milesight-em500-lgt": with_stored((4, _LIGHT)),
    "milesight-em500-co2": with_stored((2, _CO2), (2, PRESSURE), (2, TEMPERATURE), (1, HUMIDITY)),
    "milesight-em500-smtc": with_stored((2, _CONDUCTIVITY), (2, _SOIL_TEMPERATURE), (2, _SOIL_MOISTURE), rows=_SOIL),
    "milesight-am103": with_stored((2, TEMPERATURE), (1, HUMIDITY), (2, _CO2), rows=AIR),
    "milesight-am100": {**FAMILY, **AIR},
    "milesight-am300": {**FAMILY, **_RATED_AIR},
}


class Milesight:
    """The codecs 'milesight' and 'milesight-…', one a product line."""

    def __init__(self, name: str, rows: Rows) -> None:
        self.name = name
        self._rows = rows

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Measurements of one uplink; stored ones have the times they were taken at."""
        reader, found = Reader(payload), Findings(at)
        while reader.left:
            start = reader.at
            channel, kind = reader.take(2, "a channel and a type")
            row = self._rows.get((channel, kind))
            if row is None:
                raise CodecError(self._unknown(start, channel, kind))
            label, size, take = row
            take(found, reader.take(size, label), at)
        return found.found

    def _unknown(self, start: int, channel: int, kind: int) -> str:
        what = f"Byte {start}: channel 0x{channel:02X} with type 0x{kind:02X}"
        if (channel, kind) == _STORED:
            return f"{what} is stored values, which codec '{self.name}' does not know; choose the product's own codec."
        return f"{what} is not one that codec '{self.name}' knows."


def product_codecs() -> dict[str, Milesight]:
    """The codecs of the EM and AM series by name; `milesight_rooms` has the others."""
    return {name: Milesight(name, rows) for name, rows in _PRODUCTS.items()}
