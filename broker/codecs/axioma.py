"""Axioma Qalcosonic W1, an ultrasonic water meter (Axioma, "W1 LoRa payload": Extended V1.8, with temperature, Enhanced).

fPort 100 carries volumes, 103 an alarm, 101 the settings that a downlink asked for. Integers are little-endian,
volumes in litres, times in Unix seconds UTC. The layouts on fPort 100 are told apart by what is in them:

- Extended: time (4), status (1), volume (4), time of the log's first value (4), that value (4), up to 15 hourly
  increments (2 each). The log runs on full hours, so its time is cut to the hour.
- Extended with temperature: the same with the water's temperature (2, signed, 0.01 °C) after the volume and 14 increments.
- Enhanced: version 1 (1), time (4), status (1), the volume at 01:00 UTC of the day before (4), 23 hourly increments of
  14 bits each, and 6 bits of a multiplier, which must be 0.

The padding byte 0x2F may follow.
"""

from __future__ import annotations

from broker.clock import Micros
from broker.codecs.base import CodecError, Measurement
from broker.codecs.reading import Findings, Reader, from_epoch

_VOLUMES, _SETTINGS, _ALARM = 100, 101, 103
_HOUR = 3600
_DAY = 24 * _HOUR
_LOG_REACHES_BACK = 2 * _DAY
"""The log begins at most this long before the reading; it tells the layouts apart."""
_MAX_INCREMENTS = 15
_PADDING = 0x2F
_ENHANCED_SIZE = 51
_ENHANCED_VERSION = 1
_ENHANCED_INCREMENTS = 23
_ENHANCED_BITS = 14


class AxiomaW1:
    """The codec 'axioma-w1'."""

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """Volumes with their own times, oldest first, then the status; or the alarm; nothing for settings."""
        found = Findings(at)
        if f_port == _VOLUMES:
            body = payload
            if len(body) % 2 == 0 and body.endswith(bytes([_PADDING])):
                body = body[:-1]
            if len(body) == _ENHANCED_SIZE:
                _enhanced(Reader(body), found)
            else:
                _extended(Reader(body), found)
        elif f_port == _ALARM:
            _alarm(Reader(payload), found)
        elif f_port != _SETTINGS:
            raise CodecError(f"fPort {f_port} is not one of the Qalcosonic W1's: {_VOLUMES}, {_SETTINGS}, {_ALARM}.")
        return found.found


def _extended(reader: Reader, found: Findings) -> None:
    time = reader.little(4, "the time")
    status = reader.little(1, "the status")
    volume = reader.little(4, "the volume")
    temperature = reader.little(2, "the temperature", signed=True) if _has_temperature(reader, time, volume) else None
    log_time = reader.little(4, "the time of the log")
    log_time -= log_time % _HOUR
    log_volume = reader.little(4, "the volume of the log")
    if reader.left % 2 or reader.left > 2 * _MAX_INCREMENTS:
        raise CodecError(
            f"Byte {reader.at}: {reader.left} bytes are not up to {_MAX_INCREMENTS} increments of 2 bytes."
        )
    increments = [reader.little(2, "an increment") for _ in range(reader.left // 2)]
    if log_time + len(increments) * _HOUR > time:
        raise CodecError(
            f"Byte {reader.at}: a log of {len(increments)} hourly increments would end after the reading; "
            "the meter seems to log at another interval."
        )
    _add_log(found, log_time, log_volume, increments)
    now = from_epoch(time)
    found.add("volume", volume / 1000, "MTQ", at=now)
    if temperature is not None:
        found.add("temperature", temperature / 100, "CEL", at=now)
    _add_status(found, status, now)


def _has_temperature(reader: Reader, time: int, volume: int) -> bool:
    here = reader.at
    without, with_it = (_log_fits(reader.data[at:], time) for at in (here, here + 2))
    if without and with_it:  # the clock's bytes happen to repeat: the volumes decide
        return not _log_volume(reader.data[here:]) <= volume
    if not without and not with_it:
        raise CodecError(
            f"Byte {here}: neither here nor at byte {here + 2} is the time of a log that begins "
            "at most two days before the reading."
        )
    return with_it


def _log_fits(log: bytes, time: int) -> bool:
    return len(log) >= 8 and time - _LOG_REACHES_BACK <= int.from_bytes(log[:4], "little") <= time


def _log_volume(log: bytes) -> int:
    return int.from_bytes(log[4:8], "little")


def _enhanced(reader: Reader, found: Findings) -> None:
    version = reader.little(1, "the version")
    if version != _ENHANCED_VERSION:
        raise CodecError(f"Byte 0: the version of the frame must be {_ENHANCED_VERSION}, got {version}.")
    time = reader.little(4, "the time")
    status = reader.little(1, "the status")
    log_volume = reader.little(4, "the volume of the log")
    bits = reader.little(reader.left, "the increments")
    if bits >> (_ENHANCED_INCREMENTS * _ENHANCED_BITS):
        raise CodecError(f"Byte {_ENHANCED_SIZE - 1}: the multiplier of the increments must be 0.")
    if time < _DAY:
        raise CodecError(f"Byte 1: the time must be after 1970-01-01, got {time} s.")
    mask = (1 << _ENHANCED_BITS) - 1
    increments = [bits >> (index * _ENHANCED_BITS) & mask for index in range(_ENHANCED_INCREMENTS)]
    midnight = time - time % _DAY
    _add_log(found, midnight - _DAY + _HOUR, log_volume, increments)
    _add_status(found, status, from_epoch(time))


def _add_log(found: Findings, time: int, litres: int, increments: list[int]) -> None:
    found.add("volume", litres / 1000, "MTQ", at=from_epoch(time))
    for increment in increments:
        time += _HOUR
        litres += increment
        found.add("volume", litres / 1000, "MTQ", at=from_epoch(time))


def _add_status(found: Findings, status: int, at: Micros) -> None:
    # The three upper bits are one number, the others flags.
    condition = status >> 5
    found.add("batteryLow", bool(status & 0x04), at=at)
    found.add("deviceFault", bool(status & 0x08), channel="permanent", at=at)
    found.add("deviceFault", bool(status & 0x10), channel="temporary", at=at)
    found.add("waterLeak", condition == 0b001, at=at)
    found.add("backflow", condition == 0b011, at=at)
    found.add("frost", condition == 0b100, at=at)
    found.add("pipeBurst", condition == 0b101, at=at)


def _alarm(reader: Reader, found: Findings) -> None:
    at = from_epoch(reader.little(4, "the time"))
    alarms = reader.little(1, "the alarms")
    if reader.left:
        raise CodecError(f"Byte {reader.at}: an alarm has 5 bytes, got {len(reader.data)}.")
    names = ("waterLeak", "pipeBurst", "frost", "tamper", "noConsumption", "backflow")
    for bit, quantity in enumerate(names):
        found.add(quantity, bool(alarms >> bit & 1), at=at)
