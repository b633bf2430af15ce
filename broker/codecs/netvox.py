"""Netvox R3, R7, R8, RA and RB series, all of one frame (Netvox, "LoRaWAN application command"; data on fPort 6).

    version (1), device type (1), report type (1), battery (1: 0.1 V, the upper bit says low), data (7), big-endian

The device type says which product it is, so one codec, 'netvox', knows all that are in its table. Report type 0 is about the
device, and so are the other fPorts (7, 13, 14: answers to settings).
"""

from __future__ import annotations

from collections.abc import Callable

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.reading import Findings, Reader

_DATA, _ANSWERS = 6, (7, 13, 14)
_NO_SENSOR = 0xFFFF
_ABOUT_DEVICE = 0
_HEAD = 4
_Take = Callable[[Findings, bytes], None]


def _number(
    quantity: str, at: int, size: int = 2, *, signed: bool = False, divide: float = 1, channel: str = ""
) -> _Take:
    """A number at byte `at` of the frame; 0xFFFF in two unsigned bytes says that the sensor is not there."""

    def take(found: Findings, frame: bytes) -> None:
        part = frame[at : at + size]
        if len(part) < size:
            raise CodecError(f"Byte {at}: {quantity} needs {size} bytes, but the frame has {len(frame)}.")
        raw = int.from_bytes(part, "big", signed=signed)
        if size == 2 and (raw & 0xFFFF) == _NO_SENSOR and not signed:
            return
        found.put(quantity, raw if divide == 1 else raw / divide, channel)

    return take


def _degrees(at: int, divide: int = 100, channel: str = "") -> _Take:
    return _number("temperature", at, signed=True, divide=divide, channel=channel)


def _probe_degrees(at: int) -> _Take:
    """Of a probe that may be missing: 0xFFFF, which would be -0.01 °C."""

    def take(found: Findings, frame: bytes) -> None:
        if frame[at : at + 2] != b"\xff\xff":
            _degrees(at)(found, frame)

    return take


def _boolean(quantity: str, at: int = 4, channel: str = "") -> _Take:
    def take(found: Findings, frame: bytes) -> None:
        if len(frame) <= at:
            raise CodecError(f"Byte {at}: {quantity} needs a byte, but the frame has {len(frame)}.")
        found.put(quantity, frame[at] != 0, channel)

    return take


def _input(at: int = 4, channel: str = "") -> _Take:
    return _number("digitalInput", at, 1, channel=channel)


def _current(found: Findings, frame: bytes) -> None:
    if len(frame) < 7:
        raise CodecError(f"Byte 4: the current needs 3 bytes, but the frame has {len(frame)}.")
    found.put("current", int.from_bytes(frame[4:6], "big") * frame[6] / 1000)


_MULTIPLIERS = (1, 5, 10, 100)


def _currents(found: Findings, frame: bytes) -> None:
    if len(frame) < 11:
        raise CodecError(f"Byte 4: the currents need 7 bytes, but the frame has {len(frame)}.")
    for phase in range(3):
        raw = int.from_bytes(frame[4 + 2 * phase : 6 + 2 * phase], "big")
        found.put("current", raw * _MULTIPLIERS[frame[10] >> 2 * phase & 3] / 1000, str(phase + 1))


def _voc(found: Findings, frame: bytes) -> None:
    if len(frame) < 11:
        raise CodecError(f"Byte 4: the VOC needs 7 bytes, but the frame has {len(frame)}.")
    found.put("airQualityIndex" if frame[10] else "tvoc", int.from_bytes(frame[4:6], "big"))


_CLIMATE = (_degrees(4), _number("humidity", 6, divide=100))
_DUST = (*_CLIMATE, _number("pm25", 8))
_TWO_INPUTS = (_input(4, "1"), _input(5, "2"))
_TWO_PROBES = (_degrees(4, 10, "1"), _degrees(6, 10, "2"))
_TWO_LEAKS = (_boolean("waterLeak", 4, "1"), _boolean("waterLeak", 5, "2"))
_SOIL = (_number("soilMoisture", 4, divide=100), _probe_degrees(6))
_STATION: dict[int, tuple[_Take, ...]] = {
    # RA07, R726 and R718P series: a report a group of probes
    0x01: (),
    0x02: (_number("pm1", 4), _number("pm25", 6), _number("pm10", 8)),
    0x03: (),
    0x04: (),
    0x05: (_number("ozone", 4, divide=10), _number("carbonMonoxide", 6, divide=10)),
    0x06: (
        _number("nitrogenDioxide", 4, divide=10),
        _number("sulphurDioxide", 6, divide=10),
        _number("hydrogenSulphide", 8, divide=10),
    ),
    0x07: (_number("co2", 4, divide=10), _number("ammonia", 6, divide=10), _number("soundLevel", 8, divide=10)),
    0x08: (_number("ph", 4, divide=100), _probe_degrees(6), _number("redox", 8, signed=True)),
    0x09: (_number("turbidity", 4, divide=10), _probe_degrees(6), _number("soilMoisture", 8, divide=100)),
    0x0A: _SOIL,
    0x0B: (
        _probe_degrees(4),
        _number("dissolvedOxygen", 6, divide=100),
        _number("oxygenSaturation", 8, divide=10),
    ),
    0x0C: (_probe_degrees(4), _number("humidity", 6, divide=100), _number("windSpeed", 8, divide=100)),
    0x0D: (_number("direction", 4), _number("pressure", 6, 4, divide=100)),
    0x0E: (),
    0x0F: (),
    0x10: _SOIL,
    0x11: (),
}


def _same(takes: tuple[_Take, ...], *types: int) -> dict[int, dict[int, tuple[_Take, ...]]]:
    """Products whose only report, 1, is the same."""
    return {kind: {1: takes} for kind in types}


_TYPES: dict[int, dict[int, tuple[_Take, ...]]] = {
    **_same(_CLIMATE, 0x01, 0x0B, 0x13, 0x6E),
    **_same((*_CLIMATE, _boolean("alarm", 8, "emergency")), 0x6F),
    **_same((_degrees(4),), 0x9C, 0xBC, 0x9D),
    **_same((_degrees(4, 10),), 0x90, 0x91, 0x92, 0x93, 0x94, 0x95),
    **_same(_TWO_PROBES, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x78, 0x79, 0x7A),
    **_same((_boolean("open"),), 0x02, 0x1D, 0x7D),
    **_same((_input(),), 0x1A, 0x1B, 0x21, 0x25, 0x27, 0x4F, 0x5B, 0x82, 0x89, 0x8B, 0x8D, 0x97, 0x9E, 0x9F, 0xA8,
            0xA9, 0xB7),
    **_same(_TWO_INPUTS, 0x2F, 0x3D, 0x3E, 0x43, 0x45, 0x4C, 0x56, 0x5A, 0x6C, 0x7E, 0x8A, 0x8C, 0x8E),
    **_same((_number("illuminance", 4),), 0x04, 0x4B),
    **_same((_number("illuminance", 4, 4),), 0x1E),
    **_same(_TWO_LEAKS, 0x06, 0x46, 0x47),
    **_same((_boolean("waterLeak"),), 0x12, 0x32),
    **_same((*_CLIMATE, _boolean("waterLeak", 8)), 0x6B, 0xBE),
    **_same((_number("pulseCount", 4),), 0x1F),
    **_same((_number("pulseCount", 4, channel="1"), _number("pulseCount", 6, channel="2")), 0x3F),
    **_same((_number("pulseCount", 4, 4),), 0x50, 0x2B),
    **_same((_current,), 0x49),
    **_same((_current, _number("illuminance", 7, 4)), 0x98),
    0x4A: {1: (), 2: (), 3: (_currents,), 4: ()},
    **_same((_number("distance", 5, divide=1000), _number("fillLevel", 7, 1)), 0xB1),
    **_same((_number("distance", 5, divide=1000), _degrees(7, 10), _number("fillLevel", 9, 1), _number("tilt", 10, 1)),
            0x34),
    **_same((_number("differentialPressure", 4, signed=True, divide=10), _degrees(6, 10)), 0xAC),
    **_same((_boolean("vehiclePresent"),), 0x59),
    **_same((_number("pressure", 4, 4, divide=100), _degrees(8)), 0x70),
    **_same((_voc, _degrees(6), _number("humidity", 8, divide=100)), 0xA5),
    **_same((_degrees(4), _number("illuminance", 6), _boolean("presence", 8), _boolean("tamper", 9)), 0x03),
    **_same((_boolean("smoke"), _boolean("alarm", 5, "temperature"), _degrees(6, 10)), 0x0A),
    **_same((_boolean("alarm", 4, "carbonMonoxide"), _boolean("alarm", 5, "temperature")), 0x11),
    **_same(_DUST, 0x35, 0x36, 0x37, 0x6A),
    0xBB: {
        1: (*_CLIMATE, _number("co2", 8), _boolean("alarm", 10, "shock")),
        2: (_number("pressure", 4, 4, divide=100), _number("illuminance", 8, 3)),
        3: (_number("pm25", 4), _number("pm10", 6), _number("tvoc", 8)),
    },
    **_same((_number("tiltX", 4, 1, signed=True), _number("tiltY", 5, 1, signed=True),
             _number("tiltZ", 6, 1, signed=True), _degrees(7, 10)), 0x9A),
    **_same((_number("tiltX", 4, signed=True, divide=10), _number("tiltY", 6, signed=True, divide=10),
             _number("tiltZ", 8, signed=True, divide=10)), 0xC8),
    **_same((_boolean("alarm", 4, "emergency"),), 0x10, 0x31, 0x4D, 0x55, 0xD3),
    **dict.fromkeys((5, 9, 13, 82, 83, 84, 87, 88), _STATION),
}  # fmt: skip
_MAINS: dict[int, dict[int, tuple[_Take, ...]]] = {
    # On mains: no battery, so the data begin a byte earlier. R809A, R816B (plugs), RA10 (siren)
    kind: {
        1: (_boolean("switch", 3), _number("energy", 4, 4, divide=1000), _boolean("alarm", 8, "overCurrent"),
            _boolean("alarm", 9, "dashCurrent"), _boolean("alarm", 10, "powerOff")),
        2: (_number("voltage", 3), _number("current", 5, divide=1000), _number("power", 7)),
    }
    for kind in (0x0E, 0x73)
}  # fmt: skip


class Netvox:
    """The codec 'netvox'."""

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Measurements of one uplink."""
        if f_port in _ANSWERS:
            return []
        if f_port != _DATA:
            raise CodecError(f"fPort {f_port} is not one of Netvox's: {_DATA}, {', '.join(map(str, _ANSWERS))}.")
        reader, found = Reader(payload), Findings(at)
        _version, kind, report, battery = reader.take(_HEAD, "the head")
        if report == _ABOUT_DEVICE:
            return []
        on_mains = kind in _MAINS
        reports = _MAINS.get(kind) or _TYPES.get(kind)
        if reports is None:
            raise CodecError(f"Byte 1: device type 0x{kind:02X} is not one of those that are known.")
        takes = reports.get(report)
        if takes is None:
            raise CodecError(f"Byte 2: report {report} is not one of device type 0x{kind:02X}.")
        for take in takes:
            take(found, payload)
        if not on_mains:
            found.put("batteryVoltage", (battery & 0x7F) / 10)
            found.put("batteryLow", bool(battery & 0x80))
        return found.found
