"""M-Bus data records (EN 13757-3), the subset that heat, water and electricity meters' LoRaWAN modules send.

The codec 'elvaco-cmi' takes a format byte and then records: Elvaco's modules CMi4110 (Landis+Gyr), CMi4130 (Itron), CMi4140
(Kamstrup MULTICAL 403, 603, 803) and CMi4160 (Diehl SHARKY). A record is a DIF (what kind of number, of which function), its
extensions (storage, tariff, unit), a VIF (quantity and power of ten), its extensions, and the number, little-endian.

Only current values are used: neither those of an earlier date nor those that the meter says it took during an error.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.quantities import convert
from broker.codecs.reading import Findings, Reader

_EXTENDED = 0x80
_FILLER = 0x2F
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 7: 8}
_DECIMALS = {9: 1, 10: 2, 11: 3, 12: 4, 14: 6}
_FLOAT = 5
_FUNCTIONS = ("", "maximum", "minimum", "error")
_ERROR_FLAGS = (0xFD, 0x17)
_MOST_EXTENSIONS = 10
_VIFS: tuple[tuple[int, int, str, int, str, str], ...] = (
    # the VIF without its last bits, how many bits are the power of ten, quantity, power at 0, unit, channel
    (0x00, 3, "energy", -3, "WHR", ""),
    (0x08, 3, "energy", 0, "JOU", ""),
    (0x10, 3, "volume", -6, "MTQ", ""),
    (0x18, 3, "mass", -3, "KGM", ""),
    (0x28, 3, "power", -3, "WTT", ""),
    (0x38, 3, "volumeFlow", -6, "MQH", ""),
    (0x58, 2, "temperature", -3, "CEL", "flow"),
    (0x5C, 2, "temperature", -3, "CEL", "return"),
    (0x64, 2, "temperature", -3, "CEL", "external"),
    (0x68, 2, "pressure", -3, "BAR", ""),
)
_MEGAWATT_HOURS = (0xFB, 0x00)


class ElvacoCmi:
    """The codec 'elvaco-cmi'."""

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Energy, volume, power, flow and temperatures ('flow', 'return') of one uplink; any fPort."""
        reader, found = Reader(payload), Findings(at)
        reader.take(1, "the format")
        while reader.left:
            _record(reader, found)
        return found.found


def _record(reader: Reader, found: Findings) -> None:
    start = reader.at
    dif = reader.big(1, "a DIF")
    if dif == _FILLER:
        return
    if dif & 0x0F == 0x0F:
        raise CodecError(f"Byte {start}: DIF 0x{dif:02X} is not one of a record.")
    storage, tariff, unit = _extensions(reader, dif)
    vif = _vif(reader)
    value = _number(reader, dif & 0x0F, start)
    function = _FUNCTIONS[dif >> 4 & 0x03]
    if value is None or storage:
        return
    if vif == _ERROR_FLAGS:
        if isinstance(value, int) and value >= 0:
            found.put("errorCode", value)
        return
    row = _meaning(vif)
    if row is None:
        return
    quantity, power, code, channel = row
    if function == "error":
        found.put("deviceFault", True, channel or quantity)
        return
    if function:
        channel = f"{channel}{function.capitalize()}" if channel else function
    if tariff or unit:
        channel = f"{channel}{'tariff' if tariff else 'unit'}{tariff or unit}"
    exact = float(Fraction(value) * Fraction(10) ** power)
    own = "KWH" if quantity == "energy" else "A97" if quantity == "pressure" else code
    found.put(quantity, convert(exact, code, own), channel)


def _extensions(reader: Reader, dif: int) -> tuple[int, int, int]:
    """Storage, tariff, unit, of the DIF and its extensions."""
    storage, tariff, unit = dif >> 6 & 1, 0, 0
    more, place = dif & _EXTENDED, 0
    while more:
        extension = reader.big(1, "a DIF's extension")
        if place == _MOST_EXTENSIONS:
            raise CodecError(f"Byte {reader.at - 1}: a DIF has at most {_MOST_EXTENSIONS} extensions.")
        storage |= (extension & 0x0F) << 1 + 4 * place
        tariff |= (extension >> 4 & 0x03) << 2 * place
        unit |= (extension >> 6 & 0x01) << place
        more, place = extension & _EXTENDED, place + 1
    return storage, tariff, unit


def _vif(reader: Reader) -> tuple[int, ...]:
    first = reader.big(1, "a VIF")
    found = [first]
    while found[-1] & _EXTENDED:
        if len(found) > _MOST_EXTENSIONS:
            raise CodecError(f"Byte {reader.at}: a VIF has at most {_MOST_EXTENSIONS} extensions.")
        found.append(reader.big(1, "a VIF's extension"))
    return tuple(found)


def _meaning(vif: tuple[int, ...]) -> tuple[str, int, str, str] | None:
    """Quantity, power of ten, unit, channel; None for what is not measured or not known."""
    if len(vif) == 2 and vif[0] == _MEGAWATT_HOURS[0] and vif[1] & 0xFE == _MEGAWATT_HOURS[1]:
        return "energy", (vif[1] & 1) - 1, "MWH", ""
    if len(vif) != 1:
        return None
    for base, bits, quantity, power, unit, channel in _VIFS:
        if vif[0] >> bits == base >> bits:
            return quantity, power + (vif[0] & (1 << bits) - 1), unit, channel
    return None


def _number(reader: Reader, field: int, start: int) -> int | float | None:
    """The record's number; None when it has none, or one that the meter marks as none."""
    if field in _INTEGERS:
        return reader.little(_INTEGERS[field], "an integer", signed=True)
    if field in _DECIMALS:
        return _decimal(reader.take(_DECIMALS[field], "a decimal number")[::-1].hex())
    if field == _FLOAT:
        (value,) = struct.unpack("<f", reader.take(4, "a float"))
        return value if math.isfinite(value) else None
    if field in (0, 8):
        return None
    raise CodecError(f"Byte {start}: numbers of variable length are not known.")


def _decimal(digits: str) -> int | None:
    # The first digit F is a minus; any other letter says that the meter has no valid value.
    negative = digits[0] == "f"
    text = digits[1:] if negative else digits
    if not text.isdecimal():
        return None
    return -int(text) if negative else int(text)
