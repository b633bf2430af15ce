"""mcf88 and enginko, MCF-LW12…: climate sensors that send two or three measurements at once (enginko, "Data frame format").

Little-endian. Each measurement begins with its time: year since 2000 (7 bits), month (4), day (5), hour (5), minute (6), seconds / 2
(5), UTC. Frames: 0x04 temperature, humidity, pressure; 0x0C and 0x12 with light and VOC; 0x0E and 0x13 with CO2 too; 0x01 asks
for the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.reading import Findings, Reader, from_epoch

_TIME_REQUEST = 0x01
_Part = Literal["light", "voc2", "voc3", "co2"]
_FRAMES: dict[int, tuple[int, Sequence[_Part]]] = {
    # how many measurements, and what each has after temperature, humidity and pressure
    0x04: (3, ()),
    0x0C: (2, ("light", "voc2")),
    0x12: (2, ("light", "voc3")),
    0x0E: (2, ("light", "voc2", "co2")),
    0x13: (2, ("light", "voc3", "co2")),
}


class Mcf88:
    """The codec 'mcf88'."""

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Measurements with their own times, in the frame's order, then the battery; any fPort."""
        reader, found = Reader(payload), Findings(at)
        frame = reader.big(1, "what the frame is")
        if frame == _TIME_REQUEST:
            return []
        if frame not in _FRAMES:
            raise CodecError(f"Byte 0: frame 0x{frame:02X} is not one of those that are known.")
        count, parts = _FRAMES[frame]
        for _ in range(count):
            _measurement(reader, parts, found)
        found.put("batteryLevel", reader.big(1, "the battery"))
        return found.found


def _measurement(reader: Reader, parts: Sequence[_Part], found: Findings) -> None:
    taken_at = _time(reader)
    found.put("temperature", reader.little(2, "the temperature", signed=True) / 100, at=taken_at)
    found.put("humidity", reader.big(1, "the humidity") / 2, at=taken_at)
    found.put("pressure", reader.little(3, "the pressure") / 100, at=taken_at)
    for part in parts:
        match part:
            case "light":
                found.put("illuminance", reader.little(2, "the light"), at=taken_at)
            case "voc2" | "voc3":
                found.put("tvoc", reader.little(int(part[-1]), "the VOC"), at=taken_at)
            case "co2":
                found.put("co2", reader.little(2, "CO2"), at=taken_at)


def _time(reader: Reader) -> Micros:
    start, bits = reader.at, reader.little(4, "the time")
    try:
        time = datetime(
            2000 + (bits >> 25),
            bits >> 21 & 0x0F,
            bits >> 16 & 0x1F,
            bits >> 11 & 0x1F,
            bits >> 5 & 0x3F,
            (bits & 0x1F) * 2,
            tzinfo=UTC,
        )
    except ValueError:
        raise CodecError(f"Byte {start}: 0x{bits:08X} is no time.") from None
    return from_epoch(int(time.timestamp()))
