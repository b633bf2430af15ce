"""Decentlab's devices, all of one protocol (Decentlab, "Data protocol", version 2; any fPort).

    version 2 (1), device id (2), which sensors follow (2, a bit each), then each sensor's words (2 bytes), big-endian

Words are unsigned; what may be negative has an offset. What a sensor's words mean is each product's own: a codec a product,
'decentlab-dl-…'. Where a product is made in ranges (pressure, resistors), the codec's name has the range as the type label has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.reading import Findings, Reader

_VERSION = 2
_MIDDLE = 32768
"""The offset of what may be negative."""
_FULL_SCALE = 8388608
"""Half of the range of a 24-bit converter, whose value comes in two words, the low one first."""

_Words = Sequence[int]
_Take = Callable[[Findings, _Words], None]
_Sensor = tuple[int, tuple[_Take, ...]]
"""How many words, and what is made of them."""


def _value(
    quantity: str,
    word: int = 0,
    *,
    minus: int = 0,
    times: float = 1,
    divide: float = 1,
    channel: str = "",
    absent: int | None = None,
) -> _Take:
    """(word - minus) * times / divide; nothing when the word is `absent`."""

    def take(found: Findings, words: _Words) -> None:
        if words[word] == absent:
            return
        raw = words[word] - minus
        value = raw if times == 1 else raw * times
        found.put(quantity, value if divide == 1 else value / divide, channel)

    return take


def _signed(quantity: str, word: int = 0, divide: float = 1, channel: str = "", absent: int | None = None) -> _Take:
    return _value(quantity, word, minus=_MIDDLE, divide=divide, channel=channel, absent=absent)


def _made(quantity: str, make: Callable[[_Words], float], channel: str = "") -> _Take:
    """What a formula makes of the words; nothing where it does not exist (a division by zero, an open circuit)."""

    def take(found: Findings, words: _Words) -> None:
        try:
            value = make(words)
        except (ArithmeticError, ValueError):
            return
        if math.isfinite(value):
            found.put(quantity, value, channel)

    return take


def _long(words: _Words, low: int = 0) -> int:
    return words[low] + words[low + 1] * 65536


def _share(words: _Words, low: int = 0) -> float:
    """A 24-bit converter's value, -1 to 1."""
    return _long(words, low) / _FULL_SCALE - 1


def _blackbody_resistance(words: _Words) -> float:
    return 1000 / (_share(words) / 2) - 41000


def _blackbody(words: _Words) -> float:
    log = math.log(_blackbody_resistance(words))
    return 1 / (0.0008271111 + 0.000208802 * log + 0.000000080592 * log**3) - 273.15


def _pt100(words: _Words) -> float:
    half = _share(words) / 2
    resistance = half * 2000 / (1 - half)
    return -244.83 + 2.3419 * resistance + 0.0010664 * resistance**2


def _pt1000_resistance(words: _Words) -> float:
    return _share(words) * 2000 / (1 - _share(words))


def _pt1000(words: _Words) -> float:
    resistance = _pt1000_resistance(words)
    return -245.18 + 0.23469 * resistance + 0.0000104876 * resistance**2


def _illuminance(words: _Words) -> float:
    both, infrared = words
    return max(both - 1.64 * infrared, 0.59 * both - 0.86 * infrared, 0) * 1.5504


def _permittivity(words: _Words) -> float:
    counts = words[0] / 10
    return float((0.000000002887 * counts**3 - 0.0000208 * counts**2 + 0.05276 * counts - 43.39) ** 2)


def _topp(words: _Words) -> float:
    permittivity = words[0] / 50
    share = 0.0000043 * permittivity**3 - 0.00055 * permittivity**2 + 0.0292 * permittivity - 0.053
    return float(share * 100)


def _frequency(words: _Words) -> float:
    return words[0] / words[1] * 32768


def _weight(f02: float, factor: float, zero: float) -> Callable[[_Words], float]:
    """Of a vibrating wire: (frequency² - f0²) * factor + zero, in g, as kg."""
    return lambda words: ((_frequency(words) ** 2 - f02) * factor + zero) / 1000


def _range(low: float, high: float) -> Callable[[_Words], float]:
    """Keller's 16384 to 49152 for a range in bar, as hPa."""
    return lambda words: ((words[0] - 16384) / 32768 * (high - low) + low) * 1000


_BATTERY: _Sensor = (1, (_value("batteryVoltage", divide=1000),))
_SHT35: _Sensor = (
    2,
    (
        _made("temperature", lambda words: 175 * words[0] / 65535 - 45),
        _made("humidity", lambda words: 100 * words[1] / 65535),
    ),
)
_SHT21: _Sensor = (
    2,
    (
        _made("temperature", lambda words: 175.72 * words[0] / 65536 - 46.85),
        _made("humidity", lambda words: 125 * words[1] / 65536 - 6),
    ),
)
_PASCALS: _Sensor = (1, (_value("pressure", times=2, divide=100),))
_INFRARED = (
    _value("temperature", 0, minus=1000, divide=10, channel="surface"),
    _value("temperature", 1, minus=1000, divide=10, channel="head"),
)
_TRUEBNER = (
    _made("permittivity", _permittivity),
    _made("soilMoisture", lambda words: (words[0] / 10 * 0.0003879 - 0.6956) * 100),
    _signed("temperature", 1, 10),
)
_KELLER_TEMPERATURE = _made("temperature", lambda words: (words[1] - 384) * 0.003125 - 50)
_DEVICE_FAULT = _made("errorCode", lambda words: words[0])


def _pulses(channel: str = "") -> _Sensor:
    return 4, (
        _value("pulses", 0, channel=channel),
        _made("pulseCount", lambda words: _long(words, 2), channel),
    )


def _input(channel: str = "") -> _Sensor:
    return 1, (_value("digitalInput", channel=channel),)


def _rain(resolution: float) -> _Sensor:
    return 4, (
        _made("precipitation", lambda words: words[0] * resolution),
        _made("precipitationTotal", lambda words: _long(words, 2) * resolution),
    )


def _levels(first: int) -> _Sensor:
    """Six levels of a soil profile: moistures, temperatures, salinities."""
    takes: list[_Take] = []
    for level in range(6):
        channel = str(first + level)
        takes.append(_signed("soilMoisture", level, 100, channel))
        takes.append(_signed("temperature", 6 + level, 100, channel, absent=0))
        takes.append(_value("salinity", 12 + level, minus=100, channel=channel))
    return 18, tuple(takes)


def _depths() -> _Sensor:
    """Eight depths; a probe with fewer sends 0 for the others."""
    takes: list[_Take] = []
    for depth in range(8):
        takes.append(_value("soilMoistureIndex", 2 * depth, minus=2500, divide=500, channel=str(depth), absent=0))
        takes.append(_signed("temperature", 2 * depth + 1, 100, str(depth), absent=0))
    return 16, tuple(takes)


def _bottom(*extra: _Take) -> tuple[_Sensor, ...]:
    """A digital water probe: status, temperature, and more."""
    return (5, (_DEVICE_FAULT, _signed("temperature", 1, 100), *extra)), _BATTERY


_WIND = (
    ("windSpeed", 100, ""),
    ("direction", 10, ""),
    ("windGust", 100, ""),
    ("temperature", 10, ""),
)


def _wind(first: int) -> tuple[_Take, ...]:
    return tuple(_signed(quantity, first + at, divide, channel) for at, (quantity, divide, channel) in enumerate(_WIND))


_DISTANCES = ("", "minimum", "maximum", "median", "p10", "p25", "p75", "p90", "mode")
_PARTICLES = ("pm1", "pm25", "pm4", "pm10")

_PRODUCTS: dict[str, tuple[_Sensor, ...]] = {
    "5tm": ((2, (_value("permittivity", divide=50), _made("soilMoisture", _topp),
                 _value("temperature", 1, minus=400, divide=10))), _BATTERY),
    "alb": ((2, (_signed("solarRadiation", 0, 10), _signed("solarRadiation", 1, 10, "reflected"))), _BATTERY),
    "atm22": ((8, (*_wind(0), _signed("tiltX", 4, 10), _signed("tiltY", 5, 10))), _BATTERY),
    "atm41": ((17, (_signed("solarRadiation"), _signed("precipitation", 1, 1000), _signed("lightningStrikes", 2),
                    _signed("lightningDistance", 3, 1 / 1000), *_wind(4), _signed("vapourPressure", 8, 100),
                    _value("pressure", 9, minus=_MIDDLE, divide=10), _signed("humidity", 10, 10),
                    _signed("temperature", 11, 10, "sensor"), _signed("tiltX", 12, 10), _signed("tiltY", 13, 10),
                    _signed("heading", 14))), _BATTERY),
    "blg": ((2, (_made("resistance", _blackbody_resistance), _made("temperature", _blackbody))), _BATTERY),
    "ctd10": ((4, (_signed("waterLevel", 0, 1000), _signed("temperature", 1, 10),
                   _value("conductivity", 2, divide=10000), _made("frost", lambda words: words[3] != 0))), _BATTERY),
    "cws": ((6, (_signed("temperature", 0, 100, "surface"), _signed("temperature", 1, 100), _signed("humidity", 2, 100),
                 _signed("dewPoint", 3, 100), _signed("tilt", 4), _signed("temperature", 5, 100, "sensor"))), _BATTERY),
    "dlr2-002": (_pulses(), _BATTERY),
    "dlr2-003": (_input(), _BATTERY),
    "dlr2-004-10": ((1, (_made("current", lambda words: 3 * (words[0] - _MIDDLE) / _MIDDLE / 2 / 10.0),)), _BATTERY),
    "dlr2-005": ((2, (_made("voltage", lambda words: 3 * _share(words)),)), _BATTERY),
    "dlr2-006": ((2, (_made("percentage", lambda words: _share(words) * 100),)), _BATTERY),
    "dlr2-008-2000": ((2, (_made("temperature", _pt100),)), _BATTERY),
    "dlr2-009-2000": ((2, (_made("resistance", _pt1000_resistance), _made("temperature", _pt1000))), _BATTERY),
    "dlr2-010": (_pulses("0"), _pulses("1"), _BATTERY),
    "dlr2-011": (_input("0"), _input("1"), _BATTERY),
    "dlr2-012": ((2, (_made("strain", lambda words: _share(words) / 64 * 4 / 2.02 * 1000000),)), _BATTERY),
    "ds18": ((1, (_signed("temperature", 0, 16),)), _BATTERY),
    "dws-232263168-302459-1370": ((3, (_made("frequency", _frequency),
                                       _made("mass", _weight(232263168, 0.000302459, 1370)))), _BATTERY),
    "gmm": ((7, (_signed("photosyntheticRadiation", 0, 10), _signed("temperature", 1, 100), _signed("humidity", 2, 10),
                 _signed("co2", 3), _signed("pressure", 4, 10), _signed("vapourPressureDeficit", 5, 100),
                 _signed("dewPoint", 6, 100))), _BATTERY),
    "iam": (_BATTERY, _SHT35, _PASCALS, (2, (_made("illuminance", _illuminance),)), (3, (_signed("co2"),)),
            (1, (_value("motion"),)), (1, (_value("tvoc"),))),
    "isf": ((16, (_made("sapFlow", lambda words: (words[0] * 16 - 50000) / 1000),
                  _signed("temperature", 9, 100))), _BATTERY),
    "itst": ((2, _INFRARED), _BATTERY),
    "kl66-1538372-464859": ((3, (_made("frequency", _frequency),
                                 _made("mass", _weight(15383.72**2, 46.4859 / 1000000, 0)))), _BATTERY),
    "lid": ((11, tuple(_value("distance", at, divide=1000, channel=name) for at, name in enumerate(_DISTANCES))),
            _BATTERY),
    "lp8p": (_SHT21, (2, (_value("temperature", 0, minus=5000, divide=100, channel="barometer"),
                          _value("pressure", 1, times=2, divide=100))),
             (8, (_signed("co2"), _signed("temperature", 2, 100, "co2"))), _BATTERY),
    "lpw": ((2, (_made("percentage", lambda words: _share(words) * 100),)), _BATTERY),
    "lws": ((2, (_made("leafWetness", lambda words: _share(words) * 100),)), _BATTERY),
    "mbx": ((2, (_value("distance", divide=1000),)), _BATTERY),
    "mes5": _bottom(_value("sludgeBlanket", 2, divide=100), _value("suspendedSolids", 3, times=10),
                    _value("turbidity", 4, divide=10)),
    "ntu": _bottom(_value("turbidity", 2, divide=10), _value("turbidity", 3, divide=10, channel="fnu"),
                   _value("suspendedSolids", 4, divide=10)),
    "optod": _bottom(_signed("oxygenSaturation", 2, 100), _signed("dissolvedOxygen", 3, 100)),
    "par": ((1, (_made("photosyntheticRadiation", lambda words: 3 * (words[0] / _MIDDLE - 1) * 5000),)), _BATTERY),
    "pheht": _bottom(_signed("ph", 2, 100), _signed("redox", 3, 10)),
    "pm": (_BATTERY, (10, tuple(_value(name, at, divide=10) for at, name in enumerate(_PARTICLES))), _SHT21, _PASCALS),
    "pr21-1-10": ((2, (_made("pressure", _range(-1, 10)), _KELLER_TEMPERATURE)), _BATTERY),
    "pr26-0-1": ((2, (_made("pressure", _range(0, 1)), _KELLER_TEMPERATURE)), _BATTERY),
    "pr36-8192": ((2, (_signed("pressure", 0, 8.192), _signed("temperature", 1, 256))), _BATTERY),
    "pr36ctd-8192-1024": ((4, (_signed("pressure", 0, 8.192), _signed("temperature", 1, 256, "electronics"),
                               _signed("temperature", 2, 256), _signed("conductivity", 3, 10240))), _BATTERY),
    "pyr": ((1, (_made("solarRadiation", lambda words: 3 * (words[0] / _MIDDLE - 1) * 5000),)), _BATTERY),
    "rhc": ((4, (_value("humidity", 2, divide=100), _signed("temperature", 3, 100))), _BATTERY),
    "sdd": (_levels(0), _levels(6), _BATTERY),
    "sht35": (_SHT35, _BATTERY),
    "smtp": (_depths(), _BATTERY),
    "tbrg-01": (_rain(0.1), _BATTERY),
    "tp": ((16, tuple(_signed("temperature", at, 100, str(at), absent=0) for at in range(16))), _BATTERY),
    "trs11": ((2, _TRUEBNER), _BATTERY),
    "trs12": ((3, (*_TRUEBNER, _value("conductivity", 2, divide=10000))), _BATTERY),
    "trs21": ((2, (_value("soilWaterPotential", times=-1, divide=10), _signed("temperature", 1, 10))), _BATTERY),
    "wrm": (_SHT35, (2, _INFRARED), _BATTERY),
    "zn1": ((2, (_made("displacement", lambda words: _share(words) * 0.02),)), _BATTERY),
    "zn2": ((4, (_made("displacement", lambda words: _share(words) * 0.02, "a"),
                 _made("displacement", lambda words: (_share(words) - _share(words, 2)) * 0.02, "b"))), _BATTERY),
}  # fmt: skip


class Decentlab:
    """The codecs 'decentlab-dl-…', one a product."""

    def __init__(self, product: str) -> None:
        self._sensors = _PRODUCTS[product]

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Measurements of one uplink; any fPort."""
        reader, found = Reader(payload), Findings(at)
        version = reader.big(1, "the version")
        if version != _VERSION:
            raise CodecError(f"Byte 0: the protocol's version must be {_VERSION}, got {version}.")
        reader.take(2, "the device id")
        flags = reader.big(2, "the flags")
        if flags >> len(self._sensors):
            raise CodecError(f"Byte 3: flags 0x{flags:04X}, but the product has {len(self._sensors)} sensors.")
        for number, (size, takes) in enumerate(self._sensors):
            if flags >> number & 1:
                words = [reader.big(2, f"sensor {number}") for _ in range(size)]
                for take in takes:
                    take(found, words)
        if reader.left:
            raise CodecError(f"Byte {reader.at}: {reader.left} bytes are left after the last sensor.")
        return found.found


def product_codecs() -> dict[str, Decentlab]:
    """Every Decentlab codec by its name."""
    return {f"decentlab-dl-{product}": Decentlab(product) for product in _PRODUCTS}
