"""Dragino's sensors (Dragino wiki, user manual of each). Big-endian; the first two bytes are the battery in millivolts.

What follows is each product's own: a codec a product, 'dragino-…'. Frames on other fPorts are about the device and have no
measurements: its settings (5), its logs (3), which say nowhere what they are missing.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.reading import Findings, Reader

_DATA, _DOOR = 2, 10
_ABOUT_DEVICE = (3, 4, 5, 6, 7)
_BATTERY = 0x3FFF
_NO_PROBE = 0x7FFF
_NO_PROBE_LTC2 = 0x8001
_NEGATIVE_LTC2 = 0xE4A8
"""From here on hundredths are negative, down to -70 °C; below they go up to 585 °C."""
_NO_SENSOR, _INVALID = 0, 20
"""What the LDDS sends instead of a distance in millimetres."""
_NO_PROBE_D2X = 0xFFFF

_Read = Callable[[Reader, Findings], None]


def _battery(reader: Reader, found: Findings) -> int:
    """The battery; returns the word, whose upper bits some products use."""
    word = reader.big(2, "the battery")
    found.put("batteryVoltage", (word & _BATTERY) / 1000)
    return word


def _probe(reader: Reader, found: Findings, divide: int, channel: str = "external") -> None:
    raw = reader.big(2, "the probe's temperature", signed=True)
    if raw != _NO_PROBE:
        found.put("temperature", raw / divide, channel)


def _lht65(reader: Reader, found: Findings) -> None:
    head, inside, humid = reader.take(2, "the battery"), reader.take(2, "temperature"), reader.take(2, "humidity")
    status = reader.big(1, "the external sensor")
    external = status & 0x0F
    if status & 0x40:
        return  # an answer from the log
    if external == 0x0F:
        return  # the probe's serial number
    if external == 9:  # the probe's temperature stands where the battery would
        found.put("temperature", int.from_bytes(head, "big", signed=True) / 100, "external")
    else:
        found.put("batteryVoltage", (int.from_bytes(head, "big") & _BATTERY) / 1000)
    found.put("temperature", int.from_bytes(inside, "big", signed=True) / 100)
    found.put("humidity", (int.from_bytes(humid, "big") & 0x0FFF) / 10)
    if status & 0x80:
        found.put("deviceFault", True, "external")
    _lht65_external(reader, external, found)


def _lht65_external(reader: Reader, external: int, found: Findings) -> None:
    match external:
        case 1:
            _probe(reader, found, 100)
        case 2:
            _probe(reader, found, 100)
        case 4:
            found.put("digitalInput", reader.big(1, "the input's level"))
        case 5:
            found.put("illuminance", reader.big(2, "the light"))
        case 6:
            found.put("voltage", reader.big(2, "the analog input") / 1000)
        case 7:
            found.put("pulseCount", reader.big(2, "the count"))
        case 8:
            found.put("pulseCount", reader.big(4, "the count"))


def _lht65n_e31f(reader: Reader, found: Findings) -> None:
    _battery(reader, found)
    found.put("temperature", reader.big(2, "the temperature", signed=True) / 100)
    found.put("humidity", (reader.big(2, "the humidity") & 0x0FFF) / 10)
    if reader.big(1, "the status") & 0x40:
        found.found.clear()  # an answer from the log
        return
    _probe(reader, found, 100)
    found.put("humidity", (reader.big(2, "the probe's humidity") & 0x0FFF) / 10, "external")


def _lht52(reader: Reader, found: Findings) -> None:
    if reader.left != 11:
        return  # an answer about a reset
    found.put("temperature", reader.big(2, "the temperature", signed=True) / 100)
    found.put("humidity", reader.big(2, "the humidity") / 10)
    _probe(reader, found, 100)


def _ldds(reader: Reader, found: Findings) -> None:
    """LDDS20, LDDS45, LDDS75 from firmware 1.1.4 on."""
    _battery(reader, found)
    if reader.left != 6:
        found.put("deviceFault", True, "distance")
        return
    distance = reader.big(2, "the distance")
    found.put("deviceFault", distance in (_NO_SENSOR, _INVALID), "distance")
    if distance not in (_NO_SENSOR, _INVALID):
        found.put("distance", distance / 1000)
    reader.take(1, "the interrupt")
    temperature = reader.big(2, "the probe's temperature", signed=True)
    if reader.big(1, "the sensor's flag") and temperature:
        found.put("temperature", temperature / 10, "external")


def _ldds04(reader: Reader, found: Findings) -> None:
    _battery(reader, found)
    for channel in "1234":
        found.put("distance", reader.big(2, "a distance") / 10 / 100, channel)


def _llds12(reader: Reader, found: Findings) -> None:
    _battery(reader, found)
    _probe(reader, found, 10)
    found.put("distance", reader.big(2, "the distance") / 10 / 100)
    reader.take(3, "the signal and the interrupt")
    found.put("temperature", reader.big(1, "the lidar's temperature", signed=True), "lidar")


def _lmds200(reader: Reader, found: Findings) -> None:
    _battery(reader, found)
    for channel in "12":
        found.put("distance", reader.big(2, "a distance") / 100, channel)
    found.put("alarm", bool(reader.big(1, "the flags") & 0x02), "distance")


def _lse01(reader: Reader, found: Findings) -> None:
    _battery(reader, found)
    _probe(reader, found, 10)
    found.put("soilMoisture", reader.big(2, "the moisture") / 100)
    found.put("temperature", reader.big(2, "the soil's temperature", signed=True) / 100)
    found.put("conductivity", reader.big(2, "the conductivity") / 10000)


def _llms01(reader: Reader, found: Findings) -> None:
    _battery(reader, found)
    _probe(reader, found, 10)
    found.put("leafWetness", reader.big(2, "the leaf's moisture") / 10)
    found.put("temperature", reader.big(2, "the leaf's temperature", signed=True) / 10)


def _lsph01(reader: Reader, found: Findings) -> None:
    _battery(reader, found)
    _probe(reader, found, 10)
    found.put("ph", reader.big(2, "pH") / 100)
    found.put("temperature", reader.big(2, "the soil's temperature", signed=True) / 10)


def _door_or_leak(reader: Reader, found: Findings) -> None:
    """LDS01, LWL01, LDS02, LWL02."""
    word = _battery(reader, found)
    mode = reader.big(1, "the mode")
    if mode in (1, 3):
        found.put("open", bool(word & 0x8000))
    if mode in (2, 3):
        found.put("waterLeak", bool(word & 0x4000))
    if mode == 1:
        found.put("openings", reader.big(3, "how often it was opened"))


def _d2x(reader: Reader, found: Findings) -> None:
    _battery(reader, found)
    first = reader.big(2, "a temperature")
    reader.take(2, "two limits")
    status = reader.big(1, "the mode")
    if status >> 2 & 0x1F != 3:
        return  # its limits
    for channel, raw in zip("123", (first, *(reader.big(2, "a temperature") for _ in range(2))), strict=True):
        if raw not in (_NO_PROBE_D2X, _NO_PROBE):
            found.put("temperature", (raw - 0x10000 if raw & 0x8000 else raw) / 10, channel)
    found.put("alarm", bool(status & 1), "temperature")


def _ltc2(reader: Reader, found: Findings) -> None:
    _battery(reader, found)
    status = reader.big(1, "the mode")
    if status & 0x40:
        found.found.clear()  # an answer from the log
        return
    if status & 0x0F not in (1, 2, 3):
        raise CodecError(f"Byte 2: mode {status & 0x0F} is not one of the LTC2's.")
    kind = status & 0x0F
    for channel in "12":
        raw = reader.big(2, "a channel")
        if kind == 3:
            found.put("resistance", raw / 100, channel)
        elif raw != _NO_PROBE_LTC2:
            negative = raw >= (_NEGATIVE_LTC2 if kind == 1 else 0x8000)
            found.put("temperature", (raw - 0x10000 if negative else raw) / (100 if kind == 1 else 10), channel)


def _laq4(reader: Reader, found: Findings) -> None:
    _battery(reader, found)
    if reader.big(1, "the mode") >> 2 & 0x1F != 1:
        return  # its limits
    found.put("tvoc", reader.big(2, "TVOC"))
    found.put("co2", reader.big(2, "CO2"))
    found.put("temperature", reader.big(2, "the temperature", signed=True) / 10)
    found.put("humidity", reader.big(2, "the humidity") / 10)


_PRODUCTS: dict[str, tuple[int, _Read]] = {
    "lht65": (_DATA, _lht65),
    "lht65n-e31f": (_DATA, _lht65n_e31f),
    "lht52": (_DATA, _lht52),
    "ldds": (_DATA, _ldds),
    "ldds04": (_DATA, _ldds04),
    "llds12": (_DATA, _llds12),
    "lmds200": (_DATA, _lmds200),
    "lse01": (_DATA, _lse01),
    "llms01": (_DATA, _llms01),
    "lsph01": (_DATA, _lsph01),
    "door-leak": (_DOOR, _door_or_leak),
    "d2x": (_DATA, _d2x),
    "ltc2": (_DATA, _ltc2),
    "laq4": (_DATA, _laq4),
}


class Dragino:
    """The codecs 'dragino-…', one a product or a group of the same layout."""

    def __init__(self, product: str) -> None:
        self._port, self._read = _PRODUCTS[product]

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Measurements of one uplink."""
        if f_port in _ABOUT_DEVICE:
            return []
        if f_port != self._port:
            raise CodecError(f"fPort {f_port} carries no measurements, {self._port} does.")
        found = Findings(at)
        self._read(Reader(payload), found)
        return found.found


def product_codecs() -> dict[str, Dragino]:
    """Every Dragino codec by its name."""
    return {f"dragino-{product}": Dragino(product) for product in _PRODUCTS}
