"""Talkpool's OY series (Talkpool, user guides of OY1100, OY1110, OY1200, OY1210, OY1320, OY1700). Big-endian.

Temperature and humidity of most come in three bytes: the upper eight bits of each, then the lower four of both. An uplink with
several such groups says nowhere when the others were measured: only the first, the current one, is used.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.clock import Micros
from broker.codecs.base import Codec, CodecError, Measurement
from broker.codecs.reading import Findings, Reader

_GROUP = 3
_NEGATIVE_12 = 0x800
_NEGATIVE_16 = 0x8000


def _climate(reader: Reader, found: Findings, *, cold: int, dry: int) -> None:
    high_temperature, high_humidity, low = reader.take(_GROUP, "temperature and humidity")
    found.put("temperature", ((high_temperature << 4 | low >> 4) - cold) / 10)
    found.put("humidity", ((high_humidity << 4 | low & 0x0F) - dry) / 10)


def _with_offsets(reader: Reader, found: Findings) -> None:
    _climate(reader, found, cold=800, dry=250)


def _oy1100(reader: Reader, f_port: int, found: Findings) -> None:
    _groups(reader)
    if reader.data[0] << 4 >= _NEGATIVE_12:
        raise CodecError("Byte 0: how an OY1100 sends negative temperatures is not documented.")
    _climate(reader, found, cold=0, dry=0)


def _oy1110(reader: Reader, f_port: int, found: Findings) -> None:
    if f_port == 3:
        reader.take(1, "the interval")
    elif f_port != 2:
        raise CodecError(f"fPort {f_port} is not one of the OY1110's: 2, 3.")
    _groups(reader)
    _with_offsets(reader, found)


def _groups(reader: Reader) -> None:
    if reader.left == 0 or reader.left % _GROUP:
        raise CodecError(f"Byte {reader.at}: {reader.left} bytes are not groups of {_GROUP}.")


def _oy1200(reader: Reader, f_port: int, found: Findings) -> None:
    _port(f_port, 1, "OY1200")
    _length(reader, 12)
    reader.take(2, "the head")
    raw, filtered, temperature, humidity = (reader.big(2, "a value") for _ in range(4))
    if temperature >= _NEGATIVE_16:
        raise CodecError("Byte 6: how an OY1200 sends negative temperatures is not documented.")
    found.put("co2", filtered)
    found.put("co2", raw, "raw")
    found.put("temperature", temperature / 100)
    found.put("humidity", humidity / 100)


def _oy1210(reader: Reader, f_port: int, found: Findings) -> None:
    _port(f_port, 2, "OY1210")
    _length(reader, 5)
    _with_offsets(reader, found)
    found.put("co2", reader.big(2, "CO2"))


def _oy1320(reader: Reader, f_port: int, found: Findings) -> None:
    _port(f_port, 2, "OY1320")
    _length(reader, 6)
    reader.take(2, "the head")
    found.put("pulseCount", reader.big(4, "the meter's reading"))


def _oy1700(reader: Reader, f_port: int, found: Findings) -> None:
    _port(f_port, 2, "OY1700")
    _length(reader, 9)
    _with_offsets(reader, found)
    for quantity in ("pm1", "pm25", "pm10"):
        found.put(quantity, reader.big(2, quantity))


def _port(f_port: int, expected: int, product: str) -> None:
    if f_port != expected:
        raise CodecError(f"fPort {f_port} is not the {product}'s: {expected}.")


def _length(reader: Reader, expected: int) -> None:
    if reader.left != expected:
        raise CodecError(f"The payload must have {expected} bytes, got {reader.left}.")


_PRODUCTS: dict[str, Callable[[Reader, int, Findings], None]] = {
    "oy1100": _oy1100,
    "oy1110": _oy1110,
    "oy1200": _oy1200,
    "oy1210": _oy1210,
    "oy1320": _oy1320,
    "oy1700": _oy1700,
}


class Talkpool:
    """The codecs 'talkpool-oy…', one a product."""

    def __init__(self, product: str) -> None:
        self._read = _PRODUCTS[product]

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Measurements of one uplink."""
        found = Findings(at)
        self._read(Reader(payload), f_port, found)
        return found.found


def product_codecs() -> dict[str, Codec]:
    """Every Talkpool codec by its name."""
    return {f"talkpool-{product}": Talkpool(product) for product in _PRODUCTS}
